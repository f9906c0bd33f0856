"""Vectors of new images, which belong to no data set: files, folders, patterns, URLs or pictures in memory."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..cache.urls import URL, is_url
from ..errors import DataError
from .backbones.backbone import Backbone
from .extraction import fill
from .in_memory import Picture, VectorsByRecipe, embed
from .manifest.folder import visible
from .manifest.given import many
from .manifest.hashing import Hashed
from .manifest.left_out import LeftOut
from .manifest.manifest import Manifest, read_manifest
from .manifest.members import is_member
from .manifest.paths import Reject, refusal_by_name
from .manifest.patterns import images_below, is_pattern, matching
from .manifest.shards import archives_of, each_member
from .manifest.tables import parquets_below
from .progress import Progress, silent
from .text import few

CHUNK = 4096  # images whose embeddings are in memory at once


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
        self.names: list[str] = []
        self.rejected: dict[int, str] = {}
        given = many(images)
        for image in given:
            if not isinstance(image, str | os.PathLike):
                self._pictures[len(self.names)] = image
                self.names.append(f"image {len(self.names)}")
                continue
            for path, reason in expand([image]):
                if reason:
                    self.rejected[len(self.names)] = reason
                else:
                    self._files[len(self.names)] = path
                self.names.append(path)
        if not self.names:
            where = str(given[0]) if len(given) == 1 else few([str(path) for path in given]) or "an empty list"
            raise DataError(f"There are no images in {where}.")

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
    ) -> Iterator[tuple[list[int], VectorsByRecipe]]:
        """Yield the places of some images and their vectors, until all are done; computing what the cache lacks."""
        if self._files:
            hashed = Hashed.of(Manifest.of_files(self._files.values()), cache, progress=progress)
            rejects, blocks = cached_vectors(hashed, backbones, workers=workers, progress=progress)
            reasons = dict(rejects)
            self.rejected |= {place: reasons[path] for place, path in self._files.items() if path in reasons}
            places = [place for place, path in self._files.items() if path not in reasons]
            for block, vectors in blocks:
                yield places[block], vectors
        for start in range(0, len(self._pictures), CHUNK):
            places = [*self._pictures][start : start + CHUNK]
            vectors, rejected = embed([self._pictures[place] for place in places], backbones)
            self.rejected |= {places[row]: reason for row, reason in rejected.items()}
            rows = [row for row in range(len(places)) if row not in rejected]
            if rows:
                yield [places[row] for row in rows], {recipe: matrix[rows] for recipe, matrix in vectors.items()}


def cached_vectors(
    hashed: Hashed, backbones: Sequence[Backbone], *, workers: int | None = None, progress: Progress = silent
) -> tuple[list[Reject], Iterator[tuple[slice, VectorsByRecipe]]]:
    """Return what has no vectors, and the vectors of all other images in order, some at a time, each with its slice.

    What the cache lacks is computed before this returns.
    """
    extractions = fill(hashed, backbones, workers=workers, progress=progress)
    rejects = list(dict.fromkeys(reject for extraction in extractions for reject in extraction.rejects))
    rejected = {reject.path for reject in rejects}
    keys = hashed.keys[np.array([path not in rejected for path in hashed.manifest.images.paths], bool)]

    def read(start: int) -> tuple[slice, VectorsByRecipe]:
        block = slice(start, start + CHUNK)
        return block, {each.recipe: hashed.store(each.recipe).rows(keys[block]) for each in extractions}

    return rejects, map(read, range(0, len(keys), CHUNK))


def expand(images: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[str, str]]:
    """Yield the paths and URLs; of folders, patterns and prefixes, those in them; and why each is no image, or nothing.

    Hidden files and a system's own are left out, and said.
    """
    for image in many(images):
        left_out = LeftOut()
        yield from _expanded(os.fsdecode(image), left_out)
        left_out.log(image)


def _expanded(image: str, left_out: LeftOut) -> Iterator[tuple[str, str]]:
    if is_url(image):
        yield from _objects(URL(image))
        return
    path = str(Path(image)) if image else ""
    if os.path.isdir(path):  # noqa: PTH112 - False for any error
        yield from _below(path, left_out)
    elif path and (archives := archives_of(Path(path))) and not is_member(path):
        yield from each_member(archives)
    elif is_pattern(path):
        matches = matching(path, left_out)
        first = next(matches, (path, "no file has a name like that"))
        yield from itertools.chain([first], matches)
    else:
        yield path, "" if path else "an empty name"


def _below(folder: str, left_out: LeftOut) -> Iterator[tuple[str, str]]:
    """Yield the images below a folder; or in the archives there, if there are no others."""
    if os.path.dirname(whole := os.path.realpath(folder)) == whole:  # noqa: PTH120
        yield folder, "the whole file system"
        return
    below, refused = images_below(folder, left_out), []
    for path, reason in below:
        refused.append((path, reason))
        if not reason:
            yield from itertools.chain(refused, below)
            return
    if archives := archives_of(Path(folder)):
        yield from each_member(archives)
    elif parquets_below(Path(folder)):
        left_out.about_images.clear()
        manifest = read_manifest(folder)
        yield from itertools.chain(zip(manifest.files, itertools.repeat("")), manifest.rejects)
    else:
        yield from refused


def _objects(url: str) -> Iterator[tuple[str, str]]:
    """Yield a URL that has the suffix of an image, or the URLs below it."""
    if not refusal_by_name(url):
        yield url, ""
        return
    from .manifest.object_store import listing

    yield from ((f"{url}/{name}", refusal_by_name(name)) for name in visible(url, listing(url)) if name[-1] != "/")
