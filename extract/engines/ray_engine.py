"""The units of a local run, on Ray: in processes on this machine, or on a cluster.

Ray only runs units, and a unit may run any number of times. After each round the driver reads the cache again and gives
out the units that are still missing. No other state is kept: a task queue would be a second record of what is done.
"""

import logging
import secrets
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Self

from ... import __version__, errors
from ...cache.atomic_write import make_folder
from ...cache.commit import deliver
from ...cache.format import UNIT_ROWS
from ...cache.store import Store
from ...errors import EngineError, UsageError
from ..backbones.backbone import Backbone
from ..backbones.spec import BackboneSpec
from ..manifest.paths import absolute
from ..progress import Progress, silent
from .accounting import WORK, Clock
from .local import MOST_BESIDE_DEVICE, cores_each
from .ray_cluster import joined_cluster, own_cluster, require_ray
from .ray_supervisor import Event, Lost, Member, Supervisor
from .ray_worker import Failure, Ready, UnitResult, UnitTask, Worker, WorkerSpec
from .unit_loop import POLL, LocateFiles, UnitLoop, Units

logger = logging.getLogger(__name__)

ROUNDS = 3  # how often a unit is tried
STALL = 300.0  # seconds without progress, if a batch takes less than a tenth of that on a slow core
SLOW = 30.0  # billions of multiply-adds a second of such a core


class RayEngine:
    """Workers on Ray, in a ``with`` block; the cluster starts, or is joined, when there is something to compute.

    Parameters
    ----------
    address
        Of a cluster: ``auto``, ``HOST:6379``. Default: one of its own, on this machine alone.
    actors
        Workers, each with the networks in memory; default one per core, or per GPU where the cluster has any.
    stall
        Seconds without progress after which a worker is ended and its unit given to another; default 5 minutes, more
        for networks with which a batch takes half a minute.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    """

    worker = Worker

    def __init__(self, address: str | None = None, *, actors: int | None = None, stall: float | None = None) -> None:
        if actors is not None and actors < 1:
            raise UsageError(f"actors {actors}: must be 1 or more.")
        require_ray(address)
        self.address, self.actors, self.stall = address, actors, stall
        self._open = ExitStack()
        self._ray: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what was started."""
        self._ray = None
        self._open.close()

    @property
    def ray(self) -> Any:
        """Ray itself, connected."""
        if self._ray is None:
            cluster = own_cluster() if self.address is None else joined_cluster(self.address)
            self._ray = self._open.enter_context(cluster)
        return self._ray

    @property
    def patience(self) -> float:
        """Seconds without progress after which a worker is ended."""
        return STALL if self.stall is None else self.stall

    def run(
        self,
        backbones: Sequence[Backbone],
        stores: Sequence[Store],
        files: LocateFiles,
        clock: Clock,
        missing: Sequence[bytes],
        *,
        unit_rows: int | None = None,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> dict[bytes, str]:
        """Compute the missing keys and return those whose files could not be read, with the reason.

        Parameters
        ----------
        backbones, stores, files, clock, progress
            As for :class:`fc7.extract.engines.local.Pipeline`.
        unit_rows
            Rows committed together; by default about 20 seconds of work.
        workers
            Threads of each worker; default 1, with a GPU its share of the cores.

        Raises
        ------
        EngineError
            The cluster cannot be used, or units failed three times.
        Interrupted
            Ctrl-C; finished units are kept.
        """
        with clock("load"):
            job = _Job(
                self,
                backbones,
                stores,
                files,
                clock=clock,
                missing=missing,
                unit_rows=unit_rows,
                workers=workers,
                progress=progress,
            )
        try:
            return job.run()
        except KeyboardInterrupt:
            raise job.interrupted() from None


class _Job(UnitLoop):
    """One extraction: gives units to workers, commits their results, and retries the units that fail."""

    def __init__(
        self,
        engine: RayEngine,
        backbones: Sequence[Backbone],
        stores: Sequence[Store],
        files: LocateFiles,
        clock: Clock,
        missing: Sequence[bytes],
        unit_rows: int | None = None,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> None:
        super().__init__(backbones, stores, files, clock, progress=progress)
        self.engine, self.total, self._folder = engine, len(missing), stores[0].folder
        self._rows_before = [len(store) for store in stores]
        self._tried: Counter[bytes] = Counter()  # by first key
        self._unsent: dict[bytes, str] = {}  # files that this process could not read for a worker, with the reason
        self._other_torch: set[str] = set()  # hosts with another torch
        self._failure = ""  # the last one
        resources = engine.ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if all(map(_may_use_cuda, backbones)) else 0
        # Why not this machine's devices: it may have no GPU where the cluster has some.
        self._batch_sizes = [backbone.batch_on("cuda") if gpus else backbone.batch_size for backbone in backbones]
        processors = max(int(resources.get("CPU", 1)), 1)
        self._threads = 1 if gpus else cores_each()
        self._workers = workers or (min(max(processors // gpus, 1), MOST_BESIDE_DEVICE) if gpus else 1)
        taken = min(self._threads * self._workers, processors)
        self._takes = {"num_cpus": taken, "num_gpus": 1 if gpus else 0}
        most = engine.actors or gpus or processors // taken
        rows = unit_rows or self._rows(UNIT_ROWS if gpus else min(backbone.unit_rows for backbone in backbones), most)
        self.units = [missing[start : start + rows] for start in range(0, len(missing), rows)]
        self._size = min(most, len(self.units))

    def run(self) -> dict[bytes, str]:
        """Compute all units."""
        with self._probe() as (probe, nonce):
            with self.clock("load"):
                supervisor = self._start_workers(probe, nonce)
            try:
                with self.clock("load"):
                    self._await_worker(supervisor)
                self.compute_all(self.units, partial(self._round, supervisor), self._size)
            finally:
                supervisor.close()
        return self.unreadable

    def _rows(self, usual: int, workers: int) -> int:
        """Return the rows of a unit: as locally, but fewer if some workers would get none."""
        batch = max(self._batch_sizes)
        return min(usual, -(-self.total // workers // batch) * batch)

    def _start_workers(self, probe: str, nonce: str) -> Supervisor:
        import torch

        ray = self.engine.ray
        device = {"device": "cuda"} if self._takes["num_gpus"] else {}
        specs = [BackboneSpec.of(backbone) for backbone in self.backbones]
        key = self.units[0][0]
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
        here = self.engine.address is None
        return Supervisor(ray, lambda: actor.remote(sent), self._size, self._patience(), here=here)

    def _patience(self) -> float:
        if self.engine.stall is not None:
            return self.engine.patience
        gmacs = (float(backbone.work["gmacs"]) for backbone in self.backbones)
        work = max(image * size for image, size in zip(gmacs, self._batch_sizes, strict=True))
        return max(self.engine.patience, 10 * work / SLOW)

    @contextmanager
    def _probe(self) -> Any:
        """Write a file to the cache until the end of the block: a worker that reads it there can commit by itself."""
        nonce = secrets.token_hex(16)
        path = self._folder.absolute() / "tmp" / f"probe.{nonce}"
        try:
            make_folder(path.parent)
            path.write_text(nonce, encoding="ascii")
        except OSError as error:
            raise errors.CacheError(
                f"The cache {self.stores[0].directory} is not writable: {error.strerror or error}."
            ) from error
        try:
            yield str(path), nonce
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _await_worker(self, supervisor: Supervisor) -> None:
        while not supervisor.idle:
            self.report(0)
            for event in supervisor.events(POLL):
                self._handle(event, deque())

    def _round(self, supervisor: Supervisor, units: Units, skipped: list[Sequence[bytes]]) -> None:
        """Give out the units that nobody else has claimed, and put the others into ``skipped``."""
        queue = deque(units)
        while True:
            for member in supervisor.idle:
                task = self._next(queue, skipped, member)
                if task is None:
                    break
                supervisor.assign(member, task)
            self.report(self.done + supervisor.images)
            if not queue and all(member.task is None for member in supervisor.members):
                break
            for event in supervisor.events(POLL):
                self._handle(event, queue)

    def _next(self, queue: deque[Sequence[bytes]], skipped: list[Sequence[bytes]], member: Member) -> UnitTask | None:
        """Return the next unit that this process may have."""
        while queue:
            keys = queue.popleft()
            if not self.claim(keys):
                skipped.append(keys)
                continue
            lacking = [list(store.missing(keys)) for store in self.stores]
            within_reach = member.ready and member.ready.sees_images
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
        except errors.ImageRejected as error:
            self._unsent[key] = str(error)
        return b""

    def _handle(self, event: Event, queue: deque[Sequence[bytes]]) -> None:
        """Handle what a worker returned, or its loss."""
        task, answer = event
        if isinstance(answer, Ready | UnitResult):
            for line in answer.warnings:
                logger.warning("%s", line)
        if isinstance(answer, Ready):
            self._log_ready(answer)
        if isinstance(answer, UnitResult) and task:
            self._commit(task, answer, queue)
        elif isinstance(answer, Failure) and answer.final:
            raise _raised(answer)
        elif isinstance(answer, Failure | Lost):
            self._failure = answer.reason if isinstance(answer, Lost) else f"{answer.kind}: {answer.message}"
            if task:
                self._retry(task.keys, queue)

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
        except errors.CorruptShard as error:  # damaged on its way here
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


def _raised(failure: Failure) -> errors.FC7Error:
    """Return a worker's error as one of this process."""
    kind = getattr(errors, failure.kind, None)
    if isinstance(kind, type) and issubclass(kind, errors.FC7Error) and kind is not errors.MissingExtra:
        return kind(failure.message)
    return EngineError(f"A worker cannot go on: {failure.message}")
