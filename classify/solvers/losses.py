"""Losses of linear heads, for many problems at once: the residual drives the solver, the curvature scales it."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Positions
from .products import RowSelection

Array = npt.NDArray[Any]

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

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """See :class:`Loss`."""
        logits -= logits.max(axis=1, keepdims=True)
        np.maximum(logits, -SURE, out=logits)
        probability = np.exp(logits, out=logits)
        probability /= probability.sum(axis=1, keepdims=True)
        curvature = (1 - np.einsum("gkn,gkn->gn", probability, probability)) / (self.outputs - 1)
        probability[:, self.y[rows], np.arange(probability.shape[2])] -= 1
        return probability, curvature


class Binary(Loss):
    """Logistic loss of one output; ``y`` are 0 and 1."""

    def __init__(self, y: Positions) -> None:
        self.y = y

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """See :class:`Loss`."""
        from scipy.special import expit

        probability = expit(np.clip(logits, -SURE, SURE, out=logits), out=logits)
        curvature = (probability * (1 - probability))[:, 0]
        probability -= self.y[rows].astype(probability.dtype)
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

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """See :class:`Loss`."""
        signs = self.signs[:, rows][problems % self.targets][:, None, :]
        logits *= signs
        shortfall = np.maximum(np.subtract(1, logits, out=logits), 0, out=logits)
        curvature = 2 * (shortfall > 0)[:, 0]
        shortfall *= -2 * signs
        return shortfall, curvature
