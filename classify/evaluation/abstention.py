"""Abstention: the probability below which a head should not answer, and the images that are unlike the fitted ones.

Both follow from out-of-fold predictions of the fitted images. The threshold on the probability is that of selective
classification (Geifman and El-Yaniv, NeurIPS 2017) without its bound: the error is that of the out-of-fold predictions,
with its interval. How unlike an image is, is the distance to its K-th nearest fitted image (Sun et al., ICML 2022),
all embeddings of unit length; a sample of the fitted images is enough for that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings, equal_fields
from ...errors import UsageError
from ..arrays import Positions, unit
from ..data.splits import Fold
from .metrics import wilson

NEIGHBOURS = 5
RARE = 0.01  # share of the fitted images that is called unlike the others
MOST_ROWS, MOST_BYTES = 1000, 2**23  # of the sample of fitted images to measure distances from

_ARRAYS = {"probability": "float32", "right": "bool", "reference": "float16", "distance": "float32"}

Distances = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Threshold:
    """The lowest probability of an answer, and its effect on the out-of-fold predictions.

    Attributes
    ----------
    max_error
        The error asked for.
    probability
        The lowest probability of an answer; infinite where no threshold keeps the error that low.
    images, answered, wrong
        Number of images, of those that are answered, and of those that are answered wrongly.
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
        """Say which share is answered, and with which error."""
        if not self.answered:
            return f"no threshold keeps the error at {self.max_error:g}: nothing is answered"
        low, high = wilson(self.wrong, self.answered)
        error = f"{self.wrong / self.answered:.3f} ({self.wrong}/{self.answered}, 95 % interval {low:.3f}-{high:.3f})"
        return (
            f"answers from probability {self.probability:.3f}: out-of-fold {self.answered / self.images:.1%} of the "
            f"images, with an error of {error}, at most {self.max_error:g} as asked for"
        )


@dataclass(frozen=True, eq=False)
class Abstention:
    """Out-of-fold predictions of the fitted images, and a sample of their embeddings.

    Attributes
    ----------
    probability
        Of the most probable class, calibrated, ``(n,)`` float32.
    right
        Whether that is the label, ``(n,)`` bool.
    reference
        Embeddings of a sample of the images, of unit length, ``(m, dim)`` float16.
    distance
        Distance of each of these to the sample of other folds, ``(m,)`` float32; see :meth:`distances`.
    """

    probability: npt.NDArray[np.float32]
    right: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.float16]
    distance: Distances

    def __eq__(self, other: object) -> bool:
        """Return whether all is the same, number by number."""
        return equal_fields(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Abstention({int(self.right.sum())} of {len(self.right)} out-of-fold predictions are right)"

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
        right = probability.argmax(axis=1) == y
        return cls(probability.max(axis=1).astype(np.float32), right, rows, _neighbour_distance(cosine))

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
        n, m = len(np.atleast_1d(arrays["right"])), len(np.atleast_1d(arrays["distance"]))
        expected = {"probability": (n,), "right": (n,), "reference": (m, dim), "distance": (m,)}
        if not n or not m or any(arrays[name].shape != shape for name, shape in expected.items()):
            raise ValueError(f"its abstention has arrays of shapes {[array.shape for array in arrays.values()]}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("its abstention has numbers that are not finite")
        return cls(**arrays)

    @cached_property
    def limit(self) -> float:
        """The distance beyond which an image is unlike the fitted ones: that of :data:`RARE` of these is larger."""
        place = math.ceil((len(self.distance) + 1) * (1 - RARE)) - 1
        return float(np.sort(self.distance)[min(place, len(self.distance) - 1)])

    def distances(self, vectors: npt.NDArray[Any]) -> Distances:
        """Return the cosine distance of embeddings ``(n, dim)`` to their K-th nearest reference, ``(n,)``."""
        return _neighbour_distance(unit(vectors.astype(np.float32)) @ self.reference.astype(np.float32).T)

    def threshold(self, max_error: float) -> Threshold:
        """Return the lowest threshold with which at most this share of the out-of-fold answers is wrong.

        Raises
        ------
        UsageError
            `max_error` is not between 0 and 1.
        """
        if not 0 <= max_error < 1:
            raise UsageError(f"--max-error {max_error}: must be at least 0 and less than 1.")
        order = np.argsort(-self.probability, kind="stable")
        surest, wrong = self.probability[order], np.cumsum(~self.right[order])
        answered = np.arange(1, len(order) + 1)
        last = np.append(surest[1:] < surest[:-1], True)  # equal probabilities are answered together
        good = np.flatnonzero(last & (wrong <= max_error * answered))
        if not len(good):
            return Threshold(max_error, math.inf, images=len(order), answered=0, wrong=0)
        end = good[-1]
        answers, errors = int(answered[end]), int(wrong[end])
        return Threshold(max_error, float(surest[end]), images=len(order), answered=answers, wrong=errors)


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
