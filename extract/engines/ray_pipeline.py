"""The units of a local run, on Ray: in processes on this machine, or on a cluster.

Ray only runs units, and a unit may run any number of times. After each round the driver reads the cache again and gives
out the units that are still missing. No other state is kept: a task queue would be a second record of what is done.

Why Ray does not restart workers: it fails what is asked of one meanwhile, or asks it again without end (Ray 2.60), and
sees only that a worker has died, not that it hangs. So another one takes its place.
"""

import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ... import __version__
from ...cache.format import UNIT_ROWS
from ...cache.store import Store
from ...cache.tables import are, counted
from ...errors import CorruptShard, EngineError
from ..backbones.spec import BackboneSpec
from ..decoding.decode import read_image_bytes
from ..manifest.paths import absolute
from .accounting import WORK
from .batch import noting_failure
from .local import MOST_BESIDE_DEVICE, cores_each
from .ray_engine import RayEngine
from .ray_worker import LOADING, Ready, RemoteWorker, UnitResult, WorkerLost, WorkerSpec
from .sinks import BufferSink
from .unit_loop import POLL, Plan, UnitLoop, Units

logger = logging.getLogger(__name__)

ROUNDS = 3  # how often a unit is tried
LOSSES = 3  # beyond one for each worker: how many may be lost one after the other before a unit is done
SLOW = 30.0  # billions of multiply-adds a second of a slow core


class RayPipeline(UnitLoop):
    """One extraction: gives units to workers, commits their results, and retries the units that fail."""

    stores: Sequence[Store]

    def __init__(self, engine: RayEngine, plan: Plan, *, workers: int | None = None) -> None:
        super().__init__(plan)
        self.engine = engine
        self.remote: list[RemoteWorker] = []
        self._queue: deque[Sequence[bytes]] = deque()  # units of a round that no worker has
        self._failures: Counter[bytes] = Counter()  # of units, by first key
        self._losses = 0  # of workers, since a unit was done
        self._warnings: set[str] = set()  # that were logged: workers have many in common
        with self.clock("load"):
            resources = engine.ray.cluster_resources()
        may_use_cuda = all(str(backbone.machine["device"]).startswith(("auto", "cuda")) for backbone in self.backbones)
        self._gpus = int(resources.get("GPU", 0)) if may_use_cuda else 0
        # Why not this machine's devices: it may have no GPU where the cluster has some.
        self._batch_sizes = [
            backbone.batch_on("cuda") if self._gpus else backbone.batch_size for backbone in self.backbones
        ]
        processors = max(int(resources.get("CPU", 1)), 1)
        self._threads = 1 if self._gpus else cores_each()
        beside_gpu = min(max(processors // self._gpus, 1), MOST_BESIDE_DEVICE) if self._gpus else 1
        self._workers = workers or beside_gpu  # threads of each
        taken = min(self._threads * self._workers, processors)
        self._takes = {"num_cpus": taken, "num_gpus": 1 if self._gpus else 0}
        self._most = engine.actors or self._gpus or processors // taken
        self.patience = engine.patience  # seconds without progress after which a worker is ended
        if engine.stall is None:
            of_batches = zip(self.backbones, self._batch_sizes, strict=True)
            work = max(float(backbone.work["gmacs"]) * size for backbone, size in of_batches)
            self.patience = max(self.patience, 10 * work / SLOW)

    def unit_rows(self) -> int:
        """Return the rows of a unit: as locally, but fewer if some workers would get none."""
        usual = UNIT_ROWS if self._gpus else min(backbone.unit_rows for backbone in self.backbones)
        batch = max(self._batch_sizes)
        return min(usual, -(-self.total // self._most // batch) * batch)

    @contextmanager
    def started(self, units: Units) -> Iterator[int]:
        """See :class:`UnitLoop`; waits until a worker has loaded."""
        try:
            with self.clock("load"):
                self._start = self._starter(units[0][0])
                self.remote = [self._start() for _ in range(min(self._most, len(units)))]
                while not any(worker.idle for worker in self.remote):
                    self.report(0)
                    self._wait()
            yield len(self.remote)
        finally:
            for worker in self.remote:
                worker.close()

    def _starter(self, key: bytes) -> Callable[[], RemoteWorker]:
        """Return a function that starts a worker, which tries the file of a key to find out whether it sees images."""
        import torch

        ray, device = self.engine.ray, {"device": "cuda"} if self._gpus else {}
        probe = f"probe-{secrets.token_hex(16)}"
        self.claims.take(probe)
        specs = [BackboneSpec.of(backbone) for backbone in self.backbones]
        worker_spec = WorkerSpec(
            version=__version__,
            torch=str(torch.__version__),
            backbones=tuple(spec._replace(options=spec.options | device) for spec in specs),
            cache=str(self.stores[0].directory.absolute()),
            probe=str(self.claims.folder.absolute() / probe),
            sample=absolute(*self.files([key])),
            key=key,
            loading=torch.get_num_threads(),
            threads=self._threads,
            workers=self._workers,
        )
        actor = ray.remote(self.engine.worker).options(max_restarts=0, max_task_retries=0, **self._takes)
        sent = ray.put(worker_spec)  # once, though there are many
        return lambda: RemoteWorker(ray, actor.remote(sent), here=self.engine.address is None)

    def compute(self, units: Units, skipped: list[Sequence[bytes]]) -> None:
        """See :class:`UnitLoop`."""
        self._queue.extend(units)
        while True:
            for worker in self.remote:
                if worker.idle:
                    self._assign_next(worker, skipped)
            self.report(self.done + sum(worker.status.images for worker in self.remote if worker.status))
            if not self._queue and not any(worker.unit for worker in self.remote):
                break
            self._wait()

    def _assign_next(self, worker: RemoteWorker, skipped: list[Sequence[bytes]]) -> None:
        """Give a worker the next unit that this process may have."""
        while self._queue:
            keys = self._queue.popleft()
            if not self.claim(keys):
                skipped.append(keys)
                continue
            sinks = []
            for store in self.stores:
                reopened = {key: store.reopened[key] for key in keys if key in store.reopened}
                rows = self.done + sum(
                    len(entry.keys) for entry in store.entries.values()
                )  # not len(), which sorts keys
                sinks.append(BufferSink(store.recipe, list(store.missing(keys)), rows, reopened))
            within_reach = worker.ready and worker.ready.sees_images
            files = list(map(absolute, self.files(keys))) if within_reach else list(map(self._bytes, keys))
            worker.assign(list(keys), files, sinks)
            return

    def _bytes(self, key: bytes) -> bytes:
        """Return a file's bytes for a worker that cannot read it; none, and note why, if it cannot be read here."""
        with noting_failure(key, self.unreadable, self.unreadable):
            return read_image_bytes(*self.files([key]))
        return b""

    def _wait(self) -> None:
        """Handle what workers have said by now, waiting for something if they have not, and replace those lost."""
        ray = self.engine.ray
        answers = [worker.answer for worker in self.remote if not worker.idle]
        ray.wait(answers, num_returns=1, timeout=POLL)
        said = set(ray.wait(answers, num_returns=len(answers), timeout=0)[0])
        for number, worker in enumerate(self.remote):
            try:
                if worker.answer in said:
                    self._collect(worker)
                worker.watch(self.patience)
            except WorkerLost as lost:
                self._replace(number, str(lost))
        waited = min(worker.waited for worker in self.remote)
        if waited > max(self.patience, LOADING) and not any(worker.status for worker in self.remote):
            free = {name: value for name, value in ray.available_resources().items() if name in ("CPU", "GPU")}
            raise EngineError(
                f"No worker has started in {waited:.0f} s; free on the cluster: {free or 'nothing'}. Wait until there "
                "is room, or ask for fewer or smaller ones with --actors and --workers. Finished units are kept."
            )

    def _collect(self, worker: RemoteWorker) -> None:
        """Handle what a worker has said; if it has computed its unit, that is done."""
        keys, status = worker.unit, worker.collect()
        for line in status.warnings:
            if line not in self._warnings:
                self._warnings.add(line)
                logger.warning("%s", line)
        if isinstance(status.result, Ready):
            logger.debug("fc7: a worker is ready: %s", status.result)
        elif status.result:
            self._losses = 0
            self._commit(keys, status.result)

    def _commit(self, keys: Sequence[bytes], result: UnitResult) -> None:
        """Commit the shards that a worker could not commit, and count its unit as done."""
        try:
            with self.clock("commit"):
                for sink in result.sinks:
                    sink.deliver(self.stores[0].directory)
        except CorruptShard as error:  # damaged on its way here
            self._count_failure(keys, str(error))
            self._queue.append(keys)
            return
        for stage in WORK:
            self.clock.seconds[stage] += result.seconds[stage]
        # If a file could not be read here, the worker says only that nothing came.
        self.unreadable = {**result.unreadable, **self.unreadable}
        for store in self.stores:
            store.leave_rejected(keys)
        self.done += len(keys)
        self.release(keys)

    def _replace(self, number: int, reason: str) -> None:
        """Let another worker take the place of one that is lost, and give out its unit again."""
        lost = self.remote[number]
        lost.close()
        logger.warning("fc7: a worker%s is lost: %s", f" on {lost.ready.host}" if lost.ready else "", reason)
        if lost.unit:
            self._count_failure(lost.unit, reason)
            self._queue.append(lost.unit)
        self._losses += 1
        if self._losses > LOSSES + len(self.remote):
            raise EngineError(
                f"{self._losses} workers were lost one after the other, the last because: {reason}. Finished units "
                "are kept; the same command goes on from there."
            )
        self.remote[number] = self._start()

    def _count_failure(self, keys: Sequence[bytes], reason: str) -> None:
        """Count a failure of a unit; the last one that is allowed raises an EngineError."""
        self._failures[keys[0]] += 1
        if self._failures[keys[0]] >= ROUNDS:
            raise EngineError(
                f"A unit of {counted(len(keys), 'image')}, the first {self.files(keys[:1])[0]}, failed {ROUNDS} times: "
                f"{reason}. {self.done} of {self.total} images {are(self.done)} computed and kept; the same command "
                "goes on from there."
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
                    self._count_failure(keys, "its shard is not in the cache")
        self.done = self.total - sum(map(len, missing))
        return missing
