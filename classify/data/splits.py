"""Splits: which rows are fitted on and which are predicted, so that no image is ever on both sides."""

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Rows
from ...cache.recipe import ForeignRecipe
from ...cache.tables import counted
from ...errors import DataError, LeakageError
from ...extract.text import few
from ..arrays import Positions
from ..settings import DEFAULTS, ProtocolSettings
from .checks import require_classes
from .group_folds import group_folds

logger = logging.getLogger(__name__)

# A message shows this many pairs of images, and so many letters of a name: the first of these that keep it short.
_SIZES, _MOST = ((5, 120), (2, 120), (2, 60), (1, 60), (1, 30)), 500

SET_ASIDE = "set aside"  # a split of rows that cross-validation fits on in every fold and never predicts

Pairs = list[tuple[int, int]]  # of rows


@dataclass(frozen=True)
class Protocol:
    """How a data set is fitted and evaluated."""

    evaluated: str  # `val`, `test` or `5-fold cross-validation`
    # `(fitted rows, predicted rows)`: one pair for a given split, one per fold otherwise. Every evaluated row is
    # predicted exactly once.
    pairs: tuple[tuple[Positions, Positions], ...]
    folds: int  # folds in which hyper-parameters are chosen, inside the fitted rows
    random_state: int
    leaked: int = 0  # predicted rows that are fitted on, too, by their bytes or group

    @property
    def rows(self) -> Positions:
        """All predicted rows, in order."""
        return np.sort(np.concatenate([predicted for _, predicted in self.pairs]))


def protocol(images: Rows, settings: ProtocolSettings = DEFAULTS) -> Protocol:
    """Decide which rows are fitted on and which are predicted; all have a label.

    Cross-validation is nested: hyper-parameters are chosen within the fitted rows of each fold. A data set without
    splits is cross-validated in as many folds as there are to choose in.

    Raises
    ------
    LeakageError
        An image is on both sides of the split.
    DataError
        There are fewer than two classes, a class has too few images for the folds, one image has two labels, or there
        is nothing to evaluate on.
    """
    on, folds, seed = settings.on, settings.folds, settings.random_state
    elsewhere = isinstance(getattr(images, "recipe", None), ForeignRecipe)  # without pictures to look at
    require_classes(images.labels.tolist(), *(["Give each vector its label."] if elsewhere else []))
    conflicts = _two_labels(images)
    present = {str(split) for split in images.split} - {"", SET_ASIDE}
    if settings.cross_validate or not present:
        if on:
            raise DataError(f"There is no split {on!r}: the data set has no splits, so it is cross-validated.")
        _refuse(images, conflicts, [], allowed=True)
        aside = images.split == SET_ASIDE
        everything = np.flatnonzero(~aside)
        # Two of a class are left to choose in when one fold is held out.
        option = "--cross-validate" if settings.cross_validate else "--folds"
        outer = _affordable(images, everything, settings.cross_validate or folds, 3, option)
        others = np.flatnonzero(aside)  # fitted on in every fold
        cuts = cut(images, everything, outer, seed)
        pairs = tuple((np.sort(np.concatenate([others, inner])), held) for inner, held in cuts)
        return Protocol(f"{len(pairs)}-fold cross-validation", pairs, folds or min(outer, 5), seed)
    on = on or ("val" if "val" in present else "test")
    if on not in present - {"train"} or "train" not in present:
        raise DataError(f"Cannot fit on train and evaluate on {on!r}: the data set has {sorted(present)}.")
    fitted, predicted = np.flatnonzero(images.split == "train"), np.flatnonzero(images.split == on)
    leaks = _leaks(images, fitted, predicted)
    _refuse(images, conflicts, leaks, allowed=settings.allow_leakage)
    inner = _affordable(images, fitted, folds, least=2)
    return Protocol(on, ((fitted, predicted),), inner, seed, len(leaks))


def cut(images: Rows, rows: Positions, folds: int, random_state: int) -> list[tuple[Positions, Positions]]:
    """Return stratified folds of some rows; copies of an image and images of a group stay together.

    There are fewer folds where a class has fewer images.

    Raises
    ------
    DataError
        Because of copies and groups, a fold would have no image of some class to fit on.
    """
    from sklearn.model_selection import StratifiedKFold

    groups = together(images, rows)
    y = images.y[rows]
    counts = Counter(str(label) for label in images.labels[rows])
    folds = min(folds, *counts.values(), len(set(groups)))
    _require_several_groups(images, y, groups)
    if folds < 2:
        raise DataError(
            f"One image of a class cannot be fitted on and held out. {_by_class(counts)}. Copies and groups stay "
            "together. Add images."
        )
    if len(set(groups)) == len(rows):
        parts = [held for _, held in StratifiedKFold(folds, shuffle=True, random_state=random_state).split(rows, y)]
    else:
        parts = group_folds(y, groups, folds, random_state)
    splits = [(np.delete(rows, held), rows[held]) for held in parts]
    for fitted, _ in splits:
        absent = counts.keys() - {str(label) for label in images.labels[fitted]}
        if absent:
            raise DataError(
                f"{folds} folds leave one without class {few([repr(min(absent))])} to fit on: copies and groups stay "
                f"together. {_by_class(counts)}. Lower --folds, or add images."
            )
    return splits


def _require_several_groups(images: Rows, y: Positions, groups: Positions) -> None:
    """Refuse a class whose images are all of one group: they cannot be on both sides."""
    if len(set(groups)) == len(groups):
        return
    number = np.bincount(np.unique(np.column_stack([y, groups]), axis=0)[:, 0])
    counts = np.bincount(y)
    alone = np.flatnonzero((number == 1) & (counts > 1))
    if len(alone):
        name = few([repr(images.classes[alone[0]])])
        raise DataError(
            f"All {counts[alone[0]]:,} images of class {name} are of one group, or copies. They stay together and "
            "cannot be fitted on and held out. Add images of other groups, or leave the class out."
        )


def together(images: Rows, rows: Positions) -> Positions:
    """Return a group number per row: rows that share a key or named group, also through others, are one group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keys = np.unique(images.sha256[rows], axis=0, return_inverse=True)[1].reshape(-1)
    names = images.group[rows]
    named = np.unique(names, return_inverse=True)[1] + keys.max(initial=0) + 1
    links = np.where(names == "", keys, named)
    size = int(links.max(initial=0)) + 1
    graph = coo_array((np.ones(len(rows)), (keys, links)), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    return np.asarray(component[keys], dtype=np.intp)


def _affordable(images: Rows, rows: Positions, folds: int | None, least: int, option: str = "--folds") -> int:
    counts = Counter(dict.fromkeys(images.classes, 0))
    counts.update(str(label) for label in images.labels[rows])
    name, smallest = min(counts.items(), key=lambda item: item[1])
    needed = max(folds or least, least)
    if smallest < needed:
        lower = f", or lower {option}" if smallest >= least else ""
        raise DataError(
            f"Class {few([repr(name)])} has {counted(smallest, 'image')} to fit on, {needed} are needed. "
            f"{_by_class(counts)}. Add images to fit on{' or' if not lower else ','} leave the class out{lower}."
        )
    return folds or min(5, smallest)


def _by_class(counts: Counter[str]) -> str:
    """Return the number of images of the smallest classes."""
    ordered = sorted(counts.items(), key=lambda item: (item[1], item[0]))
    return f"Images of the smallest classes: {few([f'{count} of {name!r}' for name, count in ordered], 4)}"


def disputed(images: Rows) -> Positions:
    """Return the rows whose bytes have two labels, or whose bytes or group are in two splits.

    Whoever calls :func:`protocol` before the images are decoded looks at these first: what is no image conflicts with
    nothing.
    """
    if not (images.group != "").any() and len(images.keys.unique()) == len(images):
        return np.empty(0, np.intp)
    keys = np.unique(images.sha256, axis=0, return_inverse=True)[1].reshape(-1)
    alike = together(images, np.arange(len(images)))
    return np.flatnonzero(_several(keys, images.labels) | _several(alike, images.split))


def _several(numbers: Positions, names: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Return for each row whether its number occurs with several names."""
    pairs = np.unique(np.column_stack([numbers, np.unique(names, return_inverse=True)[1]]), axis=0)
    return np.asarray(np.bincount(pairs[:, 0])[numbers] > 1)


def _two_labels(images: Rows) -> Pairs:
    """Return each copy with another label than the first image of its bytes, after that one."""
    first: dict[bytes, int] = {}
    rows = ((first.setdefault(key.tobytes(), row), row) for row, key in enumerate(images.sha256))
    return [(earlier, row) for earlier, row in rows if images.labels[earlier] != images.labels[row]]


def _leaks(images: Rows, fitted: Positions, predicted: Positions) -> Pairs:
    """Return each predicted image that is fitted on, too, by its bytes or group, after the fitted one.

    Images are of one group also through others, which may be neither fitted on nor predicted.
    """
    keys, groups = images.keys, together(images, np.arange(len(images)))
    seen: dict[bytes | int, int] = {int(groups[row]): row for row in fitted}
    seen |= {keys[row]: row for row in fitted}
    found = ((seen.get(keys[row], seen.get(int(groups[row]))), int(row)) for row in predicted)
    return [(one, two) for one, two in found if one is not None]


def _refuse(images: Rows, conflicts: Pairs, leaks: Pairs, *, allowed: bool) -> None:
    """Refuse copies with two labels, and leaks unless they are allowed, in one message."""
    beside = "images are" if len(leaks) > 1 else "image is"
    copies = f"{len(conflicts)} copies have" if len(conflicts) > 1 else "One copy has"
    for pairs, letters in _SIZES:
        contrary, alike = _contrary(images, conflicts, pairs, letters), _alike(images, leaks, pairs, letters)
        texts = [f"{copies} another label: {contrary}. Remove one of each two."] if conflicts else []
        leaking = f"{len(leaks)} {beside} on both sides of the split, by bytes or group: {alike}. Remove one side"
        if leaks and not allowed:
            texts.append(f"{leaking}, or accept an optimistic figure with --allow-leakage.")
        if texts and max(len(conflicts), len(leaks)) > pairs:
            texts.append("All of them, of each group one pair: fc7 audit DATA --csv FILE.csv")
        message = " ".join(texts) or f"{leaking}: the figures below are optimistic."
        if len(message) <= _MOST:
            break
    if texts:
        raise (DataError if allowed or not leaks else LeakageError)(message)
    if leaks:
        logger.warning("%s", message)


def _contrary(images: Rows, conflicts: Pairs, pairs: int, letters: int) -> str:
    """Return the first copies with two labels."""
    paths, labels = images.paths, images.labels
    texts = [
        "{} is {}, its copy {} is {}".format(
            *(_end(str(text), letters) for text in (paths[one], labels[one], paths[two], labels[two]))
        )
        for one, two in conflicts[:pairs]
    ]
    return "; ".join([*texts, *_more(conflicts, pairs)])


def _alike(images: Rows, leaks: Pairs, pairs: int, letters: int) -> str:
    """Return the first images on both sides."""
    texts = []
    for one, two in leaks[:pairs]:
        first, second = (_end(str(images.paths[row]), letters) for row in (one, two))
        same = images.keys[one] == images.keys[two]
        group = _end(str(images.group[one] or images.group[two]), letters)
        texts.append(f"{first} = {second} (the same image)" if same else f"{first} and {second} (group {group})")
    return ", ".join([*texts, *_more(leaks, pairs)])


def _more(all_pairs: Pairs, pairs: int) -> list[str]:
    return [f"{len(all_pairs) - pairs} more"] if len(all_pairs) > pairs else []


def _end(text: str, letters: int) -> str:
    """Return the end of a long text: in a path it tells files apart."""
    return text if len(text) <= letters else f"...{text[3 - letters :]}"


@dataclass(frozen=True)
class Fold:
    """Rows to fit on and rows to predict. Rows in neither (other views of the predicted images) are not used."""

    fitted: Positions
    held: Positions

    def absent(self, n: int) -> Positions:
        """Return all of ``n`` rows that are not fitted on; the predicted ones come first if they do in ``range(n)``."""
        return np.setdiff1d(np.arange(n), self.fitted, assume_unique=True)
