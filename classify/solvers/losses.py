"""Losses of linear heads, for many problems at once: the residual drives the solver, the curvature scales it."""

import copy
from abc import ABC, abstractmethod
from typing import Self

import numpy as np

from ..arrays import Positions
from .namespaces import NUMPY, Array, NumPy
from .products import RowSelection

# A logit beyond it means a probability of 0 or 1. Larger ones make float32 probabilities subnormal, and products with
# subnormal numbers take many times as long.
SURE = 40


class Loss(ABC):
    """A convex loss of logits ``(problems, outputs, n)``.

    Attributes
    ----------
    targets
        Problems come in runs of so many, each with a target of its own, such as one class against the rest.
    zero_sum
        Whether adding the same to all outputs leaves the loss unchanged; penalised coefficients then sum to zero.
    """

    outputs = targets = 1
    zero_sum = False
    arrays: NumPy = NUMPY

    def on(self, arrays: NumPy) -> Self:
        """Return the loss of logits in such arrays."""
        there = copy.copy(self)
        there.arrays = arrays
        there._send()
        return there

    @abstractmethod
    def _send(self) -> None:
        """Put what the loss knows of the rows where the logits are."""

    @abstractmethod
    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """Return the first derivative by the logits, and the second, ``(problems, n)``, of a typical output.

        ``problems`` and ``rows`` say which logits these are; they may be overwritten. Rows are not yet weighted.
        """


class Multinomial(Loss):
    """Softmax cross-entropy over ``classes`` outputs; ``y`` are codes ``(n,)``."""

    zero_sum = True

    def __init__(self, y: Positions, classes: int) -> None:
        self.outputs, self.y = classes, y

    def _send(self) -> None:
        self.y = self.arrays.asarray(self.y)
        self._all = self.arrays.index(np.arange(len(self.y)))

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """See :class:`Loss`."""
        logits -= self.arrays.largest(logits, axis=1)
        probability = self.arrays.exp(self.arrays.clip(logits, -SURE))
        probability /= probability.sum(axis=1, keepdims=True)
        curvature = (1 - self.arrays.einsum("gkn,gkn->gn", probability, probability)) / (self.outputs - 1)
        truth = self.y[self.arrays.index(rows)]
        probability[:, truth, self._all[: len(truth)]] -= 1
        return probability, curvature


class Binary(Loss):
    """Logistic loss of one output; ``y`` are 0 and 1."""

    def __init__(self, y: Positions) -> None:
        self.y = y

    def _send(self) -> None:
        self.y = self.arrays.asarray(self.y, np.float32)

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """See :class:`Loss`."""
        probability = self.arrays.expit(self.arrays.clip(logits, -SURE, SURE))
        curvature = (probability * (1 - probability))[:, 0]
        probability -= self.y[self.arrays.index(rows)]
        return probability, curvature


class SquaredHinge(Loss):
    """``max(0, 1 - sign * logit) ** 2`` of one output.

    Parameters
    ----------
    signs
        ``(targets, n)``, -1 or 1: one row per class against the rest.
    """

    def __init__(self, signs: Array) -> None:
        self.signs, self.targets = signs, len(signs)

    def _send(self) -> None:
        self.signs = self.arrays.asarray(self.signs)

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """See :class:`Loss`."""
        targets = self.arrays.index(problems % self.targets)
        signs = self.signs[:, self.arrays.index(rows)][targets][:, None, :]
        logits *= signs
        logits *= -1
        logits += 1
        shortfall = self.arrays.clip(logits, 0)
        curvature = 2 * (shortfall > 0)[:, 0]
        shortfall *= -2 * signs
        return shortfall, curvature
