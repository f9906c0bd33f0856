"""Audit: look for copies, near-duplicates, outliers and wrong labels in a data set."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.model_selection import ParameterGrid

from ...cache.arguments import checked
from ...cache.embeddings import Embeddings, Rows
from ...cache.tables import MOST, cell, counted, data_frame, html_table
from ...cache.urls import Location, locate
from ...errors import DataError, UsageError
from ...extract.computing import computing
from ...extract.progress import Progress, silent
from ...extract.text import few
from ...extract.vector_files.columns import as_table
from ..arrays import Positions
from ..data.checks import require_finite
from ..data.splits import Protocol
from ..evaluation.confident_learning import off_diagonal, self_confidence
from ..fitting.search import FoldSearch, SearchResult
from ..heads.table import Head, find_head
from ..solvers.lapack import threads
from ..solvers.nearest import nearest
from .findings import COLUMNS, ImagePair, Outlier, Suspect, cosine_of, image_of, pair_of
from .near_duplicates import Alike, Copies, near_duplicates

NEAREST = 20  # images compared per image, so that the cost does not grow with the number of similar images
REPEATS = 3  # divisions into folds; probabilities are averaged, so that the ranking does not depend on one division
LONG = 60.0  # seconds from which logreg judges no labels unless it is asked for
FAR = 3.5  # median absolute deviations above the median (Iglewicz and Hoaglin 1993)
NEAR = 0.5  # of the median distance to the k-th nearest image
_ROUNDING = 1e-4  # of a distance between equal float16 embeddings


@dataclass(frozen=True)
class Audit:
    """The findings, the worst first in every list, and the rules that found them.

    Attributes
    ----------
    images
        What was audited, in the order of keys.
    duplicates
        Copies, by their bytes, each paired with the first image of the same bytes.
    groups
        Groups of the manifest that are in two splits, as a pair of one image from each.
    near_duplicates
        Pairs that show the same picture, perhaps cropped, mirrored, grey or brighter, by their pixels; first those
        across splits, then those whose labels differ.
    candidates
        Pairs whose cosine is ``settings["threshold"]`` or more, where there were no pictures to compare. Only the 20
        nearest images of each image are looked at.
    outliers
        Images whose distance to the k-th nearest is above ``settings["outlier_distance"]``.
    suspects
        Labels that out-of-fold predictions contradict, by self-confidence, the least first.
    settings
        ``threshold``, ``details`` (the least correlation of near-duplicates; None without pictures), ``compared``
        (pairs of pictures), ``neighbours``, ``outlier_distance``, ``head``, ``hyperparameters`` (one set per division
        into folds), ``folds``, ``repeats``, ``judged`` images and the out-of-fold ``accuracy`` on their labels.
    notes
        What was not judged, and why.
    """

    images: Embeddings
    duplicates: list[ImagePair]
    groups: list[ImagePair]
    near_duplicates: list[ImagePair]
    candidates: list[ImagePair]
    outliers: list[Outlier]
    suspects: list[Suspect]
    settings: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def leaks(self) -> list[ImagePair]:
        """Pairs that ``fit`` and ``compare`` refuse: the same bytes, or one group, in two splits."""
        return [pair for pair in [*self.duplicates, *self.groups] if pair.across_splits]

    @property
    def conflicts(self) -> list[ImagePair]:
        """Copies that are labelled differently."""
        return [pair for pair in self.duplicates if pair.labels_differ]

    @property
    def findings(self) -> list[ImagePair | Outlier | Suspect]:
        """Every finding once."""
        pairs = [*self.duplicates, *self.groups, *self.near_duplicates, *self.candidates]
        return [*pairs, *self.outliers, *self.suspects]

    @property
    def lists(self) -> dict[str, Sequence[ImagePair | Outlier | Suspect]]:
        """The findings by kind; a copy in two splits is a leak and a duplicate."""
        return {
            "leaks": self.leaks,
            "conflicts": self.conflicts,
            "duplicates": self.duplicates,
            "near_duplicates": self.near_duplicates,
            "candidates": self.candidates,
            "outliers": self.outliers,
            "labels": self.suspects,
        }

    @property
    def counts(self) -> dict[str, int]:
        """The number of findings of each kind."""
        return {name: len(findings) for name, findings in self.lists.items()}

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {name.replace('_', '-')}" for name, count in self.counts.items())
        return f"Audit({self.images.name!r}, {counted(len(self.images), 'image')}: {counts})"

    def _repr_html_(self) -> str:
        shown = ("finding", "path", "label", "split", "other_path", "predicted")
        rows = [[cell(row.get(name)) for name in shown] for row in (found.to_dict() for found in self.findings[:MOST])]
        return html_table(repr(self), shown, rows, len(self.findings))

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row for each finding, and the columns of ``fc7 audit --csv``.

        Raises
        ------
        MissingExtra
            pandas is not installed.
        """
        rows = [finding.to_dict() for finding in self.findings]
        return data_frame({name: [row.get(name) for row in rows] for name in COLUMNS})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "data": self.images.name,
            "images": len(self.images),
            "classes": dict(Counter(label for label in self.images.labels.tolist() if label)),
            "unlabelled": int((self.images.labels == "").sum()),
            "splits": dict(Counter(split for split in self.images.split.tolist() if split)),
            "backbone": self.images.recipe.backbone,
            "layer": self.images.recipe.layer,
            "counts": self.counts,
            "settings": self.settings,
            "notes": self.notes,
            **{name: [finding.to_dict() for finding in findings] for name, findings in self.lists.items()},
        }


@checked
@computing()
def audit(
    embeddings: Any,
    *,
    head: str | Head | BaseEstimator | None = None,
    threshold: float | None = None,
    neighbours: int = 5,
    folds: int = 5,
    random_state: int = 0,
    images: Path | str | None = None,
    progress: Progress = silent,
) -> Audit:
    """Look for copies, near-duplicates, outliers and wrong labels in all splits of a data set together.

    Parameters
    ----------
    embeddings
        Of any data set, with labels or without: copies across splits or with two labels are reported, not refused. Or
        what else :func:`fc7.classify.fit` takes; ``(X, None)`` has no labels.
    head
        As for :func:`fc7.classify.fit`; default logreg, or ridge where that would take minutes. Labels are judged by
        its out-of-fold predictions, averaged over three divisions into folds. Copies and groups stay in one fold;
        hyper-parameters are chosen by log loss over the folds.
    threshold
        Least cosine of a candidate. By default half as far away as the k-th nearest image usually is,
        ``1 - median / 2`` over the data set, because no fixed cosine suits every backbone and data set; and where there
        are pictures, they are compared with the nearest ones whatever their cosine.
    neighbours
        The k of outliers and of the default threshold. An outlier is farther from its k-th nearest image (Ramaswamy
        et al. 2000) than the median plus 3.5 median absolute deviations, times 1.4826 (Iglewicz and Hoaglin 1993).
    folds
        Labels of classes with fewer images than folds are not judged.
    random_state
        Of folds and head.
    images
        The folder that paths are relative to. Only pictures tell near-duplicates from images that are alike: without
        them there are candidates.
    progress
        As for :func:`fc7.extract.extract`.

    Raises
    ------
    UsageError
        No such head, or a number that makes no sense.
    DataError
        Embeddings that are not finite; or see :func:`fc7.extract.vector_files.columns.from_memory`.
    """
    selected = check_options(head, threshold, neighbours, folds)
    embeddings = as_table(embeddings, "audit").in_key_order()
    require_finite(embeddings, np.arange(len(embeddings)))
    rows = _by_key(embeddings)
    root = None if images is None else locate(images)
    alike, outliers, rules = _by_embedding(embeddings, rows, threshold, neighbours, root, progress)
    suspects, judged, notes = _by_head(embeddings, selected, folds, random_state, progress=progress)
    return Audit(
        images=embeddings,
        duplicates=[pair_of("duplicate", embeddings, first, copy, 1.0) for first, *copies in rows for copy in copies],
        groups=list(_divided_groups(embeddings)),
        near_duplicates=alike.same,
        candidates=alike.candidates,
        outliers=outliers,
        suspects=suspects,
        settings=rules | judged,
        notes=[*notes, *alike.notes],
    )


def alike_and_outliers(embeddings: Embeddings, images: Path, progress: Progress = silent) -> dict[str, list[list[str]]]:
    """Return paths: pairs that show the same picture, and images that resemble no other, by the defaults of `audit`."""
    embeddings = embeddings.in_key_order()
    alike, outliers, _ = _by_embedding(embeddings, _by_key(embeddings), None, 5, images, progress)
    return {
        "near_duplicates": [[pair.first.path, pair.second.path] for pair in alike.same],
        "outliers": [[outlier.image.path] for outlier in outliers],
    }


def check_options(
    head: str | Head | BaseEstimator | None = None,
    threshold: float | None = None,
    neighbours: int = 5,
    folds: int = 5,
) -> Head | None:
    """Return the head, if one is given and the options are valid; see :func:`audit`."""
    selected = None if head is None else find_head(head)
    if selected and selected.layer:
        raise UsageError(
            f"The head {selected.name} is trained like a network and judges no label. Take another, or no --head."
        )
    if threshold is not None and not 0 < threshold <= 1:
        raise UsageError(f"--threshold {threshold:g}: must be more than 0 and at most 1. It is a cosine.")
    if neighbours < 1 or folds < 2:
        raise UsageError(f"--neighbours {neighbours}, --folds {folds}: at least 1 and 2 are needed.")
    return selected


def _by_key(images: Rows) -> list[list[int]]:
    """Return the rows of each image, in order; an image with copies has several."""
    rows: dict[bytes, list[int]] = defaultdict(list)
    for row, key in enumerate(images.keys):
        rows[key].append(row)
    return list(rows.values())


def _divided_groups(embeddings: Embeddings) -> Iterator[ImagePair]:
    """Yield pairs of a group in two splits: an image of one split with one of each other; copies are left out."""
    first: dict[str, dict[str, int]] = defaultdict(dict)
    for row, (group, split) in enumerate(zip(embeddings.group.tolist(), embeddings.split.tolist(), strict=True)):
        if group and split:
            first[group].setdefault(split, row)
    for row, *others in (list(splits.values()) for splits in first.values()):
        for other in others:
            if embeddings.keys[row] != embeddings.keys[other]:
                yield pair_of("group", embeddings, row, other, cosine_of(embeddings, row, other))


def _by_embedding(
    embeddings: Embeddings,
    rows: Copies,
    threshold: float | None,
    neighbours: int,
    root: Location | None,
    progress: Progress,
) -> tuple[Alike, list[Outlier], dict[str, Any]]:
    """Compare each image, given by its rows, with all others."""
    first = np.array([copies[0] for copies in rows], dtype=np.intp)
    with threads(len(first)):
        near = nearest(embeddings.vectors[first], max(NEAREST, neighbours), progress=progress)
    if not near.cosines.shape[1]:
        settings = {"threshold": threshold, "details": None, "compared": None if root is None else 0}
        return Alike([], []), [], settings | {"neighbours": neighbours, "outlier_distance": None}
    distance = 1 - near.cosines[:, min(neighbours, near.cosines.shape[1]) - 1].astype(np.float64)
    median = float(np.median(distance))
    spread = 1.4826 * float(np.median(np.abs(distance - median)))
    far = median + FAR * max(spread, _ROUNDING)
    least = min(1 - NEAR * median, 1 - _ROUNDING) if threshold is None else threshold
    alike = near_duplicates(
        embeddings, rows, near, least, root=root, of_any_cosine=threshold is None, progress=progress
    )
    order = [int(place) for place in np.argsort(-distance, kind="stable") if distance[place] > far]
    outliers = [Outlier(image_of(embeddings, int(first[place])), float(distance[place])) for place in order]
    settings = {"threshold": least, "details": alike.least, "compared": alike.compared}
    return alike, outliers, settings | {"neighbours": neighbours, "outlier_distance": far}


def _by_head(
    embeddings: Embeddings, head: Head | None, folds: int, random_state: int, *, progress: Progress
) -> tuple[list[Suspect], dict[str, Any], list[str]]:
    """Judge the labels of the classes that are large enough, if there are at least two."""
    why = ""
    if head is None:
        head, why = _judge(embeddings, folds)
    settings: dict[str, Any] = {"head": head.name, "folds": folds, "repeats": REPEATS, "judged": 0}
    counts = Counter(embeddings.labels.tolist())
    unlabelled = counts.pop("", 0)
    if not counts:
        return [], settings, ["no image has a label to judge"]
    small = sorted(name for name, count in counts.items() if count < folds)
    notes = [f"{counted(unlabelled, 'image has', 'images have')} no label to judge"] if unlabelled else []
    notes += [f"labels not judged, fewer than {counted(folds, 'image')}: {few(small)}"] if small else []
    rows = np.flatnonzero(~np.isin(embeddings.labels, ["", *small]))
    judged = replace(embeddings[rows], classes=tuple(name for name in embeddings.classes if counts[name] >= folds))
    if len(judged.classes) < 2:
        return [], settings, [*notes, "no label judged: fewer than two classes are large enough"]
    try:
        results, done = _out_of_fold(judged, head, folds, random_state, progress=progress)
    except DataError as error:
        return [], settings, [*notes, f"no label judged: {error}"]
    notes += [why] if why else []
    probability = np.mean([result.probability for result in results], axis=0)
    unconverged = sum(result.unconverged for result in results)
    notes += [f"did not converge: {unconverged} of {REPEATS * done} fits"] if unconverged else []
    settings |= {
        "folds": done,
        "judged": len(judged),
        "accuracy": float((probability.argmax(axis=1) == judged.y).mean()),
        "hyperparameters": [result.hyperparameters for result in results],
    }
    return _suspects(judged, probability), settings, notes


def _judge(embeddings: Embeddings, folds: int) -> tuple[Head, str]:
    """Return the head to judge labels by, and why it is not logreg, where it is not."""
    logreg, (n, dim), classes = find_head("logreg"), embeddings.vectors.shape, len(embeddings.classes)
    seconds = REPEATS * folds * len(ParameterGrid(logreg.grid)) * logreg.seconds(n, dim, classes)
    if seconds < LONG:
        return logreg, ""
    took = f"logreg would take about {max(round(seconds / 60), 1)} min on {n} images of {classes} classes"
    return find_head("ridge"), f"labels are judged by ridge: {took} (--head logreg takes it)"


def _out_of_fold(
    embeddings: Embeddings, head: Head, folds: int, random_state: int, *, progress: Progress
) -> tuple[list[SearchResult], int]:
    """Choose hyper-parameters on all rows, once per division into folds; return this, with out-of-fold scores.

    And return the number of folds, which copies and groups may lower.
    """
    everything = np.arange(len(embeddings))
    total = len(ParameterGrid(head.grid)) * folds
    results: list[SearchResult] = []
    search = FoldSearch(embeddings, Protocol("out-of-fold", (), folds, random_state), everything, None)
    for repeat in range(REPEATS):

        def count_done(done: int, base: int = repeat * total) -> None:
            progress(f"judge labels by {head.name}", base + done, REPEATS * total)

        seed = (random_state + repeat) % 2**32
        search.divide(seed)  # the prepared rows stay the same
        with threads(len(everything)):
            results.append(search.search(head, count_done))
    return results, len(search.folds)


def _suspects(images: Rows, probability: npt.NDArray[np.float64]) -> list[Suspect]:
    y: Positions = images.y
    own, off, likeliest = self_confidence(probability, y), off_diagonal(probability, y), probability.argmax(axis=1)
    order = [int(row) for row in np.argsort(own, kind="stable") if likeliest[row] != y[row]]
    return [
        Suspect(
            image=image_of(images, row),
            self_confidence=float(own[row]),
            predicted=images.classes[likeliest[row]],
            probability=float(probability[row, likeliest[row]]),
            off_diagonal=bool(off[row]),
        )
        for row in order
    ]
