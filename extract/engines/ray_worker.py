"""The worker: an actor on a Ray cluster that loads the backbones once and computes one unit after another.

It runs the same pipeline as ``--engine local``, with the same batches and threads, so that a row has the same bits.
Finished shards are committed from here if the cache is within reach, else they are handed back. Whatever goes wrong is
handed back as a value: an exception that crosses Ray comes out as another one.
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
from ...cache.recipe import Recipe
from ...errors import EngineError, FC7Error
from ..backbones.backbone import Backbone
from ..backbones.spec import BackboneSpec
from ..decoding.worker_process import DecodeProcess
from .accounting import STAGES, Clock
from .local import MOST_THREADS, LocateFiles, Pipeline, cores
from .malloc import keep_freed_memory
from .sinks import BufferSink


class WorkerSpec(NamedTuple):
    """What a worker is made for.

    Attributes
    ----------
    backbones
        In order; the recipes of their views and layers are the stores of the units.
    device
        For each backbone.
    cache
        Where it is on the driver's machine.
    probe, nonce
        A file in the cache, and what is in it: who reads that there has the same cache.
    sample, key
        An image, a file or a URL, and its sha256: who reads that there has the same images.
    loading, threads, workers
        Cores that networks are loaded with and that a thread computes with, as on the driver's machine; and threads.
    """

    version: str
    backbones: tuple[BackboneSpec, ...]
    device: tuple[str, ...]
    cache: str
    probe: str
    nonce: str
    sample: str
    key: bytes
    loading: int
    threads: int
    workers: int


class Ready(NamedTuple):
    """What a worker says when it is ready: where it is, what it sees, and how long loading took."""

    pid: int
    host: str
    torch: str
    devices: tuple[str, ...]
    commits: bool
    sees_images: bool
    seconds: float
    said: tuple[str, ...]


class Heartbeat(NamedTuple):
    """How far a worker is: images of its unit that are done, and what differs from the time before if it goes on."""

    images: int
    sign: tuple[float, ...]


class UnitTask(NamedTuple):
    """One unit: its keys, for each store those that it lacks, and where the bytes are, or the bytes themselves."""

    keys: Sequence[bytes]
    lacking: Sequence[Sequence[bytes]]
    paths: Sequence[str] | None
    data: Sequence[bytes] | None


class UnitResult(NamedTuple):
    """What became of a unit: keys that could not be read, seconds by stage, and the shards unless they are committed.

    `shards` has, for each store, what its outbox held.
    """

    unreadable: Mapping[bytes, str]
    seconds: Mapping[str, float]
    shards: Sequence[Sequence[bytes]]
    said: tuple[str, ...]


class Failure(NamedTuple):
    """An error: its class, its message, and whether it is one of fc7's own, which another try will not change."""

    kind: str
    message: str
    final: bool

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Put an error into words."""
        return cls(type(error).__name__, str(error) or repr(error), isinstance(error, FC7Error))


class Worker:
    """The actor. Its methods return what happened, errors included."""

    def __init__(self, post: WorkerSpec) -> None:
        self.post = post
        self._backbones: list[Backbone] = []
        self._decoders = [DecodeProcess() for _ in range(post.workers)]  # started if there is need; they end with us
        self._commits = False
        self._clock = Clock()
        self._images, self._steps = 0, 0

    def life(self) -> Heartbeat:
        """Say how far it is; called while another method is at work."""
        return Heartbeat(self._images, (self._steps, self._images, self._clock.busy))

    def prepare(self) -> Ready | Failure:
        """Load the backbones and make sure that they are the driver's."""
        try:
            with _heard() as said:
                hello = self._prepare()
            return hello._replace(said=tuple(said))
        except Exception as error:
            return Failure.of(error)

    def run(self, task: UnitTask) -> UnitResult | Failure:
        """Compute a unit."""
        try:
            with _heard() as said:
                report = self._run(task)
            return report._replace(said=tuple(said))
        except Exception as error:
            return Failure.of(error)

    def _prepare(self) -> Ready:
        clock = Clock()
        if self.post.version != __version__:
            raise EngineError(
                f"The worker on {platform.node()} has fc7 {__version__}, this machine {self.post.version}. "
                "Install the same version on all of them."
            )
        import torch

        self._commits = _holds(self.post.probe, self.post.nonce)
        torch.set_num_threads(self.post.loading)
        with _cache(self.post.cache if self._commits else None) as cache:
            for described, device in zip(self.post.backbones, self.post.device, strict=True):
                backbone = described.load(device, cache)
                _require_same(described, backbone)
                backbone.load()
                self._backbones.append(backbone)
                self._steps += 1
        keep_freed_memory().__enter__()  # for as long as this process lives
        clock.stop()
        return Ready(
            os.getpid(),
            platform.node(),
            str(torch.__version__),
            tuple(str(backbone.device) for backbone in self._backbones),
            self._commits,
            _has(self.post.sample, self.post.key),
            clock.seconds["total"],
            (),
        )

    def _run(self, task: UnitTask) -> UnitResult:
        recipes = [
            recipe
            for backbone in self._backbones
            for view in range(1 + backbone.views)
            for recipe in backbone.recipes_of(view)
        ]
        outboxes = [BufferSink(recipe, keys) for recipe, keys in zip(recipes, task.lacking, strict=True)]
        clock = self._clock = Clock()
        self._images = 0
        with _files(task) as files:
            pipeline = Pipeline(
                self._backbones,
                outboxes,
                files,
                clock,
                workers=self.post.workers,
                threads=self.post.threads,
                beside=max(min(cores(), MOST_THREADS), self.post.workers),
                decoders=self._decoders,
                progress=self._progress,
            )
            unreadable = pipeline.run(task.keys, len(task.keys))
        shards = [outbox.shards for outbox in outboxes]
        if self._commits:
            with clock("commit"):
                for recipe, finished in zip(recipes, shards, strict=True):
                    self._deliver(recipe, finished)
            shards = [[] for _ in outboxes]
        clock.stop()
        return UnitResult(unreadable, {stage: clock.seconds[stage] for stage in STAGES}, shards, ())

    def _deliver(self, recipe: Recipe, shards: Sequence[bytes]) -> None:
        for shard in shards:
            deliver(shard, recipe, Path(self.post.cache))
            self._steps += 1

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._images = done


@contextlib.contextmanager
def _cache(within_reach: str | None) -> Iterator[Path]:
    """Yield the cache, or an empty one for as long."""
    if within_reach is not None:
        yield Path(within_reach)
        return
    with tempfile.TemporaryDirectory(prefix="fc7-") as folder:
        yield Path(folder) / "cache"


def _require_same(described: BackboneSpec, backbone: Backbone) -> None:
    for theirs, mine in zip(described.recipes, backbone.recipes, strict=True):
        if theirs.id != mine.id:
            told = ", ".join(
                f"{name} {one} here and {other} there" for name, (other, one) in mine.differences(theirs).items()
            )
            raise EngineError(
                f"The worker on {platform.node()} makes another {theirs.backbone} {theirs.layer} than this machine: "
                f"{told[:300]}. The same weights and, for random ones, the same torch are needed on all of them."
            )


def _holds(path: str, text: str) -> bool:
    try:
        return Path(path).read_text(encoding="ascii") == text
    except (OSError, ValueError):
        return False


def _has(path: str, key: bytes) -> bool:
    """Say whether an image is within reach: the file system, or the store, its credentials and what it needs."""
    import hashlib

    from ..decoding.decode import read_image_bytes

    try:
        return hashlib.sha256(read_image_bytes(path)).digest() == key
    except (OSError, FC7Error):
        return False


@contextlib.contextmanager
def _files(task: UnitTask) -> Iterator[LocateFiles]:
    """Yield what says where the bytes of each key are; those that came with the task are put into files for as long."""
    if task.data is None:
        paths = dict(zip(task.keys, task.paths or (), strict=True))
        yield lambda keys: [paths[key] for key in keys]
        return
    with tempfile.TemporaryDirectory(prefix="fc7-") as folder:
        files = {key: str(Path(folder) / key.hex()) for key in task.keys}
        for key, data in zip(task.keys, task.data, strict=True):
            Path(files[key]).write_bytes(data)
        yield lambda keys: [files[key] for key in keys]


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """Yield the list of what fc7 warns of: nobody reads the stderr of a worker."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
