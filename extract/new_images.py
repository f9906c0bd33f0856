"""Vectors of new images, which belong to no data set: files, folders, patterns, URLs or pictures in memory."""

import glob
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..cache.store import Store
from ..cache.urls import address
from .backbones.backbone import Backbone
from .extraction import fill
from .in_memory import Picture, embed
from .manifest.hashing import hash_files
from .manifest.manifest import Manifest
from .manifest.paths import refusal, refusal_by_name
from .progress import Progress, silent

T = TypeVar("T")
Views = list[list[npt.NDArray[Any]]]  # for each view, for each recipe: vectors (images, dim) in the stored dtype

CHUNK = 4096  # images whose embeddings are in memory at once


class NewImages:
    """Images that belong to no data set.

    Parameters
    ----------
    images
        Files or their URLs; folders, URLs of prefixes and patterns such as ``new/**/*.jpg``, which stand for the images
        in them; or images in memory, as :func:`fc7.extract.in_memory.embed` takes them.

    Attributes
    ----------
    names
        By place: the path, or for an image in memory its place, as in ``image 0``.
    rejected
        Why an image has no vectors, by place; filled while the vectors are made.
    """

    def __init__(self, images: Sequence[Path | str | Picture]) -> None:
        self._files: dict[int, str] = {}
        self._pictures: dict[int, Picture] = {}
        for image in images:
            if isinstance(image, str | Path):
                for path in expand([image]):
                    self._files[len(self)] = path
            else:
                self._pictures[len(self)] = image
        self.names = self._files | {place: f"image {place}" for place in self._pictures}
        self.rejected: dict[int, str] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._files) + len(self._pictures)

    def vectors(
        self,
        backbones: Sequence[Backbone],
        *,
        cache: Path | str | None = None,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> Iterator[tuple[list[int], Views]]:
        """Yield the places of some images and their vectors, until all are done; computing what the cache lacks."""
        yield from self._of_files(backbones, cache, workers, progress)
        yield from self._of_pictures(backbones)

    def _of_files(
        self, backbones: Sequence[Backbone], cache: Path | str | None, workers: int | None, progress: Progress
    ) -> Iterator[tuple[list[int], Views]]:
        if not self._files:
            return
        manifest = Manifest.of_files(self._files.values())
        reasons, blocks = cached_vectors(manifest, backbones, cache=cache, workers=workers, progress=progress)
        self.rejected |= {place: reasons[path] for place, path in self._files.items() if path in reasons}
        places = iter([place for place, path in self._files.items() if path not in reasons])
        for views in blocks:
            yield list(itertools.islice(places, len(views[0][0]))), views

    def _of_pictures(self, backbones: Sequence[Backbone]) -> Iterator[tuple[list[int], Views]]:
        for start in range(0, len(self._pictures), CHUNK):
            places = [*self._pictures][start : start + CHUNK]
            vectors, rejected = embed([self._pictures[place] for place in places], backbones)
            finite = np.all([np.isfinite(matrix).all(axis=1) for matrix in vectors], axis=0)
            reasons = dict.fromkeys(np.flatnonzero(~finite), "its embedding is not finite") | rejected
            self.rejected |= {places[row]: reason for row, reason in reasons.items()}
            rows = [row for row in range(len(places)) if row not in reasons]
            if rows:
                views = by_view(backbones, [matrix[rows] for matrix in vectors])
                yield [places[row] for row in rows], views


def cached_vectors(
    manifest: Manifest,
    backbones: Sequence[Backbone],
    *,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> tuple[dict[str, str], Iterator[Views]]:
    """Return why some images have no vectors, by path, and the vectors of all others in order, some at a time.

    What the cache lacks is computed before this returns.
    """
    extractions = fill(manifest, backbones, cache=cache, workers=workers, progress=progress) if manifest.images else []
    rejects = itertools.chain(manifest.rejects, *(extraction.rejects for extraction in extractions))
    reasons = {reject.path: reject.reason for reject in rejects}
    rows = [row for row, path in enumerate(manifest.images.paths) if path not in reasons]

    def blocks() -> Iterator[Views]:
        stores = by_view(backbones, [Store(extraction.recipe, cache) for extraction in extractions])
        keys = hash_files(manifest, stores[0][0].index).keys[np.array(rows)]
        for start in range(0, len(keys), CHUNK):
            yield [[store.rows(keys[start : start + CHUNK]) for store in view] for view in stores]

    return reasons, blocks() if rows else iter(())


def by_view(backbones: Sequence[Backbone], items: Sequence[T]) -> list[list[T]]:
    """Group items, one for each recipe in the order of backbones, views and layers, by view."""
    rest = iter(items)
    by_backbone = [
        [[next(rest) for _ in backbone.recipes] for _ in range(1 + backbone.views)] for backbone in backbones
    ]
    return [[item for view in views for item in view] for views in zip(*by_backbone, strict=True)]


def expand(images: Sequence[Path | str]) -> Iterator[str]:
    """Yield the paths and URLs; of folders, patterns and prefixes, those of the images in them."""
    for image in images:
        path, url = Path(image), address(image)
        if url:
            yield from _objects(url)
        elif path.is_dir():
            yield from (str(file) for file in sorted(path.rglob("*")) if not refusal(file))
        elif glob.has_magic(str(path)) and not path.exists():
            matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - relative and absolute alike
            yield from (file for file in matches if not refusal(file)) if matches else [str(path)]
        else:
            yield str(path)


def _objects(url: str) -> Iterator[str]:
    """Yield a URL that has the suffix of an image, or the URLs of the images below it."""
    if not refusal_by_name(url):
        yield url
        return
    from .manifest.object_store import listing, visible

    yield from (f"{url}/{name}" for name in visible(listing(url)) if not refusal_by_name(name))
