"""Units and batches: images are decoded and embedded by batches; a unit collects their rows until it is committed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...cache.recipe import DECODES, Input, Recipe
from ...cache.shard import Shard
from ...errors import ImageRejected
from ..backbones.backbone import Backbone
from ..decoding.damage import unreadable_now
from ..decoding.memory_budget import in_turn
from ..decoding.views import read_hashed, views_of
from ..decoding.worker_process import DecodeProcess
from .precision import MAX_ERROR, NOT_FINITE, imprecise, in_stored_type
from .sinks import ShardSink

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """One backbone on one input, to be computed for a batch. ``first`` is the number of its first store."""

    backbone: Backbone
    input: Input
    first: int

    @property
    def stores(self) -> range:
        """The numbers of its stores, one per layer."""
        return range(self.first, self.first + len(self.backbone.recipes))

    @property
    def on_device(self) -> bool:
        """Whether the device decodes."""
        return self.input.decode == DECODES["nvjpeg"]


@dataclass
class Unit:
    """Rows on their way to one shard per store.

    Attributes
    ----------
    batches_left
        Batches that are not finished.
    rows, rejected
        By store.
    seconds
        By store: thread time that its rows took.
    """

    keys: Sequence[bytes]
    batches_left: int
    rows: list[dict[bytes, npt.NDArray[Any]]]
    rejected: list[dict[bytes, str]]
    seconds: list[float]

    @classmethod
    def of(cls, keys: Sequence[bytes], batches: int, stores: int) -> "Unit":
        """Return an empty one."""
        numbers = range(stores)
        return cls(keys, batches, [{} for _ in numbers], rejected=[{} for _ in numbers], seconds=[0.0] * stores)

    def take(self, number: int, store: ShardSink, batch: "Batch", matrix: npt.NDArray[np.float32]) -> float:
        """Take the rows that a store does not have, and return the largest error of rows that its type cannot hold.

        Those are unreadable for now; rows that are not finite are rejected.
        """
        stored, error = in_stored_type(matrix, store.recipe.dtype)
        lacking = set(store.missing(batch.keys))
        largest = 0.0
        for row, key in enumerate(batch.keys):
            if key not in lacking or key in batch.unreadable:
                continue
            if key in batch.rejected:
                self.rejected[number][key] = batch.rejected[key]
            elif np.isnan(error[row]):
                self.rejected[number][key] = NOT_FINITE
            elif error[row] > MAX_ERROR:
                batch.imprecise[key] = imprecise(error[row], store.recipe.dtype)
                largest = max(largest, float(error[row]))
            else:
                self.rows[number][key] = stored[row]
        return largest

    def shard(self, number: int, recipe: Recipe, provenance: Mapping[str, str]) -> Shard:
        """Return the shard for a store. Its rows have the order of the unit's keys, whichever batch was first."""
        rows = self.rows[number]
        keys = [key for key in self.keys if key in rows]
        matrix = np.empty((len(keys), recipe.dim), recipe.dtype)
        for row, key in enumerate(keys):
            matrix[row] = rows[key]
        rejected = {key: self.rejected[number][key] for key in self.keys if key in self.rejected[number]}
        return Shard(keys, matrix, rejected, {**provenance, "seconds": f"{self.seconds[number]:.3f}"})


@dataclass
class Batch:
    """Pixels of some keys, one array per input; keys that are no image have zeros and a reason.

    Attributes
    ----------
    pixels
        ``(rows, crop, crop, 3)`` uint8; zeros after the keys fill the last forward pass of each backbone.
    encoded
        Files that the device is to decode, by their row.
    taken, decoded
        How many keys threads have taken, and have decoded.
    rejected, unreadable
        Why a file is no image, and why it cannot be decoded now.
    imprecise
        Why the row of an image is in none of the stores, or not in all.
    """

    unit: Unit
    keys: Sequence[bytes]
    paths: Sequence[str]
    jobs: Sequence[Job]
    pixels: dict[Input, npt.NDArray[np.uint8]]
    encoded: dict[int, bytes] = field(default_factory=dict)
    taken: int = 0
    decoded: int = 0
    rejected: dict[bytes, str] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    imprecise: dict[bytes, str] = field(default_factory=dict)

    @classmethod
    def of(cls, unit: Unit, keys: Sequence[bytes], paths: Sequence[str], jobs: Sequence[Job], rows: int) -> "Batch":
        """Return an empty one."""
        sides = {job.input: job.input.transform.crop for job in jobs}
        pixels = {wanted: np.zeros((rows, side, side, 3), np.uint8) for wanted, side in sides.items()}
        return cls(unit, keys, paths, jobs, pixels=pixels)

    def decode(self, row: int, decoder: DecodeProcess | None = None) -> None:
        """Put one image's pixels in its row; they are decoded here or in a process."""
        path, key = self.paths[row], self.keys[row]
        try:
            with unreadable_now():
                if decoder is None:
                    self._decode(row, path)
                else:
                    decoder.decode(path, key, {job.input: self.pixels[job.input][row] for job in self.jobs})
        except OSError as error:
            self.unreadable[key] = f"not readable: {error.strerror}"
        except ImageRejected as error:
            self.rejected[key] = str(error)

    def embed(self, job: Job) -> list[npt.NDArray[np.float32]]:
        """Return ``(len(keys), dim)`` float32 for each layer of a backbone, computed in its own batch size."""
        pixels = self._on_device(job) if self.encoded and job.on_device else self.pixels[job.input]
        size = job.backbone.batch_size
        starts = range(0, len(self.keys), size)
        outputs = [job.backbone.embed(pixels[start : start + size]) for start in starts]
        return [np.concatenate(layer)[: len(self.keys)] for layer in zip(*outputs, strict=True)]

    def _decode(self, row: int, path: str) -> None:
        with in_turn():
            data = read_hashed(path, self.keys[row])
            self._fill(row, data, {job.input for job in self.jobs if not (job.on_device and self._defer(row, data))})

    def _fill(self, row: int, data: bytes, inputs: set[Input]) -> None:
        for wanted, pixels in views_of(data, self.keys[row], inputs).items():
            self.pixels[wanted][row] = pixels

    def _defer(self, row: int, data: bytes) -> bool:
        """Return whether the device decodes a file, and keep its bytes if so."""
        from ..decoding.hardware import takes

        if row not in self.encoded and takes(data):
            self.encoded[row] = data
        return row in self.encoded

    def _on_device(self, job: Job) -> Any:
        """Return the pixels on the device, which decodes what was left to it; if it fails, the processor does."""
        import torch

        from ..decoding.hardware import fill_rows

        try:
            pixels = torch.from_numpy(self.pixels[job.input]).to(job.backbone.device)
            fill_rows(pixels, self.encoded, job.input.transform)
            return pixels
        except RuntimeError as error:
            logger.debug("decoded by the processor: %s", error)
        for row, data in self.encoded.items():
            try:
                with unreadable_now():
                    self._fill(row, data, {job.input})
            except OSError as error:
                self.unreadable[self.keys[row]] = f"not readable: {error.strerror}"
            except ImageRejected as error:
                self.rejected[self.keys[row]] = str(error)
        return self.pixels[job.input]
