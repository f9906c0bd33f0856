"""The same units as locally, on Ray: this machine's cores in processes of their own, or a cluster.

Ray only runs units, each of which may be run any number of times. What was computed is what is in the cache: after
each round that is looked at again, and what is missing goes round once more. Nothing else is kept, by Ray or by us.
"""

import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from ... import __version__, errors
from ...cache.atomic_write import make_folder
from ...cache.commit import deliver
from ...cache.format import UNIT_ROWS
from ...cache.leases import Claims
from ...cache.shard import unit_id
from ...cache.store import Store
from ...errors import EngineError, Interrupted, UsageError
from ..backbones.backbone import Backbone
from ..backbones.spec import BackboneSpec
from ..manifest.paths import absolute
from ..progress import Progress, silent
from .accounting import WORK, Clock
from .local import MOST_BESIDE_DEVICE, POLL, LocateFiles, cores_each
from .ray_cluster import joined_cluster, own_cluster, require_ray
from .ray_supervisor import Event, Lost, Member, Supervisor
from .ray_worker import Failure, Ready, UnitResult, UnitTask, Worker, WorkerSpec

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
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End what was started."""
        self._ray = None
        self._open.close()

    @property
    def ray(self) -> Any:
        """Ray itself, connected.

        Raises
        ------
        EngineError
            The cluster cannot be used.
        """
        if self._ray is None:
            cluster = own_cluster() if self.address is None else joined_cluster(self.address)
            self._ray = self._open.enter_context(cluster)
        return self._ray

    @property
    def patience(self) -> float:
        """Seconds in which something must have come of what was given out."""
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
        backbones, stores, files, clock
            As for :class:`fc7.extract.engines.local.Pipeline`.
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
            job = _Job(self, backbones, stores, files, clock, missing, unit_rows, workers, progress)
        try:
            return job.run()
        except KeyboardInterrupt:
            raise Interrupted(
                f"Interrupted: {job.done} of {len(missing)} images are computed and kept. "
                "The same command goes on from there."
            ) from None


class _Job:
    """One extraction: units that are given out, come back, or are given out again."""

    def __init__(
        self,
        engine: RayEngine,
        backbones: Sequence[Backbone],
        stores: Sequence[Store],
        files: LocateFiles,
        clock: Clock,
        missing: Sequence[bytes],
        unit_rows: int | None,
        workers: int | None,
        progress: Progress,
    ) -> None:
        self.engine, self.backbones, self.stores, self.files, self.clock = engine, backbones, stores, files, clock
        self.progress = progress
        self.unreadable: dict[bytes, str] = {}
        self.total, self.done = len(missing), 0
        self._claims = Claims(stores[0].directory / "claims")
        self._tried: Counter[bytes] = Counter()  # by first key
        self._refused: dict[bytes, str] = {}  # files that workers were to get and that cannot be read here
        self._others: set[str] = set()  # machines with another torch
        self._why = ""
        self._stage = "extract " + " + ".join(dict.fromkeys(backbone.name for backbone in backbones))
        resources = engine.ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if all(map(_may_use_cuda, backbones)) else 0
        # Not the devices of this machine: it may have no GPU where the cluster has some.
        self._batches = [one.batch_on("cuda") if gpus else one.batch_size for one in backbones]
        processors = max(int(resources.get("CPU", 1)), 1)
        self._threads = 1 if gpus else cores_each()
        self._workers = workers or (min(max(processors // gpus, 1), MOST_BESIDE_DEVICE) if gpus else 1)
        taken = min(self._threads * self._workers, processors)
        self._takes = {"num_cpus": taken, "num_gpus": 1 if gpus else 0}
        most = engine.actors or gpus or processors // taken
        rows = unit_rows or self._rows(UNIT_ROWS if gpus else min(one.unit_rows for one in backbones), most)
        self.units = [missing[start : start + rows] for start in range(0, len(missing), rows)]
        self._size = min(most, len(self.units))

    def run(self) -> dict[bytes, str]:
        """Compute all units.

        Raises
        ------
        EngineError
            A unit failed three times.
        """
        with self._probe() as (probe, nonce):
            with self.clock("load"):
                crew = self._hire(probe, nonce)
            try:
                with self.clock("load"):
                    self._await_one(crew)
                units = self.units
                while units:
                    left: list[Sequence[bytes]] = []
                    self._round(crew, units, left)
                    if len(left) == len(units):
                        with self.clock("wait"):
                            time.sleep(POLL)
                    units = self._still_missing(units, left)
            finally:
                crew.close()
                self._claims.release_all()
        return self.unreadable

    def _rows(self, usual: int, workers: int) -> int:
        """Return the rows of a unit: as locally, but fewer if some workers would get none."""
        batch = max(self._batches)
        return min(usual, -(-self.total // workers // batch) * batch)

    def _hire(self, probe: str, nonce: str) -> Supervisor:
        """Start the workers."""
        import torch

        ray = self.engine.ray
        described = tuple(map(BackboneSpec.of, self.backbones))
        key = self.units[0][0]
        post = WorkerSpec(
            __version__,
            described,
            tuple("cuda" if self._takes["num_gpus"] else str(one.options["device"]) for one in described),
            str(self.stores[0].directory.absolute()),
            probe,
            nonce,
            absolute(*self.files([key])),
            key,
            torch.get_num_threads(),
            self._threads,
            self._workers,
        )
        sent = ray.put(post)  # once, though there are many
        actor = ray.remote(concurrency_groups={"life": 1})(self.engine.worker)
        hired = actor.options(max_restarts=0, max_task_retries=0, **self._takes)
        here = self.engine.address is None
        return Supervisor(ray, lambda: hired.remote(sent), self._size, self._patience(), here=here)

    def _patience(self) -> float:
        if self.engine.stall is not None:
            return self.engine.patience
        work = [float(one.work["gmacs"]) * size for one, size in zip(self.backbones, self._batches, strict=True)]
        return max(self.engine.patience, 10 * max(work) / SLOW)

    @contextmanager
    def _probe(self) -> Any:
        """Leave a file in the cache for as long: a worker that finds it there can commit by itself."""
        nonce = secrets.token_hex(16)
        path = self.stores[0].folder.absolute() / "tmp" / f"probe.{nonce}"
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

    def _await_one(self, crew: Supervisor) -> None:
        while not crew.idle:
            self.progress(self._stage, 0, self.total)
            for event in crew.events(POLL):
                self._take(event, deque())

    def _round(self, crew: Supervisor, units: Sequence[Sequence[bytes]], left: list[Sequence[bytes]]) -> None:
        """Give out the units that nobody else has claimed, and put the others into ``left``."""
        queue = deque(units)
        start, before, size = time.perf_counter(), self.clock.busy, len(crew.members)
        while True:
            for member in crew.idle:
                task = self._next(queue, left, member)
                if task is None:
                    break
                crew.give(member, task)
            self._claims.beat()
            self.progress(self._stage, self.done + crew.images, self.total)
            if not queue and all(member.task is None for member in crew.members):
                break
            for event in crew.events(POLL):
                self._take(event, queue)
        idle = size * (time.perf_counter() - start) - (self.clock.busy - before)
        self.clock.seconds["wait"] += max(idle, 0.0)

    def _next(self, queue: deque[Sequence[bytes]], left: list[Sequence[bytes]], member: Member) -> UnitTask | None:
        """Return the next unit that this process may have."""
        while queue:
            keys = queue.popleft()
            if all(store.committed(keys) for store in self.stores) or not self._claims.take(self._name(keys)):
                left.append(keys)
                continue
            lacking = [list(store.missing(keys)) for store in self.stores]
            if member.hello and member.hello.sees_images:
                return UnitTask(list(keys), lacking, [absolute(path) for path in self.files(keys)], None)
            return UnitTask(list(keys), lacking, None, [self._bytes(key) for key in keys])
        return None

    def _bytes(self, key: bytes) -> bytes:
        """Return a file's bytes for a worker that cannot read it; none, and a note why, if it cannot be read here."""
        from ..decoding.decode import read_image_bytes

        try:
            return read_image_bytes(*self.files([key]))
        except OSError as error:
            self._refused[key] = f"not readable: {error.strerror}"
        except errors.ImageRejected as error:
            self._refused[key] = str(error)
        return b""

    def _name(self, keys: Sequence[bytes]) -> str:
        return unit_id("".join(store.recipe.id for store in self.stores), keys)

    def _take(self, event: Event, queue: deque[Sequence[bytes]]) -> None:
        """Act on what a worker returned, or on its loss."""
        task, said = event
        if isinstance(said, Ready | UnitResult):
            for line in said.said:
                logger.warning("%s", line)
        if isinstance(said, Ready):
            self._greet(said)
        if isinstance(said, UnitResult) and task:
            self._keep(task, said, queue)
        elif isinstance(said, Failure) and said.final:
            raise _raised(said)
        elif isinstance(said, Failure | Lost):
            self._why = said.reason if isinstance(said, Lost) else f"{said.kind}: {said.message}"
            if task:
                self._again(task.keys, queue)

    def _greet(self, hello: Ready) -> None:
        """Say what there is to know of a worker that is ready, and warn of one that computes otherwise."""
        import torch

        reach = "the cache and the images" if hello.commits and hello.sees_images else "not all that is here"
        where = hello.host, ", ".join(hello.devices), hello.seconds, reach
        logger.debug("fc7: a worker on %s (%s) is ready after %.1f s; it reaches %s", *where)
        if hello.torch != torch.__version__ and hello.host not in self._others:
            self._others.add(hello.host)
            versions = hello.host, hello.torch, torch.__version__
            logger.warning("fc7: %s has torch %s, this machine %s: last digits may differ.", *versions)

    def _keep(self, task: UnitTask, report: UnitResult, queue: deque[Sequence[bytes]]) -> None:
        """Commit what a worker could not, and count its unit as done."""
        try:
            with self.clock("commit"):
                for store, shards in zip(self.stores, report.shards, strict=True):
                    for shard in shards:
                        deliver(shard, store.recipe, store.directory)
        except errors.CorruptShard as error:  # on its way here
            self._why = str(error)
            self._again(task.keys, queue)
            return
        for stage in WORK:
            self.clock.seconds[stage] += report.seconds[stage]
        self.unreadable |= {key: self._refused.get(key, reason) for key, reason in report.unreadable.items()}
        self.done += len(task.keys)
        self._claims.release(self._name(task.keys))

    def _again(self, keys: Sequence[bytes], queue: deque[Sequence[bytes]]) -> None:
        """Give a unit out again."""
        self._count(keys)
        queue.append(keys)

    def _count(self, keys: Sequence[bytes]) -> None:
        """Note that a unit failed, which may not happen too often."""
        self._tried[keys[0]] += 1
        if self._tried[keys[0]] >= ROUNDS:
            first = self.files(keys[:1])[0]
            raise EngineError(
                f"A unit of {len(keys)} images, the first {first}, failed {ROUNDS} times: {self._why}. "
                f"{self.done} of {self.total} images are computed and kept; the same command goes on from there."
            )

    def _still_missing(
        self, units: Sequence[Sequence[bytes]], left: Sequence[Sequence[bytes]]
    ) -> list[Sequence[bytes]]:
        """Look at the cache, and return the units of which something is neither there nor known to be unreadable."""
        for store in self.stores:
            store.refresh()
        found, claimed = [], {keys[0] for keys in left}
        for keys in units:
            open_ = [key for key in keys if key not in self.unreadable]
            if any(store.missing(open_) for store in self.stores):
                found.append(keys)
                if keys[0] not in claimed:
                    self._why = "its shard is not in the cache"
                    self._count(keys)
        self.done = self.total - sum(map(len, found))
        return found


def _may_use_cuda(backbone: Backbone) -> bool:
    device = str(backbone.machine["device"])
    return device == "auto" or device.startswith("cuda")


def _raised(failure: Failure) -> errors.FC7Error:
    """Return a worker's error as one of this process."""
    kind = getattr(errors, failure.kind, None)
    if isinstance(kind, type) and issubclass(kind, errors.FC7Error) and kind is not errors.MissingExtra:
        return kind(failure.message)
    return EngineError(f"A worker cannot go on: {failure.message}")
