"""Review: a person decides what doubted labels should be, and every decision changes at once what else is doubted.

Each image is judged by ridge on all others; see :mod:`fc7.classify.reviews.leave_one_out`. Penalty and temperature are
chosen when the review begins, so that all that changes afterwards is due to what was decided.
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
    """An image as it is now.

    Attributes
    ----------
    image
        Its number.
    paths
        Where it is: more than one for copies.
    decision, given
        What holds now, and what the data set says: the label is empty where copies contradict each other.
    splits
        Those that it is in.
    reviewed
        Whether a person has decided.
    likely
        Classes and their probabilities by the fit of all other images, the likeliest first.
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
    """How many labels the fit of all other images agrees with."""

    right: int
    judged: int


@dataclass(frozen=True)
class Change:
    """What one decision, or its undoing, did.

    Attributes
    ----------
    image
        The one that was decided on.
    before, after
        What held.
    undone
        Whether a decision was taken back.
    joined, left
        Other images that became suspects, or are none any longer.
    agreement_before, agreement_after
        Over all images.
    seconds
        Of the new fit and the new ranking, without the csv.
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


@dataclass(frozen=True)
class Judged:
    """What the fit of all others says now: probabilities ``(n, classes)``, and images, the most doubtful first."""

    probability: npt.NDArray[np.float64]
    suspects: Positions
    uncertain: Positions
    agreement: Agreement


class Review:
    """A data set under review. Any number of threads may use it.

    Parameters
    ----------
    embeddings
        Of the manifest of `labels`, the bad images among them.
    labels
        The csv; what it decides already is taken over.

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
        found = labels.read()
        decided, self._aside = self._images.by_image(found), self._images.aside(found)
        known = {one.label for one in [*self._images.given, *decided.values()]} - {UNDECIDED}
        self.classes = tuple(sorted(known | set(embeddings.classes)))
        self._codes = {name: code for code, name in enumerate(self.classes)} | {UNDECIDED: NONE}
        self._history: list[tuple[int, Decision]] = list(decided.items())
        y = np.array([self._code(decided.get(image, one)) for image, one in enumerate(self._images.given)], np.intp)
        if len(set(y.tolist()) - {NONE}) < 2:
            raise DataError(f"{self.name} has images of fewer than two classes that are not bad: nothing to judge by.")
        rows = np.array(self._images.first)
        alphas = HEADS["ridge"].grid["alpha"]
        with threads(len(rows)):
            basis = prepare(np.asarray(embeddings.vectors[rows]))
            alike = together(embeddings, np.arange(len(embeddings)))[rows]
            self._fit, self.alpha, self.temperature = choose_penalty(
                basis, y, len(self.classes), alike, alphas, progress
            )
            self._judged = self._judge()

    def __len__(self) -> int:
        """Return the number of images, copies counted once."""
        return len(self._images.given)

    @property
    def judged(self) -> Judged:
        """What the fit of all others says now."""
        return self._judged

    @property
    def decided(self) -> dict[int, Decision]:
        """What a person decided, by image, the latest last."""
        with self._lock:
            return _latest(self._history)

    @property
    def closed(self) -> list[int]:
        """The images that a person has decided on, the latest first, and those that were bad before."""
        decided = self.decided
        return [
            *reversed(decided),
            *(image for image, one in enumerate(self._images.given) if one.bad and image not in decided),
        ]

    @property
    def changes(self) -> int:
        """How many decisions could be undone, one after another."""
        return len(self._history)

    @property
    def counts(self) -> dict[str, int]:
        """How many images are suspects, were decided on, have another label than before, are bad."""
        with self._lock:
            decided, given = self.decided, self._images.given
            now = [decided.get(image, one) for image, one in enumerate(given)]
            return {
                "suspects": len(self._judged.suspects),
                "reviewed": len(decided),
                "relabelled": sum(one.label != was.label for one, was in zip(now, given, strict=True)),
                "bad": sum(one.bad for one in now),
            }

    def subject(self, image: int) -> Subject:
        """Return an image as it is now.

        Raises
        ------
        UsageError
            There is none of this number.
        """
        with self._lock:
            self._require(image)
            return self._subject(image, self.decided)

    def subjects(self, images: Sequence[int]) -> list[Subject]:
        """Return images as they are now."""
        with self._lock:
            decided = self.decided
            return [self._subject(int(image), decided) for image in images]

    def key(self, image: int) -> str:
        """Return the sha256 of an image's bytes in hex; raises as :meth:`subject`."""
        self._require(image)
        return self._images.keys[image]

    def decide(self, image: int, label: str | None = None, *, bad: bool = False) -> Change:
        """Give an image and its copies a label, the same one to confirm it, or mark them as bad.

        Parameters
        ----------
        label
            One of ``classes``; by default the one that it has.

        Raises
        ------
        UsageError
            No such image or class.
        DataError
            Nothing could be fitted on the csv any longer, or it cannot be written; nothing has changed then.
        """
        with self._lock:
            self._require(image)
            before = self._now(image)
            after = Decision(before.label if label is None else label, bad)
            if after.label not in self._codes or (after.label == UNDECIDED and not bad):
                raise UsageError(f"There is no class {after.label!r}. Classes: {', '.join(self.classes)}.")
            self._require_manifest(image, after)
            return self._go_to([*self._history, (image, after)], image, before, undone=False)

    def undo(self) -> Change:
        """Take back the latest decision.

        Raises
        ------
        DataError
            There is none, or the csv cannot be written.
        """
        with self._lock:
            if not self._history:
                raise DataError("Nothing to undo: no decision is left.")
            image = self._history[-1][0]
            return self._go_to(self._history[:-1], image, self._now(image), undone=True)

    def _go_to(self, history: list[tuple[int, Decision]], image: int, before: Decision, *, undone: bool) -> Change:
        """Write the csv first: what it does not hold has not happened."""
        paths = self._images.paths
        latest = [(paths[one], decision) for one, decision in _latest(history).items()]
        self.labels.write(numbered([*self._aside, *latest]))
        start = time.perf_counter()
        self._history = history
        after, old = self._now(image), self._judged
        with threads(len(self)):
            self._fit.put(image, self._code(after))
            self._judged = new = self._judge()
        others = np.array([image])
        return Change(
            image=image,
            before=before,
            after=after,
            undone=undone,
            joined=np.setdiff1d(np.setdiff1d(new.suspects, old.suspects), others).tolist(),
            left=np.setdiff1d(np.setdiff1d(old.suspects, new.suspects), others).tolist(),
            agreement_before=old.agreement,
            agreement_after=new.agreement,
            seconds=time.perf_counter() - start,
        )

    def _judge(self) -> Judged:
        probability = np.asarray(softmax(self._fit.scores() / self.temperature, axis=1))
        y, likeliest = self._fit.y, probability.argmax(axis=1)
        fitted = y != NONE
        own = np.where(fitted, self_confidence(probability, y), -1.0)
        open_ = np.ones(len(y), bool)
        open_[[image for image, one in enumerate(self._images.given) if one.bad]] = False
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
        """Refuse what would leave a csv that nothing can be fitted on: classes of train are those of all splits."""
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
    """The images of a data set, each once however often its bytes are there.

    Attributes
    ----------
    keys, first, paths, splits, given
        Of each image: its sha256 in hex, its first row, and what a :class:`Subject` says.
    fitted
        ``(n,)`` whether it is one that heads are fitted on: in train, or in a data set without splits.
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
        rows: list[list[ImageEntry]] = [[] for _ in self.keys]
        for image in labels.manifest.images:
            if image.path in self._by_path:
                rows[self._by_path[image.path]].append(image)
        self.paths = [list(dict.fromkeys(one.path for one in copies)) for copies in rows]
        self.splits = [sorted({one.split for one in copies} - {""}) for copies in rows]
        self.given = [_agreed([Decision(one.label, one.bad) for one in copies]) for copies in rows]
        self.fitted = np.array([any(one.split in ("train", "") for one in copies) for copies in rows])

    def by_image(self, decided: Mapping[str, Decision]) -> dict[int, Decision]:
        """Return decisions by image, the latest last; those on images that could not be read are left aside."""
        found: dict[int, list[Decision]] = {}
        for path, decision in decided.items():
            if path in self._by_path:
                image = self._by_path[path]
                found[image] = [*found.pop(image, []), decision]
        return {image: _agreed(several) for image, several in found.items()}

    def aside(self, decided: Mapping[str, Decision]) -> list[tuple[list[str], Decision]]:
        """Return the decisions on images that could not be read, so that they stay in the csv."""
        return [([path], decision) for path, decision in decided.items() if path not in self._by_path]


def _agreed(copies: Sequence[Decision]) -> Decision:
    """Return what copies of one image say together: bad only if all are."""
    kept = [one for one in copies if not one.bad] or copies
    labels = {one.label for one in kept}
    return Decision(labels.pop() if len(labels) == 1 else UNDECIDED, all(one.bad for one in copies))


def _latest(history: Sequence[tuple[int, Decision]]) -> dict[int, Decision]:
    """Return the last decision on each image, the latest last."""
    found: dict[int, Decision] = {}
    for image, decision in history:
        found.pop(image, None)
        found[image] = decision
    return found
