"""Review: a person decides on doubted labels, and every decision updates at once which other labels are doubted.

Each image is judged by ridge fitted on all others; see :mod:`fc7.classify.reviews.leave_one_out`. Penalty and
temperature are chosen when the review begins, so that later changes come from decisions only.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from ...cache.embeddings import Embeddings
from ...errors import DataError, UsageError
from ...extract.manifest.manifest import Manifest
from ...extract.progress import Progress, silent
from ...extract.text import few
from ..arrays import Positions
from ..data.checks import require_finite
from ..data.splits import together
from ..evaluation.confident_learning import self_confidence
from ..heads.table import HEADS
from ..solvers.lapack import threads
from .labels import Decision, Labels, numbered
from .leave_one_out import NONE, choose_penalty, prepare

UNDECIDED = ""  # the label of an image whose copies contradict each other


@dataclass(frozen=True)
class Subject:
    """The present state of an image.

    Attributes
    ----------
    image
        Its number.
    paths
        Of the image and its copies.
    decision, given
        The present label, and that of the data set; it is empty if copies contradict each other.
    splits
        The splits of the image and its copies.
    reviewed
        Whether a person has decided.
    likely
        Classes and their probabilities by the fit of all other images, the most probable first.
    """

    image: int
    paths: list[str]
    decision: Decision
    given: Decision
    splits: list[str]
    reviewed: bool
    likely: list[tuple[str, float]]


@dataclass(frozen=True)
class Agreement:
    """The number of labels that the fit of all other images agrees with."""

    right: int
    judged: int


@dataclass(frozen=True)
class Change:
    """The effect of one decision, or of undoing it.

    Attributes
    ----------
    image
        The image of the decision.
    before, after
        Its label before and after.
    undone
        Whether a decision was undone.
    joined, left
        Other images that became suspects, or are no longer suspects.
    agreement_before, agreement_after
        Over all images.
    seconds
        Of the new fit and the new ranking, without writing the csv.
    warning
        Why the decision, which is in the csv, may not survive a power loss; else empty.
    """

    image: int
    before: Decision
    after: Decision
    undone: bool
    joined: list[int]
    left: list[int]
    agreement_before: Agreement
    agreement_after: Agreement
    seconds: float
    warning: str = ""


@dataclass(frozen=True)
class Judged:
    """The present left-out probabilities ``(n, classes)``, and the images they doubt, the most doubtful first."""

    probability: npt.NDArray[np.float64]
    suspects: Positions
    uncertain: Positions
    agreement: Agreement


class Review:
    """A data set under review. Any number of threads may use it.

    Parameters
    ----------
    embeddings
        Of the manifest of `labels`, including bad images.
    labels
        The csv; the review begins with the decisions in it.

    Raises
    ------
    DataError
        Embeddings that are not finite, too few images, or a csv that is not of this data set.
    """

    def __init__(self, embeddings: Embeddings, labels: Labels, *, progress: Progress = silent) -> None:
        require_finite(embeddings, np.arange(len(embeddings)))
        self.name, self.labels = embeddings.name, labels
        self._lock = threading.RLock()
        self._images = _images(embeddings, labels.manifest)
        self._history, self._aside = self._by_image(labels.read())
        decided = dict(self._history)
        known = {decision.label for decision in [*(image.given for image in self._images), *decided.values()]}
        self.classes = tuple(sorted(known - {UNDECIDED} | set(embeddings.classes)))
        self._codes = {name: code for code, name in enumerate(self.classes)} | {UNDECIDED: NONE}
        now = [decided.get(number, image.given) for number, image in enumerate(self._images)]
        y = np.array([self._code(decision) for decision in now], np.intp)
        if len(set(y.tolist()) - {NONE}) < 2:
            raise DataError(f"{self.name} has images of fewer than two classes that are not bad: nothing to judge by.")
        rows = np.array([image.row for image in self._images])
        alphas = HEADS["ridge"].grid["alpha"]
        with threads(len(rows)):
            basis = prepare(np.asarray(embeddings.vectors[rows]))
            alike = together(embeddings, np.arange(len(embeddings)))[rows]
            self._fit, self.alpha, self.temperature = choose_penalty(
                basis, y, len(self.classes), alike, alphas=alphas, progress=progress
            )
            self._judged = self._judge()

    def __len__(self) -> int:
        """Return the number of images; copies count once."""
        return len(self._images)

    @property
    def judged(self) -> Judged:
        """The present judgement of all images."""
        return self._judged

    @property
    def decided(self) -> dict[int, Decision]:
        """The decisions by image, the latest last."""
        with self._lock:
            return _latest(self._history)

    @property
    def closed(self) -> list[int]:
        """The images that need no decision: those decided on, the latest first, and those that were bad before."""
        decided = self.decided
        return [
            *reversed(decided),
            *(number for number, image in enumerate(self._images) if image.given.bad and number not in decided),
        ]

    @property
    def changes(self) -> int:
        """The number of decisions that can be undone, one after another."""
        return len(self._history)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of images that are suspects, were decided on, have a new label, are bad."""
        with self._lock:
            decided = self.decided
            both = [(image.given, decided.get(number, image.given)) for number, image in enumerate(self._images)]
            return {
                "suspects": len(self._judged.suspects),
                "reviewed": len(decided),
                "relabelled": sum(before.label != after.label for before, after in both),
                "bad": sum(after.bad for _, after in both),
            }

    def subject(self, image: int) -> Subject:
        """Return the present state of an image.

        Raises
        ------
        UsageError
            There is no image with this number.
        """
        self._require(image)
        return self.subjects([image])[0]

    def subjects(self, images: Sequence[int]) -> list[Subject]:
        """Return the present states of images."""
        with self._lock:
            decided, subjects = self.decided, []
            for number in images:
                image, probability = self._images[number], self._judged.probability[number]
                best = np.argsort(-probability, kind="stable")[:3].tolist()
                subject = Subject(
                    image=number,
                    paths=image.paths,
                    decision=decided.get(number, image.given),
                    given=image.given,
                    splits=image.splits,
                    reviewed=number in decided,
                    likely=[(self.classes[code], float(probability[code])) for code in best],
                )
                subjects.append(subject)
            return subjects

    def key(self, image: int) -> str:
        """Return the sha256 of an image's bytes in hex; raises as :meth:`subject`."""
        self._require(image)
        return self._images[image].key

    def decide(self, image: int, label: str | None = None, *, bad: bool = False) -> Change:
        """Label an image and its copies, with the same label to confirm it, or mark them as bad.

        Parameters
        ----------
        label
            One of ``classes``; by default its present label.

        Raises
        ------
        UsageError
            No such image or class.
        DataError
            No head could be fitted on the csv any more, or it cannot be written; nothing changes then.
        """
        with self._lock:
            self._require(image)
            before = self._now(image)
            after = Decision(before.label if label is None else label, bad)
            if after.label not in self._codes or (after.label == UNDECIDED and not bad):
                raise UsageError(f"There is no class {after.label!r}. Classes: {few(self.classes)}.")
            self._require_manifest(image, after)
            return self._go_to([*self._history, (image, after)], image, before, undone=False)

    def undo(self) -> Change:
        """Undo the latest decision.

        Raises
        ------
        DataError
            There is no decision, or the csv cannot be written.
        """
        with self._lock:
            if not self._history:
                raise DataError("Nothing to undo: no decision is left.")
            image = self._history[-1][0]
            return self._go_to(self._history[:-1], image, self._now(image), undone=True)

    def _go_to(self, history: list[tuple[int, Decision]], image: int, before: Decision, *, undone: bool) -> Change:
        """Replace the history; write the csv first, so that a decision counts only once it is stored."""
        latest = [(self._images[number].paths, decision) for number, decision in _latest(history).items()]
        warning = self.labels.write(numbered([*self._aside, *latest]))
        start = time.perf_counter()
        self._history = history
        after, old = self._now(image), self._judged
        with threads(len(self)):
            self._fit.put(image, self._code(after))
            self._judged = new = self._judge()
        return Change(
            image=image,
            before=before,
            after=after,
            undone=undone,
            joined=np.setdiff1d(np.setdiff1d(new.suspects, old.suspects), [image]).tolist(),
            left=np.setdiff1d(np.setdiff1d(old.suspects, new.suspects), [image]).tolist(),
            agreement_before=old.agreement,
            agreement_after=new.agreement,
            seconds=time.perf_counter() - start,
            warning=warning,
        )

    def _judge(self) -> Judged:
        probability = np.asarray(softmax(self._fit.scores() / self.temperature, axis=1))
        y, likeliest = self._fit.y, probability.argmax(axis=1)
        fitted = y != NONE
        own = np.where(fitted, self_confidence(probability, y), -1.0)
        open_ = np.ones(len(y), bool)
        open_[self.closed] = False
        doubted = open_ & (likeliest != y)
        first, second = np.partition(probability, -2, axis=1)[:, [-1, -2]].T
        order, closest = np.argsort(own, kind="stable"), np.argsort(first - second, kind="stable")
        return Judged(
            probability=probability,
            suspects=order[doubted[order]],
            uncertain=closest[(open_ & ~doubted)[closest]],
            agreement=Agreement(int((fitted & (likeliest == y)).sum()), int(fitted.sum())),
        )

    def _code(self, decision: Decision) -> int:
        return NONE if decision.bad else self._codes[decision.label]

    def _now(self, image: int) -> Decision:
        return self.decided.get(image, self._images[image].given)

    def _require(self, image: int) -> None:
        if not 0 <= image < len(self):
            raise UsageError(f"There is no image {image}: they are numbered from 0 to {len(self) - 1}.")

    def _require_manifest(self, image: int, after: Decision) -> None:
        """Refuse a decision after which nothing can be fitted on the csv: train must have every class of all splits."""
        y = self._fit.y.copy()
        y[image] = self._code(after)
        fitted = set(y[[image.fitted for image in self._images]].tolist()) - {NONE}
        lost = sorted(set(y.tolist()) - {NONE} - fitted)
        path = self._images[image].paths[0]
        if lost:
            name = self.classes[lost[0]]
            raise DataError(f"No image of {name!r} would be left to fit on without {path}, but some in other splits.")
        if len(fitted) < 2:
            raise DataError(f"Images of one class only would be left to fit on without {path}: two classes are needed.")

    def _by_image(
        self, decisions: Mapping[str, Decision]
    ) -> tuple[list[tuple[int, Decision]], list[tuple[list[str], Decision]]]:
        """Return decisions by image, the latest last; and by path those on images that could not be read.

        The latter stay in the csv.
        """
        numbers = {path: number for number, image in enumerate(self._images) for path in image.paths}
        by_image: dict[int, list[Decision]] = {}
        aside = []
        for path, decision in decisions.items():
            if path in numbers:
                by_image[numbers[path]] = [*by_image.pop(numbers[path], []), decision]
            else:
                aside.append(([path], decision))
        return [(number, _agreed(copies)) for number, copies in by_image.items()], aside


class _Image(NamedTuple):
    """An image and its copies; paths, splits and given are those of :class:`Subject`."""

    key: str  # sha256 in hex
    row: int  # the first one
    paths: list[str]
    splits: list[str]
    given: Decision
    fitted: bool  # whether heads are fitted on it: it is in train, or the data set has no splits


def _images(embeddings: Embeddings, manifest: Manifest) -> list[_Image]:
    by_path, rows = defaultdict(list), defaultdict(list)
    for entry in manifest.images:
        by_path[entry.path].append(entry)
    for row, key in enumerate(embeddings.keys):
        rows[key].append(row)
    images = []
    for key, copies in rows.items():
        paths = list(dict.fromkeys(embeddings.paths[copies].tolist()))
        entries = [entry for path in paths for entry in by_path[path]]
        splits = {entry.split for entry in entries}
        given = _agreed([Decision(entry.label, entry.bad) for entry in entries])
        fitted = bool(splits & {"train", ""})
        images.append(_Image(key.hex(), copies[0], paths, sorted(splits - {""}), given, fitted))
    return images


def _agreed(copies: Sequence[Decision]) -> Decision:
    """Return the common decision of copies: bad only if all are, without a label if labels differ."""
    usable = [copy for copy in copies if not copy.bad] or copies
    labels = {copy.label for copy in usable}
    return Decision(labels.pop() if len(labels) == 1 else UNDECIDED, all(copy.bad for copy in copies))


def _latest(history: Sequence[tuple[int, Decision]]) -> dict[int, Decision]:
    """Return the last decision on each image, the latest last."""
    latest: dict[int, Decision] = {}
    for image, decision in history:
        latest.pop(image, None)
        latest[image] = decision
    return latest
