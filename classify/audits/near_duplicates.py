"""Near-duplicates: images of other bytes that show the same picture.

Candidates are found without looking at every pair: the images nearest by their embeddings, and those of the same
outlines at 16 x 16 pixels, because a backbone takes a grey picture for another one. Pixels decide about each; without
pixels, those of embeddings above a threshold are candidates, and are called that.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings, Rows
from ...cache.tables import counted
from ...cache.urls import Location
from ...errors import ImageRejected
from ...extract.decoding.damage import unreadable_now
from ...extract.decoding.decode import decode
from ...extract.decoding.memory_budget import in_turn
from ...extract.decoding.views import read_hashed
from ...extract.machine import cores
from ...extract.manifest.paths import located
from ...extract.progress import Progress, silent
from ..arrays import Positions
from ..solvers.nearest import Nearest, nearest
from .alignment import PAIRS, SIDE, Pictures, Ratios, outlines, same_details, squeezed
from .findings import ImagePair, cosine_of, pair_of

SAME = 0.2  # distance of details, 1 - correlation, as a share of that which the k-th likest picture usually has
CLOSEST = 5  # images nearest by embedding, whose pixels are compared with those of each image
OUTLINES = 0.8  # least cosine of outlines of candidates

Copies = Sequence[Sequence[int]]  # rows by image: an image with copies has several


@dataclass(frozen=True)
class Alike:
    """Pairs of images that show the same picture, and those that nobody compared.

    Attributes
    ----------
    same
        Confirmed by pixels.
    candidates
        By cosine alone, because there were no pixels to compare.
    compared
        How many pairs were compared by pixels; None if there were none.
    least
        Correlation of details of the first; None if there are no pixels.
    """

    same: list[ImagePair]
    candidates: list[ImagePair]
    compared: int | None = None
    least: float | None = None
    notes: list[str] = field(default_factory=list)


def near_duplicates(
    images: Embeddings,
    copies: Copies,
    near: Nearest,
    threshold: float,
    *,
    root: Location | None = None,
    of_any_cosine: bool = True,
    progress: Progress = silent,
) -> Alike:
    """Return pairs of images that show the same picture.

    Parameters
    ----------
    copies
        The rows of each image.
    near
        Of each image, the nearest others by embedding.
    threshold
        Least cosine of a candidate without pixels.
    root
        The folder that paths are relative to; None where there are no pictures.
    of_any_cosine
        Whether pixels alone decide about the nearest images.
    """
    pairs = near.pairs(threshold)[0]
    if root is None:
        return Alike([], _found("candidate", images, copies, pairs))
    pictures, ratios, readable = _pictures(images, [rows[0] for rows in copies], root, progress)
    rest = _found("candidate", images, copies, pairs[~readable[pairs].all(axis=1)])
    closest = Nearest(near.places[:, :CLOSEST], near.cosines[:, :CLOSEST]).pairs(-1)[0]
    pairs = np.unique(np.vstack([pairs, closest, nearest(outlines(pictures), CLOSEST).pairs(OUTLINES)[0]]), axis=0)
    pairs = pairs[readable[pairs].all(axis=1)]
    details = _details(pairs, pictures, ratios, progress)
    least = 1 - SAME * _usual_distance(pairs, details, len(copies))
    found = _found("near-duplicate", images, copies, pairs[details >= least], details[details >= least])
    found = [pair for pair in found if of_any_cosine or pair.cosine >= threshold]
    missing = counted(int((~readable).sum()), "picture was", "pictures were")
    notes = [] if readable.all() else [f"near-duplicates: {missing} not there to compare"]
    return Alike(found, rest, len(pairs), least, notes)


def _details(pairs: Positions, pictures: Pictures, ratios: Ratios, progress: Progress) -> npt.NDArray[np.float32]:
    """Return the correlation of details of pairs of pictures."""
    from ...extract.backbones.torch_runtime import each_with

    details = np.empty(len(pairs), np.float32)

    def compare(start: int) -> None:
        one, other = pairs[start : start + PAIRS].T
        details[start : start + PAIRS] = same_details(pictures[one], pictures[other], ratios[one], ratios[other])

    with each_with(1) as begin:  # beside other work, threads that wait for each other are many times slower
        _in_threads(compare, range(0, len(pairs), PAIRS), partial(progress, "compare pixels"), begin)
    return details


def _usual_distance(pairs: Positions, details: npt.NDArray[np.float32], images: int) -> float:
    """Return the median distance of details to the k-th likest picture, at most 1.

    Photographs have few details in common, it is 1; of drawings, digits or frames all have, and copies must be closer.
    """
    image, correlation = pairs.T.ravel(), np.tile(details, 2)
    order = np.lexsort((-correlation, image))
    counts = np.bincount(image, minlength=images)
    kth = np.cumsum(counts) - counts + CLOSEST - 1
    known = counts >= CLOSEST
    distance = np.ones(images)
    distance[known] = 1 - np.clip(correlation[order][kth[known]], 0, 1)
    return float(np.median(distance))


def _pictures(
    images: Rows, rows: Sequence[int], root: Location, progress: Progress
) -> tuple[Pictures, Ratios, npt.NDArray[np.bool_]]:
    """Return small grey pictures of some rows, their ratios of sides, and which could be read."""
    pictures, ratios = np.zeros((len(rows), SIDE, SIDE), np.uint8), np.ones(len(rows), np.float32)
    readable = np.zeros(len(rows), bool)
    keys = images.keys

    def read(place: int) -> None:
        try:
            with unreadable_now(), in_turn():
                image = decode(read_hashed(located(root, str(images.paths[rows[place]])), keys[rows[place]]), 2 * SIDE)
        except (ImageRejected, OSError):
            return
        pictures[place], ratios[place], readable[place] = squeezed(image), image.width / image.height, True

    _in_threads(read, range(len(rows)), partial(progress, "read pictures"))
    return pictures, ratios, readable


def _in_threads(
    work: Callable[[int], None],
    places: range,
    progress: Callable[[int, int], None],
    begin: Callable[[], None] | None = None,
) -> None:
    """Do the work at each place; threads call `begin` first."""
    pool = ThreadPoolExecutor(cores(), initializer=begin)
    try:
        for place, _ in zip(places, pool.map(work, places), strict=True):
            progress(min(place + places.step, places.stop), places.stop)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


def _found(
    kind: str, images: Embeddings, copies: Copies, pairs: Positions, details: npt.NDArray[np.float32] | None = None
) -> list[ImagePair]:
    """Return pairs of images, the worst first; among the copies of both, take two of different splits if there are."""
    found = []
    for number, places in enumerate(pairs):
        choices = list(itertools.product(*(_first_of_each_split(images, copies[place]) for place in places)))
        a, b = next(((a, b) for a, b in choices if images.split[a] != images.split[b]), choices[0])
        value = None if details is None else float(details[number])
        found.append(pair_of(kind, images, a, b, cosine_of(images, a, b), value))
    return sorted(found, key=lambda pair: (not pair.across_splits, not pair.labels_differ, -pair.cosine))


def _first_of_each_split(images: Rows, rows: Sequence[int]) -> list[int]:
    return list({str(images.split[row]): row for row in reversed(rows)}.values())[::-1]
