"""The worker: an actor on a Ray cluster that loads the backbones once and computes one unit after another.

It runs the same pipeline as ``--engine local``, with the same batches and threads, so that a row has the same bits.
The worker commits finished shards if it reaches the cache, and returns them otherwise.
"""

import contextlib
import logging
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, NamedTuple

from ... import __version__
from ...errors import EngineError, FC7Error
from ..backbones.backbone import Backbone
from ..backbones.spec import BackboneSpec
from ..decoding.views import read_hashed
from ..decoding.worker_process import DecodeProcess
from .accounting import Clock
from .local import MOST_THREADS, Pipeline, cores
from .sinks import BufferSink
from .unit_loop import Plan

logger = logging.getLogger(__name__)

LOOK = 1.0  # seconds after which a worker that is still at work says how far it is


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
    """A worker that has loaded: where it is, and what it reaches."""

    host: str
    devices: tuple[str, ...]
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
    images: int  # of its unit that are done
    progress: tuple[float, ...]  # changes when anything is done
    warnings: tuple[str, ...]  # of fc7, since the last status: nobody reads the stderr of a worker
    result: Ready | UnitResult | None  # of what it was to do, once that is done


class Worker:
    """The actor. It works in a thread, so that it can say how far it is. What it raises, Ray raises in the driver."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self._backbones: list[Backbone] = []
        self._decoders = [DecodeProcess() for _ in range(spec.workers)]  # started if needed; they end with us
        self._commits = False
        self._clock, self._steps = Clock(), 0
        self._warnings: SimpleQueue[logging.LogRecord] = SimpleQueue()
        handler = QueueHandler(self._warnings)
        handler.setLevel(logging.WARNING)
        logging.getLogger(__package__.partition(".")[0]).addHandler(handler)
        self._begin(self._prepare)

    def status(self) -> Status:
        """Return how far it is: when it is done, or after a second. If its work has failed, raise the error."""
        wait([self._work], LOOK)
        result = self._work.result() if self._work.done() else None
        warnings = tuple(self._warnings.get().getMessage() for _ in range(self._warnings.qsize()))
        return Status(os.getpid(), self._images, (self._steps, self._clock.busy), warnings, result)

    def run(self, keys: Sequence[bytes], files: Sequence[str | bytes], sinks: Sequence[BufferSink]) -> Status:
        """Begin to compute a unit: its keys, where the bytes of each are or themselves, and what takes the shards."""
        self._begin(self._run, keys, files, sinks)
        return self.status()

    def _begin(self, work: Callable[..., Any], *given: Any) -> None:
        self._images, self._work = 0, Future[Any]()
        # Why not an executor: Python waits for its threads at the end of a process, and this one may hang.
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
        with contextlib.suppress(OSError):  # a folder that may not be looked into is not the cache
            self._commits = Path(spec.probe).is_symlink()
        torch.set_num_threads(spec.loading)
        with contextlib.nullcontext(spec.cache) if self._commits else TemporaryDirectory(prefix="fc7-") as cache:
            for backbone_spec in spec.backbones:
                backbone = backbone_spec.load(Path(cache))
                _require_same(backbone_spec, backbone)
                backbone.load()
                self._backbones.append(backbone)
                self._steps += 1
        devices = tuple(str(backbone.device) for backbone in self._backbones)
        return Ready(host, devices, self._commits, sees_images=_has(spec.sample, spec.key))

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
            )
            unreadable = pipeline.run(keys, len(keys))
        if self._commits:
            with clock("commit"):
                for sink in sinks:
                    sink.deliver(Path(self.spec.cache))
                    self._steps += 1
        return UnitResult(unreadable, clock.seconds, sinks)

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._images = done


def _do(outcome: Future[Any], work: Callable[..., Any], *given: Any) -> None:
    try:
        outcome.set_result(work(*given))
    except BaseException as error:
        outcome.set_exception(error)


def _require_same(spec: BackboneSpec, backbone: Backbone) -> None:
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
