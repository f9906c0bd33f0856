"""Other divisions of the same images: random splits, and a few of each class. Groups and copies stay together."""

import numpy as np

from ...cache.embeddings import Rows
from ...cache.tables import counted
from ...errors import DataError
from ...extract.text import few
from ..arrays import Positions
from .group_folds import group_folds
from .splits import Protocol, together

PARTS = 20  # at the most, of which some are evaluated, where images are in groups


def random_split(images: Rows, plan: Protocol, number: int) -> tuple[Positions, Positions]:
    """Return the fitted and the evaluated rows of a random stratified split of all images that a protocol uses.

    The share of evaluated images is that of the protocol, or as near to it as groups allow. `number` and the seed of
    the protocol decide the split, and nothing else.

    Raises
    ------
    DataError
        A class has too few images, or groups, to be on both sides.
    """
    from sklearn.model_selection import StratifiedShuffleSplit

    pool = np.unique(np.concatenate([rows for pair in plan.pairs for rows in pair]))
    share, y, groups = len(plan.pairs[0][1]) / len(pool), images.y[pool], together(images, pool)
    seed = int(np.random.default_rng([plan.random_state, number]).integers(2**31))
    if len(set(groups)) == len(pool):
        evaluated = max(round(share * len(pool)), len(images.classes))
        splitter = StratifiedShuffleSplit(1, test_size=min(evaluated, len(pool) - 1), random_state=seed)
        try:
            inside, outside = next(splitter.split(pool, y))
        except ValueError as error:
            raise DataError(f"The images cannot be split at random: {error} Add images.") from error
    else:
        most = min(PARTS, *(len(set(groups[y == code])) for code in np.unique(y)))
        if most < 2:
            raise DataError("The images cannot be split at random: all of a class are of one group. Add images.")
        parts = group_folds(y, groups, most, seed)[: min(max(round(share * most), 1), most - 1)]
        held = np.concatenate(parts)
        inside, outside = np.setdiff1d(np.arange(len(pool)), held), np.sort(held)
    absent = np.setdiff1d(y, y[inside])
    if len(absent):
        raise DataError(f"A random split has no image of {images.classes[absent[0]]!r} to fit on. Add images.")
    return pool[np.sort(inside)], pool[np.sort(outside)]


def few_images(images: Rows, rows: Positions, size: int, seed: list[int]) -> Positions:
    """Return so many of the rows of each class, drawn at random; raises DataError if a class has fewer.

    Whole groups are drawn, the last of them in part, as more images of one group say little that is new. `size` and
    `seed` decide the draw, and nothing else.
    """
    y, groups = images.y[rows], together(images, rows)
    members = [np.flatnonzero(y == code) for code in np.unique(y)]
    short = [len(own) for own in members if len(own) < size]
    if short:
        raise DataError(f"{size} images of each class cannot be drawn: {few([counted(n, 'image') for n in short])}.")
    return rows[draw(members, size, seed, groups)]


def draw(members: list[Positions], size: int, seed: list[int], groups: Positions | None = None) -> Positions:
    """Return `size` of the members of each class, sorted; see :func:`few_images`."""
    generator = np.random.default_rng(seed)
    if groups is not None and len(np.unique(groups)) < len(groups):
        turn = generator.permutation(int(groups.max()) + 1)  # of the groups, the same for every class
        shuffled = [generator.permutation(own) for own in members]
        return np.sort(np.concatenate([own[np.argsort(turn[groups[own]], kind="stable")][:size] for own in shuffled]))
    return np.sort(np.concatenate([generator.choice(own, size, replace=False) for own in members]))


def usual_sizes(y: Positions) -> list[int]:
    """Return 2, 5, 10, 20, 50, ... images of each class, and all of the smallest one."""
    smallest = int(np.bincount(y)[np.unique(y)].min())
    sizes = [digit * 10**power for power in range(7) for digit in (1, 2, 5)][1:]
    return [size for size in sizes if size < smallest] + ([smallest] if smallest > 1 else [])
