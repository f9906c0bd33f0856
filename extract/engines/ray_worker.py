"""The worker: an actor on a Ray cluster that loads the backbones once and computes one unit after another.

It runs the same pipeline as ``--engine local``, with the same batches and threads, so that a row has the same bits.
The worker commits finished shards if it reaches the cache, and returns them otherwise. The driver sees it as a
:class:`RemoteWorker`.
"""

import contextlib
import logging
import os
import platform
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import __version__
from ...errors import EngineError, FC7Error
from ..backbones.backbone import Backbone
from ..backbones.spec import BackboneSpec
from ..decoding.decode_pool import DecodePool
from ..decoding.views import read_hashed
from ..machine import cores
from .accounting import Clock
from .local import MOST_THREADS, Pipeline, engines_of
from .sinks import BufferSink
from .unit_loop import Plan

if TYPE_CHECKING:
    from ..decoding.hardware import Engines

logger = logging.getLogger(__name__)

LOOK = 1.0  # seconds after which a worker that is still at work says how far it is
LOADING = 600.0  # seconds that a worker may load without progress: weights may come over a network


class WorkerSpec(NamedTuple):
    """What a worker is made for, as the driver's machine has it."""

    version: str  # of fc7
    torch: str  # its version
    backbones: tuple[BackboneSpec, ...]  # with the device of each
    cache: str
    probe: str  # a claim in the cache whose name nobody can guess: who sees it there has the same cache
    sample: str  # a file or URL of an image
    key: bytes  # its sha256: who reads that there has the same images
    loading: int  # cores that networks are loaded with
    threads: int  # cores that a thread computes with
    workers: int  # threads


class Ready(NamedTuple):
    """A worker that has loaded: where it is, and what it reaches, which the log says."""

    host: str
    commits: bool
    sees_images: bool


class UnitResult(NamedTuple):
    """A unit that was run: keys that could not be read, seconds by stage, and the sinks, empty if it is committed."""

    unreadable: Mapping[bytes, str]
    seconds: Mapping[str, float]
    sinks: Sequence[BufferSink]


class Status(NamedTuple):
    """How far a worker is."""

    pid: int
    images: int  # of its unit that are done; 0 when it is complete
    progress: float  # seconds of work; they change when anything is done
    warnings: tuple[str, ...]  # of fc7, since the last status: nobody reads the stderr of a worker
    result: Ready | UnitResult | None  # of what it was to do, once that is done


class Worker:
    """The actor. It works in a thread, so that it can say how far it is. What it raises, Ray raises in the driver."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self._backbones: list[Backbone] = []
        self._decoders = DecodePool(spec.workers)  # started if needed; they end with us
        self._engines: Engines | None = None
        self._commits = False
        self._clock = Clock()
        self._warnings: SimpleQueue[logging.LogRecord] = SimpleQueue()
        handler = QueueHandler(self._warnings)
        handler.setLevel(logging.WARNING)
        logging.getLogger(__package__.partition(".")[0]).addHandler(handler)
        self._begin(self._prepare)

    def status(self) -> Status:
        """Return how far it is: when it is done, or after a second. If its work has failed, raise the error."""
        # Why not beside run(), as Ray can call two methods at once: an answer could come late, from the unit before.
        wait([self._work], LOOK)
        result = self._work.result() if self._work.done() else None
        warnings = tuple(self._warnings.get().getMessage() for _ in range(self._warnings.qsize()))
        progress = sum(self._clock.seconds.values())
        return Status(os.getpid(), 0 if result else self._images, progress, warnings, result)

    def run(self, keys: Sequence[bytes], files: Sequence[str | bytes], sinks: Sequence[BufferSink]) -> Status:
        """Begin to compute a unit: its keys, where the bytes of each are or themselves, and what takes the shards."""
        self._begin(self._run, keys, files, sinks)
        return self.status()

    def _begin(self, work: Callable[..., Any], *given: Any) -> None:
        self._images, self._work = 0, Future[Any]()
        # Why not an executor: at the end of a process Python waits for its threads, and this one may hang.
        Thread(target=_do, args=(self._work, work, *given), daemon=True).start()

    def _prepare(self) -> Ready:
        """Load the backbones, and check that they are the driver's."""
        spec, host = self.spec, platform.node()
        if spec.version != __version__:
            raise EngineError(
                f"The worker on {host} has fc7 {__version__}, this machine {spec.version}. "
                "Install the same version on all of them."
            )
        import torch

        if torch.__version__ != spec.torch:
            versions = host, torch.__version__, spec.torch
            logger.warning("fc7: %s has torch %s, this machine %s: last digits may differ.", *versions)
        self._commits = os.path.lexists(spec.probe)  # False for any error
        torch.set_num_threads(spec.loading)
        with contextlib.nullcontext(spec.cache) if self._commits else TemporaryDirectory(prefix="fc7-") as cache:
            for backbone_spec in spec.backbones:
                with self._clock("load"):
                    backbone = backbone_spec.load(Path(cache))
                    require_same(backbone_spec, backbone)
                    backbone.load()
                self._backbones.append(backbone)
            self._engines = engines_of(self._backbones)
        return Ready(host, self._commits, sees_images=_has(spec.sample, spec.key))

    def _run(self, keys: Sequence[bytes], files: Sequence[str | bytes], sinks: Sequence[BufferSink]) -> UnitResult:
        clock = self._clock = Clock()
        with TemporaryDirectory(prefix="fc7-") as folder:
            paths = {}
            for key, file in zip(keys, files, strict=True):
                paths[key] = str(Path(folder, key.hex())) if isinstance(file, bytes) else file
                if isinstance(file, bytes):
                    Path(paths[key]).write_bytes(file)
            pipeline = Pipeline(
                Plan(self._backbones, sinks, lambda keys: [paths[key] for key in keys], clock, self._progress),
                workers=self.spec.workers,
                threads=self.spec.threads,
                beside=max(min(cores(), MOST_THREADS), self.spec.workers),
                decoders=self._decoders,
                engines=self._engines,
            )
            unreadable = pipeline.run(keys, len(keys))
        if self._commits:
            for sink in sinks:
                with clock("commit"):
                    sink.deliver(Path(self.spec.cache))
        return UnitResult(unreadable, clock.seconds, sinks)

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._images = done


def _do(outcome: Future[Any], work: Callable[..., Any], *given: Any) -> None:
    try:
        outcome.set_result(work(*given))
    except BaseException as error:
        outcome.set_exception(error)


def require_same(spec: BackboneSpec, backbone: Backbone) -> None:
    """Raise EngineError if a worker's backbone makes other recipes than those it was asked for."""
    for theirs, mine in zip(spec.recipes, backbone.recipes, strict=True):
        if theirs.id != mine.id:
            pairs = mine.differences(theirs).items()
            differences = ", ".join(f"{name} {here} here and {there} there" for name, (there, here) in pairs)
            raise EngineError(
                f"The worker on {platform.node()} makes another {theirs.backbone} {theirs.layer} than this machine: "
                f"{differences[:300]}. The same weights and, for random ones, the same torch are needed on all of them."
            )


def _has(path: str, key: bytes) -> bool:
    """Return whether an image can be read here, with this machine's packages and credentials."""
    try:
        read_hashed(path, key)
    except (OSError, FC7Error):
        return False
    return True


class WorkerLost(EngineError):
    """A worker died, hangs, or failed in a way that another try may change."""


class RemoteWorker:
    """An actor of :class:`Worker`, in a process of this machine or not, that is asked for one thing at a time."""

    def __init__(self, ray: Any, actor: Any, *, here: bool) -> None:
        self._ray, self._actor, self._here = ray, actor, here
        self.answer = actor.status.remote()  # its next status, on Ray; None between units
        self.status: Status | None = None  # the last one; before the first it may be waiting for a place on the cluster
        self.ready: Ready | None = None  # what it said when it had loaded
        self.unit: Sequence[bytes] = ()  # the keys that it computes; none while it loads and between units
        self._since = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether it waits for a unit."""
        return self.answer is None

    @property
    def waited(self) -> float:
        """Seconds since it was started or asked, or has made progress."""
        return time.monotonic() - self._since

    def assign(self, keys: Sequence[bytes], files: Sequence[str | bytes], sinks: Sequence[BufferSink]) -> None:
        """Have it compute a unit."""
        self.unit, self.answer = keys, self._actor.run.remote(keys, files, sinks)
        self._since = time.monotonic()

    def collect(self) -> Status:
        """Return what it has said; ask again if it is not done.

        Raises
        ------
        FC7Error
            One of fc7's own, which another try will not change.
        WorkerLost
            Any other error, or it is gone.
        """
        try:
            status: Status = self._ray.get(self.answer)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, FC7Error):
                raise error.cause from None
            raise WorkerLost(f"{type(error.cause).__name__}: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            self.status = None  # its process may be another one by now
            raise WorkerLost(reason(error)) from error
        if self.status is None or status.progress != self.status.progress:
            self._since = time.monotonic()
        self.status = status
        if status.result is None:
            self.answer = self._actor.status.remote()
        else:
            self.answer, self.unit = None, ()
        if isinstance(status.result, Ready):
            self.ready = status.result
        return status

    def watch(self, patience: float) -> None:
        """Raise WorkerLost if it has made no progress for so many seconds, or for longer while it loads."""
        patience = patience if self.unit else max(patience, LOADING)
        if self.status and not self.idle and self.waited > patience:
            raise WorkerLost(f"no progress in {patience:.0f} s")

    def close(self) -> None:
        """End its process."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)
        if self._here and self.status and not self.idle:  # a stopped process does not obey Ray
            with contextlib.suppress(OSError):
                os.kill(self.status.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def reason(error: Exception) -> str:
    """Return the first line of an error of Ray, and the last if that names an error."""
    lines = str(error).strip().splitlines() or [repr(error)]
    last = lines[-1].strip()
    return f"{lines[0].strip()} {last}"[:300] if "Error: " in last and last != lines[0] else lines[0].strip()[:300]
