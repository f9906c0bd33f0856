"""The judge of a review: what all other images say about each label, brought up to date by every decision.

Each image is judged by ridge fitted on all others; see :mod:`fc7.classify.reviews.leave_one_out`. Penalty and
temperature are chosen when the review begins, so that later changes come from decisions only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from ...extract.progress import Progress, silent
from ..arrays import Positions
from ..evaluation.confident_learning import self_confidence
from ..heads.table import HEADS
from .changes import Agreement
from .labels import Decision
from .leave_one_out import NONE, LeftOut, choose_penalty, prepare, scaled
from .subjects import UNDECIDED, ReviewedImage

FEW = 2  # images that each of two classes must have before anything is judged
SEVERAL = 30  # labels that change at once, from which the scores are computed anew instead of one by one
GROWTH = 0.05  # of the images with a label: so many new ones are judged before they are fitted


@dataclass(frozen=True)
class Judged:
    """The present left-out probabilities ``(n, classes)``, and the images they doubt, the most doubtful first.

    ``unlabelled`` are the images without a label. While too few images have one there are no probabilities, and nothing
    is doubted: ``uncertain`` and ``unlabelled`` are in the order of their bytes.
    """

    probability: npt.NDArray[np.float64] | None
    suspects: Positions
    uncertain: Positions
    unlabelled: Positions
    agreement: Agreement


class Judge:
    """The fit of all images that have a label.

    Parameters
    ----------
    images
        All that are reviewed.
    vectors
        ``(n, d)``, finite.
    together
        ``(n,)``, see :class:`LeftOut`.
    decisions
        Returns the present decision on each image.

    Attributes
    ----------
    classes
        The present names.
    y
        ``(n,)`` the present labels as positions in ``classes``; :data:`NONE` for an image without one.
    alpha, temperature
        Of the ridge; there are none while too few images have a label.
    """

    def __init__(
        self,
        images: Sequence[ReviewedImage],
        vectors: npt.NDArray[np.floating],
        together: Positions,
        decisions: Callable[[], Sequence[Decision]],
        progress: Progress = silent,
    ) -> None:
        self._vectors, self._together, self._decisions = vectors, together, decisions
        self._given = {image.given.label for image in images}
        self._contradicted = np.array([image.contradicted for image in images], bool)
        self._refit(progress)

    def _refit(self, progress: Progress = silent) -> None:
        """Fit all images that have a label now, and choose penalty and temperature.

        What copies contradict, or is bad, has its place in the fit, so that it can be decided on at once.
        """
        now = self._decisions()
        self.classes = tuple(sorted(({decision.label for decision in now} | self._given) - {UNDECIDED}))
        self._codes = {name: code for code, name in enumerate(self.classes)} | {UNDECIDED: NONE}
        self.y = np.array([self.code(decision) for decision in now], np.intp)
        fitted = np.array([decision.label != UNDECIDED for decision in now], bool) | self._contradicted
        self._members, self._others = np.flatnonzero(fitted), np.flatnonzero(~fitted)
        self._place = {image: place for place, image in enumerate(self._members.tolist())}
        self._fit: LeftOut | None = None
        self._scaled = scaled(self._vectors if len(self._others) else self._vectors[:0])
        if self._too_few():
            return
        self._fit, self.alpha, self.temperature = choose_penalty(
            prepare(self._vectors[self._members]),
            self.y[self._members],
            len(self.classes),
            self._together[self._members],
            alphas=HEADS["ridge"].grid["alpha"],
            progress=progress,
        )

    def knows(self, label: str) -> bool:
        """Return whether there is such a class; the empty label is known, too."""
        return label in self._codes

    def code(self, decision: Decision, new: int = NONE) -> int:
        """Return the position of a decision's class; `new` for one that is not known."""
        return NONE if decision.bad else self._codes.get(decision.label, new)

    def put(self, images: Sequence[int], decisions: Sequence[Decision]) -> None:
        """Take in decisions that were made.

        Images that had no label are judged by the others until there are enough of them to fit anew.
        """
        if self._fit is None or not all(self.knows(decision.label) for decision in decisions):
            self._refit()
            return
        codes = [self.code(decision) for decision in decisions]
        self.y[list(images)] = codes
        if self._too_few() or (self.y[self._others] != NONE).sum() > GROWTH * len(self._members):
            self._refit()
            return
        places = [(self._place[image], code) for image, code in zip(images, codes, strict=True) if image in self._place]
        if len(places) > SEVERAL:
            self._fit = self._fit.with_labels(self.y[self._members])
            return
        for place, code in places:
            self._fit.put(place, code)

    def _too_few(self) -> bool:
        y = self.y[self._members]
        return int((np.bincount(y[y != NONE]) >= FEW).sum()) < 2

    def judge(self, closed: Sequence[int]) -> Judged:
        """Return what is doubted; nothing of the images that need no decision."""
        y, open_ = self.y, np.ones(len(self.y), bool)
        open_[list(closed)] = False
        without = open_ & (y == NONE) & ~self._contradicted
        if self._fit is None:
            nothing, others = np.empty(0, np.intp), np.flatnonzero(open_ & ~without)
            return Judged(None, nothing, others, np.flatnonzero(without), Agreement(0, 0))
        scores = np.empty((len(y), len(self.classes)))
        if len(self._others):
            # Of all, if a copy of the others takes longer.
            some = self._others if 2 * len(self._others) < len(y) else slice(None)
            scores[some] = self._fit.scores_of(self._scaled[some], self._scaled[self._members])
        scores[self._members] = self._fit.scores()
        scores /= self.temperature
        probability = np.asarray(softmax(scores, axis=1))
        likeliest, judged = probability.argmax(axis=1), y != NONE
        own = np.where(judged, self_confidence(probability, y), -1.0)
        doubted = open_ & ~without & (likeliest != y)
        order, closest = np.argsort(own, kind="stable"), np.argsort(leads(probability, likeliest), kind="stable")
        return Judged(
            probability=probability,
            suspects=order[doubted[order]],
            uncertain=closest[(open_ & ~doubted & ~without)[closest]],
            unlabelled=closest[without[closest]],
            agreement=Agreement(int((judged & (likeliest == y)).sum()), int(judged.sum())),
        )


def leads(probability: npt.NDArray[np.float64], likeliest: Positions) -> npt.NDArray[np.float64]:
    """Return ``(n,)``: by how much the likeliest class leads; faster than to sort, which counts with many classes."""
    rows = np.arange(len(probability))
    first, others = probability[rows, likeliest], probability.copy()
    others[rows, likeliest] = -1
    return np.asarray(first - others.max(axis=1))
