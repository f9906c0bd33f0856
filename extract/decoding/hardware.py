"""Decoding by the JPEG engine of a CUDA device, through nvImageCodec, and resizing there as Pillow does.

The engine's pixels differ from those of libjpeg by a grey level at most, so the recipe names another rule,
``hardware-1``: this engine with smooth upsampling of colours, and nothing else. What it does not take, or would
misjudge, goes to the processor, which also gives the reasons of rejects. It is found before: the engine decodes what is
cut off without a word.
"""

import contextlib
import io
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch

from ...cache.recipe import Transform
from ...errors import EngineError, MissingExtra
from ..manifest.paths import MAX_BYTES
from .decode import MAX_PIXELS, decode
from .device_resize import Decoded, Resizer, can_resize
from .jpeg_header import ordinary_frame
from .pillow import Image

logger = logging.getLogger(__name__)

AT_ONCE = 2**29  # bytes of decoded pictures that are on the device together
ENGINES = 2  # that decode at once: one waits for the processor, three are no faster (docs/extraction.md)
MOST_LEVELS = 1  # that its pixels may differ by
_SIDE = 32  # of the pictures that show it


class Encoded(NamedTuple):
    """The bytes of a JPEG, and how many its picture has."""

    data: bytes
    decoded: int


Decoder = Callable[[Sequence[bytes]], Sequence[Decoded | None]]


class Engine:
    """The JPEG engine of a device, with what resizes beside it; for one thread at a time.

    Raises
    ------
    MissingExtra
        nvImageCodec is not installed.
    EngineError
        The device has no JPEG engine, or none that decodes as expected.
    """

    def __init__(self, device: torch.device, decoder: Decoder | None = None) -> None:
        self.device = device
        self._decode = decoder or _nvimgcodec(device)
        self._resizers: dict[Transform, Resizer] = {}
        # In a stream that all share, it would wait for what is computed there, and that for the next files.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def pixels_of(
        self, files: Mapping[int, Encoded], transform: Transform, rows: int
    ) -> tuple[torch.Tensor, list[int]]:
        """Decode files, resize and crop them, and wait until that is done.

        Parameters
        ----------
        files
            What :func:`takes` returns of a JPEG, by the number of its row.
        rows
            Of the result; those without a file are zeros.

        Returns
        -------
        pixels, left
            ``(rows, crop, crop, 3)`` uint8 on the device, and the rows whose file it did not decode.
        """
        left, side = list[int](), transform.crop
        with torch.cuda.stream(self._stream) if self._stream else contextlib.nullcontext():
            pixels = torch.zeros(rows, side, side, 3, dtype=torch.uint8, device=self.device)
            for part in _parts(files):
                pictures = dict(zip(part, self._decode([files[row].data for row in part]), strict=True))
                done = {row: picture for row, picture in pictures.items() if picture is not None}
                if done:
                    self._resizer(transform)(list(done.values()), list(done), pixels)
                left += [row for row in part if row not in done]
            if self._stream:
                self._stream.synchronize()
        return pixels, left

    def check(self) -> None:
        """Compare a few pictures with the processor's; raises EngineError if they differ by more than a grey level."""
        transform = Transform(resize=_SIDE, crop=_SIDE)
        files = {row: Encoded(data, 3 * _SIDE**2) for row, data in enumerate(_samples())}
        pixels, left = self.pixels_of(files, transform, len(files))
        if left:
            raise EngineError(
                f"The JPEG engine of {self.device} did not decode {len(left)} of {len(files)} pictures. {_WAY_ON}"
            )
        here = np.stack([np.asarray(decode(file.data)) for file in files.values()]).astype(int)
        levels = int(np.abs(pixels.cpu().numpy() - here).max())
        if levels > MOST_LEVELS:
            raise EngineError(
                f"The JPEG engine of {self.device} decodes pixels that are {levels} levels off. {_WAY_ON}"
            )

    def _resizer(self, transform: Transform) -> Resizer:
        if transform not in self._resizers:
            self._resizers[transform] = Resizer(transform, self.device)
        return self._resizers[transform]


class Engines:
    """The engines of some devices, checked, to be borrowed.

    Raises
    ------
    MissingExtra, EngineError
        See :class:`Engine` and :meth:`Engine.check`.
    """

    def __init__(self, devices: Collection[torch.device]) -> None:
        self._free = {device: SimpleQueue[Engine]() for device in devices}
        for device, engines in self._free.items():
            for _ in range(ENGINES):
                engine = Engine(device)
                engine.check()
                engines.put(engine)

    @contextlib.contextmanager
    def of(self, device: torch.device) -> Iterator[Engine]:
        """Have one of a device to the end of the block."""
        engine = self._free[device].get()
        try:
            yield engine
        finally:
            self._free[device].put(engine)


_WAY_ON = "--decode exact runs anywhere."


def takes(data: bytes, transform: Transform) -> Encoded | None:
    """Return a file that is left to an engine: an ordinary JPEG that is resized there as the processor does it."""
    frame = ordinary_frame(data) if len(data) <= MAX_BYTES else None
    if frame is None or frame.width * frame.height > MAX_PIXELS:
        return None
    fits = can_resize(frame.width, frame.height, transform)
    return Encoded(data, 3 * frame.width * frame.height) if fits else None


def _nvimgcodec(device: torch.device) -> Decoder:
    # It prints for each file that it leaves, which the processor decodes then.
    os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
    try:
        from nvidia import nvimgcodec
    except ImportError as error:
        raise MissingExtra("nvidia-nvimgcodec", "cuda") from error
    engine = nvimgcodec.Backend(nvimgcodec.BackendKind.HW_GPU_ONLY)
    try:
        decoder = nvimgcodec.Decoder(device_id=device.index or 0, options=":fancy_upsampling=1", backends=[engine])
    except RuntimeError as error:
        raise EngineError(f"{device} has no JPEG engine, or it cannot be used here: {error}. {_WAY_ON}") from error

    def decode_all(files: Sequence[bytes]) -> list[Decoded | None]:
        stream, images = torch.cuda.current_stream(device).cuda_stream, []
        try:
            images = decoder.decode(list(files), cuda_stream=stream)
        except RuntimeError as error:
            logger.debug("decoded by the processor: %s", error)
        return [_decoded(image) for image in images] if len(images) == len(files) else [None] * len(files)

    return decode_all


def _decoded(image: Any) -> Decoded | None:
    """Return where an image of nvImageCodec is, if it is RGB."""
    if image is None:
        return None
    array = image.__cuda_array_interface__
    height, width, channels = array["shape"]
    pitch = array["strides"][0] if array.get("strides") else width * channels
    return Decoded(array["data"][0], width, height, pitch, image) if channels == 3 else None


def _parts(files: Mapping[int, Encoded]) -> Iterator[list[int]]:
    """Yield rows whose pictures are on the device together."""
    part, size = list[int](), 0
    for row, file in files.items():
        if part and size + file.decoded > AT_ONCE:
            yield part
            part, size = [], 0
        part.append(row)
        size += file.decoded
    if part:
        yield part


def _samples() -> list[bytes]:
    """Return JPEGs of every kind that is left to an engine."""
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    picture = rough.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    files = []
    for mode, subsampling in (("RGB", 0), ("RGB", 1), ("RGB", 2), ("L", 0)):
        file = io.BytesIO()
        picture.convert(mode).save(file, "JPEG", quality=90, subsampling=subsampling)
        files.append(file.getvalue())
    return files
