"""Vectors of new images, which belong to no data set: files, folders, patterns, URLs or pictures in memory."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..cache.store import Store
from ..cache.urls import URL, is_url
from ..errors import DataError
from .backbones.backbone import Backbone
from .extraction import fill
from .in_memory import Picture, embed
from .manifest.given import many
from .manifest.hashing import hash_files
from .manifest.left_out import LeftOut
from .manifest.manifest import Manifest
from .manifest.paths import refusal_by_name
from .manifest.patterns import images_below, is_pattern, matching
from .progress import Progress, silent
from .text import few

T = TypeVar("T")
Views = list[list[npt.NDArray[Any]]]  # for each view, for each recipe: vectors (images, dim) in the stored dtype

CHUNK = 4096  # images whose embeddings are in memory at once


class RejectedPath(str):
    """A path at which there is no image.

    Parameters
    ----------
    path
        As text.
    reason
        Why not.
    """

    reason: str

    def __new__(cls, path: str, reason: str) -> "RejectedPath":
        """Return the path with its reason."""
        rejected = super().__new__(cls, path)
        rejected.reason = reason
        return rejected


class NewImages:
    """Images that belong to no data set.

    Parameters
    ----------
    images
        Files or their URLs; folders, URLs of prefixes and patterns such as ``new/**/*.jpg``, which stand for the files
        in them; or images in memory, as :func:`fc7.extract.in_memory.embed` takes them. As list, tuple, iterator,
        Series, table of one column, or array of paths or pictures.

    Attributes
    ----------
    names
        By place: the path, or for an image in memory its place, as in ``image 0``.
    rejected
        Why an image has no vectors, by place; filled while the vectors are made.

    Raises
    ------
    UsageError
        One path or one picture instead of many, see :func:`fc7.extract.manifest.given.many`.
    DataError
        There are no images.
    """

    def __init__(self, images: Iterable[Path | str | Picture]) -> None:
        self._files: dict[int, str] = {}
        self._pictures: dict[int, Picture] = {}
        self.names: dict[int, str] = {}
        self.rejected: dict[int, str] = {}
        given = many(images)
        for image in given:
            if isinstance(image, str | os.PathLike):
                for path in expand([image]):
                    self._add_file(path)
            else:
                self._pictures[len(self)] = image
                self.names[len(self)] = f"image {len(self)}"
        if not self.names:
            where = str(given[0]) if len(given) == 1 else few([str(path) for path in given]) or "an empty list"
            raise DataError(f"There are no images in {where}.")

    def _add_file(self, path: str) -> None:
        if isinstance(path, RejectedPath):
            self.rejected[len(self)] = path.reason
        else:
            self._files[len(self)] = path
        self.names[len(self)] = str(path)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.names)

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
            self.rejected |= {places[row]: reason for row, reason in rejected.items()}
            rows = [row for row in range(len(places)) if row not in rejected]
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


def expand(images: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Yield the paths and URLs; of folders, patterns and prefixes, those in them.

    What is known to be no image is a :class:`RejectedPath`. Hidden files and a system's own are left out, and said.
    """
    for image in many(images):
        left_out = LeftOut()
        for path, reason in _expanded(os.fsdecode(image), left_out):
            yield RejectedPath(path, reason) if reason else path
        left_out.log(image)


def _expanded(image: str, left_out: LeftOut) -> Iterator[tuple[str, str]]:
    if is_url(image):
        yield from _objects(URL(image))
        return
    path = str(Path(image)) if image else ""
    if os.path.isdir(path):  # noqa: PTH112 - False for any error
        everything = os.path.realpath(path) == os.sep
        yield from [(path, "the whole file system")] if everything else images_below(path, left_out)
    elif is_pattern(path):
        matches = matching(path, left_out)
        first = next(matches, (path, "no file has a name like that"))
        yield from itertools.chain([first], matches)
    else:
        yield path, "" if path else "an empty name"


def _objects(url: str) -> Iterator[tuple[str, str]]:
    """Yield a URL that has the suffix of an image, or the URLs below it."""
    if not refusal_by_name(url):
        yield url, ""
        return
    from .manifest.object_store import listing, visible

    yield from ((f"{url}/{name}", refusal_by_name(name)) for name in visible(url, listing(url)) if name[-1] != "/")
