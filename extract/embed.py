"""The batch loop: missing keys -> units -> decoded batches -> every backbone -> committed shards."""

import hashlib
import logging
import os
import platform
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..cache.embeddings import Embeddings, Rows
from ..cache.format import KEY_BYTES, default_directory, open_directory
from ..cache.index import Index
from ..cache.recipe import Recipe, Transform
from ..cache.shard import Shard
from ..cache.store import Store
from ..errors import DataError, ImageRejected, Interrupted
from .accounting import Clock, Extraction, account
from .backbones import Backbone
from .decode import decode, to_array
from .manifest import Manifest
from .progress import Progress, silent

logger = logging.getLogger(__name__)

AHEAD = 3  # batches decoded in advance: bounds memory, keeps the network fed


def extract(
    manifest: Manifest,
    backbone: Backbone,
    *,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> Embeddings:
    """Return the embeddings of all images of a manifest, computing only those that the cache does not have.

    Parameters
    ----------
    manifest
        From :func:`fc7.extract.read_manifest`.
    backbone
        Tapped at one layer.
    cache
        Directory; default ``$FC7_CACHE`` or the user's cache folder.
    workers
        Decoding threads; default one per core.
    progress
        Called with a stage, images done and images to do.

    Raises
    ------
    DataError
        No image could be embedded.
    CacheError
        The cache refuses; what was committed before is kept.
    Interrupted
        Ctrl-C; what was computed is kept.
    """
    if len(backbone.recipes) != 1:
        raise ValueError(f"{backbone.name} is tapped at {len(backbone.recipes)} layers; extract takes one, fill any.")
    done = fill(manifest, [backbone], cache=cache, workers=workers, progress=progress)[0]
    if not done.ok:
        raise DataError(f"None of {done.seen} images of {manifest.root} could be embedded: {done.rejects[0].reason}")
    return read(manifest, backbone.recipes[0], cache=cache, weights_source=backbone.weights_source)


def read(
    manifest: Manifest, recipe: Recipe, *, cache: Path | str | None = None, weights_source: str = ""
) -> Embeddings:
    """Return the embeddings of all images of a manifest from the cache alone; rejected images are left out.

    Raises
    ------
    CacheError
        Some images have neither a row nor a recorded rejection.
    """
    store = Store(recipe, cache)
    rows = hashed(manifest, cache=cache)
    rows = rows[np.array([key not in store.rejected for key in rows.keys], dtype=bool)]
    return Embeddings(
        **{field.name: getattr(rows, field.name) for field in fields(Rows)},
        vectors=store.rows(rows.keys),
        recipe=recipe,
        weights_source=weights_source,
        seconds=store.seconds(rows.keys),
    )


def hashed(manifest: Manifest, *, cache: Path | str | None = None) -> Rows:
    """Return the readable images of a manifest with the sha256 of their bytes, without vectors.

    Only files that the cache's index has not seen are read.
    """
    directory = open_directory(Path(cache) if cache is not None else default_directory())
    hashes = Index(directory / "index.sqlite").sha256(manifest.files)
    kept = [(image, key) for image, key in zip(manifest.images, hashes, strict=True) if isinstance(key, bytes)]
    return Rows(
        labels=_column(image.label for image, _ in kept),
        paths=_column(image.path for image, _ in kept),
        split=_column(image.split for image, _ in kept),
        group=_column(image.group for image, _ in kept),
        sha256=np.frombuffer(b"".join(key for _, key in kept), np.uint8).reshape(len(kept), KEY_BYTES),
        classes=manifest.classes,
        name=manifest.name,
    )


def fill(
    manifest: Manifest,
    backbones: Sequence[Backbone],
    *,
    cache: Path | str | None = None,
    workers: int | None = None,
    unit_rows: int | None = None,
    progress: Progress = silent,
) -> list[Extraction]:
    """Compute what the cache lacks, for any number of backbones and layers, decoding each image once.

    Parameters
    ----------
    unit_rows
        Rows committed together; by default about 20 seconds of work.

    Returns
    -------
    list of Extraction
        One per recipe, in the order of backbones and layers. Raises what :func:`extract` raises.
    """
    clock = Clock()
    stores = [Store(recipe, cache) for backbone in backbones for recipe in backbone.recipes]
    with clock("hash"):
        hashes = stores[0].index.sha256(manifest.files)
    files = {key: path for key, path in zip(hashes, manifest.files, strict=True) if isinstance(key, bytes)}
    before = [set(store.missing(files)) for store in stores]
    unreadable: dict[bytes, str] = {}
    missing = sorted(set().union(*before))
    if missing:
        loop = _Loop(backbones, stores, files, clock, workers or os.cpu_count() or 1, unreadable, progress)
        loop.run(missing, unit_rows or min(backbone.unit_rows for backbone in backbones))
    clock.stop()
    return [
        account(manifest, hashes, store, lacked, unreadable, clock)
        for store, lacked in zip(stores, before, strict=True)
    ]


@dataclass
class _Batch:
    """Decoded pixels of some keys, one array per transform; keys that are no image have zeros and a reason."""

    keys: list[bytes]
    pixels: dict[Transform, npt.NDArray[np.uint8]]
    rejected: dict[bytes, str]
    unreadable: dict[bytes, str]


@dataclass
class _Loop:
    backbones: Sequence[Backbone]
    stores: Sequence[Store]
    files: Mapping[bytes, Path]
    clock: Clock
    workers: int
    unreadable: dict[bytes, str]
    progress: Progress

    def run(self, missing: Sequence[bytes], unit_rows: int) -> None:
        """Compute unit after unit; commits run beside the next unit's computation."""
        size = max(backbone.batch_size for backbone in self.backbones)
        batches = [
            missing[start : min(start + size, unit + unit_rows)]
            for unit in range(0, len(missing), unit_rows)
            for start in range(unit, min(unit + unit_rows, len(missing)), size)
        ]
        stage = "extract " + " + ".join(dict.fromkeys(backbone.name for backbone in self.backbones))
        done = 0
        with self.clock("load"):
            for backbone in self.backbones:
                backbone.load()
        with ThreadPoolExecutor(self.workers) as decoders, ThreadPoolExecutor(1) as committer:
            commits: deque[Future[None]] = deque()
            unit = _Unit(self.stores)
            self.progress(stage, 0, len(missing))
            try:
                for batch in self._decoded(decoders, batches, size):
                    self._embed(batch, unit)
                    done += len(batch.keys)
                    unit.ended = time.perf_counter()
                    if done % unit_rows == 0 or done == len(missing):
                        commits.append(committer.submit(self._commit, unit))
                        unit = _Unit(self.stores)
                    while len(commits) > 1 or (commits and done == len(missing)):
                        commits.popleft().result()
                    self.progress(stage, done, len(missing))
            except KeyboardInterrupt:
                decoders.shutdown(wait=False, cancel_futures=True)
                for commit in [*commits, committer.submit(self._commit, unit)]:
                    commit.result()
                raise Interrupted(
                    f"Interrupted: {done} of {len(missing)} images are computed and kept. "
                    "The same command goes on from there."
                ) from None

    def _decoded(self, pool: ThreadPoolExecutor, batches: Sequence[Sequence[bytes]], size: int) -> Iterator[_Batch]:
        """Yield batches in order while the next ones are being decoded."""
        queue: deque[tuple[_Batch, list[Future[float]]]] = deque()
        transforms = {backbone.recipes[0].transform for backbone in self.backbones}
        for number in range(len(batches) + AHEAD):
            if number < len(batches):
                keys = list(batches[number])
                pixels = {t: np.zeros((size, t.crop, t.crop, 3), np.uint8) for t in transforms}
                batch = _Batch(keys, pixels, {}, {})
                queue.append((batch, [pool.submit(self._decode, batch, row) for row in range(len(keys))]))
            if number >= AHEAD and queue:
                batch, futures = queue.popleft()
                with self.clock("wait"):
                    self.clock.seconds["decode"] += sum(future.result() for future in futures)
                yield batch

    def _decode(self, batch: _Batch, row: int) -> float:
        """Put one image's pixels in its row and return the seconds. The bytes decoded are the bytes hashed."""
        key = batch.keys[row]
        start = time.perf_counter()
        try:
            data = self.files[key].read_bytes()
            if hashlib.sha256(data).digest() != key:
                raise OSError(0, "changed while it was being read")
            image = decode(data)
            for transform, pixels in batch.pixels.items():
                pixels[row] = to_array(image, transform)
        except OSError as error:
            batch.unreadable[key] = f"not readable: {error.strerror}"
        except ImageRejected as error:
            batch.rejected[key] = str(error)
        return time.perf_counter() - start

    def _embed(self, batch: _Batch, unit: "_Unit") -> None:
        self.unreadable |= batch.unreadable
        skipped = batch.rejected.keys() | batch.unreadable.keys()
        number = 0
        for backbone in self.backbones:
            pixels = batch.pixels[backbone.recipes[0].transform]
            start = time.perf_counter()
            vectors = _forward(backbone, pixels, len(batch.keys))
            seconds = time.perf_counter() - start
            self.clock.seconds["forward"] += seconds
            for matrix in vectors:
                unit.add(number, batch, matrix, skipped)
                unit.forward[number] += seconds
                number += 1

    def _commit(self, unit: "_Unit") -> None:
        with self.clock("commit"):
            for number, store in enumerate(self.stores):
                shard = unit.shard(number, self._provenance() | {"seconds": f"{unit.seconds(number):.3f}"})
                if shard.keys or shard.rejected:
                    store.append(shard)

    def _provenance(self) -> dict[str, str]:
        import torch

        return {
            "fc7": __version__,
            "torch": str(torch.__version__),
            "device": ", ".join(str(backbone.device) for backbone in self.backbones),
            "batch_size": ", ".join(str(backbone.batch_size) for backbone in self.backbones),
            "machine": platform.machine(),
        }


class _Unit:
    """Rows on their way to one shard per store."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = stores
        self.rows: list[list[tuple[bytes, npt.NDArray[Any]]]] = [[] for _ in stores]
        self.rejected: list[dict[bytes, str]] = [{} for _ in stores]
        self.forward = [0.0 for _ in stores]
        self.started = self.ended = time.perf_counter()

    def seconds(self, number: int) -> float:
        """Return what one store's rows cost: all time but the other backbones' forward passes."""
        others = sum(set(self.forward)) - self.forward[number]
        return self.ended - self.started - others

    def add(self, number: int, batch: _Batch, matrix: npt.NDArray[np.float32], skipped: set[bytes]) -> None:
        """Take the rows that the store does not have; those that are not finite are rejected."""
        store = self.stores[number]
        with np.errstate(over="ignore"):
            stored = matrix.astype(store.recipe.dtype)
        finite = np.isfinite(stored).all(axis=1)
        for row, key in enumerate(batch.keys):
            if key in store or key in store.rejected:
                continue
            if key in batch.rejected:
                self.rejected[number][key] = batch.rejected[key]
            elif key not in skipped and finite[row]:
                self.rows[number].append((key, stored[row]))  # one step: Ctrl-C may come between any two
            elif key not in skipped:
                self.rejected[number][key] = f"its embedding is not finite in {store.recipe.dtype}"

    def shard(self, number: int, provenance: Mapping[str, str]) -> Shard:
        """Return what is to be committed to a store."""
        recipe = self.stores[number].recipe
        keys = [key for key, _ in self.rows[number]]
        matrix = np.empty((len(keys), recipe.dim), recipe.dtype)
        for row, (_, vector) in enumerate(self.rows[number]):
            matrix[row] = vector
        return Shard(keys, matrix, self.rejected[number], provenance)


def _forward(backbone: Backbone, pixels: npt.NDArray[np.uint8], rows: int) -> list[npt.NDArray[np.float32]]:
    """Run a backbone in its own batch size over a decoded batch that may be larger, padding the last one with zeros."""
    size = backbone.batch_size
    parts = []
    for start in range(0, rows, size):
        part = pixels[start : start + size]
        if len(part) < size:
            part = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
        parts.append(backbone.forward(part))
    return [np.concatenate(layer)[:rows] for layer in zip(*parts, strict=True)]


def _column(values: Iterable[str]) -> npt.NDArray[np.str_]:
    return np.array(list(values), dtype=np.str_)
