"""The batch loop: missing keys -> units -> batches -> pixels -> vectors -> committed shards.

Each of a few threads takes the next image and decodes it. The thread that decodes the last image of a batch runs the
networks on it and commits the unit if it is complete; the others go on with the next batch. On a processor that is
faster than decoding ahead in some threads and computing with all cores in another: no thread waits, no two share a
core, and a network on one core need not divide its work (measured in docs/extraction.md).

Beside an accelerator, if there are many images, processes decode whole batches, and the threads only wait for them,
compute and commit.
"""

import contextlib
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...cache.recipe import DECODES, FunctionTransform
from ..backbones.backbone import Backbone
from ..decoding.decode_pool import DecodePool
from ..machine import cores
from .batch import Batch, Draft, Job, Unit
from .malloc import keep_freed_memory
from .precision import too_imprecise
from .sinks import ShardSink
from .unit_loop import POLL, Plan, UnitLoop, Units

if TYPE_CHECKING:
    from ..decoding.hardware import Engines

# Beyond it each thread computes with several cores, because each needs memory of its own. How many does not depend on
# the number of workers asked for: a sum over two cores has other last digits than one over one.
MOST_THREADS = 8
# Where a device computes, a process decodes on each core.
MOST_BESIDE_DEVICE = 64
BATCH_OF_ENGINE = 256  # images that a device decodes together, in the batches of a network
STARTING = 32  # images per decoding process that make its start worthwhile


class Pipeline(UnitLoop):
    """Threads that decode, compute and commit.

    Parameters
    ----------
    workers
        Threads; default one per core, where the processor computes one per several cores beyond eight.
    threads
        Cores that each of them computes with; see :func:`cores_each`, the default.
    beside
        How many such threads this machine runs, those of other processes included; default `workers`.
    decoders
        Processes that decode where a device computes, to be used again; by default they are started for this
        extraction, if that is worth it.
    engines
        Of the devices that decode, to be used again; by default they are made for this extraction.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        workers: int | None = None,
        threads: int | None = None,
        beside: int | None = None,
        decoders: DecodePool | None = None,
        engines: "Engines | None" = None,
    ) -> None:
        super().__init__(plan)
        self._accelerated = all(backbone.device.type != "cpu" for backbone in self.backbones)
        self.workers = workers or min(cores(), MOST_BESIDE_DEVICE if self._accelerated else MOST_THREADS)
        self.threads, self.beside = threads or cores_each(), beside or self.workers
        self.decoders = decoders
        self._jobs = [
            Job(backbone, backbone.recipes_of(view))
            for backbone in self.backbones
            for view in range(1 + backbone.views)
        ]
        sizes = [backbone.batch_size for backbone in self.backbones]
        self._batch_rows = max(sizes)
        self._engines = engines
        if any(job.on_device for job in self._jobs):  # its engine is slow with few files
            self._batch_rows *= max(BATCH_OF_ENGINE // self._batch_rows, 1)
        # Zeros after them fill the last forward pass of a backbone with another batch size.
        self._capacity = max(-(-self._batch_rows // size) * size for size in sizes)
        # One commit at a time: none may begin once a store cannot hold its first rows.
        self._taking, self._committing = threading.Lock(), threading.Lock()
        self._stop, self._failed = threading.Event(), False
        self._begun: set[Unit] = set()  # units that are not committed
        self._open: Batch | None = None  # the batch that is being decoded

    def unit_rows(self) -> int:
        """See :class:`UnitLoop`."""
        return min(backbone.unit_rows for backbone in self.backbones)

    @contextlib.contextmanager
    def started(self, units: Units) -> Iterator[int]:
        """See :class:`UnitLoop`; loads the networks."""
        from ..backbones.torch_runtime import pinned

        with contextlib.ExitStack() as stack:
            if not self._accelerated or any(map(_only_here, self._jobs)):
                self.decoders = None
            elif self.decoders is None and self.total >= STARTING * self.workers:  # else their start takes longer
                self.decoders = stack.enter_context(DecodePool(self.workers))
            if self.decoders and not self.decoders.prepare([job.input for job in self._jobs], self._capacity):
                self.decoders = None
            with self.clock("load"):  # while processes start
                for backbone in self.backbones:
                    backbone.load()
                if self._engines is None:
                    self._engines = engines_of(self.backbones)
            if self.decoders:
                stack.enter_context(pinned(self.decoders.memory, [backbone.device for backbone in self.backbones]))
            yield self.workers

    def still_missing(self, units: Units, skipped: Units) -> Units:
        """Return the units that were skipped and are not committed by now."""
        if skipped:
            for store in self.stores:
                store.refresh()
        return [unit for unit in skipped if any(store.missing(unit) for store in self.stores)]

    def compute(self, units: Units, skipped: list[Sequence[bytes]]) -> None:
        """See :class:`UnitLoop`."""
        from ..backbones.torch_runtime import each_with

        self.done = self.total - sum(len(unit) for unit in units)
        batches, self._open = self._batches(units, skipped), None
        work, threads = self._work, self.workers
        if self.decoders:
            work, threads = self._work_by_batches, self.decoders.batches
        elif self._engines:
            work, threads = self._work_by_batches, min(self.workers, MOST_THREADS)
        with (
            keep_freed_memory(),
            each_with(self.threads) as ready,
            ThreadPoolExecutor(threads, initializer=ready) as pool,
        ):
            futures = [pool.submit(work, batches) for _ in range(threads)]
            try:
                self._watch(futures)
            except KeyboardInterrupt:
                self._stop.set()
                wait(futures)
                for unit in tuple(self._begun):
                    self._commit(unit)
                raise
            finally:
                self._stop.set()  # where one thread failed, the others end after their image or batch
        self._stop.clear()

    def _watch(self, futures: Sequence[Any]) -> None:
        """Show the progress until all threads are done, or one fails."""
        unfinished: Any = futures
        while unfinished:
            self.report(self.done)
            if self.decoders:
                self.decoders.end_stuck()
            finished, unfinished = wait(unfinished, timeout=POLL)
            for future in finished:
                future.result()
        self.report(self.done)

    def _work(self, batches: Iterator[Batch]) -> None:
        """Decode images until there are no more; compute each batch that is complete by that."""
        while not self._stop.is_set():
            with self._taking:
                batch = self._open if self._open and self._open.taken < len(self._open.keys) else next(batches, None)
                self._open = batch
                if batch is None:
                    return
                row, batch.taken = batch.taken, batch.taken + 1
            with self._spent("decode", batch, batch.jobs):
                batch.decode(row)
            with self._taking:
                batch.decoded += 1
                complete = batch.decoded == len(batch.keys)
            if complete:
                self._embed(batch)
                self._finish(batch)

    def _work_by_batches(self, batches: Iterator[Batch]) -> None:
        """Decode a batch in a process, or read it for the device, until there are no more; compute it."""
        while not self._stop.is_set():
            with self.decoders.batch() if self.decoders else contextlib.nullcontext() as slot:
                with self._taking:
                    batch = next(batches, None)
                if batch is None:
                    return
                if slot and self.decoders:
                    number, (_, batch.pixels) = slot
                    with self.decoders.process() as process, self._spent("decode", batch, batch.jobs):
                        batch.decode_in(process, number)
                else:
                    with self._spent("decode", batch, batch.jobs):
                        for row in range(len(batch.keys)):
                            batch.decode(row)
                self._embed(batch)
            self._finish(batch)

    def _batches(self, units: Units, skipped: list[Sequence[bytes]]) -> Iterator[Batch]:
        """Yield the empty batches of the units that this process may have."""
        size = self._batch_rows
        for keys in units:
            if not self.claim(keys):
                skipped.append(keys)
                continue
            starts, paths = range(0, len(keys), size), self.files(keys)
            drafts = {store.recipe: Draft(store) for store in self.stores}
            unit = Unit(keys, drafts, batches_left=len(starts))
            self._begun.add(unit)
            for start in starts:
                chunk = keys[start : start + size]
                lacking = {recipe for recipe, draft in drafts.items() if draft.store.missing(chunk)}
                jobs = [job for job in self._jobs if not lacking.isdisjoint(job.recipes)]
                batch = Batch(unit, chunk, paths[start : start + size], jobs, self._capacity)
                if not self.decoders:  # whose memory it would have
                    batch.allocate({job.input for job in jobs if not job.on_device})
                yield batch

    def _embed(self, batch: Batch) -> None:
        for job in batch.jobs:
            with self._spent("forward", batch, [job]):
                for recipe, matrix in zip(job.recipes, batch.embed(job, self._engines), strict=True):
                    draft = batch.unit.drafts[recipe]
                    error = draft.take(batch, matrix)
                    if error:
                        self._require_rows(draft.store, error)

    def _require_rows(self, store: ShardSink, error: float) -> None:
        """End the run, before it commits anything, if a store has no row and its type cannot hold the first ones."""
        with self._committing:
            if not len(store):
                self._failed = True
                self._stop.set()
                raise too_imprecise(store.recipe, error)

    @contextlib.contextmanager
    def _spent(self, stage: str, batch: Batch, jobs: Sequence[Job]) -> Iterator[None]:
        """Count the seconds of a thread in a block, and put them on the drafts that they were spent for."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        with self._taking:
            self.clock.seconds[stage] += seconds
            for recipe in (recipe for job in jobs for recipe in job.recipes):
                batch.unit.drafts[recipe].seconds += seconds / self.beside

    def _finish(self, batch: Batch) -> None:
        """Count a batch as done, and commit the unit if it was the last of it."""
        with self._taking:
            self.unreadable |= batch.unreadable | batch.imprecise
            self.done += len(batch.keys)
            batch.unit.batches_left -= 1
            complete = not batch.unit.batches_left
        if complete:
            self._commit(batch.unit)

    def _commit(self, unit: Unit) -> None:
        with self._committing, self.clock("commit"):
            if self._failed:
                return
            for draft in unit.drafts.values():
                draft.commit(unit.keys, self._provenance())
            self.release(unit.keys)
            self._begun.remove(unit)

    def _provenance(self) -> dict[str, str]:
        import torch

        return {
            "fc7": __version__,
            "torch": str(torch.__version__),
            "device": ", ".join(str(backbone.device) for backbone in self.backbones),
            "batch_size": ", ".join(str(backbone.batch_size) for backbone in self.backbones),
            "machine": platform.machine(),
        }


def engines_of(backbones: Sequence[Backbone]) -> "Engines | None":
    """Return the engines of the devices that decode, checked; None if none does."""
    devices = {one.device for one in backbones if one.recipes[0].decode == DECODES["hardware"]}
    if not devices:
        return None
    from ..decoding.hardware import Engines

    return Engines(devices)


def _only_here(job: Job) -> bool:
    """Return whether no other process can prepare pixels for it: the device does, or the caller's own code."""
    return job.on_device or isinstance(job.input.transform, FunctionTransform)


def cores_each() -> int:
    """Return with how many cores each thread computes here."""
    return max(cores() // MOST_THREADS, 1)
