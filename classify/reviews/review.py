"""Review: a person decides on doubted labels, and every decision updates at once which other labels are doubted.

Each image is judged by ridge fitted on all others; see :mod:`fc7.classify.reviews.leave_one_out`. Penalty and
temperature are chosen when the review begins, so that later changes come from decisions only.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from ...cache.embeddings import Embeddings
from ...errors import DataError, UsageError
from ...extract.manifest.columns import ImageEntry
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
        self._images = _Images(embeddings, labels)
        decisions, given = labels.read(), self._images.given
        decided, self._aside = self._images.by_image(decisions), self._images.aside(decisions)
        known = {decision.label for decision in [*given, *decided.values()]} - {UNDECIDED}
        self.classes = tuple(sorted(known | set(embeddings.classes)))
        self._codes = {name: code for code, name in enumerate(self.classes)} | {UNDECIDED: NONE}
        self._history: list[tuple[int, Decision]] = list(decided.items())
        y = np.array([self._code(decided.get(image, decision)) for image, decision in enumerate(given)], np.intp)
        if len(set(y.tolist()) - {NONE}) < 2:
            raise DataError(f"{self.name} has images of fewer than two classes that are not bad: nothing to judge by.")
        rows = np.array(self._images.first)
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
        return len(self._images.given)

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
            *(image for image, given in enumerate(self._images.given) if given.bad and image not in decided),
        ]

    @property
    def changes(self) -> int:
        """The number of decisions that can be undone, one after another."""
        return len(self._history)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of images that are suspects, were decided on, have a new label, are bad."""
        with self._lock:
            decided, given = self.decided, self._images.given
            now = [decided.get(image, before) for image, before in enumerate(given)]
            return {
                "suspects": len(self._judged.suspects),
                "reviewed": len(decided),
                "relabelled": sum(after.label != before.label for after, before in zip(now, given, strict=True)),
                "bad": sum(after.bad for after in now),
            }

    def subject(self, image: int) -> Subject:
        """Return the present state of an image.

        Raises
        ------
        UsageError
            There is no image with this number.
        """
        with self._lock:
            self._require(image)
            return self._subject(image, self.decided)

    def subjects(self, images: Sequence[int]) -> list[Subject]:
        """Return the present states of images."""
        with self._lock:
            decided = self.decided
            return [self._subject(int(image), decided) for image in images]

    def key(self, image: int) -> str:
        """Return the sha256 of an image's bytes in hex; raises as :meth:`subject`."""
        self._require(image)
        return self._images.keys[image]

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
        paths = self._images.paths
        latest = [(paths[number], decision) for number, decision in _latest(history).items()]
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
        open_[[image for image, given in enumerate(self._images.given) if given.bad]] = False
        open_[list(self.decided)] = False
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
        return _latest(self._history).get(image, self._images.given[image])

    def _require(self, image: int) -> None:
        if not 0 <= image < len(self):
            raise UsageError(f"There is no image {image}: they are numbered from 0 to {len(self) - 1}.")

    def _require_manifest(self, image: int, after: Decision) -> None:
        """Refuse a decision after which nothing can be fitted on the csv: train must have every class of all splits."""
        y = self._fit.y.copy()
        y[image] = self._code(after)
        fitted = set(y[self._images.fitted].tolist()) - {NONE}
        lost = sorted(set(y.tolist()) - {NONE} - fitted)
        path = self._images.paths[image][0]
        if lost:
            name = self.classes[lost[0]]
            raise DataError(f"No image of {name!r} would be left to fit on without {path}, but some in other splits.")
        if len(fitted) < 2:
            raise DataError(f"Images of one class only would be left to fit on without {path}: two classes are needed.")

    def _subject(self, image: int, decided: dict[int, Decision]) -> Subject:
        row = self._judged.probability[image]
        images = self._images
        likely = [(self.classes[code], float(row[code])) for code in np.argsort(-row, kind="stable")[:3]]
        given = images.given[image]
        return Subject(
            image=image,
            paths=images.paths[image],
            decision=decided.get(image, given),
            given=given,
            splits=images.splits[image],
            reviewed=image in decided,
            likely=likely,
        )


class _Images:
    """The images of a data set; copies are one image.

    Attributes
    ----------
    keys, first, paths, splits, given
        Of each image: its sha256 in hex, its first row, and attributes of :class:`Subject`.
    fitted
        ``(n,)`` whether heads are fitted on the image: it is in train, or the data set has no splits.
    """

    def __init__(self, embeddings: Embeddings, labels: Labels) -> None:
        self.keys: list[str] = []
        self.first: list[int] = []
        self._by_path: dict[str, int] = {}
        numbers: dict[bytes, int] = {}
        for row, (path, key) in enumerate(zip(embeddings.paths.tolist(), embeddings.keys, strict=True)):
            number = self._by_path[path] = numbers.setdefault(key, len(numbers))
            if number == len(self.keys):
                self.keys.append(key.hex())
                self.first.append(row)
        entries: list[list[ImageEntry]] = [[] for _ in self.keys]
        for entry in labels.manifest.images:
            if entry.path in self._by_path:
                entries[self._by_path[entry.path]].append(entry)
        self.paths = [list(dict.fromkeys(entry.path for entry in copies)) for copies in entries]
        self.splits = [sorted({entry.split for entry in copies} - {""}) for copies in entries]
        self.given = [_agreed([Decision(entry.label, entry.bad) for entry in copies]) for copies in entries]
        self.fitted = np.array([any(entry.split in ("train", "") for entry in copies) for copies in entries])

    def by_image(self, decided: Mapping[str, Decision]) -> dict[int, Decision]:
        """Return decisions by image, the latest last, without those on images that could not be read."""
        by_image: dict[int, list[Decision]] = {}
        for path, decision in decided.items():
            if path in self._by_path:
                image = self._by_path[path]
                by_image[image] = [*by_image.pop(image, []), decision]
        return {image: _agreed(decisions) for image, decisions in by_image.items()}

    def aside(self, decided: Mapping[str, Decision]) -> list[tuple[list[str], Decision]]:
        """Return the decisions on images that could not be read, so that they stay in the csv."""
        return [([path], decision) for path, decision in decided.items() if path not in self._by_path]


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
