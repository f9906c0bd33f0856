"""Abstention: below which probability a head should not answer, and which images are unlike the fitted ones.

Both follow from the fitted images alone, as the folds that did not fit them see them. The threshold on the probability
is that of selective classification (Geifman and El-Yaniv, NeurIPS 2017) without its bound: the error is that of the
out-of-fold predictions, its interval is told beside it. How unlike an image is, is its distance from its K-th nearest
fitted image (Sun et al., ICML 2022), all of them of unit length; a part of the fitted images is enough for that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings
from ...errors import DataError, UsageError
from ..arrays import Positions, unit
from ..data.splits import Fold
from .metrics import wilson

NEIGHBOURS = 5
RARE = 0.01  # share of the fitted images themselves that is called unlike the others
MOST_ROWS, MOST_BYTES = 1000, 2**23  # of fitted images that are kept to measure distances from

NONE = (
    "This head has no out-of-fold predictions, which --max-error needs: classifier is trained once, not in folds. Take "
    "another one: fc7 fit --head NAME"
)

_ARRAYS = {"probability": "float32", "right": "bool", "reference": "float16", "distance": "float32"}

Distances = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Threshold:
    """The least probability of an answer, and what it does to the out-of-fold predictions.

    Attributes
    ----------
    max_error
        What was asked for.
    probability
        Answers have at least this one; infinite where no threshold keeps the error that low.
    images, answered, wrong
        How many there were, how many of them would be answered, and how many of those wrongly.
    """

    max_error: float
    probability: float
    images: int
    answered: int
    wrong: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with the interval of the error (Wilson, 95 %)."""
        values = dict(vars(self)) | {"share_answered": self.answered / self.images}
        if not self.answered:
            return values | {"probability": None, "error": None, "interval": None}
        return values | {"error": self.wrong / self.answered, "interval": list(wilson(self.wrong, self.answered))}

    def __str__(self) -> str:
        """Say what is answered, and how well."""
        if not self.answered:
            return f"no threshold keeps the error at {self.max_error:g}: nothing is answered"
        low, high = wilson(self.wrong, self.answered)
        error = f"{self.wrong / self.answered:.3f} ({self.wrong}/{self.answered}, 95 % interval {low:.3f}-{high:.3f})"
        return (
            f"answers from probability {self.probability:.3f}: out-of-fold {self.answered / self.images:.1%} of the "
            f"images, with an error of {error}, at most {self.max_error:g} as asked for"
        )


@dataclass(frozen=True)
class Abstention:
    """The fitted images as the folds that did not fit them see them.

    Attributes
    ----------
    probability
        Of the most probable class, calibrated, ``(n,)`` float32.
    right
        Whether that is the label, ``(n,)`` bool.
    reference
        Embeddings of some of the images, of unit length, ``(m, dim)`` float16.
    distance
        How far each of these is from the others that are in other folds, ``(m,)`` float32; see :meth:`distances`.
    """

    probability: npt.NDArray[np.float32]
    right: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.float16]
    distance: Distances

    @classmethod
    def of(
        cls,
        embeddings: Embeddings,
        fitted: Positions,
        folds: Sequence[Fold],
        probability: npt.NDArray[np.float64],
        random_state: int,
    ) -> "Abstention":
        """Measure.

        Parameters
        ----------
        embeddings, fitted
            The fitted images among all.
        folds
            Of the fitted images, by place.
        probability
            Out-of-fold, ``(fitted, classes)``.
        random_state
            Of the choice of the images that are kept.
        """
        y = embeddings.y[fitted]
        fold = np.empty(len(fitted), np.intp)
        for number, one in enumerate(folds):
            fold[one.held] = number
        kept = _some(y, min(MOST_ROWS, MOST_BYTES // (2 * embeddings.recipe.dim)), random_state)
        rows = unit(np.asarray(embeddings.vectors[fitted[kept]], np.float32)).astype(np.float16)
        cosine = rows.astype(np.float32) @ rows.astype(np.float32).T
        cosine[fold[kept][:, None] == fold[kept]] = -np.inf
        right = probability.argmax(axis=1) == y
        return cls(probability.max(axis=1).astype(np.float32), right, rows, _far(cosine))

    @staticmethod
    def to_bytes(abstention: "Abstention | None") -> bytes:
        """Return safetensors; of none, those of nothing."""
        from safetensors.numpy import save

        return save({name: np.ascontiguousarray(getattr(abstention, name)) for name in _ARRAYS} if abstention else {})

    @classmethod
    def from_bytes(cls, data: bytes, dim: int) -> Self | None:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        ValueError
            The arrays are not those of an abstention about ``dim``-d embeddings.
        """
        from safetensors.numpy import load

        arrays = load(data)
        if not arrays:
            return None
        kinds = {name: array.dtype.name for name, array in arrays.items()}
        if kinds != _ARRAYS:
            raise ValueError(f"its abstention has the arrays {kinds}, not {_ARRAYS}")
        n, m = len(np.atleast_1d(arrays["right"])), len(np.atleast_1d(arrays["distance"]))
        expected = {"probability": (n,), "right": (n,), "reference": (m, dim), "distance": (m,)}
        if not n or not m or any(arrays[name].shape != shape for name, shape in expected.items()):
            raise ValueError(f"its abstention has arrays of shapes {[array.shape for array in arrays.values()]}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("its abstention has numbers that are not finite")
        return cls(**arrays)

    @cached_property
    def limit(self) -> float:
        """The distance beyond which an image is unlike the fitted ones: :data:`RARE` of these are themselves."""
        place = math.ceil((len(self.distance) + 1) * (1 - RARE)) - 1
        return float(np.sort(self.distance)[min(place, len(self.distance) - 1)])

    def distances(self, vectors: npt.NDArray[Any]) -> Distances:
        """Return one minus the cosine of embeddings ``(n, dim)`` with their K-th nearest reference, ``(n,)``."""
        return _far(unit(vectors.astype(np.float32)) @ self.reference.astype(np.float32).T)

    def threshold(self, max_error: float) -> Threshold:
        """Return the least threshold under which out-of-fold answers are wrong at most so often.

        Parameters
        ----------
        max_error
            Of the answers, between 0 and 1.

        Raises
        ------
        UsageError
            It is not.
        """
        if not 0 <= max_error < 1:
            raise UsageError(f"--max-error {max_error}: must be at least 0 and less than 1.")
        order = np.argsort(-self.probability, kind="stable")
        surest, wrong = self.probability[order], np.cumsum(~self.right[order])
        answered = np.arange(1, len(order) + 1)
        last = np.append(surest[1:] < surest[:-1], True)  # equal probabilities are answered together
        good = np.flatnonzero(last & (wrong <= max_error * answered))
        if not len(good):
            return Threshold(max_error, math.inf, len(order), 0, 0)
        least = good[-1]
        return Threshold(max_error, float(surest[least]), len(order), int(answered[least]), int(wrong[least]))


def require(abstention: Abstention | None) -> Abstention:
    """Return the abstention that a threshold needs.

    Raises
    ------
    DataError
        There is none.
    """
    if abstention is None:
        raise DataError(NONE)
    return abstention


def _some(y: Positions, most: int, random_state: int) -> Positions:
    """Return places of so many images at most, ascending: the classes take turns, drawn at random within each."""
    if len(y) <= most:
        return np.arange(len(y))
    drawn = np.random.default_rng(random_state).permutation(len(y))
    by_class = drawn[np.argsort(y[drawn], kind="stable")]
    counts = np.bincount(y)
    turn = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_class[np.argsort(turn, kind="stable")[:most]])


def _far(cosine: npt.NDArray[np.float32]) -> Distances:
    """Return one minus the K-th largest of each row; where less than that are finite, the last that is."""
    count = min(NEIGHBOURS, max(int(np.isfinite(cosine).sum(axis=1).min(initial=cosine.shape[1])), 1))
    return np.minimum(1 - np.partition(cosine, -count, axis=1)[:, -count], np.float32(2))
