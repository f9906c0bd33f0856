"""Pillow's resize of 8-bit pictures and a centre crop on a CUDA device, for pictures of any size at once: bit for bit.

As Pillow does it (``Resample.c``): weights in fixed point, rows first, then columns, both rounded to 8 bits. The
weights of a side depend on its length alone: they are computed once for each length and stay on the device.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import triton

from ...cache.recipe import Transform
from .resize_kernels import BITS, HEAD, resize_columns, resize_rows
from .views import resized_size

MOST_TAPS = 64  # weights of one pixel; a side that needs more is left to the processor
MOST_SIDES = 1024  # lengths of which the weights are kept: 60 MB for crops of 224 pixels


class Decoded(NamedTuple):
    """A picture on the device: RGB, 8 bits, rows one after the other."""

    pointer: int
    width: int
    height: int
    pitch: int  # bytes from one row to the next
    owner: Any  # keeps it there


class Side(NamedTuple):
    """How one side of a picture is resized and cropped: where each pixel begins, with which weights."""

    first: npt.NDArray[np.int32]  # (crop,)
    weights: npt.NDArray[np.int32]  # (crop, taps)

    @property
    def span(self) -> tuple[int, int]:
        """The first pixel that is needed, and how many are."""
        last = self.first + np.max(np.arange(self.weights.shape[1]) * (self.weights != 0), axis=1)
        return int(self.first[0]), int(last.max()) + 1 - int(self.first[0])


def weights_of(length: int, resized: int, crop: int, interpolation: str) -> Side:
    """Return how Pillow resizes a side, of the centre crop only."""
    begin = round((resized - crop) / 2)
    if resized == length:
        return Side(np.arange(begin, begin + crop, dtype=np.int32), np.full((crop, 1), 1 << BITS, np.int32))
    support, kernel = _KERNELS[interpolation]
    scale = length / resized
    widened = max(scale, 1.0)
    reach = support * widened
    centre = (np.arange(begin, begin + crop) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), length)
    tap = np.arange(int(np.ceil(reach)) * 2 + 1)
    inside = tap < (last - first)[:, None]
    weights = kernel((tap + first[:, None] - centre[:, None] + 0.5) * (1.0 / widened)) * inside
    total = np.zeros(crop)
    for column in weights.T:  # in the order in which Pillow adds: floating point
        total += column
    weights /= total[:, None]
    return Side(first.astype(np.int32), np.trunc(weights * (1 << BITS) + np.copysign(0.5, weights)).astype(np.int32))


def _bilinear(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x = np.abs(x)
    return np.where(x < 1, 1 - x, 0.0)


def _bicubic(x: npt.NDArray[np.float64], a: float = -0.5) -> npt.NDArray[np.float64]:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    return np.where(x < 1, near, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0.0))


_Kernel = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
_KERNELS: dict[str, tuple[float, _Kernel]] = {"bilinear": (1.0, _bilinear), "bicubic": (2.0, _bicubic)}


def can_resize(width: int, height: int, transform: Transform) -> bool:
    """Return whether a picture of a size is resized here as Pillow does it."""
    # Pillow reduces tall pictures columns first, from 13 on. Strips are cut before (views.LONGEST), others stand on a
    # background: both are left to the processor.
    if transform.resize_mode == "pad" or height >= 2 * width or width >= 8 * height:
        return False
    resized, (support, _) = resized_size(width, height, transform), _KERNELS[transform.interpolation]
    # So it does others that lose more of their height than of their width.
    if resized[1] < height and resized[0] * height > 1.02 * width * resized[1]:
        return False
    widest = max(1.0, *(length / short for length, short in zip((width, height), resized, strict=True)))
    return min(resized) >= transform.crop and 2 * int(np.ceil(support * widest)) + 1 <= MOST_TAPS


class Resizer:
    """Resizes and crops pictures on a device, for one transform.

    Parameters
    ----------
    transform
        Of mode ``crop`` or ``squash``.
    device
        Where the pictures and the result are.
    """

    def __init__(self, transform: Transform, device: torch.device) -> None:
        self.transform, self.device = transform, device
        self._numbers: dict[tuple[int, int], int] = {}  # rows of the table, by length and resized length
        self._spans: list[int] = []
        length = HEAD + transform.crop * (MOST_TAPS + 1)
        self._sides = torch.zeros(MOST_SIDES, length, dtype=torch.int32, device=device)

    def __call__(self, pictures: Sequence[Decoded], rows: Sequence[int], result: torch.Tensor) -> None:
        """Write pictures of sizes that :func:`can_resize` to rows of ``(B, crop, crop, 3)`` uint8 on the device."""
        if len(self._numbers) + 2 * len(pictures) > MOST_SIDES:
            self._numbers, self._spans = {}, []
        crop, tall, table = self.transform.crop, 0, []
        for picture, row in zip(pictures, rows, strict=True):
            lengths = picture.width, picture.height
            resized = resized_size(*lengths, self.transform)
            across, down = map(self._number, lengths, resized)
            table.append([picture.pointer, picture.pitch, across, down, row])
            tall = max(tall, self._spans[down])
        numbers = torch.tensor(table, dtype=torch.int64).to(self.device)
        middle = torch.empty((len(pictures), tall, crop, 3), dtype=torch.uint8, device=self.device)
        sizes = {"MOST": MOST_TAPS, "CROP": crop, "BLOCK": triton.next_power_of_2(crop * 3)}
        resize_rows[len(pictures), tall](numbers, self._sides, middle, tall, **sizes)
        resize_columns[len(pictures), crop](numbers, self._sides, middle, result, tall, **sizes)

    def _number(self, length: int, resized: int) -> int:
        """Return the row of the table that has a side; it is made the first time."""
        number = self._numbers.get((length, resized))
        if number is None:
            number = self._numbers[length, resized] = len(self._spans)
            side = weights_of(length, resized, self.transform.crop, self.transform.interpolation)
            top, span = side.span
            self._spans.append(span)
            taps = side.weights.shape[1]
            weights = np.pad(side.weights, ((0, 0), (0, MOST_TAPS - taps)))
            row = np.concatenate([np.array([top, span, taps]), side.first, weights.ravel()]).astype(np.int32)
            self._sides[number] = torch.from_numpy(row).to(self.device)
        return number
