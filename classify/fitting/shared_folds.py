"""Folds that the searches of a cross-validation share, and with them their fits.

Hyper-parameters are chosen anew in each outer fold, in inner folds. Where these are the other outer folds, leaving out
the second inside the first and the first inside the second is one fit; and the fit of an outer fold is an inner one of
the search on all images. A point of a grid takes 16 fits in five folds, not 36, and no choice sees its outer fold.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings
from ..arrays import Positions
from ..data.splits import Protocol
from ..heads.table import Head
from ..settings import FitSettings

MOST = 5  # outer folds that are inner ones, too: more would only make each search longer
LEAST = 3  # of them that each class is in, as two are left out together

Scored = tuple[npt.NDArray[np.float64], bool]  # scores of held rows, and whether the fit converged


class SharedFolds:
    """The held images of the outer folds of a cross-validation, and the scores that one search has for another.

    Parameters
    ----------
    fits
        Whether fits are shared, too: rows are prepared alike in all searches.
    """

    def __init__(self, held: list[Positions], *, fits: bool) -> None:
        self._held, self.fits = held, fits
        self._scores: dict[tuple[Any, ...], Scored] = {}

    @classmethod
    def of(cls, embeddings: Embeddings, protocol: Protocol, settings: FitSettings) -> "SharedFolds | None":
        """Return those of a protocol; None where others are asked for, or must be cut."""
        held = [predicted for _, predicted in protocol.pairs]
        if settings.folds or not LEAST <= len(held) <= MOST or len(protocol.rows) < len(embeddings):
            return None
        codes = np.arange(len(embeddings.classes))
        present = np.sum([np.isin(codes, embeddings.y[rows]) for rows in held], axis=0)
        return cls(held, fits=settings.preparation == "unit") if present.min() >= LEAST else None

    def folds(self, fitted: Positions) -> list[tuple[Positions, Positions]]:
        """Return the inner folds of some images: all outer folds that are among them."""
        return [(np.setdiff1d(fitted, held), held) for held in self._held if held[0] in fitted]

    def keep(self, head: Head, point: Mapping[str, Any], fitted: Positions, held: Positions, scored: Scored) -> None:
        """Keep the scores of held rows for the search that asks for them next."""
        if all(isinstance(value, str | int | float | None) for value in point.values()):  # arrays have no whole repr
            self._scores[self._key(head, point, fitted, held)] = scored

    def take(self, head: Head, point: Mapping[str, Any], fitted: Positions, held: Positions) -> Scored | None:
        """Return the scores of held rows that another search has kept, once; None where there are none."""
        return self._scores.pop(self._key(head, point, fitted, held), None)

    def clear(self) -> None:
        """Forget the scores of another head."""
        self._scores.clear()

    def _key(self, head: Head, point: Mapping[str, Any], fitted: Positions, held: Positions) -> tuple[Any, ...]:
        return head.identity, repr(point), fitted.tobytes(), held.tobytes()
