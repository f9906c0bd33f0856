"""Leave-one-out: ridge predicts every image without the image and its copies, and labels can change at low cost.

With centred rows ``X`` the fit of all images is ``H Y`` with ``H = X (X'X + alpha I)^-1 X' + 11'/n``, and the residuals
are ``R Y`` with ``R = I - H``, which does not depend on labels. So rows are decomposed once; a changed label costs one
column of ``R``; and images ``S`` are left out by ``Y_S - (R_SS)^-1 (R Y)_S``, without another fit.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...extract.progress import Progress, silent
from ..arrays import Floats, Positions, unit
from ..heads.base import from_margins
from ..heads.calibration import find_temperature
from ..solvers.eigenbasis import BLOCK, Eigenbasis
from ..solvers.lapack import solve

NONE = -1  # the code of an image that takes no part in the fit


def scaled(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return embeddings ``(n, d)`` scaled to unit length, as for heads."""
    # Not float64: on 20,000 images no probability is further than 3e-7 from it (docs/review.md).
    rows = vectors.astype(np.float32)
    return unit(rows, out=rows)


def prepare(vectors: npt.NDArray[np.floating]) -> Eigenbasis:
    """Return embeddings ``(n, d)`` scaled to unit length and centred."""
    return Eigenbasis(scaled(vectors)).centred


class LeftOut:
    """The left-out scores of images, updated when labels change.

    Parameters
    ----------
    basis
        Of centred rows ``(n, d)``.
    y
        ``(n,)`` codes of the labels; :data:`NONE` for an image that is judged but not fitted.
    classes
        The number of classes, at least two.
    together
        ``(n,)`` a number per image. Images with the same number, such as copies, are left out together.
    alpha
        Strength of the penalty, more than 0.
    """

    def __init__(self, basis: Eigenbasis, y: Positions, classes: int, together: Positions, alpha: float) -> None:
        self._basis, self._rows, self._alpha = basis, basis.finest, alpha
        self._classes = classes
        self._shrink = (1 / (basis.values + alpha)).astype(self._rows.dtype)
        self._outputs = np.arange(classes)[1 if classes == 2 else 0 :]
        self.y = y.copy()
        self._targets = np.where(y[:, None] == NONE, 0.0, np.where(y[:, None] == self._outputs, 1.0, -1.0))
        self._left_over = self._targets - self._explained()
        self._diagonal = self._own_share()
        self._columns = {int(image): self._column(int(image)) for image in np.flatnonzero(y == NONE)}
        self._together = together
        self._sets = [(places, self._between(places)) for places in _sets(together)]

    def put(self, image: int, code: int) -> None:
        """Change the label of an image, or remove it with :data:`NONE`: one column of ``R``, ``O(n d)``."""
        column = self._columns.pop(image, None)
        column = self._column(image) if column is None else column
        target = np.zeros(len(self._outputs)) if code == NONE else np.where(self._outputs == code, 1.0, -1.0)
        change = target - self._targets[image]
        for output in np.flatnonzero(change):
            self._left_over[:, output] += change[output] * column
        self._targets[image] = target
        self.y[image] = code
        if code == NONE:
            self._columns[image] = column

    def with_labels(self, y: Positions) -> "LeftOut":
        """Return the scores of the same rows and penalty by other labels, which takes as long as a few changes."""
        return LeftOut(self._basis, y, self._classes, self._together, self._alpha)

    def scores(self) -> Floats:
        """Return ``(n, classes)``: each image scored by a fit without it and the images that are left out with it.

        The scores are 0 for every class if no other image is fitted.
        """
        absent = np.array(list(self._columns), np.intp)
        left_over, diagonal, shared, free = self._without(absent)
        present = self.y != NONE
        fitted = int(present.sum())
        errors = left_over / diagonal[:, None] if fitted > 1 else self._targets.copy()
        for places, between in self._sets:
            itself = np.eye(places.shape[1])
            block = between - np.einsum("kas,kat->ast", self._of(absent, places), shared[:, places])
            block = np.where(present[places][:, :, None] & present[places][:, None, :], block, itself)
            alone = present[places].sum(axis=1) == fitted
            block[alone] = itself
            errors[places] = np.linalg.solve(block, left_over[places])
            errors[places[alone]] = self._targets[places[alone]]
        margins = self._targets - errors
        for place, image in enumerate(absent):
            mates = np.flatnonzero((self._together == self._together[image]) & present)
            margins[image] = shared[place, mates] @ errors[mates] - free[place] if len(mates) < fitted else 0
        return from_margins(margins)

    def scores_of(self, others: npt.NDArray[np.floating], rows: npt.NDArray[np.floating]) -> Floats:
        """Return ``(m, classes)``: images that take no part, scored by the fit of all that have a label.

        Parameters
        ----------
        others
            ``(m, d)`` of unit length.
        rows
            ``(n, d)`` of unit length, of which the basis is.
        """
        residuals = self._without(np.array(list(self._columns), np.intp))[0]
        weights = rows.T @ (residuals / self._alpha).astype(rows.dtype)  # the representer theorem
        present = self.y != NONE
        offset = (self._targets - residuals - rows @ weights)[present].mean(axis=0)
        return from_margins(others @ weights + offset)

    def _without(self, absent: Positions) -> tuple[Floats, Floats, Floats, Floats]:
        """Replace ``R`` by its Schur complement, in which the absent images ``Z`` are never fitted."""
        # Returned: R Y and the diagonal of R, 0 and 1 for absent images; (R_ZZ)^-1 R_Z and (R_ZZ)^-1 (R Y)_Z.
        n = len(self._left_over)
        if not len(absent):
            return self._left_over, self._diagonal, np.zeros((0, n)), np.zeros((0, len(self._outputs)))
        columns = np.column_stack(list(self._columns.values()))
        solved = solve(columns[absent], np.hstack([columns.T, self._left_over[absent]]))
        shared, free = np.split(solved, [n], axis=1)
        left_over = self._left_over - columns @ free
        diagonal = self._diagonal - (columns * shared.T).sum(axis=1)
        left_over[absent], diagonal[absent] = 0, 1
        return left_over, diagonal, shared, free

    def _explained(self) -> Floats:
        """Return ``H Y``."""
        inside = self._rows.T @ self._targets.astype(self._rows.dtype) * self._shrink[:, None]
        return np.asarray(self._rows @ inside + self._targets.mean(axis=0), np.float64)

    def _own_share(self) -> Floats:
        """Return the diagonal of ``R``."""
        blocks = (self._rows[first : first + BLOCK] for first in range(0, len(self._rows), BLOCK))
        shares = np.concatenate([np.square(block) @ self._shrink for block in blocks]).astype(np.float64)
        return np.asarray(1 - 1 / len(self._rows) - shares)

    def _column(self, image: int) -> Floats:
        """Return a column of ``R``."""
        explained = np.asarray(self._rows @ (self._shrink * self._rows[image]), np.float64)
        column = -explained - 1 / len(self._rows)
        column[image] += 1
        return np.asarray(column)

    def _between(self, places: Positions) -> Floats:
        """Return ``R`` between the members of sets ``(sets, size)`` of one size: ``(sets, size, size)``."""
        between = np.empty((*places.shape, places.shape[1]))
        for number, members in enumerate(places):
            rows = self._rows[members]
            between[number] = np.eye(len(members)) - 1 / len(self._rows) - (rows * self._shrink) @ rows.T
        return between

    def _of(self, absent: Positions, places: Positions) -> Floats:
        """Return the stored columns at sets ``(sets, size)``: ``(absent, sets, size)``."""
        if not len(absent):
            return np.zeros((0, *places.shape))
        return np.stack([self._columns[int(image)][places] for image in absent])


def choose_penalty(
    basis: Eigenbasis,
    y: Positions,
    classes: int,
    together: Positions,
    alphas: Sequence[float],
    progress: Progress = silent,
) -> tuple[LeftOut, float, float]:
    """Return the left-out scores with the least log loss over penalties, the penalty, and its temperature.

    Ties go to the first penalty.
    """
    best: tuple[float, LeftOut, float, float] | None = None
    judged = y != NONE
    for number, alpha in enumerate(alphas, start=1):
        left_out = LeftOut(basis, y, classes, together, alpha=alpha)
        temperature, log_loss = find_temperature(left_out.scores()[judged], y[judged])
        if best is None or log_loss < best[0]:
            best = log_loss, left_out, alpha, temperature
        progress("judge labels by ridge", number, len(alphas))
    if best is None:
        raise ValueError("no penalty to choose from")
    return best[1:]


def _sets(together: Positions) -> list[Positions]:
    """Return the sets of more than one image; sets of the same size are an array ``(sets, size)``."""
    order = np.argsort(together, kind="stable")
    starts = np.flatnonzero(np.diff(together[order], prepend=together[order[:1]] - 1))
    sets = np.split(order, starts[1:])
    sizes = sorted({len(members) for members in sets} - {1})
    return [np.array([members for members in sets if len(members) == size]) for size in sizes]
