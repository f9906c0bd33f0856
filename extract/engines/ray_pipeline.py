"""The units of a local run, on Ray: in processes on this machine, or on a cluster.

Ray only runs units, and a unit may run any number of times. After each round the driver reads the cache again and gives
out the units that are still missing. No other state is kept: a task queue would be a second record of what is done.
"""

import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ... import __version__
from ...cache.atomic_write import make_folder
from ...cache.commit import deliver
from ...cache.format import UNIT_ROWS
from ...cache.store import Store
from ...errors import CacheError, CorruptShard, EngineError, ImageRejected
from ..backbones.backbone import Backbone
from ..backbones.spec import BackboneSpec
from ..manifest.paths import absolute
from ..progress import Progress, silent
from .accounting import WORK, Clock
from .local import MOST_BESIDE_DEVICE, cores_each
from .ray_engine import RayEngine
from .ray_worker import Ready, UnitResult, UnitTask, WorkerSpec
from .remote_worker import LOADING, RemoteWorker, WorkerLost
from .unit_loop import POLL, LocateFiles, UnitLoop, Units

logger = logging.getLogger(__name__)

ROUNDS = 3  # how often a unit is tried
LOSSES = 3  # beyond one for each worker: how many may be lost one after the other before a unit is done
SLOW = 30.0  # billions of multiply-adds a second of a slow core


class RayPipeline(UnitLoop):
    """One extraction: gives units to workers, commits their results, and retries the units that fail.

    Parameters
    ----------
    workers
        Threads of each worker; default 1, with a GPU its share of the cores.

    The others are those of :class:`fc7.extract.engines.local.Pipeline`.
    """

    def __init__(
        self,
        engine: RayEngine,
        backbones: Sequence[Backbone],
        stores: Sequence[Store],
        files: LocateFiles,
        clock: Clock,
        *,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> None:
        super().__init__(backbones, stores, files, clock, progress=progress)
        self.engine, self._folder = engine, stores[0].folder
        self.remote: list[RemoteWorker] = []
        self._rows_before = [len(store) for store in stores]
        self._tried: Counter[bytes] = Counter()  # by first key
        self._unsent: dict[bytes, str] = {}  # files that this process could not read for a worker, with the reason
        self._other_torch: set[str] = set()  # hosts with another torch
        self._failure = ""  # the last one
        self._losses = 0  # since a unit was done
        self._moved = time.monotonic()  # when a worker last gave an answer
        with clock("load"):
            resources = engine.ray.cluster_resources()
        self._gpus = int(resources.get("GPU", 0)) if all(map(_may_use_cuda, backbones)) else 0
        # Why not this machine's devices: it may have no GPU where the cluster has some.
        self._batch_sizes = [backbone.batch_on("cuda") if self._gpus else backbone.batch_size for backbone in backbones]
        processors = max(int(resources.get("CPU", 1)), 1)
        self._threads = 1 if self._gpus else cores_each()
        share = min(max(processors // self._gpus, 1), MOST_BESIDE_DEVICE) if self._gpus else 1
        self._workers = workers or share
        taken = min(self._threads * self._workers, processors)
        self._takes = {"num_cpus": taken, "num_gpus": 1 if self._gpus else 0}
        self._most = engine.actors or self._gpus or processors // taken

    def run(self, missing: Sequence[bytes], unit_rows: int | None = None) -> dict[bytes, str]:
        """See :class:`fc7.extract.engines.unit_loop.UnitLoop`."""
        self.total = len(missing)
        rows = unit_rows or self._unit_rows()
        units = [missing[start : start + rows] for start in range(0, self.total, rows)]
        try:
            with self._probe() as (probe, nonce):
                with self.clock("load"):
                    self._start_workers(min(self._most, len(units)), units[0][0], probe, nonce)
                    while not any(worker.idle for worker in self.remote):
                        self.report(0)
                        self._wait(deque())
                self.compute_all(units, self._round, len(self.remote))
        except KeyboardInterrupt:
            raise self.interrupted() from None
        finally:
            for worker in self.remote:
                worker.close()
        return self.unreadable

    def _unit_rows(self) -> int:
        """Return the rows of a unit: as locally, but fewer if some workers would get none."""
        usual = UNIT_ROWS if self._gpus else min(backbone.unit_rows for backbone in self.backbones)
        batch = max(self._batch_sizes)
        return min(usual, -(-self.total // self._most // batch) * batch)

    def _start_workers(self, number: int, key: bytes, probe: str, nonce: str) -> None:
        import torch

        ray = self.engine.ray
        device = {"device": "cuda"} if self._gpus else {}
        specs = [BackboneSpec.of(backbone) for backbone in self.backbones]
        worker_spec = WorkerSpec(
            version=__version__,
            backbones=tuple(spec._replace(options=spec.options | device) for spec in specs),
            cache=str(self.stores[0].directory.absolute()),
            probe=probe,
            nonce=nonce,
            sample=absolute(*self.files([key])),
            key=key,
            loading=torch.get_num_threads(),
            threads=self._threads,
            workers=self._workers,
        )
        sent = ray.put(worker_spec)  # once, though there are many
        worker_class = ray.remote(concurrency_groups={"heartbeat": 1})(self.engine.worker)
        actor = worker_class.options(max_restarts=0, max_task_retries=0, **self._takes)
        patience, here = self._patience(), self.engine.address is None
        self.remote = [RemoteWorker(ray, actor.remote, sent, patience, here=here) for _ in range(number)]

    def _patience(self) -> float:
        """Return the seconds without progress after which a worker is ended."""
        gmacs = (float(backbone.work["gmacs"]) for backbone in self.backbones)
        work = max(image * size for image, size in zip(gmacs, self._batch_sizes, strict=True))
        return self.engine.patience if self.engine.stall is not None else max(self.engine.patience, 10 * work / SLOW)

    @contextmanager
    def _probe(self) -> Iterator[tuple[str, str]]:
        """Write a file to the cache until the end of the block: a worker that reads it there can commit by itself."""
        nonce = secrets.token_hex(16)
        path = self._folder.absolute() / "tmp" / f"probe.{nonce}"
        try:
            make_folder(path.parent)
            path.write_text(nonce, encoding="ascii")
        except OSError as error:
            raise CacheError(
                f"The cache {self.stores[0].directory} is not writable: {error.strerror or error}."
            ) from error
        try:
            yield str(path), nonce
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _round(self, units: Units, skipped: list[Sequence[bytes]]) -> None:
        """Give out the units that nobody else has claimed, and put the others into ``skipped``."""
        queue = deque(units)
        while True:
            for worker in self.remote:
                task = self._next(queue, skipped, worker) if worker.idle else None
                if task:
                    worker.assign(task)
            self.report(self.done + sum(worker.images for worker in self.remote))
            if not queue and all(worker.task is None for worker in self.remote):
                break
            self._wait(queue)

    def _wait(self, queue: deque[Sequence[bytes]]) -> None:
        """Handle what has happened by now, waiting for something if nothing has."""
        wait = self.engine.ray.wait
        busy = {worker.answer: worker for worker in self.remote if not worker.idle}
        wait(list(busy), num_returns=1, timeout=POLL)
        for answer in wait(list(busy), num_returns=len(busy), timeout=0)[0]:
            self._collect(busy[answer], queue)
        for worker in self.remote:
            worker.watch()
        waited = time.monotonic() - self._moved
        if waited > max(self._patience(), LOADING) and not any(worker.started for worker in self.remote):
            available = self.engine.ray.available_resources()
            free = {name: value for name, value in available.items() if name in ("CPU", "GPU")}
            raise EngineError(
                f"No worker has started in {waited:.0f} s; free on the cluster: {free or 'nothing'}. Wait until there "
                "is room, or ask for fewer or smaller ones with --actors and --workers. Finished units are kept."
            )

    def _next(
        self, queue: deque[Sequence[bytes]], skipped: list[Sequence[bytes]], worker: RemoteWorker
    ) -> UnitTask | None:
        """Return the next unit that this process may have."""
        while queue:
            keys = queue.popleft()
            if not self.claim(keys):
                skipped.append(keys)
                continue
            lacking = [list(store.missing(keys)) for store in self.stores]
            within_reach = worker.ready and worker.ready.sees_images
            files = list(map(absolute, self.files(keys))) if within_reach else list(map(self._bytes, keys))
            rows = [rows + self.done for rows in self._rows_before]
            reopened = [{key: store.reopened[key] for key in keys if key in store.reopened} for store in self.stores]
            return UnitTask(list(keys), lacking, rows, reopened, files)
        return None

    def _bytes(self, key: bytes) -> bytes:
        """Return a file's bytes for a worker that cannot read it; none, and note why, if it cannot be read here."""
        from ..decoding.decode import read_image_bytes

        try:
            return read_image_bytes(*self.files([key]))
        except OSError as error:
            self._unsent[key] = f"not readable: {error.strerror}"
        except ImageRejected as error:
            self._unsent[key] = str(error)
        return b""

    def _collect(self, worker: RemoteWorker, queue: deque[Sequence[bytes]]) -> None:
        """Handle what a worker has returned, or its loss."""
        task, self._moved = worker.task, time.monotonic()
        try:
            answer = worker.collect()
        except WorkerLost as lost:
            self._failure = str(lost)
            self._losses += 1
            if task:
                self._retry(task.keys, queue)
            if self._losses > LOSSES + len(self.remote):
                raise EngineError(
                    f"{self._losses} workers were lost one after the other, the last because: {lost}. Finished units "
                    "are kept; the same command goes on from there."
                ) from None
            return
        for line in answer.warnings:
            logger.warning("%s", line)
        if isinstance(answer, Ready):
            self._log_ready(answer)
        elif task:
            self._losses = 0
            self._commit(task, answer, queue)

    def _log_ready(self, ready: Ready) -> None:
        """Log a worker that is ready, and warn of one with another torch."""
        import torch

        reach = "the cache and the images" if ready.commits and ready.sees_images else "not all that is here"
        facts = ready.host, ", ".join(ready.devices), ready.seconds, reach
        logger.debug("fc7: a worker on %s (%s) is ready after %.1f s; it reaches %s", *facts)
        if ready.torch != torch.__version__ and ready.host not in self._other_torch:
            self._other_torch.add(ready.host)
            versions = ready.host, ready.torch, torch.__version__
            logger.warning("fc7: %s has torch %s, this machine %s: last digits may differ.", *versions)

    def _commit(self, task: UnitTask, result: UnitResult, queue: deque[Sequence[bytes]]) -> None:
        """Commit the shards that a worker could not commit, and count its unit as done."""
        try:
            with self.clock("commit"):
                for store, shards in zip(self.stores, result.shards, strict=True):
                    for shard in shards:
                        deliver(shard, store.recipe, store.directory)
        except CorruptShard as error:  # damaged on its way here
            self._failure = str(error)
            self._retry(task.keys, queue)
            return
        for stage in WORK:
            self.clock.seconds[stage] += result.seconds[stage]
        self.unreadable |= {key: self._unsent.get(key, reason) for key, reason in result.unreadable.items()}
        for store in self.stores:
            store.leave_rejected(task.keys)
        self.done += len(task.keys)
        self.release(task.keys)

    def _retry(self, keys: Sequence[bytes], queue: deque[Sequence[bytes]]) -> None:
        """Give a unit out again."""
        self._count_failure(keys)
        queue.append(keys)

    def _count_failure(self, keys: Sequence[bytes]) -> None:
        """Count a failure of a unit; the last one that is allowed raises an EngineError."""
        self._tried[keys[0]] += 1
        if self._tried[keys[0]] >= ROUNDS:
            first = self.files(keys[:1])[0]
            raise EngineError(
                f"A unit of {len(keys)} images, the first {first}, failed {ROUNDS} times: {self._failure}. "
                f"{self.done} of {self.total} images are computed and kept; the same command goes on from there."
            )

    def still_missing(self, units: Units, skipped: Units) -> Units:
        """Return the units with readable images that the cache lacks."""
        for store in self.stores:
            store.refresh()
        missing, claimed = [], {keys[0] for keys in skipped}
        for keys in units:
            readable = [key for key in keys if key not in self.unreadable]
            if any(store.missing(readable) for store in self.stores):
                missing.append(keys)
                if keys[0] not in claimed:
                    self._failure = "its shard is not in the cache"
                    self._count_failure(keys)
        self.done = self.total - sum(map(len, missing))
        return missing


def _may_use_cuda(backbone: Backbone) -> bool:
    device = str(backbone.machine["device"])
    return device == "auto" or device.startswith("cuda")
