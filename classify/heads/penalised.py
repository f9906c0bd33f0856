"""Logistic regression and the linear support vector machine: L2-penalised, exact, and a whole path at once."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_sample_weight

from ..arrays import Floats, Positions
from ..data.splits import Fold
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.lbfgs import Problems, Solution, minimise
from ..solvers.losses import Binary, Loss, Multinomial, SquaredHinge
from ..solvers.products import Products
from .base import ClassWeight, CountDone, GridPoint, LinearHead, LogLinear, OutOfFold, exported, silent, warn_unless
from .calibration import from_margins

SEARCH = 1e-4  # tolerance of what is solved in float32: the search over a grid, and the start of a fit in float64
TOGETHER = 2**22  # numbers in one array of the solver: more problems than that are solved in turns
SHARE = 48  # bytes allowed for each number of streamed rows: three arrays in float32, and what is made on the way


class Penalised(LinearHead):
    """Minimise ``C * sum of losses + |W|^2 / 2``.

    Parameters
    ----------
    C
        Inverse strength of the penalty.
    tol
        About the mean error of a row's logits; see :func:`fc7.classify.solvers.lbfgs.minimise`.
    max_iter
        The most steps.
    class_weight
        Weight of the losses of each class: none, ``balanced``, or a dict by label, as in scikit-learn. Balanced weights
        are those of the rows fitted on, inside each fold.

    Attributes
    ----------
    n_iter_
        Steps taken.
    converged_
        Whether they were enough.
    """

    _intercept_penalised = False

    def __init__(
        self,
        C: float = 1.0,
        tol: float = 1e-7,
        max_iter: int = 1000,
        class_weight: ClassWeight = None,
    ) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight

    @abstractmethod
    def _loss(self, y: Positions, classes: int, problems: int) -> tuple[Loss, int]:
        """Return the loss of so many problems, and into how many independent ones each falls."""

    def _part(
        self, weights: npt.NDArray[Any], member: Positions, y: Positions, parts: int
    ) -> tuple[npt.NDArray[Any], Positions]:
        """Return weights of rows ``(sets, n)``, and which of them each part of each problem has."""
        return weights, member.repeat(parts)

    def out_of_fold(
        self,
        basis: Eigenbasis,
        y: Positions,
        folds: Sequence[Fold],
        points: Sequence[GridPoint],
        tell: CountDone = silent,
    ) -> OutOfFold:
        """Solve all points in all folds; see :meth:`fc7.classify.heads.base.GridHead.out_of_fold`.

        Together, as far as there is room, the strongest penalties first: those that come later start from what their
        fold has found by then. Streamed rows take as much room as is allowed, as each turn reads them many times.
        """
        classes = int(y.max()) + 1
        found = OutOfFold.empty(points, folds, classes)
        strongest = sorted(range(len(points)), key=lambda place: points[place].get("C", self.C))
        problems = [(place, number) for place in strongest for number in range(len(folds))]
        rows = basis.products(np.float32)
        loss, parts = self._loss(y, classes, 1)
        numbers = TOGETHER if basis.max_ram is None else basis.max_ram // SHARE
        room = max(numbers // (loss.outputs * parts * max(rows.shape)), 1)
        planes: dict[int, npt.NDArray[Any]] = {}
        for first in range(0, len(problems), room):
            some = problems[first : first + room]
            C = np.array([points[place].get("C", self.C) for place, _ in some])
            weights, member = self._weights(y, folds, [(points[place], number) for place, number in some])
            start = np.stack([planes[number] for _, number in some]) if len(planes) == len(folds) else None
            solution = self._solve(rows, basis, y, weights, member, C, SEARCH, start)
            flat = solution.planes.reshape(-1, rows.shape[1] + 1)
            margins = (rows.project(flat[:, :-1]) + flat[:, -1:]).reshape(len(some), -1, len(basis))
            answers = zip(some, solution.planes, margins, solution.converged, strict=True)
            for (place, number), planes[number], margin, converged in answers:
                held = folds[number].held
                found.scores[place, held] = from_margins(margin[:, held].T)
                found.converged[place] &= converged
            tell(first + len(some))
        return found

    def _weights(
        self, y: Positions, folds: Sequence[Fold], problems: Sequence[tuple[GridPoint, int]]
    ) -> tuple[npt.NDArray[np.float32], Positions]:
        """Return the weights of all rows ``(sets, n)``, and which of them each problem, a point and a fold, has."""
        sets: dict[tuple[str, int], npt.NDArray[np.float32]] = {}
        keys = []
        for point, number in problems:
            kind, fitted = point.get("class_weight", self.class_weight), folds[number].fitted
            keys.append((repr(kind), number))
            if keys[-1] not in sets:
                sets[keys[-1]] = np.zeros(len(y), np.float32)
                sets[keys[-1]][fitted] = compute_sample_weight(kind, y[fitted])
        order = {key: place for place, key in enumerate(sets)}
        return np.stack(list(sets.values())), np.array([order[key] for key in keys])

    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        if not self.C > 0:
            raise ValueError(f"C={self.C}: must be more than 0.")
        weights = compute_sample_weight(self.class_weight, self.classes_[y])[None]
        C, member = np.array([self.C]), np.zeros(1, np.intp)
        rough = self._solve(basis.products(np.float32), basis, y, weights, member, C, max(SEARCH, self.tol))
        found = self._solve(basis.products(np.float64), basis, y, weights, member, C, self.tol, rough.planes)
        self.n_iter_, self.converged_ = max(int(found.steps[0] + rough.steps[0]), 1), bool(found.converged[0])
        warn_unless(self.converged_, self, self.n_iter_)
        self.coef_ = basis.restore(found.planes[0, :, :-1])
        self.intercept_ = found.planes[0, :, -1].copy()

    def _solve(
        self,
        rows: Products,
        basis: Eigenbasis,
        y: Positions,
        weights: npt.NDArray[Any],
        member: Positions,
        C: Floats,
        tol: float,
        start: npt.NDArray[Any] | None = None,
    ) -> Solution:
        """Return planes ``(problems, outputs, r + 1)``."""
        loss, parts = self._loss(y, int(y.max()) + 1, len(C))
        weights, member = self._part(weights, member, y, parts)
        begin = None if start is None else start.reshape(len(C) * parts, loss.outputs, -1)
        problems = Problems(
            rows, basis.values, loss, weights, member, C.repeat(parts), self._intercept_penalised, begin
        )
        found = minimise(problems, tol=tol, max_iter=self.max_iter)
        return Solution(
            found.planes.reshape(len(C), -1, found.planes.shape[2]),
            found.steps.reshape(len(C), parts).max(axis=1),
            np.asarray(found.converged.reshape(len(C), parts).all(axis=1)),
        )


@exported
class Logistic(Penalised, LogLinear):
    """Multinomial logistic regression, for two classes the binary one; the intercept is not penalised.

    The optimum that scikit-learn's ``LogisticRegression`` approaches.
    """

    def _loss(self, y: Positions, classes: int, problems: int) -> tuple[Loss, int]:
        return (Binary(y) if classes == 2 else Multinomial(y, classes)), 1


@exported
class LinearSVM(Penalised):
    """One class against the rest under the squared hinge loss; the intercept is the coefficient of a column of ones.

    The optimum that scikit-learn's ``LinearSVC`` approaches.
    """

    _intercept_penalised = True

    def _loss(self, y: Positions, classes: int, problems: int) -> tuple[Loss, int]:
        positive = np.arange(classes)[1:] if classes == 2 else np.arange(classes)
        signs = np.where(y == positive[:, None], np.float32(1), np.float32(-1))
        return SquaredHinge(signs, np.tile(np.arange(len(signs)), problems)), len(signs)

    def _part(
        self, weights: npt.NDArray[Any], member: Positions, y: Positions, parts: int
    ) -> tuple[npt.NDArray[Any], Positions]:
        """As liblinear does: one class against the rest, only the one has its weight, the rest counts once."""
        if parts == 1 or np.isin(weights, (0, 1)).all():
            return super()._part(weights, member, y, parts)
        own = y == np.arange(parts)[:, None]
        found = np.where(own, weights[:, None], weights[:, None] > 0)
        return found.reshape(-1, len(y)), (member[:, None] * parts + np.arange(parts)).ravel()
