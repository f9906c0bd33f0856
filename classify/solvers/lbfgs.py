"""A solver for many L2-penalised linear problems on the same rows: one matrix product serves all of them.

Limited-memory BFGS (Nocedal 1980) in the eigenbasis of the rows, where the Hessian of every problem is close to
``curvature * share * diag(values) + 1 / C``. The inverse of this, bordered by the intercept, is the initial matrix of
each step: tens of steps are enough instead of hundreds. Where outputs sum to zero, the last one follows from the others
and needs no product. The line search finds the root of the slope, of which a convex function has one. The logits are
linear along a line, so that it needs no product over the rows. It starts from the step size of the last search, which
mostly is near enough: streamed rows are then read once per step.

What the problems decide by, one number each (step sizes, slopes), is NumPy's; all else is where the rows' products are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from .losses import Loss
from .namespaces import Array
from .products import Products, RowSelection

MEMORY = 8  # pairs of steps and gradient changes
SLOPE = 0.3  # share of the initial slope at which a line search ends
TRIES = 12  # most points evaluated in a line search
DROP = 0.1  # share of the problems that must be solved before the others are copied together


@dataclass(frozen=True)
class Problems:
    """Problems to minimise, each ``g`` of them ``sum of losses + (|W|^2 [+ |b|^2]) / (2 C)``."""

    rows: Products  # products of an `Eigenbasis`, in the precision to work in
    loss: Loss  # of logits `(g, outputs, n)`
    # `(sets, n)` weights of the rows, and `(g,)` the set of each problem.
    weights: npt.NDArray[Any]
    member: Positions
    C: Floats  # `(g,)` inverse penalties
    intercept_penalised: bool = False  # as in liblinear, where the intercept is the coefficient of a column of ones
    start: npt.NDArray[Any] | None = None  # initial coefficients, `(g, outputs, r + 1)`; zeros by default


@dataclass(frozen=True)
class Solution:
    """Coefficients ``(g, outputs, r + 1)``, the intercept last; steps taken, and whether each problem converged."""

    coefficients: npt.NDArray[Any]
    steps: npt.NDArray[np.intp]
    converged: npt.NDArray[np.bool_]


def minimise(problems: Problems, *, tol: float, max_iter: int) -> Solution:
    """Solve all problems.

    A problem is solved when its Newton decrement is under ``tol ** 2`` per row. The decrement estimates twice the gap
    between objective and minimum, which is about the mean squared error of the logits, weighted by their curvature.
    """
    descent, arrays = _Descent(problems), problems.rows.arrays
    coefficients = arrays.host(descent.coefficients).copy()
    steps = np.full(len(coefficients), max_iter, np.intp)
    converged = np.zeros(len(coefficients), bool)
    for step in range(max_iter + 1):
        done = descent.decrement() <= tol**2 * descent.total
        newly_solved = descent.active[done & ~converged[descent.active]]
        steps[newly_solved], converged[newly_solved] = step, True
        if done.all() or step == max_iter:
            break
        if done.mean() > DROP:
            coefficients[descent.active[done]] = arrays.host(descent.coefficients[arrays.index(done)])
            descent.keep(~done)
        descent.step()
    coefficients[descent.active] = arrays.host(descent.coefficients)
    return Solution(coefficients, steps, converged)


class _Line:
    """Brackets of each problem's line minimum, from a step size (stride) where it falls to one where it rises."""

    def __init__(self, slope: npt.NDArray[Any], stride: npt.NDArray[Any]) -> None:
        self.stride = stride.copy()
        self._low, self._falling = np.zeros_like(slope), slope.copy()
        self._high, self._rising = np.full_like(slope, np.inf), np.full_like(slope, np.inf)

    def move(self, problems: Positions, slope: npt.NDArray[Any]) -> None:
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
        self.problems, self._arrays = problems, problems.rows.arrays
        arrays, dtype = self._arrays, problems.rows.dtype
        self._loss = problems.loss.on(arrays)
        count, rank = len(problems.C), problems.rows.shape[1]
        self.active = np.arange(count)
        shape, start = (count, problems.loss.outputs), problems.start
        self.coefficients = arrays.zeros((*shape, rank + 1), dtype) if start is None else arrays.array(start, dtype)
        self._centre(self.coefficients)
        self._weights = arrays.array(problems.weights, dtype)
        self._set_totals = problems.weights.astype(dtype).sum(axis=1)
        self._values = arrays.array(problems.rows.values, dtype)
        self._sums = problems.rows.sums
        self._past: list[tuple[Array, Array, Array]] = []
        self._select()
        cold = start is None  # then the logits are zeros too
        sizes = (*shape, problems.rows.shape[0])
        self.logits = arrays.zeros(sizes, dtype) if cold else self._project(self.coefficients)
        self._stride = np.ones(count, dtype)  # step sizes of the last line search
        self._residual, self._curvature = arrays.empty(sizes, dtype), arrays.zeros((count,), dtype)
        self._evaluate_along(arrays.zeros(sizes, dtype), np.arange(count), self._stride)
        self._gradient = self._newton = self._loss_gradient(self._residual) + self._penalty(self.coefficients)

    def keep(self, unsolved: npt.NDArray[np.bool_]) -> None:
        """Drop the other problems."""
        self.active, self._stride = self.active[unsolved], self._stride[unsolved]
        kept = self._arrays.index(unsolved)
        for name in ("coefficients", "logits", "_residual", "_curvature", "_gradient", "_newton"):
            setattr(self, name, getattr(self, name)[kept])
        self._past = [(step[kept], change[kept], rho[kept]) for step, change, rho in self._past]
        self._select()

    def decrement(self) -> npt.NDArray[Any]:
        """Return ``(g,)`` Newton decrements under the approximate Hessian."""
        self._newton = self._solve(self._gradient)
        return self._arrays.host(self._dot(self._gradient, self._newton))

    def step(self) -> None:
        """Take one step in every problem."""
        arrays, direction = self._arrays, self._direction()
        uphill = arrays.host(self._dot(self._gradient, direction)) >= 0  # because of rounding
        if uphill.any():  # take the Newton step instead
            direction[arrays.index(uphill)] = -self._newton[arrays.index(uphill)]
        self._centre(direction)
        slope = arrays.host(self._dot(self._gradient, direction))
        shift, gradient = self._sweep(direction)
        unchanged = self._search(direction, shift, slope)
        stride = arrays.asarray(self._stride)
        direction *= stride[:, None, None]
        shift *= stride[:, None, None]
        self.coefficients += direction
        self.logits += shift
        previous = self._gradient
        if gradient is None:
            gradient = self._loss_gradient(self._residual)
        elif not unchanged.all():
            changed = arrays.index(~unchanged)
            gradient[changed] = self._loss_gradient(self._residual[changed])
        self._gradient = gradient + self._penalty(self.coefficients)
        change = self._gradient - previous
        product = self._dot(direction, change)
        lengths = arrays.sqrt(self._dot(direction, direction) * self._dot(change, change))
        reliable = product > self._eps * lengths
        rho = arrays.where(reliable, 1 / arrays.where(reliable, product, 1), 0)
        self._past = [*self._past[1 - MEMORY :], (direction, change, rho)]

    @property
    def _eps(self) -> float:
        return float(np.finfo(self.problems.rows.dtype).eps)

    def _select(self) -> None:
        arrays, dtype = self._arrays, self.problems.rows.dtype
        self._member = self.problems.member[self.active]
        self.total = self._set_totals[self._member]
        self._totals = arrays.asarray(self.total)
        self._share = arrays.asarray(self.total / self.problems.rows.shape[0])
        self._ridge = arrays.array(1 / self.problems.C[self.active], dtype)

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
        arrays, problems = self._arrays, np.arange(len(direction))
        self._curvature = arrays.zeros((len(direction),), self.problems.rows.dtype)
        stride = arrays.asarray(self._stride)[:, None, None]

        def residuals_of(rows: RowSelection, products: Array) -> Array:
            shift = self._completed(products + flat[:, -1:])
            places = arrays.index(rows)
            logits = self.logits[:, :, places] + stride * shift
            self._residual[:, :, places], curvature = self._evaluate(logits, problems, rows)
            self._curvature += curvature
            return self._free(self._residual[:, :, places])

        shift, gathered = self.problems.rows.sweep(flat[:, :-1], residuals_of)
        shift += flat[:, -1:]
        gradient = None if gathered is None else self._bordered(gathered, self._free(self._residual))
        return self._completed(shift), gradient

    def _evaluate(self, logits: Array, problems: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """Return weighted residuals of some active problems, and what these rows add to their mean curvature.

        The logits are overwritten.
        """
        arrays = self._arrays
        residual, curvature = self._loss.residual(logits, self.active[problems], rows)
        mask = self._weights[:, arrays.index(rows)][arrays.index(self._member[problems])]
        residual *= mask[:, None, :]
        mean = arrays.einsum("gn,gn->g", curvature, mask) / self._totals[arrays.index(problems)]
        return residual, arrays.asarray(mean, self.problems.rows.dtype)

    def _evaluate_along(self, shift: Array, problems: Positions, stride: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Store residuals and curvature of some problems at their step sizes; return the slopes of their losses.

        Rows are done in blocks: the intermediate arrays are much larger than the result.
        """
        arrays, dtype, strides = self._arrays, self.problems.rows.dtype, self._arrays.asarray(stride)[:, None, None]
        slope, curvature = arrays.zeros((len(problems),), dtype), arrays.zeros((len(problems),), dtype)
        size = max(arrays.block // (max(len(problems), 1) * shift.shape[1]), 1)
        chosen = slice(None) if len(problems) == len(shift) else arrays.index(problems)
        for first in range(0, shift.shape[2], size):
            rows = slice(first, first + size)
            along = shift[chosen, :, rows]
            residual, added = self._evaluate(self.logits[chosen, :, rows] + strides * along, problems, rows)
            self._residual[chosen, :, rows] = residual
            slope += self._dot(residual, along)
            curvature += added
        self._curvature[chosen] = curvature
        return arrays.host(slope)

    def _loss_gradient(self, residual: Array) -> Array:
        """Return the losses' gradient ``(g, outputs, r + 1)`` by one product."""
        free = self._free(residual)
        return self._bordered(self.problems.rows.gather(free), free)

    def _bordered(self, gathered: Array, free: Array) -> Array:
        """Return products of rows and residuals as a gradient; that of the intercept is the sum of the residuals."""
        return self._completed(self._arrays.concatenate([gathered, free.sum(axis=1)[:, None]], axis=1))

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
        return self._arrays.concatenate([independent, -independent.sum(axis=1, keepdims=True)], axis=1)

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
        arrays = self._arrays
        scale = arrays.maximum(self._curvature * self._share, self._eps)  # it may vanish in a problem without a mistake
        diagonal = scale[:, None] * self._values + self._ridge[:, None]
        border = scale[:, None] * self._sums
        corner = scale * self.problems.rows.shape[0] + (self._ridge if self.problems.intercept_penalised else 0)
        inward = border / diagonal
        schur = arrays.maximum(corner - self._dot(border, inward), corner * (10 * self._eps))
        solution = arrays.empty(tuple(gradient.shape), self.problems.rows.dtype)
        last = gradient[..., -1] - arrays.einsum("gr,gkr->gk", inward, gradient[..., :-1])
        solution[..., -1] = last / schur[:, None]
        arrays.divide(gradient[..., :-1], diagonal[:, None, :], out=solution[..., :-1])
        solution[..., :-1] -= inward[:, None, :] * solution[..., -1:]
        return solution

    def _dot(self, left: Array, right: Array) -> Array:
        """Return the inner product of each problem's two arrays, ``(g,)``."""
        count = len(left)
        if not count:
            return self._arrays.zeros((0,), self.problems.rows.dtype)
        return self._arrays.einsum("gm,gm->g", left.reshape(count, -1), right.reshape(count, -1))

    def _direction(self) -> Array:
        """Return minus the product of the inverse Hessian's estimate with the gradient: the two-loop recursion."""
        if not self._past:
            return -self._newton
        direction = self._gradient + 0
        weights = []
        for step, change, rho in reversed(self._past):
            weight = rho * self._dot(step, direction)
            direction -= weight[:, None, None] * change
            weights.append(weight)
        direction = self._solve(direction)
        for (step, change, rho), weight in zip(self._past, reversed(weights), strict=True):
            direction += (weight - rho * self._dot(change, direction))[:, None, None] * step
        return -direction

    def _search(self, direction: Array, shift: Array, start_slope: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Find step sizes along the directions and store the residuals there; return which step sizes did not change.

        The residuals at the last step sizes are stored already.
        """
        host, penalty = self._arrays.host, self._penalty(direction)
        fixed, growing = host(self._dot(penalty, self.coefficients)), host(self._dot(penalty, direction))
        line, problems = _Line(start_slope, self._stride), np.arange(len(start_slope))
        slope = host(self._dot(self._residual, shift)) + fixed + self._stride * growing
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
