"""A solver for many L2-penalised linear problems on the same rows: one matrix product serves all of them.

Limited-memory BFGS (Nocedal 1980) in the eigenbasis of the rows, where the Hessian of every problem is close to
``curvature * share * diag(values) + 1 / C``. The inverse of this, bordered by the intercept, is the initial matrix of
each step: tens of steps are enough instead of hundreds. Where outputs sum to zero, the last one follows from the others
and needs no product. The line search finds the root of the slope, of which a convex function has one. The logits are
linear along a line, so that it needs no product over the rows. It starts from the step size of the last search, which
mostly is near enough: streamed rows are then read once per step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from .losses import Loss
from .products import Products, RowSelection

Array = npt.NDArray[Any]

MEMORY = 8  # pairs of steps and gradient changes
SLOPE = 0.3  # share of the initial slope at which a line search ends
TRIES = 12  # most points evaluated in a line search
DROP = 0.1  # share of the problems that must be solved before the others are copied together
BLOCK = 2**20  # logits evaluated at once in a line search


@dataclass(frozen=True)
class Problems:
    """Problems to minimise, each ``g`` of them ``sum of losses + (|W|^2 [+ |b|^2]) / (2 C)``.

    Attributes
    ----------
    rows
        Products of an :class:`fc7.classify.solvers.eigenbasis.Eigenbasis`, in the precision to work in.
    loss
        Of logits ``(g, outputs, n)``.
    weights, member
        ``(sets, n)`` weights of the rows, and ``(g,)`` the set of each problem.
    C
        ``(g,)`` inverse penalties.
    intercept_penalised
        As in liblinear, where the intercept is the coefficient of a column of ones.
    start
        Initial coefficients, ``(g, outputs, r + 1)``; zeros by default.
    """

    rows: Products
    loss: Loss
    weights: Array
    member: Positions
    C: Floats
    intercept_penalised: bool = False
    start: Array | None = None


@dataclass(frozen=True)
class Solution:
    """Coefficients ``(g, outputs, r + 1)``, the intercept last; steps taken, and whether each problem converged."""

    coefficients: Array
    steps: npt.NDArray[np.intp]
    converged: npt.NDArray[np.bool_]


def minimise(problems: Problems, *, tol: float, max_iter: int) -> Solution:
    """Solve all problems.

    A problem is solved when its Newton decrement is under ``tol ** 2`` per row. The decrement estimates twice the gap
    between objective and minimum, which is about the mean squared error of the logits, weighted by their curvature.
    """
    descent = _Descent(problems)
    coefficients = descent.coefficients.copy()
    steps = np.full(len(coefficients), max_iter, np.intp)
    converged = np.zeros(len(coefficients), bool)
    for step in range(max_iter + 1):
        done = descent.decrement() <= tol**2 * descent.total
        newly_solved = descent.active[done & ~converged[descent.active]]
        steps[newly_solved], converged[newly_solved] = step, True
        if done.all() or step == max_iter:
            break
        if done.mean() > DROP:
            coefficients[descent.active[done]] = descent.coefficients[done]
            descent.keep(~done)
        descent.step()
    coefficients[descent.active] = descent.coefficients
    return Solution(coefficients, steps, converged)


class _Line:
    """Brackets of each problem's line minimum, from a step size (stride) where it falls to one where it rises."""

    def __init__(self, slope: Array, stride: Array) -> None:
        self.stride = stride.copy()
        self._low, self._falling = np.zeros_like(slope), slope.copy()
        self._high, self._rising = np.full_like(slope, np.inf), np.full_like(slope, np.inf)

    def move(self, problems: Positions, slope: Array) -> None:
        """Update the brackets by the slopes of some problems at their step sizes, and choose the next step sizes."""
        falls, rises = problems[slope < 0], problems[slope >= 0]
        self._low[falls], self._falling[falls] = self.stride[falls], slope[slope < 0]
        self._high[rises], self._rising[rises] = self.stride[rises], slope[slope >= 0]
        low, high, falling = self._low[problems], self._high[problems], self._falling[problems]
        with np.errstate(invalid="ignore"):  # brackets without an upper end
            width = high - low
            secant = low - falling * width / (self._rising[problems] - falling)
            between = np.clip(secant, low + 0.1 * width, high - 0.1 * width)
        self.stride[problems] = np.where(np.isfinite(high), between, 3 * self.stride[problems])


class _Descent:
    """The state of all problems that are not solved yet."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        dtype = problems.rows.dtype
        count, rank = len(problems.C), problems.rows.shape[1]
        self.active = np.arange(count)
        shape, start = (count, problems.loss.outputs), problems.start
        self.coefficients = np.zeros((*shape, rank + 1), dtype) if start is None else start.astype(dtype)
        self._centre(self.coefficients)
        self._weights = problems.weights.astype(dtype)
        self._values = problems.rows.values.astype(dtype)
        self._sums = problems.rows.sums
        self._past: list[tuple[Array, Array, Array]] = []
        self._select()
        cold = start is None  # then the logits are zeros too
        self.logits = np.zeros((*shape, problems.rows.shape[0]), dtype) if cold else self._project(self.coefficients)
        self._stride = np.ones(count, dtype)  # step sizes of the last line search
        self._residual, self._curvature = np.empty_like(self.logits), np.empty(count, dtype)
        self._evaluate_along(np.zeros_like(self.logits), np.arange(count), self._stride)
        self._gradient = self._newton = self._loss_gradient(self._residual) + self._penalty(self.coefficients)

    def keep(self, unsolved: npt.NDArray[np.bool_]) -> None:
        """Drop the other problems."""
        for name in ("active", "coefficients", "logits", "_stride", "_residual", "_curvature", "_gradient", "_newton"):
            setattr(self, name, getattr(self, name)[unsolved])
        self._past = [(step[unsolved], change[unsolved], rho[unsolved]) for step, change, rho in self._past]
        self._select()

    def decrement(self) -> Array:
        """Return ``(g,)`` Newton decrements under the approximate Hessian."""
        self._newton = self._solve(self._gradient)
        return _dot(self._gradient, self._newton)

    def step(self) -> None:
        """Take one step in every problem."""
        direction = self._direction()
        uphill = _dot(self._gradient, direction) >= 0  # because of rounding: take the Newton step instead
        direction[uphill] = -self._newton[uphill]
        self._centre(direction)
        slope = _dot(self._gradient, direction)
        shift, gradient = self._sweep(direction)
        unchanged = self._search(direction, shift, slope)
        stride = self._stride
        direction *= stride[:, None, None]
        shift *= stride[:, None, None]
        self.coefficients += direction
        self.logits += shift
        previous = self._gradient
        if gradient is None:
            gradient = self._loss_gradient(self._residual)
        elif not unchanged.all():
            gradient[~unchanged] = self._loss_gradient(self._residual[~unchanged])
        self._gradient = gradient + self._penalty(self.coefficients)
        change = self._gradient - previous
        product = _dot(direction, change)
        reliable = product > np.finfo(product.dtype).eps * np.sqrt(_dot(direction, direction) * _dot(change, change))
        rho = np.where(reliable, 1 / np.where(reliable, product, 1), 0)
        self._past = [*self._past[1 - MEMORY :], (direction, change, rho)]

    def _select(self) -> None:
        dtype = self.problems.rows.dtype
        self._member = self.problems.member[self.active]
        self.total = self._weights.sum(axis=1)[self._member]
        self._share = self.total / self.problems.rows.shape[0]
        self._ridge = (1 / self.problems.C[self.active]).astype(dtype)

    def _project(self, coefficients: Array) -> Array:
        """Return logits ``(g, outputs, n)`` by one product."""
        flat = self._free(coefficients)
        logits = self.problems.rows.project(flat[:, :-1])
        logits += flat[:, -1:]
        return self._completed(logits)

    def _sweep(self, direction: Array) -> tuple[Array, Array | None]:
        """Return the change of the logits along directions, and the losses' gradient at the last step sizes.

        Residuals and curvature there are stored. The gradient is None where rows are in memory.
        """
        flat = self._free(direction)
        self._curvature = np.zeros_like(self._curvature)
        problems = np.arange(len(direction))

        def residuals_of(rows: RowSelection, products: Array) -> Array:
            shift = self._completed(products + flat[:, -1:])
            logits = self.logits[:, :, rows] + self._stride[:, None, None] * shift
            self._residual[:, :, rows], curvature = self._evaluate(logits, problems, rows)
            self._curvature += curvature
            return self._free(self._residual[:, :, rows])

        shift, gathered = self.problems.rows.sweep(flat[:, :-1], residuals_of)
        shift += flat[:, -1:]
        gradient = None if gathered is None else self._bordered(gathered, self._free(self._residual))
        return self._completed(shift), gradient

    def _evaluate(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """Return weighted residuals of some active problems, and what these rows add to their mean curvature.

        The logits are overwritten.
        """
        residual, curvature = self.problems.loss.residual(logits, self.active[problems], rows)
        mask = self._weights[:, rows][self._member[problems]]
        residual *= mask[:, None, :]
        mean = np.einsum("gn,gn->g", curvature, mask) / self.total[problems]
        return residual, mean.astype(logits.dtype)

    def _evaluate_along(self, shift: Array, problems: Positions, stride: Array) -> Array:
        """Store residuals and curvature of some problems at their step sizes; return the slopes of their losses.

        Rows are done in blocks: the intermediate arrays are much larger than the result.
        """
        slope, curvature = np.zeros_like(stride), np.zeros_like(stride)
        size = max(BLOCK // (max(len(problems), 1) * shift.shape[1]), 1)
        for first in range(0, shift.shape[2], size):
            rows = slice(first, first + size)
            along = shift[problems, :, rows]
            residual, added = self._evaluate(
                self.logits[problems, :, rows] + stride[:, None, None] * along, problems, rows
            )
            self._residual[problems, :, rows] = residual
            slope += _dot(residual, along)
            curvature += added
        self._curvature[problems] = curvature
        return slope

    def _loss_gradient(self, residual: Array) -> Array:
        """Return the losses' gradient ``(g, outputs, r + 1)`` by one product."""
        free = self._free(residual)
        return self._bordered(self.problems.rows.gather(free), free)

    def _bordered(self, gathered: Array, free: Array) -> Array:
        """Return products of rows and residuals as a gradient; that of the intercept is the sum of the residuals."""
        return self._completed(np.column_stack([gathered, free.sum(axis=1)]))

    def _centre(self, coefficients: Array) -> None:
        """Make coefficients sum to zero where the optimum's do: otherwise rounding errors add up in the intercepts."""
        if self.problems.loss.zero_sum:
            coefficients -= coefficients.mean(axis=1, keepdims=True)

    def _free(self, outputs: Array) -> Array:
        """Return the outputs ``(g, outputs, m)`` that do not follow from the others, as one matrix."""
        independent = outputs[:, :-1] if self.problems.loss.zero_sum else outputs
        return independent.reshape(-1, outputs.shape[2])

    def _completed(self, flat: Array) -> Array:
        """Return all outputs ``(g, outputs, m)``."""
        if not self.problems.loss.zero_sum:
            return flat.reshape(-1, self.problems.loss.outputs, flat.shape[1])
        independent = flat.reshape(-1, self.problems.loss.outputs - 1, flat.shape[1])
        return np.concatenate([independent, -independent.sum(axis=1, keepdims=True)], axis=1)

    def _penalty(self, coefficients: Array) -> Array:
        """Return the gradient of the penalty."""
        gradient = self._ridge[:, None, None] * coefficients
        if not self.problems.intercept_penalised:
            gradient[..., -1] = 0
        return gradient

    def _solve(self, gradient: Array) -> Array:
        """Return the product of the approximate Hessian's inverse with gradients.

        The Hessian is diagonal but for the intercept's row and column: an arrow, solved by elimination.
        """
        scale = self._curvature * self._share
        scale = np.maximum(scale, np.finfo(scale.dtype).eps)  # it may vanish in a problem without a mistake
        diagonal = scale[:, None] * self._values + self._ridge[:, None]
        border = scale[:, None] * self._sums
        corner = scale * self.problems.rows.shape[0] + (self._ridge if self.problems.intercept_penalised else 0)
        inward = border / diagonal
        schur = corner - _dot(border, inward)
        schur = np.maximum(schur, corner * 10 * np.finfo(schur.dtype).eps)
        solution = np.empty_like(gradient)
        last = gradient[..., -1] - np.einsum("gr,gkr->gk", inward, gradient[..., :-1])
        solution[..., -1] = last / schur[:, None]
        np.divide(gradient[..., :-1], diagonal[:, None, :], out=solution[..., :-1])
        solution[..., :-1] -= inward[:, None, :] * solution[..., -1:]
        return solution

    def _direction(self) -> Array:
        """Return minus the product of the inverse Hessian's estimate with the gradient: the two-loop recursion."""
        if not self._past:
            return -self._newton
        direction = self._gradient.copy()
        weights = []
        for step, change, rho in reversed(self._past):
            weight = rho * _dot(step, direction)
            direction -= weight[:, None, None] * change
            weights.append(weight)
        direction = self._solve(direction)
        for (step, change, rho), weight in zip(self._past, reversed(weights), strict=True):
            direction += (weight - rho * _dot(change, direction))[:, None, None] * step
        return -direction

    def _search(self, direction: Array, shift: Array, start_slope: Array) -> npt.NDArray[np.bool_]:
        """Find step sizes along the directions and store the residuals there; return which step sizes did not change.

        The residuals at the last step sizes are stored already.
        """
        penalty = self._penalty(direction)
        fixed, growing = _dot(penalty, self.coefficients), _dot(penalty, direction)
        line, problems = _Line(start_slope, self._stride), np.arange(len(start_slope))
        slope = _dot(self._residual, shift) + fixed + self._stride * growing
        unchanged = np.abs(slope) <= SLOPE * np.abs(start_slope)
        problems, slope = problems[~unchanged], slope[~unchanged]
        for _ in range(TRIES):
            if not len(problems):
                break
            line.move(problems, slope)
            stride = line.stride[problems]
            slope = self._evaluate_along(shift, problems, stride) + fixed[problems] + stride * growing[problems]
            steep = np.abs(slope) > SLOPE * np.abs(start_slope[problems])
            problems, slope = problems[steep], slope[steep]
        self._stride = line.stride
        return np.asarray(unchanged)


def _dot(left: Array, right: Array) -> Array:
    """Return the inner product of each problem's two arrays."""
    count = len(left)
    if not count:
        return np.zeros(0, left.dtype)
    return np.asarray(np.einsum("gm,gm->g", left.reshape(count, -1), right.reshape(count, -1)))
