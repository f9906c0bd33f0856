"""A solver for many L2-penalised linear problems on the same rows: one matrix product serves all of them.

Limited-memory BFGS (Nocedal 1980) in the eigenbasis of the rows, where the Hessian of every problem is close to
``curvature * share * diag(values) + 1 / C``: its inverse, bordered by the intercept, is the starting matrix of each
step, so that tens of steps do what takes hundreds without. Where outputs sum to zero there is no product for the last
one: it is what the others lack. The line search looks for the root of the slope, which a convex function has exactly
one of; along a line the logits are known, so that it costs no product over the rows. It begins where the last one
ended: mostly that is near enough, and rows that are streamed are then read once per step.
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
SLOPE = 0.3  # of the slope at the start of a line may remain at its end
TRIES = 12  # points looked at on a line
DROP = 0.1  # of the problems must be done before the others are copied together
BLOCK = 2**20  # logits that are looked at together on a line


@dataclass(frozen=True)
class Problems:
    """What is to be minimised for each problem ``g``: ``sum of losses + (|W|^2 [+ |b|^2]) / (2 C)``.

    Attributes
    ----------
    rows, values
        Of an :class:`fc7.classify.solvers.eigenbasis.Eigenbasis`: its products in the precision to work in, and
        ``(r,)``.
    loss
        Of logits ``(g, outputs, n)``.
    weights, member
        ``(folds, n)`` weights of the rows, and ``(g,)`` which of them a problem has.
    C
        ``(g,)`` inverse penalties.
    intercept_penalised
        As in liblinear, where the intercept is the coefficient of a column of ones.
    start
        Where to begin, ``(g, outputs, r + 1)``; zeros if not given.
    """

    rows: Products
    values: Floats
    loss: Loss
    weights: Array
    member: Positions
    C: Floats
    intercept_penalised: bool = False
    start: Array | None = None


@dataclass(frozen=True)
class Solution:
    """Coefficients ``(g, outputs, r + 1)``, the last one the intercept; steps taken and whether they were enough."""

    planes: Array
    steps: npt.NDArray[np.intp]
    converged: npt.NDArray[np.bool_]


def minimise(problems: Problems, *, tol: float, max_iter: int) -> Solution:
    """Solve all problems.

    A problem is solved when its Newton decrement, an estimate of twice what its objective is above the least, is under
    ``tol ** 2`` per row: about the mean squared error of its logits, weighted by how much they matter.
    """
    descent = _Descent(problems)
    planes = descent.planes.copy()
    steps = np.full(len(planes), max_iter, np.intp)
    converged = np.zeros(len(planes), bool)
    for step in range(max_iter + 1):
        done = descent.decrement() <= tol**2 * descent.total
        fresh = descent.active[done & ~converged[descent.active]]
        steps[fresh], converged[fresh] = step, True
        if done.all() or step == max_iter:
            break
        if done.mean() > DROP:
            planes[descent.active[done]] = descent.planes[done]
            descent.keep(~done)
        descent.step()
    planes[descent.active] = descent.planes
    return Solution(planes, steps, converged)


class _Line:
    """Where each problem's slope has all but vanished: between a place where it falls and one where it rises."""

    def __init__(self, slope: Array, place: Array) -> None:
        self.place = place.copy()
        self._low, self._falling = np.zeros_like(slope), slope.copy()
        self._high, self._rising = np.full_like(slope, np.inf), np.full_like(slope, np.inf)

    def move(self, these: Positions, slope: Array) -> None:
        """Take in the slopes of some problems at their places, and choose their next places."""
        falls, rises = these[slope < 0], these[slope >= 0]
        self._low[falls], self._falling[falls] = self.place[falls], slope[slope < 0]
        self._high[rises], self._rising[rises] = self.place[rises], slope[slope >= 0]
        low, high, falling = self._low[these], self._high[these], self._falling[these]
        with np.errstate(invalid="ignore"):  # what has no higher place yet
            width = high - low
            secant = low - falling * width / (self._rising[these] - falling)
            between = np.clip(secant, low + 0.1 * width, high - 0.1 * width)
        self.place[these] = np.where(np.isfinite(high), between, 3 * self.place[these])


class _Descent:
    """The state of all problems that are not yet solved."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        dtype = problems.rows.dtype
        count, rank = len(problems.C), problems.rows.shape[1]
        self.active = np.arange(count)
        shape = (count, problems.loss.outputs)
        self.planes = np.zeros((*shape, rank + 1), dtype) if problems.start is None else problems.start.astype(dtype)
        self._centre(self.planes)
        self._weights = problems.weights.astype(dtype)
        self._values = problems.values.astype(dtype)
        self._sums = problems.rows.sums
        self._past: list[tuple[Array, Array, Array]] = []
        self._select()
        cold = problems.start is None  # then the logits are zeros, too
        self.logits = np.zeros((*shape, problems.rows.shape[0]), dtype) if cold else self._project(self.planes)
        self._reach = np.ones(count, dtype)  # how far the last step went
        self._residual, self._curvature = np.empty_like(self.logits), np.empty(count, dtype)
        self._look_along(np.zeros_like(self.logits), np.arange(count), self._reach)
        self._gradient = self._newton = self._slope_of(self._residual) + self._penalty(self.planes)

    def keep(self, left: npt.NDArray[np.bool_]) -> None:
        """Go on with these problems only."""
        for name in ("active", "planes", "logits", "_reach", "_residual", "_curvature", "_gradient", "_newton"):
            setattr(self, name, getattr(self, name)[left])
        self._past = [(change[left], rise[left], scale[left]) for change, rise, scale in self._past]
        self._select()

    def decrement(self) -> Array:
        """Return ``(g,)`` Newton decrements under the approximate Hessian."""
        self._newton = self._solve(self._gradient)
        return _dot(self._gradient, self._newton)

    def step(self) -> None:
        """Take one step in every problem."""
        direction = self._direction()
        lost = _dot(self._gradient, direction) >= 0  # rounding has eaten the curvature: start afresh from Newton's step
        direction[lost] = -self._newton[lost]
        self._centre(direction)
        slope = _dot(self._gradient, direction)
        moved, ahead = self._sweep(direction)
        reached = self._search(direction, moved, slope)
        place = self._reach
        direction *= place[:, None, None]
        moved *= place[:, None, None]
        self.planes += direction
        self.logits += moved
        before = self._gradient
        if ahead is None:
            ahead = self._slope_of(self._residual)
        elif not reached.all():
            ahead[~reached] = self._slope_of(self._residual[~reached])
        self._gradient = ahead + self._penalty(self.planes)
        rise = self._gradient - before
        along = _dot(direction, rise)
        fit = along > np.finfo(along.dtype).eps * np.sqrt(_dot(direction, direction) * _dot(rise, rise))
        scale = np.where(fit, 1 / np.where(fit, along, 1), 0)
        self._past = [*self._past[1 - MEMORY :], (direction, rise, scale)]

    def _select(self) -> None:
        dtype = self.problems.rows.dtype
        self._member = self.problems.member[self.active]
        self.total = self._weights.sum(axis=1)[self._member]
        self._share = self.total / self.problems.rows.shape[0]
        self._ridge = (1 / self.problems.C[self.active]).astype(dtype)

    def _project(self, planes: Array) -> Array:
        """Return logits ``(g, outputs, n)`` by one product."""
        flat = self._free(planes)
        found = self.problems.rows.project(flat[:, :-1])
        found += flat[:, -1:]
        return self._completed(found)

    def _sweep(self, direction: Array) -> tuple[Array, Array | None]:
        """Return how logits change along directions, and what :meth:`_slope_of` would for residuals as far as before.

        Those residuals and curvatures are kept. The slope is None where rows are at hand.
        """
        flat = self._free(direction)
        self._curvature = np.zeros_like(self._curvature)
        every = np.arange(len(direction))

        def look(rows: RowSelection, part: Array) -> Array:
            moved = self._completed(part + flat[:, -1:])
            logits = self.logits[:, :, rows] + self._reach[:, None, None] * moved
            self._residual[:, :, rows], curvature = self._look(logits, every, rows)
            self._curvature += curvature
            return self._free(self._residual[:, :, rows])

        moved, gathered = self.problems.rows.sweep(flat[:, :-1], look)
        moved += flat[:, -1:]
        slope = None if gathered is None else self._bordered(gathered, self._free(self._residual))
        return self._completed(moved), slope

    def _look(self, logits: Array, places: Positions, rows: RowSelection) -> tuple[Array, Array]:
        """Return weighted residuals of some of the active problems, and of the curvature's mean what some rows add.

        The logits are used up.
        """
        residual, curvature = self.problems.loss.residual(logits, self.active[places], rows)
        mask = self._weights[:, rows][self._member[places]]
        residual *= mask[:, None, :]
        mean = np.einsum("gn,gn->g", curvature, mask) / self.total[places]
        return residual, mean.astype(logits.dtype)

    def _look_along(self, moved: Array, these: Positions, place: Array) -> Array:
        """Keep residuals and curvature of some problems at places on their lines; return the slopes of their losses.

        Some rows at a time: what is made on the way is much more than what is kept.
        """
        slope, curvature = np.zeros_like(place), np.zeros_like(place)
        size = max(BLOCK // (max(len(these), 1) * moved.shape[1]), 1)
        for first in range(0, moved.shape[2], size):
            rows = slice(first, first + size)
            ahead = moved[these, :, rows]
            residual, share = self._look(self.logits[these, :, rows] + place[:, None, None] * ahead, these, rows)
            self._residual[these, :, rows] = residual
            slope += _dot(residual, ahead)
            curvature += share
        self._curvature[these] = curvature
        return slope

    def _slope_of(self, residual: Array) -> Array:
        """Return the losses' gradient ``(g, outputs, r + 1)`` by one product."""
        free = self._free(residual)
        return self._bordered(self.problems.rows.gather(free), free)

    def _bordered(self, gathered: Array, free: Array) -> Array:
        """Return products of rows and residuals as a gradient: the intercept's part is the residuals' sum."""
        return self._completed(np.column_stack([gathered, free.sum(axis=1)]))

    def _centre(self, planes: Array) -> None:
        """Have planes sum to zero where those of the optimum do: rounding would add up along the intercepts."""
        if self.problems.loss.zero_sum:
            planes -= planes.mean(axis=1, keepdims=True)

    def _free(self, outputs: Array) -> Array:
        """Return those of the outputs ``(g, outputs, m)`` that do not follow from the others, in one matrix."""
        found = outputs[:, :-1] if self.problems.loss.zero_sum else outputs
        return found.reshape(-1, outputs.shape[2])

    def _completed(self, flat: Array) -> Array:
        """Return all outputs ``(g, outputs, m)``."""
        if not self.problems.loss.zero_sum:
            return flat.reshape(-1, self.problems.loss.outputs, flat.shape[1])
        found = flat.reshape(-1, self.problems.loss.outputs - 1, flat.shape[1])
        return np.concatenate([found, -found.sum(axis=1, keepdims=True)], axis=1)

    def _penalty(self, planes: Array) -> Array:
        """Return the gradient of the penalty."""
        found = self._ridge[:, None, None] * planes
        if not self.problems.intercept_penalised:
            found[..., -1] = 0
        return found

    def _solve(self, gradient: Array) -> Array:
        """Return the product of the approximate Hessian's inverse with gradients.

        The Hessian is diagonal but for the intercept's row and column: an arrow, solved by elimination.
        """
        scale = self._curvature * self._share
        scale = np.maximum(scale, np.finfo(scale.dtype).eps)  # of a problem without a mistake nothing may be left
        diagonal = scale[:, None] * self._values + self._ridge[:, None]
        shaft = scale[:, None] * self._sums
        corner = scale * self.problems.rows.shape[0] + (self._ridge if self.problems.intercept_penalised else 0)
        inward = shaft / diagonal
        schur = corner - _dot(shaft, inward)
        schur = np.maximum(schur, corner * 10 * np.finfo(schur.dtype).eps)
        found = np.empty_like(gradient)
        last = gradient[..., -1] - np.einsum("gr,gkr->gk", inward, gradient[..., :-1])
        found[..., -1] = last / schur[:, None]
        np.divide(gradient[..., :-1], diagonal[:, None, :], out=found[..., :-1])
        found[..., :-1] -= inward[:, None, :] * found[..., -1:]
        return found

    def _direction(self) -> Array:
        """Return minus the product of the inverse Hessian's estimate with the gradient: the two-loop recursion."""
        if not self._past:
            return -self._newton
        found = self._gradient.copy()
        weights = []
        for change, rise, scale in reversed(self._past):
            weight = scale * _dot(change, found)
            found -= weight[:, None, None] * rise
            weights.append(weight)
        found = self._solve(found)
        for (change, rise, scale), weight in zip(self._past, reversed(weights), strict=True):
            found += (weight - scale * _dot(rise, found))[:, None, None] * change
        return -found

    def _search(self, direction: Array, moved: Array, slope: Array) -> npt.NDArray[np.bool_]:
        """Find how far to go along the directions, and keep the residuals there; return where that is as far as before.

        The residuals of the place where the last search ended are at hand.
        """
        penalty = self._penalty(direction)
        fixed, growing = _dot(penalty, self.planes), _dot(penalty, direction)
        line, these = _Line(slope, self._reach), np.arange(len(slope))
        found = _dot(self._residual, moved) + fixed + self._reach * growing
        reached = np.abs(found) <= SLOPE * np.abs(slope)
        these, found = these[~reached], found[~reached]
        for _ in range(TRIES):
            if not len(these):
                break
            line.move(these, found)
            place = line.place[these]
            found = self._look_along(moved, these, place) + fixed[these] + place * growing[these]
            steep = np.abs(found) > SLOPE * np.abs(slope[these])
            these, found = these[steep], found[steep]
        self._reach = line.place
        return np.asarray(reached)


def _dot(one: Array, other: Array) -> Array:
    """Return the inner product of each problem's two arrays."""
    count = len(one)
    if not count:
        return np.zeros(0, one.dtype)
    return np.asarray(np.einsum("gm,gm->g", one.reshape(count, -1), other.reshape(count, -1)))
