"""Losses of linear heads, for many problems at once: the residual drives the solver, the curvature scales it."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..arrays import Positions
from .products import RowSelection

Array = npt.NDArray[Any]

# Beyond it a probability is 0 or 1 for all purposes; its float32 would soon be subnormal, and products with such
# numbers take many times as long.
SURE = 40


class Loss(Protocol):
    """A convex loss of logits ``(problems, outputs, n)``.

    Attributes
    ----------
    zero_sum
        Whether what is added to all outputs alike changes nothing: under a penalty the outputs' planes sum to zero.
    """

    outputs: int
    zero_sum: bool

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """Return the derivative by the logits, which it may overwrite, and each problem's mean second derivative.

        ``problems`` and ``rows`` say which ones these are. Rows are not yet weighted; the second derivative,
        ``(problems, n)``, is that of a typical output.
        """


class Multinomial:
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


class Binary:
    """Logistic loss of one output; ``y`` are 0 and 1."""

    outputs = 1
    zero_sum = False

    def __init__(self, y: Positions) -> None:
        self.y = y

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """See :class:`Loss`."""
        from scipy.special import expit

        probability = expit(np.clip(logits, -SURE, SURE, out=logits), out=logits)
        curvature = (probability * (1 - probability))[:, 0]
        probability -= self.y[rows].astype(probability.dtype)
        return probability, curvature


class SquaredHinge:
    """``max(0, 1 - sign * logit) ** 2`` of one output; ``signs`` are -1 and 1, ``(problems, n)`` by ``which``.

    Parameters
    ----------
    signs
        ``(targets, n)``: one row per class against the rest.
    which
        ``(problems,)``: the row of signs that a problem is about.
    """

    outputs = 1
    zero_sum = False

    def __init__(self, signs: Array, which: Positions) -> None:
        self.signs, self.which = signs, which

    def residual(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """See :class:`Loss`."""
        signs = self.signs[:, rows][self.which[problems]][:, None, :]
        logits *= signs
        short = np.maximum(np.subtract(1, logits, out=logits), 0, out=logits)
        curvature = 2 * (short > 0)[:, 0]
        short *= -2 * signs
        return short, curvature
