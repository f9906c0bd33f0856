"""Units and batches: images are decoded and embedded by batches; a unit collects their rows until it is committed."""

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...cache.recipe import DECODES, Input, Recipe
from ...cache.shard import Shard
from ...errors import ImageRejected
from ..backbones.backbone import Backbone
from ..decoding.damage import unreadable_now
from ..decoding.memory_budget import in_turn
from ..decoding.views import read_hashed, views_of
from ..decoding.worker_process import DecodeProcess, Request
from .precision import MAX_ERROR, NOT_FINITE, imprecise, in_stored_type
from .sinks import ShardSink

if TYPE_CHECKING:
    from ..decoding.hardware import Encoded, Engines

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def noting_failure(key: bytes, unreadable: dict[bytes, str], rejected: dict[bytes, str]) -> Iterator[None]:
    """Note why a file cannot be read now, or why it is no image, if that ends the block."""
    try:
        with unreadable_now():
            yield
    except OSError as error:
        unreadable[key] = f"not readable: {error.strerror}"
    except ImageRejected as error:
        rejected[key] = str(error)


class Job(NamedTuple):
    """One backbone on one input, to be computed for a batch; its recipes differ in their layers only."""

    backbone: Backbone
    recipes: Sequence[Recipe]

    @property
    def input(self) -> Input:
        """What it sees of an image."""
        return self.recipes[0].input

    @property
    def on_device(self) -> bool:
        """Whether the device decodes."""
        return self.input.decode == DECODES["hardware"]


@dataclass
class Draft:
    """Rows and rejections of a unit on their way to one shard of a store, and the thread time that they took."""

    store: ShardSink
    rows: dict[bytes, npt.NDArray[Any]] = field(default_factory=dict)
    rejected: dict[bytes, str] = field(default_factory=dict)
    seconds: float = 0.0

    def take(self, batch: "Batch", matrix: npt.NDArray[np.float32]) -> float:
        """Take the rows that the store does not have, and return the largest error of rows that its type cannot hold.

        Those are unreadable for now; rows that are not finite are rejected.
        """
        dtype = self.store.recipe.dtype
        stored, error = in_stored_type(matrix, dtype)
        lacking = set(self.store.missing(batch.keys))
        largest = 0.0
        for row, key in enumerate(batch.keys):
            if key not in lacking or key in batch.unreadable:
                continue
            if key in batch.rejected:
                self.rejected[key] = batch.rejected[key]
            elif np.isnan(error[row]):
                self.rejected[key] = NOT_FINITE
            elif error[row] > MAX_ERROR:
                batch.imprecise[key] = imprecise(error[row], dtype)
                largest = max(largest, float(error[row]))
            else:
                self.rows[key] = stored[row]
        return largest

    def commit(self, unit: Sequence[bytes], provenance: Mapping[str, str]) -> None:
        """Append the shard, if there is anything in it, in the order of the unit's keys, whichever batch was first."""
        if not self.rows and not self.rejected:
            return
        keys, recipe = [key for key in unit if key in self.rows], self.store.recipe
        matrix = np.array([self.rows[key] for key in keys], recipe.dtype).reshape(len(keys), recipe.dim)
        rejected = {key: self.rejected[key] for key in unit if key in self.rejected}
        self.store.append(Shard(keys, matrix, rejected, {**provenance, "seconds": f"{self.seconds:.3f}"}))


@dataclass(eq=False)
class Unit:
    """Keys that are committed together, one draft per recipe, and how many of its batches are not finished."""

    keys: Sequence[bytes]
    drafts: Mapping[Recipe, Draft]
    batches_left: int


@dataclass(eq=False)
class Batch:
    """Pixels of some keys, one array per input; keys that are no image have zeros and a reason."""

    unit: Unit
    keys: Sequence[bytes]
    paths: Sequence[str]
    jobs: Sequence[Job]
    rows: int  # of pixels; zeros after the keys fill the last forward pass of each backbone
    pixels: dict[Input, npt.NDArray[Any]] = field(default_factory=dict)  # (rows, crop, crop, 3)
    encoded: "dict[Input, dict[int, Encoded]]" = field(default_factory=dict)  # what the device decodes, by their row
    taken: int = 0  # keys that a thread decodes or has decoded
    decoded: int = 0
    rejected: dict[bytes, str] = field(default_factory=dict)  # why a file is no image
    unreadable: dict[bytes, str] = field(default_factory=dict)  # why it cannot be decoded now
    imprecise: dict[bytes, str] = field(default_factory=dict)  # why its row is in none of the stores, or not in all

    def allocate(self, inputs: Collection[Input]) -> None:
        """Have zeros for the pixels of some inputs."""
        for wanted in inputs:
            side = wanted.transform.crop
            self.pixels[wanted] = np.zeros((self.rows, side, side, 3), wanted.transform.dtype)

    def decode(self, row: int) -> None:
        """Put one image's pixels in its row."""
        path, key = self.paths[row], self.keys[row]
        with noting_failure(key, self.unreadable, self.rejected), in_turn():
            data = read_hashed(path, key)
            here = {job.input for job in self.jobs if not (job.on_device and self._defer(row, data, job.input))}
            self._fill(row, data, here)

    def decode_in(self, process: DecodeProcess, slot: int) -> None:
        """Let a process put all images' pixels in their rows, which are those of a slot."""
        inputs = list(dict.fromkeys(job.input for job in self.jobs))
        files = [(row, *file) for row, file in enumerate(zip(self.paths, self.keys, strict=True))]
        for pixels in self.pixels.values():
            pixels[len(files) :] = 0
        for row, failure in process.decode(Request(slot, inputs, files)).items():
            if failure is None:
                self.decode(row)
                continue
            with noting_failure(self.keys[row], self.unreadable, self.rejected):
                raise failure

    def embed(self, job: Job, engines: "Engines | None" = None) -> list[npt.NDArray[np.float32]]:
        """Return ``(len(keys), dim)`` float32 for each layer of a backbone, computed in its own batch size."""
        pixels = self._on_device(job, engines) if engines and job.on_device else self.pixels[job.input]
        size = job.backbone.batch_size
        starts = range(0, len(self.keys), size)
        outputs = [job.backbone.embed(pixels[start : start + size]) for start in starts]
        return [np.concatenate(layer)[: len(self.keys)] for layer in zip(*outputs, strict=True)]

    def _fill(self, row: int, data: bytes, inputs: set[Input]) -> None:
        for wanted, pixels in views_of(data, self.keys[row], inputs).items():
            if wanted not in self.pixels:  # which few or none of the batch need
                self.allocate([wanted])
            self.pixels[wanted][row] = pixels

    def _defer(self, row: int, data: bytes, wanted: Input) -> bool:
        """Return whether the device decodes a file, and keep its bytes if so."""
        from ..decoding.hardware import takes

        file = takes(data, wanted.transform)
        if file is not None:
            self.encoded.setdefault(wanted, {})[row] = file
        return file is not None

    def _on_device(self, job: Job, engines: "Engines") -> Any:
        """Return the pixels on the device, which decodes what was left to it; if it does not, the processor does."""
        import torch

        from ..backbones.torch_runtime import memory_of

        wanted, device = job.input, job.backbone.device
        files = self.encoded.get(wanted, {})
        with engines.of(device) as engine, memory_of(device, "--decode exact takes less."):
            pixels, left = engine.pixels_of(files, wanted.transform, self.rows)
        for row in left:
            with noting_failure(self.keys[row], self.unreadable, self.rejected):
                self._fill(row, files[row].data, {wanted})
        if wanted in self.pixels:
            rows = [row for row in range(len(self.keys)) if row not in files or row in left]
            pixels[rows] = torch.from_numpy(self.pixels[wanted][rows]).to(device)
        return pixels
