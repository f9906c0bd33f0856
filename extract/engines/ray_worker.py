"""The worker: an actor on a Ray cluster that loads the backbones once and computes one unit after another.

It runs the same pipeline as ``--engine local``, with the same batches and threads, so that a row has the same bits.
The worker commits finished shards if it reaches the cache, and returns them otherwise.
"""

import contextlib
import logging
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ... import __version__
from ...cache.commit import deliver
from ...errors import EngineError, FC7Error
from ..backbones.backbone import Backbone
from ..backbones.spec import BackboneSpec
from ..decoding.worker_process import DecodeProcess
from .accounting import Clock
from .local import MOST_THREADS, Pipeline, cores
from .malloc import keep_freed_memory
from .sinks import BufferSink
from .unit_loop import LocateFiles


class WorkerSpec(NamedTuple):
    """What a worker is made for.

    Attributes
    ----------
    backbones
        In order, with the device of each; the recipes of their views and layers are the stores of the units.
    cache
        Where it is on the driver's machine.
    probe, nonce
        A file in the cache, and its text: a worker that reads it there has the same cache.
    sample, key
        A file or URL of an image, and its sha256: a worker that reads it there has the same images.
    loading, threads, workers
        Cores that networks are loaded with and that a thread computes with, as on the driver's machine; and threads.
    """

    version: str
    backbones: tuple[BackboneSpec, ...]
    cache: str
    probe: str
    nonce: str
    sample: str
    key: bytes
    loading: int
    threads: int
    workers: int


class Ready(NamedTuple):
    """A worker that has loaded: where it is, what it reaches, and how long loading took."""

    host: str
    torch: str
    devices: tuple[str, ...]
    commits: bool
    sees_images: bool
    seconds: float
    warnings: tuple[str, ...]


class Heartbeat(NamedTuple):
    """How far a process is: the first key of its unit, images of it that are done, and what changes with progress."""

    pid: int
    unit: bytes
    images: int
    sign: tuple[float, ...]


class UnitTask(NamedTuple):
    """One unit: its keys, for each store those that it lacks, and for each key its file, or the bytes themselves.

    `rows` has, for each store, about how many it has; 0 if it has none. `reopened` has, for each store, the rejections
    that it has of these images and that are looked at again.
    """

    keys: Sequence[bytes]
    lacking: Sequence[Sequence[bytes]]
    rows: Sequence[int]
    reopened: Sequence[Mapping[bytes, str]]
    files: Sequence[str] | Sequence[bytes]


class UnitResult(NamedTuple):
    """A unit that was run: keys that could not be read, seconds by stage, and the shards unless they are committed.

    `shards` has, for each store, the shards of its sink.
    """

    unreadable: Mapping[bytes, str]
    seconds: Mapping[str, float]
    shards: Sequence[Sequence[bytes]]
    warnings: tuple[str, ...]


class Worker:
    """The actor. What it raises, Ray raises in the driver."""

    spec: WorkerSpec

    def __init__(self) -> None:
        self._backbones: list[Backbone] = []
        self._decoders: list[DecodeProcess] = []
        self._commits = False
        self._clock = Clock()
        self._done, self._steps = (b"", 0), 0  # images of the unit with this first key

    def heartbeat(self) -> Heartbeat:
        """Return how far it is; called while another method runs."""
        return Heartbeat(os.getpid(), *self._done, (self._steps, self._clock.busy))

    def prepare(self, spec: WorkerSpec) -> Ready:
        """Load the backbones, and check that they are the driver's."""
        self.spec, self._backbones = spec, []
        self._decoders = [DecodeProcess() for _ in range(spec.workers)]  # started if needed; they end with us
        with _warnings() as warned:
            return self._prepare()._replace(warnings=tuple(warned))

    def run(self, task: UnitTask) -> UnitResult:
        """Compute a unit."""
        with _warnings() as warned:
            return self._run(task)._replace(warnings=tuple(warned))

    def _prepare(self) -> Ready:
        clock = Clock()
        if self.spec.version != __version__:
            raise EngineError(
                f"The worker on {platform.node()} has fc7 {__version__}, this machine {self.spec.version}. "
                "Install the same version on all of them."
            )
        import torch

        self._commits = _holds(self.spec.probe, self.spec.nonce)
        torch.set_num_threads(self.spec.loading)
        with _cache(self.spec.cache if self._commits else None) as cache:
            for backbone_spec in self.spec.backbones:
                backbone = backbone_spec.load(cache)
                _require_same(backbone_spec, backbone)
                backbone.load()
                self._backbones.append(backbone)
                self._steps += 1
        keep_freed_memory().__enter__()  # for as long as this process lives
        clock.stop()
        return Ready(
            host=platform.node(),
            torch=str(torch.__version__),
            devices=tuple(str(backbone.device) for backbone in self._backbones),
            commits=self._commits,
            sees_images=_has(self.spec.sample, self.spec.key),
            seconds=clock.seconds["total"],
            warnings=(),
        )

    def _run(self, task: UnitTask) -> UnitResult:
        recipes = [recipe for backbone in self._backbones for recipe in backbone.recipes_of_views]
        of_stores = zip(recipes, task.lacking, task.rows, task.reopened, strict=True)
        sinks = [BufferSink(*of_store) for of_store in of_stores]
        clock = self._clock = Clock()
        self._done = task.keys[0], 0
        with _files(task) as files:
            pipeline = Pipeline(
                self._backbones,
                sinks,
                files,
                clock,
                workers=self.spec.workers,
                threads=self.spec.threads,
                beside=max(min(cores(), MOST_THREADS), self.spec.workers),
                decoders=self._decoders,
                progress=self._progress,
            )
            unreadable = pipeline.run(task.keys, len(task.keys))
        if self._commits:
            with clock("commit"):
                for sink in sinks:
                    while sink.shards:
                        deliver(sink.shards.pop(0), sink.recipe, Path(self.spec.cache))
                        self._steps += 1
        clock.stop()
        return UnitResult(unreadable, clock.seconds, [sink.shards for sink in sinks], ())

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._done = self._done[0], done


@contextlib.contextmanager
def _cache(within_reach: str | None) -> Iterator[Path]:
    """Yield the cache, or an empty one until the end of the block."""
    if within_reach is not None:
        yield Path(within_reach)
        return
    with tempfile.TemporaryDirectory(prefix="fc7-") as folder:
        yield Path(folder) / "cache"


def _require_same(spec: BackboneSpec, backbone: Backbone) -> None:
    for theirs, mine in zip(spec.recipes, backbone.recipes, strict=True):
        if theirs.id != mine.id:
            pairs = mine.differences(theirs).items()
            differences = ", ".join(f"{name} {here} here and {there} there" for name, (there, here) in pairs)
            raise EngineError(
                f"The worker on {platform.node()} makes another {theirs.backbone} {theirs.layer} than this machine: "
                f"{differences[:300]}. The same weights and, for random ones, the same torch are needed on all of them."
            )


def _holds(path: str, text: str) -> bool:
    try:
        return Path(path).read_text(encoding="ascii") == text
    except (OSError, ValueError):
        return False


def _has(path: str, key: bytes) -> bool:
    """Return whether an image can be read here, with this machine's packages and credentials."""
    import hashlib

    from ..decoding.decode import read_image_bytes

    try:
        return hashlib.sha256(read_image_bytes(path)).digest() == key
    except (OSError, FC7Error):
        return False


@contextlib.contextmanager
def _files(task: UnitTask) -> Iterator[LocateFiles]:
    """Yield a function from keys to files; bytes that came with the task lie in temporary files."""
    paths: dict[bytes, str] = {}
    with tempfile.TemporaryDirectory(prefix="fc7-") as folder:
        for key, file in zip(task.keys, task.files, strict=True):
            if isinstance(file, bytes):
                Path(folder, key.hex()).write_bytes(file)
            paths[key] = file if isinstance(file, str) else str(Path(folder, key.hex()))
        yield lambda keys: [paths[key] for key in keys]


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect the warnings of fc7 in a list, because nobody reads the stderr of a worker."""
    warned: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warned.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(handler)
    try:
        yield warned
    finally:
        logger.removeHandler(handler)
