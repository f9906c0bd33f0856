"""Stratified folds of groups, as scikit-learn's ``StratifiedGroupKFold`` of today makes them, shuffled.

That one measures all classes for each group in each fold, so that two copies among 100,000 images cost a minute, and
keeps a count of each class for each group. Its shuffled folds were not stratified before 1.9.
"""

import numpy as np

from ..arrays import Floats, Positions

_NUMBERS = 2**20  # counts that are looked at together


def group_folds(y: Positions, groups: Positions, folds: int, random_state: int) -> list[Positions]:
    """Return the positions that each fold holds out, ascending.

    One group after the other goes to the fold with which the shares of the classes differ least between folds; first
    the groups that are most of one class, in random order among equals.

    Parameters
    ----------
    y, groups
        The class and the group of each image, ``(n,)``.
    folds
        At most as many as there are groups.
    """
    from sklearn.utils import check_random_state

    _, y, sizes = np.unique(y, return_inverse=True, return_counts=True)
    groups = np.unique(groups, return_inverse=True)[1]
    cells, counts = np.unique(groups * len(sizes) + y, return_counts=True)
    owner, classes = np.divmod(cells, len(sizes))
    starts = np.searchsorted(owner, np.arange(int(groups.max()) + 2))
    shuffled = np.arange(len(starts) - 1)
    check_random_state(random_state).shuffle(shuffled)
    purity = _deviations(starts, classes, counts, len(sizes))
    filled = _Folds(sizes, folds)
    fold_of = np.empty(len(shuffled), np.intp)
    for group in shuffled[np.argsort(-purity[shuffled], kind="stable")].tolist():
        own = slice(starts[group], starts[group + 1])
        fold_of[group] = filled.take(classes[own], counts[own])
    return [np.flatnonzero(fold_of[groups] == fold) for fold in range(folds)]


def _deviations(starts: Positions, classes: Positions, counts: Positions, width: int) -> Floats:
    """Return the standard deviation of the counts of all classes in each group."""
    number, size = len(starts) - 1, max(_NUMBERS // width, 1)
    deviations = np.empty(number)
    for first in range(0, number, size):
        last = min(first + size, number)
        cells = slice(starts[first], starts[last])
        table = np.zeros((last - first, width))
        table[np.repeat(np.arange(last - first), np.diff(starts[first : last + 1])), classes[cells]] = counts[cells]
        deviations[first:last] = table.std(axis=1)
    return deviations


class _Folds:
    """Folds that are filled with groups."""

    def __init__(self, sizes: Positions, folds: int) -> None:
        self._sizes, self._number = sizes, folds
        self._counts = np.zeros((folds, len(sizes)))
        self._images = [0] * folds
        self._spread = np.zeros(len(sizes))  # standard deviation between folds of the share of each class
        self._itself = np.eye(folds)[:, :, None]

    def take(self, classes: Positions, counts: Positions) -> int:
        """Put so many images of some classes into the best fold, and return that."""
        if len(classes) == 1:  # NumPy adds up single columns in another order, which can decide between equals
            classes, counts = np.repeat(classes, 2), np.repeat(counts, 2)
            images = int(counts[0])
        else:
            images = int(counts.sum())
        tried = (self._counts[:, classes] + self._itself * counts) / self._sizes[classes]  # (folds to try, folds, ...)
        tried -= np.add.reduce(tried, axis=1, keepdims=True) / self._number
        tried *= tried
        spreads = np.sqrt(np.add.reduce(tried, axis=1) / self._number)
        best, least, fewest = 0, np.inf, np.inf
        for fold, spread in enumerate(spreads):
            self._spread[classes] = spread
            value, held = np.add.reduce(self._spread) / len(self._spread), self._images[fold]
            equal = abs(value - least) <= 1e-8 + 1e-5 * least
            if value < least or (equal and held < fewest):
                best, least, fewest = fold, value, held
        self._spread[classes] = spreads[best]
        self._counts[best, classes] += counts
        self._images[best] += images
        return best
