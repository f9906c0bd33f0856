"""The batch loop: missing keys -> units -> decoded batches -> every backbone -> committed shards."""

import hashlib
import os
import platform
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..cache.claims import Claims
from ..cache.recipe import DECODES, Input
from ..cache.shard import Shard, unit_id
from ..cache.store import Store
from ..errors import ImageRejected, Interrupted
from .accounting import Clock
from .backbones import Backbone
from .decode import decode, in_turn, read_image_bytes
from .progress import Progress, silent
from .views import view

AHEAD = 3  # batches decoded in advance: bounds memory, keeps the network fed
POLL = 0.2  # seconds between two looks at units that another process has claimed


class _Job(NamedTuple):
    """One backbone on one input: what is to be computed of a batch. ``first`` is the number of its first store."""

    backbone: Backbone
    input: Input
    first: int

    @property
    def stores(self) -> range:
        """The numbers of its stores, one per layer."""
        return range(self.first, self.first + len(self.backbone.recipes))


@dataclass
class _Batch:
    """Decoded pixels of some keys, one array per input; keys that are no image have zeros and a reason."""

    keys: list[bytes]
    ends_unit: bool
    jobs: list[_Job]
    pixels: dict[Input, npt.NDArray[np.uint8]]
    rejected: dict[bytes, str]
    unreadable: dict[bytes, str]


class Pipeline:
    """Decoding threads, the networks in the calling thread, and a thread that commits.

    Parameters
    ----------
    stores
        One per recipe, in the order of backbones, views and layers.
    files
        Where the bytes of each key are.
    workers
        Decoding threads; default one per core.
    """

    def __init__(
        self,
        backbones: Sequence[Backbone],
        stores: Sequence[Store],
        files: Mapping[bytes, str],
        clock: Clock,
        *,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> None:
        self.backbones, self.stores, self.files, self.clock = backbones, stores, files, clock
        self.workers = workers or os.cpu_count() or 1
        self.progress = progress
        self.claims = Claims(stores[0].directory / "claims")
        self.unreadable: dict[bytes, str] = {}
        self._stage = "extract " + " + ".join(dict.fromkeys(backbone.name for backbone in backbones))
        self._jobs: list[_Job] = []
        for backbone in backbones:
            for number in range(1 + backbone.views):
                first = sum(len(job.stores) for job in self._jobs)
                self._jobs.append(_Job(backbone, backbone.recipes_of(number)[0].input, first))
        self._batch_rows = max(backbone.batch_size for backbone in backbones)

    def run(self, missing: Sequence[bytes], unit_rows: int) -> dict[bytes, str]:
        """Compute the missing keys and return those whose files could not be read, with the reason.

        Units that another process is computing are left to it, and taken up if it does not finish them.

        Raises
        ------
        Interrupted
            Ctrl-C; what was computed is kept.
        """
        with self.clock("load"):
            for backbone in self.backbones:
                backbone.load()
        self._total = len(missing)
        units = [missing[start : start + unit_rows] for start in range(0, len(missing), unit_rows)]
        try:
            while units:
                left: list[Sequence[bytes]] = []
                self._pass(units, left)
                if len(left) == len(units):
                    with self.clock("wait"):
                        time.sleep(POLL)
                units = self._still_missing(left)
        finally:
            self.claims.release_all()
        return self.unreadable

    def _still_missing(self, units: Sequence[Sequence[bytes]]) -> list[Sequence[bytes]]:
        if not units:
            return []
        for store in self.stores:
            store.refresh()
        return [unit for unit in units if any(store.missing(unit) for store in self.stores)]

    def _pass(self, units: Sequence[Sequence[bytes]], left: list[Sequence[bytes]]) -> None:
        """Compute the units that nobody else has claimed and put the others into ``left``; commits run beside."""
        done = self._total - sum(len(unit) for unit in units)
        self.progress(self._stage, done, self._total)
        with ThreadPoolExecutor(self.workers) as decoders, ThreadPoolExecutor(1) as committer:
            commits: deque[Future[None]] = deque()
            unit = _Unit(self.stores)
            try:
                for batch in self._decoded(decoders, self._batches(units, left)):
                    self._embed(batch, unit)
                    self.claims.beat()
                    done += len(batch.keys)
                    unit.ended = time.perf_counter()
                    if batch.ends_unit:
                        commits.append(committer.submit(self._commit, unit))
                        unit = _Unit(self.stores)
                    while len(commits) > 1:
                        commits.popleft().result()
                    self.progress(self._stage, done, self._total)
                while commits:
                    commits.popleft().result()
            except KeyboardInterrupt:
                decoders.shutdown(wait=False, cancel_futures=True)
                for commit in [*commits, committer.submit(self._commit, unit)]:
                    commit.result()
                raise Interrupted(
                    f"Interrupted: {done} of {self._total} images are computed and kept. "
                    "The same command goes on from there."
                ) from None

    def _batches(self, units: Sequence[Sequence[bytes]], left: list[Sequence[bytes]]) -> Iterator[_Batch]:
        """Yield the empty batches of the units that this process may have."""
        size = self._batch_rows
        for unit in units:
            if all(store.committed(unit) for store in self.stores) or not self.claims.take(self._name(unit)):
                left.append(unit)
                continue
            for start in range(0, len(unit), size):
                keys = list(unit[start : start + size])
                jobs = [job for job in self._jobs if any(self.stores[number].missing(keys) for number in job.stores)]
                sides = {job.input: job.input.transform.crop for job in jobs}
                pixels = {wanted: np.zeros((size, side, side, 3), np.uint8) for wanted, side in sides.items()}
                yield _Batch(keys, start + size >= len(unit), jobs, pixels, {}, {})

    def _name(self, unit: Sequence[bytes]) -> str:
        return unit_id("".join(store.recipe.id for store in self.stores), unit)

    def _decoded(self, pool: ThreadPoolExecutor, batches: Iterator[_Batch]) -> Iterator[_Batch]:
        """Yield batches in order while the next ones are being decoded."""
        queue: deque[tuple[_Batch, list[Future[float]]]] = deque()
        more = True
        while more or queue:
            while more and len(queue) <= AHEAD:
                batch = next(batches, None)
                more = batch is not None
                if batch is not None:
                    queue.append((batch, [pool.submit(self._decode, batch, row) for row in range(len(batch.keys))]))
            if queue:
                batch, futures = queue.popleft()
                with self.clock("wait"):
                    self.clock.seconds["decode"] += sum(future.result() for future in futures)
                yield batch

    def _decode(self, batch: _Batch, row: int) -> float:
        """Put one image's pixels in its row and return the seconds. The bytes decoded are the bytes hashed."""
        key = batch.keys[row]
        start = time.perf_counter()
        try:
            with in_turn():
                data = read_image_bytes(self.files[key])
                if hashlib.sha256(data).digest() != key:
                    raise OSError(0, "changed while it was being read")
                images = {side: decode(data, side) for side in {_needed(wanted) for wanted in batch.pixels}}
                for wanted, pixels in batch.pixels.items():
                    pixels[row] = view(images[_needed(wanted)], wanted, key)
        except OSError as error:
            batch.unreadable[key] = f"not readable: {error.strerror}"
        except ImageRejected as error:
            batch.rejected[key] = str(error)
        return time.perf_counter() - start

    def _embed(self, batch: _Batch, unit: "_Unit") -> None:
        self.unreadable |= batch.unreadable
        unit.keys += batch.keys
        skipped = batch.rejected.keys() | batch.unreadable.keys()
        for job in batch.jobs:
            start = time.perf_counter()
            vectors = _forward(job.backbone, batch.pixels[job.input], len(batch.keys))
            seconds = time.perf_counter() - start
            self.clock.seconds["forward"] += seconds
            unit.forward += seconds
            for number, matrix in zip(job.stores, vectors, strict=True):
                unit.add(number, batch, matrix, skipped)
                unit.own[number] += seconds

    def _commit(self, unit: "_Unit") -> None:
        with self.clock("commit"):
            for number, store in enumerate(self.stores):
                shard = unit.shard(number, self._provenance() | {"seconds": f"{unit.seconds(number):.3f}"})
                if shard.keys or shard.rejected:
                    store.append(shard)
        self.claims.release(self._name(unit.keys))

    def _provenance(self) -> dict[str, str]:
        import torch

        return {
            "fc7": __version__,
            "torch": str(torch.__version__),
            "device": ", ".join(str(backbone.device) for backbone in self.backbones),
            "batch_size": ", ".join(str(backbone.batch_size) for backbone in self.backbones),
            "machine": platform.machine(),
        }


class _Unit:
    """Rows on their way to one shard per store."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = stores
        self.keys: list[bytes] = []
        self.rows: list[list[tuple[bytes, npt.NDArray[Any]]]] = [[] for _ in stores]
        self.rejected: list[dict[bytes, str]] = [{} for _ in stores]
        self.forward = 0.0  # seconds of all forward passes
        self.own = [0.0 for _ in stores]  # and of those that made a store's rows
        self.started = self.ended = time.perf_counter()

    def seconds(self, number: int) -> float:
        """Return what one store's rows cost: all time but the forward passes that made others."""
        return self.ended - self.started - (self.forward - self.own[number])

    def add(self, number: int, batch: _Batch, matrix: npt.NDArray[np.float32], skipped: set[bytes]) -> None:
        """Take the rows that the store does not have; those that are not finite are rejected."""
        store = self.stores[number]
        with np.errstate(over="ignore"):
            stored = matrix.astype(store.recipe.dtype)
        finite = np.isfinite(stored).all(axis=1)
        for row, key in enumerate(batch.keys):
            if key in store or key in store.rejected:
                continue
            if key in batch.rejected:
                self.rejected[number][key] = batch.rejected[key]
            elif key not in skipped and finite[row]:
                self.rows[number].append((key, stored[row]))  # one step: Ctrl-C may come between any two
            elif key not in skipped:
                self.rejected[number][key] = f"its embedding is not finite in {store.recipe.dtype}"

    def shard(self, number: int, provenance: Mapping[str, str]) -> Shard:
        """Return what is to be committed to a store."""
        recipe = self.stores[number].recipe
        keys = [key for key, _ in self.rows[number]]
        matrix = np.empty((len(keys), recipe.dim), recipe.dtype)
        for row, (_, vector) in enumerate(self.rows[number]):
            matrix[row] = vector
        return Shard(keys, matrix, self.rejected[number], provenance)


def _needed(wanted: Input) -> int | None:
    """Return the shorter side that an image must keep when it is decoded; None: every pixel."""
    return wanted.transform.resize if wanted.decode == DECODES["scaled"] else None


def _forward(backbone: Backbone, pixels: npt.NDArray[np.uint8], rows: int) -> list[npt.NDArray[np.float32]]:
    """Run a backbone in its own batch size over a decoded batch that may be larger, padding the last one with zeros."""
    size = backbone.batch_size
    parts = []
    for start in range(0, rows, size):
        part = pixels[start : start + size]
        if len(part) < size:
            part = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
        parts.append(backbone.forward(part))
    return [np.concatenate(layer)[:rows] for layer in zip(*parts, strict=True)]
