"""The batch loop: missing keys -> units -> batches -> pixels -> vectors -> committed shards.

Each of a few threads takes the next image and decodes it; who decodes the last one of a batch runs the networks on it,
and commits the unit if it is complete, while the others go on with the next batch. On a processor that is faster than
decoding ahead in some threads and computing with all cores in another: nobody waits for anybody, no core is asked for
by two, and a network on one core wastes nothing on dividing its work (measured in docs/extraction.md). On an
accelerator it is what keeps it fed: while one thread's batch is computed, others decode.
"""

import hashlib
import logging
import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
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
from .memory import kept
from .progress import Progress, silent
from .views import view

logger = logging.getLogger(__name__)

POLL = 0.2  # seconds between two looks at units that another process has claimed, and at the progress
# Beyond it each thread computes with several cores, because each needs memory of its own. How many does not depend on
# the number of workers asked for: a sum over two cores has other last digits than one over one.
MOST_THREADS = 8


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
class _Unit:
    """Rows on their way to one shard per store.

    Attributes
    ----------
    left
        Batches that are not finished.
    rows, rejected
        By store.
    seconds
        By store: of all threads, what its rows cost.
    """

    keys: Sequence[bytes]
    left: int
    rows: list[dict[bytes, npt.NDArray[Any]]]
    rejected: list[dict[bytes, str]]
    seconds: list[float]

    @classmethod
    def of(cls, keys: Sequence[bytes], batches: int, stores: int) -> "_Unit":
        """Return an empty one."""
        return cls(keys, batches, [{} for _ in range(stores)], [{} for _ in range(stores)], [0.0] * stores)


@dataclass
class _Batch:
    """Pixels of some keys, one array per input; keys that are no image have zeros and a reason.

    Attributes
    ----------
    encoded
        Files that the device is to decode, by their row.
    taken, decoded
        How many keys a thread has taken, and has done with.
    """

    unit: _Unit
    keys: Sequence[bytes]
    jobs: list[_Job]
    pixels: dict[Input, npt.NDArray[np.uint8]]
    encoded: dict[int, bytes] = field(default_factory=dict)
    taken: int = 0
    decoded: int = 0
    rejected: dict[bytes, str] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)


class Pipeline:
    """Threads that decode, compute and commit.

    Parameters
    ----------
    stores
        One per recipe, in the order of backbones, views and layers.
    files
        Where the bytes of each key are.
    workers
        Threads; default one per core, and one per several cores beyond eight.
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
        self.workers = workers or min(cores(), MOST_THREADS)
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
        # Zeros after them fill the last forward pass of a backbone with another batch size.
        self._room = max(-(-self._batch_rows // one.batch_size) * one.batch_size for one in backbones)
        self._taking, self._committing = threading.Lock(), threading.Lock()
        self._stop = threading.Event()
        self._on_device = any(job.input.decode == DECODES["nvjpeg"] for job in self._jobs)
        self._begun: dict[int, _Unit] = {}  # units that are not committed, by their address
        self._open: _Batch | None = None  # the batch that is being decoded
        self._done = 0

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
        """Compute the units that nobody else has claimed and put the others into ``left``."""
        from .network import each_with, exact_float32

        self._done = self._total - sum(len(unit) for unit in units)
        batches, self._open = self._batches(units, left), None
        start, before = time.perf_counter(), self.clock.busy
        with (
            kept(),
            exact_float32(),
            each_with(max(cores() // MOST_THREADS, 1)) as ready,
            ThreadPoolExecutor(self.workers, initializer=ready) as pool,
        ):
            working = [pool.submit(self._work, batches) for _ in range(self.workers)]
            try:
                self._watch(working)
            except KeyboardInterrupt:
                self._stop.set()
                wait(working)
                self._commit_what_is_there()
                raise Interrupted(
                    f"Interrupted: {self._done} of {self._total} images are computed and kept. "
                    "The same command goes on from there."
                ) from None
            finally:
                self._stop.set()  # where one thread failed, the others end after their image or batch
        self._stop.clear()
        idle = self.workers * (time.perf_counter() - start) - (self.clock.busy - before)
        self.clock.seconds["wait"] += max(idle, 0.0)

    def _watch(self, working: Sequence[Any]) -> None:
        """Show the progress and signs of life until all threads are done, or one fails."""
        unfinished: Any = working
        while unfinished:
            self.progress(self._stage, self._done, self._total)
            finished, unfinished = wait(unfinished, timeout=POLL)
            self.claims.beat()
            for one in finished:
                one.result()
        self.progress(self._stage, self._done, self._total)

    def _work(self, batches: Iterator[_Batch]) -> None:
        """Decode images until there are no more; compute each batch that is complete by that."""
        while not self._stop.is_set():
            with self._taking:
                batch = self._open if self._open and self._open.taken < len(self._open.keys) else next(batches, None)
                self._open = batch
                if batch is None:
                    return
                row, batch.taken = batch.taken, batch.taken + 1
            self._decode(batch, row)
            with self._taking:
                batch.decoded += 1
                complete = batch.decoded == len(batch.keys)
            if complete:
                self._embed(batch)
                self._finish(batch)

    def _batches(self, units: Sequence[Sequence[bytes]], left: list[Sequence[bytes]]) -> Iterator[_Batch]:
        """Yield the empty batches of the units that this process may have."""
        size = self._batch_rows
        for keys in units:
            if all(store.committed(keys) for store in self.stores) or not self.claims.take(self._name(keys)):
                left.append(keys)
                continue
            starts = range(0, len(keys), size)
            unit = _Unit.of(keys, len(starts), len(self.stores))
            self._begun[id(unit)] = unit
            for start in starts:
                part = keys[start : start + size]
                jobs = [job for job in self._jobs if any(self.stores[number].missing(part) for number in job.stores)]
                sides = {job.input: job.input.transform.crop for job in jobs}
                pixels = {wanted: np.zeros((self._room, side, side, 3), np.uint8) for wanted, side in sides.items()}
                yield _Batch(unit, part, jobs, pixels)

    def _name(self, keys: Sequence[bytes]) -> str:
        return unit_id("".join(store.recipe.id for store in self.stores), keys)

    def _decode(self, batch: _Batch, row: int) -> None:
        """Put one image's pixels in its row. The bytes decoded are the bytes hashed."""
        key = batch.keys[row]
        start = time.perf_counter()
        try:
            with in_turn():
                data = read_image_bytes(self.files[key])
                if hashlib.sha256(data).digest() != key:
                    raise OSError(0, "changed while it was being read")
                if self._on_device and _left_to_device(data):
                    batch.encoded[row] = data
                wanted = [one for one in batch.pixels if row not in batch.encoded or one.decode != DECODES["nvjpeg"]]
                images = {side: decode(data, side) for side in {_needed(one) for one in wanted}}
                for one in wanted:
                    batch.pixels[one][row] = view(images[_needed(one)], one, key)
        except OSError as error:
            batch.unreadable[key] = f"not readable: {error.strerror}"
        except ImageRejected as error:
            batch.rejected[key] = str(error)
        self._spent("decode", time.perf_counter() - start, batch)

    def _embed(self, batch: _Batch) -> None:
        for job in batch.jobs:
            start = time.perf_counter()
            pixels = self._decoded_on_device(batch, job) if job.input.decode == DECODES["nvjpeg"] else None
            vectors = _forward(job.backbone, batch.pixels[job.input] if pixels is None else pixels, len(batch.keys))
            for number, matrix in zip(job.stores, vectors, strict=True):
                self._take_rows(batch, number, matrix)
            self._spent("forward", time.perf_counter() - start, batch, job)

    def _decoded_on_device(self, batch: _Batch, job: _Job) -> Any:
        """Return a batch on the device, with what was left to it; what it cannot decode, the processor decodes."""
        import torch

        from .nvjpeg import fill_rows

        rows = batch.pixels[job.input]
        try:
            pixels = torch.from_numpy(rows).to(job.backbone.device)
            fill_rows(pixels, batch.encoded, job.input.transform)
        except RuntimeError as error:
            logger.debug("decoded by the processor: %s", error)
            for row, data in batch.encoded.items():
                try:
                    rows[row] = view(decode(data), job.input, batch.keys[row])
                except ImageRejected as reason:
                    batch.rejected[batch.keys[row]] = str(reason)
            return rows
        return pixels

    def _take_rows(self, batch: _Batch, number: int, matrix: npt.NDArray[np.float32]) -> None:
        """Take the rows that a store does not have; those that are not finite are rejected."""
        store, unit = self.stores[number], batch.unit
        with np.errstate(over="ignore"):
            stored = matrix.astype(store.recipe.dtype)
        finite = np.isfinite(stored).all(axis=1)
        for row, key in enumerate(batch.keys):
            if key in store or key in store.rejected or key in batch.unreadable:
                continue
            if key in batch.rejected:
                unit.rejected[number][key] = batch.rejected[key]
            elif finite[row]:
                unit.rows[number][key] = stored[row]
            else:
                unit.rejected[number][key] = f"its embedding is not finite in {store.recipe.dtype}"

    def _spent(self, stage: str, seconds: float, batch: _Batch, job: _Job | None = None) -> None:
        """Count seconds of a thread, and put them on what they were spent for."""
        with self._taking:
            self.clock.seconds[stage] += seconds
            jobs = batch.jobs if job is None else [job]
            for number in (number for one in jobs for number in one.stores):
                batch.unit.seconds[number] += seconds / self.workers

    def _finish(self, batch: _Batch) -> None:
        """Count a batch as done, and commit the unit if it was the last of it."""
        with self._taking:
            self.unreadable |= batch.unreadable
            self._done += len(batch.keys)
            batch.unit.left -= 1
            complete = not batch.unit.left
        if complete:
            self._commit(batch.unit)

    def _commit(self, unit: _Unit) -> None:
        with self._committing:
            start = time.perf_counter()
            for number, store in enumerate(self.stores):
                shard = self._shard(unit, number)
                if shard.keys or shard.rejected:
                    store.append(shard)
            self.claims.release(self._name(unit.keys))
            del self._begun[id(unit)]
            self.clock.seconds["commit"] += time.perf_counter() - start

    def _commit_what_is_there(self) -> None:
        for unit in tuple(self._begun.values()):
            self._commit(unit)

    def _shard(self, unit: _Unit, number: int) -> Shard:
        """Return what is to be committed to a store: always in the same order, whoever was first."""
        recipe, rows = self.stores[number].recipe, unit.rows[number]
        keys = [key for key in unit.keys if key in rows]
        matrix = np.empty((len(keys), recipe.dim), recipe.dtype)
        for row, key in enumerate(keys):
            matrix[row] = rows[key]
        rejected = {key: unit.rejected[number][key] for key in unit.keys if key in unit.rejected[number]}
        return Shard(keys, matrix, rejected, self._provenance() | {"seconds": f"{unit.seconds[number]:.3f}"})

    def _provenance(self) -> dict[str, str]:
        import torch

        return {
            "fc7": __version__,
            "torch": str(torch.__version__),
            "device": ", ".join(str(backbone.device) for backbone in self.backbones),
            "batch_size": ", ".join(str(backbone.batch_size) for backbone in self.backbones),
            "machine": platform.machine(),
        }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _needed(wanted: Input) -> int | None:
    """Return the shorter side that an image must keep when it is decoded; None: every pixel."""
    return wanted.transform.resize if wanted.decode == DECODES["scaled"] else None


def _left_to_device(data: bytes) -> bool:
    from .nvjpeg import takes

    return takes(data)


def _forward(backbone: Backbone, pixels: Any, rows: int) -> list[npt.NDArray[np.float32]]:
    """Run a backbone in its own batch size over a decoded batch that may be larger and has zeros after its rows."""
    size = backbone.batch_size
    parts = [backbone.forward(pixels[start : start + size]) for start in range(0, rows, size)]
    return [np.concatenate(layer)[:rows] for layer in zip(*parts, strict=True)]
