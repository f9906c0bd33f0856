"""Abstention: the probability below which a head should not answer, and the images that are unlike the fitted ones.

Both follow from out-of-fold predictions of the fitted images. What the threshold on the probability promises, and sets
of classes, are in :mod:`fc7.classify.evaluation.risk_control`. How unlike an image is, is the distance to its K-th
nearest fitted image (Sun et al., ICML 2022), all embeddings of unit length; a sample of the fitted images is enough for
that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings, EqualByNumber
from ...errors import UsageError
from ..arrays import Positions, unit
from ..data.splits import Fold, together
from .effective_size import group_effect
from .risk_control import answered_images, largest_error, least_probability, needed_images

NEIGHBOURS = 5
RARE = 0.01  # share of the fitted images that is called unlike the others
MOST_ROWS, MOST_BYTES = 1000, 2**23  # of the sample of fitted images to measure distances from

CONFIDENCE = 0.9  # of the promise of a threshold

_PREDICTIONS = {
    "probability": "float32",
    "label_probability": "float32",
    "predicted": "int32",
    "label": "int32",
    "group": "int32",
}
_ARRAYS = _PREDICTIONS | {"reference": "float16", "distance": "float32"}

Distances = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Threshold:
    """The least probability of an answer, and its effect on the out-of-fold predictions.

    Attributes
    ----------
    max_error, confidence
        The share of wrong answers that is promised at most, and the confidence of that promise.
    probability
        The least probability of an answer; infinite where no threshold can promise that.
    images, answered, wrong
        Number of images, of those that are answered, and of those that are answered wrongly.
    bound
        The share of wrong answers that answers like these do not exceed, at this confidence.
    needed
        How many answers without a mistake would show as much; 0 if no number does.
    """

    max_error: float
    confidence: float
    probability: float
    images: int
    answered: int
    wrong: int
    bound: float
    needed: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = dict(vars(self)) | {"share_answered": self.answered / self.images}
        if not self.answered:
            return values | {"probability": None, "error": None, "bound": None}
        return values | {"error": self.wrong / self.answered}

    def __str__(self) -> str:
        """Say which share is answered, and with which error."""
        if not self.answered:
            why = "no number of images can promise that no answer is wrong"
            if self.needed > self.images:
                why = f"even without a mistake it takes {self.needed:,} images, and there are {self.images:,}"
            elif self.needed:
                why = f"too many answers are wrong, the surest ones too; without any it would take {self.needed:,}"
            asked = f"an error of at most {self.max_error:g} with confidence {self.confidence:g}"
            return f"cannot promise {asked} and answers nothing: {why}"
        return (
            f"answers from probability {self.probability:.3f}: out-of-fold {self.answered / self.images:.1%} of the "
            f"images, {self.wrong:,} of {self.answered:,} wrongly. With confidence {self.confidence:g} at most "
            f"{self.bound:.3f} of such answers are wrong; {self.max_error:g} was asked for"
        )


@dataclass(frozen=True, eq=False)
class Abstention(EqualByNumber):
    """Out-of-fold predictions of the fitted images, and a sample of their embeddings.

    Attributes
    ----------
    probability
        Of the most probable class, calibrated, ``(n,)`` float32.
    label_probability
        Of the label, ``(n,)`` float32.
    predicted, label
        The most probable class and the label as positions in the classes, ``(n,)`` int32.
    group
        Of each image its group, numbered from 0, ``(n,)`` int32.
    reference
        Embeddings of a sample of the images, of unit length, ``(m, dim)`` float16.
    distance
        Distance of each of these to the sample of other folds, ``(m,)`` float32; see :meth:`distances`.
    """

    probability: npt.NDArray[np.float32]
    label_probability: npt.NDArray[np.float32]
    predicted: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    group: npt.NDArray[np.int32]
    reference: npt.NDArray[np.float16]
    distance: Distances

    def __repr__(self) -> str:
        return f"Abstention({int(self.right.sum())} of {len(self.right)} out-of-fold predictions are right)"

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable class is the label, ``(n,)``."""
        return np.asarray(self.predicted == self.label)

    def only(self, rows: npt.NDArray[np.bool_]) -> "Abstention":
        """Return the same with the predictions of these rows only."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _PREDICTIONS})

    @classmethod
    def of(
        cls,
        embeddings: Embeddings,
        fitted: Positions,
        folds: Sequence[Fold],
        probability: npt.NDArray[np.float64],
        random_state: int,
    ) -> "Abstention":
        """Measure out-of-fold predictions ``(fitted, classes)``, and distances in a random sample of the fitted images.

        The folds hold positions among the fitted images.
        """
        y = embeddings.y[fitted]
        fold_numbers = np.empty(len(fitted), np.intp)
        for number, fold in enumerate(folds):
            fold_numbers[fold.held] = number
        sample = _sample(y, min(MOST_ROWS, MOST_BYTES // (2 * embeddings.recipe.dim)), random_state)
        # Rounded first: a new image's distance will be to the rounded rows, which are all that a bundle holds.
        rows = unit(np.asarray(embeddings.vectors[fitted[sample]], np.float32)).astype(np.float16)
        cosine = rows.astype(np.float32) @ rows.astype(np.float32).T
        cosine[fold_numbers[sample][:, None] == fold_numbers[sample]] = -np.inf
        return cls(
            probability=probability.max(axis=1).astype(np.float32),
            label_probability=probability[np.arange(len(y)), y].astype(np.float32),
            predicted=probability.argmax(axis=1).astype(np.int32),
            label=y.astype(np.int32),
            group=together(embeddings, fitted).astype(np.int32),
            reference=rows,
            distance=_neighbour_distance(cosine),
        )

    @staticmethod
    def to_bytes(abstention: "Abstention | None") -> bytes:
        """Return the arrays as safetensors; of None, an empty file."""
        from safetensors.numpy import save

        return save({name: np.ascontiguousarray(getattr(abstention, name)) for name in _ARRAYS} if abstention else {})

    @classmethod
    def from_bytes(cls, data: bytes, dim: int) -> Self | None:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        ValueError
            The arrays are not those of an abstention for ``dim``-d embeddings.
        """
        from safetensors.numpy import load

        arrays = load(data)
        if not arrays:
            return None
        kinds = {name: array.dtype.name for name, array in arrays.items()}
        if kinds != _ARRAYS:
            raise ValueError(f"its abstention has the arrays {kinds}, not {_ARRAYS}")
        n, m = len(np.atleast_1d(arrays["label"])), len(np.atleast_1d(arrays["distance"]))
        expected = dict.fromkeys(_PREDICTIONS, (n,)) | {"reference": (m, dim), "distance": (m,)}
        if not n or not m or any(arrays[name].shape != shape for name, shape in expected.items()):
            raise ValueError(f"its abstention has arrays of shapes {[array.shape for array in arrays.values()]}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("its abstention has numbers that are not finite")
        if min(int(arrays[name].min()) for name in ("predicted", "label", "group")) < 0:
            raise ValueError("its abstention has classes or groups below 0")
        return cls(**arrays)

    @cached_property
    def limit(self) -> float:
        """The distance beyond which an image is unlike the fitted ones: that of :data:`RARE` of these is larger."""
        place = math.ceil((len(self.distance) + 1) * (1 - RARE)) - 1
        return float(np.sort(self.distance)[min(place, len(self.distance) - 1)])

    def distances(self, vectors: npt.NDArray[Any]) -> Distances:
        """Return the cosine distance of embeddings ``(n, dim)`` to their K-th nearest reference, ``(n,)``."""
        return _neighbour_distance(unit(vectors.astype(np.float32)) @ self.reference.astype(np.float32).T)

    def threshold(self, max_error: float, confidence: float = CONFIDENCE) -> Threshold:
        """Return the least probability of an answer, so that at most this share of answers is wrong.

        That is a promise for images like the fitted ones, with this confidence; see
        :func:`fc7.classify.evaluation.risk_control.answered_images`.

        Raises
        ------
        UsageError
            `max_error` is not a share, or `confidence` not between 0 and 1.
        """
        if not 0 <= max_error < 1:
            raise UsageError(f"--max-error {max_error}: must be at least 0 and less than 1.")
        if not 0 < confidence < 1:
            raise UsageError(f"--confidence {confidence}: must be more than 0 and less than 1.")
        right, n = self.right, len(self.label)
        effect = group_effect(right, np.unique(self.group, return_inverse=True)[1])
        answered = answered_images(self.probability, right, max_error, confidence, effect)
        order = np.argsort(-self.probability, kind="stable")[:answered]
        wrong = int((~right[order]).sum())
        return Threshold(
            max_error=max_error,
            confidence=confidence,
            probability=float(self.probability[order[-1]]) if answered else math.inf,
            images=n,
            answered=answered,
            wrong=wrong,
            bound=largest_error(wrong, answered, confidence, effect) if answered else math.inf,
            needed=needed_images(max_error, confidence, effect),
        )

    def sets(self, coverage: float, classes: int, *, class_conditional: bool = False) -> npt.NDArray[np.float32]:
        """Return the least probability of each class in a set, ``(classes,)``.

        Sets of the classes that reach it hold the true one of this share of images like the fitted ones; see
        :func:`fc7.classify.evaluation.risk_control.least_probability`.

        Parameters
        ----------
        class_conditional
            Of the images of each class, and not of all together. A class with fewer fitted images (or groups) than
            ``coverage / (1 - coverage)`` is in every set.

        Raises
        ------
        UsageError
            `coverage` is not between 0 and 1.
        """
        if not 0 < coverage < 1:
            raise UsageError(f"--coverage {coverage}: must be more than 0 and less than 1.")
        if not class_conditional:
            return np.full(classes, least_probability(self.label_probability, self.group, coverage), np.float32)
        own = [self.label == label for label in range(classes)]
        least = [least_probability(self.label_probability[rows], self.group[rows], coverage) for rows in own]
        return np.array(least, np.float32)


def _sample(y: Positions, most: int, random_state: int) -> Positions:
    """Return sorted positions of `most` images at most: the classes take turns, drawn at random within each."""
    if len(y) <= most:
        return np.arange(len(y))
    drawn = np.random.default_rng(random_state).permutation(len(y))
    by_class = drawn[np.argsort(y[drawn], kind="stable")]
    counts = np.bincount(y)
    turn = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_class[np.argsort(turn, kind="stable")[:most]])


def _neighbour_distance(cosine: npt.NDArray[np.float32]) -> Distances:
    """Return one minus the K-th largest of each row; with fewer finite numbers, one minus the smallest of these."""
    count = min(NEIGHBOURS, max(int(np.isfinite(cosine).sum(axis=1).min(initial=cosine.shape[1])), 1))
    return np.minimum(1 - np.partition(cosine, -count, axis=1)[:, -count], np.float32(2))
