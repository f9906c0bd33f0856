"""Sums over rows by class: all that centroids and naive Bayes need, with second moments all that ridge and LDA need.

Sums of disjoint rows add up, so that rows may come in any order and from anywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import get_blas_funcs

from ..arrays import Floats, Positions
from .namespaces import Array, OnDevice

PART = 512  # rows of a second moment that are updated at once

Block = tuple[Positions, npt.NDArray[Any]]


@dataclass(frozen=True)
class ClassSums:
    """Counts ``(classes,)``, sums of rows ``(classes, d)`` and, where they are asked for, of their squares."""

    counts: Floats
    sums: Floats
    squares: Floats

    @classmethod
    def over(
        cls,
        blocks: Iterable[Block],
        y: Positions,
        classes: int,
        dim: int,
        *,
        squares: bool,
        weights: Floats | None = None,
    ) -> Self:
        """Sum blocks of rows; `y` are the codes of all rows, by position, and `weights` those of rows, if any."""
        total = cls(np.zeros(classes), np.zeros((classes, dim)), np.zeros((classes, dim if squares else 0)))
        for places, rows in blocks:
            member = np.zeros((classes, len(rows)))
            member[y[places], np.arange(len(rows))] = 1 if weights is None else weights[places]
            wide = rows.astype(np.float64)
            total.counts[:] += member.sum(axis=1)
            total.sums[:] += member @ wide
            if squares:
                total.squares[:] += member @ np.square(wide, out=wide)
        return total

    def __add__(self, other: "ClassSums") -> "ClassSums":
        """Add the sums of other rows."""
        return ClassSums(self.counts + other.counts, self.sums + other.sums, self.squares + other.squares)

    def __sub__(self, other: "ClassSums") -> "ClassSums":
        """Subtract the sums of rows to leave out."""
        return ClassSums(self.counts - other.counts, self.sums - other.sums, self.squares - other.squares)

    def weighted(self, weights: Floats) -> "ClassSums":
        """Return the sums with every row weighted by its class; `weights` are ``(classes,)``."""
        column = weights[:, None]
        return ClassSums(self.counts * weights, self.sums * column, self.squares * column)

    @property
    def n(self) -> float:
        """The number of rows."""
        return float(self.counts.sum())

    @cached_property
    def means(self) -> Floats:
        """Of the classes, ``(classes, d)``."""
        return np.asarray(self.sums / self.counts[:, None])

    @property
    def mean(self) -> Floats:
        """Of all rows, ``(d,)``."""
        return np.asarray(self.sums.sum(axis=0) / self.n)


def take_out(moment: Array, rows: Floats, weights: Floats) -> Array:
    """Subtract the second moment of a few weighted rows ``(k, d)`` from `moment`, in place, wherever that is."""
    weighted = rows * weights[:, None]
    if not isinstance(moment, np.ndarray):
        there = OnDevice(moment.device)
        return moment.addmm_(there.asarray(weighted).T, there.asarray(rows), alpha=-1)
    for first in range(0, len(moment), PART):
        moment[first : first + PART] -= weighted[:, first : first + PART].T @ rows
    return moment


def second_moment(blocks: Iterable[Block], dim: int, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Return the sum of outer products of rows with themselves, ``(d, d)``, in ``dtype``.

    BLAS adds the products to one triangle, in place: ``rows.T @ rows`` would need a second matrix of that size.
    """
    moment = np.zeros((dim, dim), dtype, order="F")
    rank_update = get_blas_funcs("syrk", dtype=moment.dtype)
    for _, rows in blocks:
        moment = rank_update(1.0, rows.astype(dtype, copy=False).T, beta=1.0, c=moment, lower=1, overwrite_c=1)
    for first in range(0, dim, PART):
        panel = moment[first : first + PART, : first + PART]
        corner = panel[:, first:]
        corner += np.tril(corner, -1).T - np.triu(corner, 1)
        moment[:first, first : first + PART] = panel[:, :first].T
    return np.asarray(moment.T)
