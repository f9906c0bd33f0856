"""Choices on the edge of their grid, in words: a value beyond it might be better."""

from collections.abc import Sequence

from ..heads.growth import edges
from ..pages.text import value, without_step
from .fold_fit import FoldFit
from .runs import Run


def edge_notes(run: Run, folds: Sequence[FoldFit]) -> list[str]:
    """Return a note on the choices of a run that are on an edge of the values that were tried, where there are any.

    Records of before do not say it of themselves; their grids do.
    """
    if not isinstance(grid := run.selection.get("grid"), dict):
        return []
    on = [edges(fold.hyperparameters, grid) if fold.edges is None else fold.edges for fold in folds]
    texts = []
    for name in dict.fromkeys(name for names in on for name in names):
        members = [fold for fold, names in zip(folds, on, strict=True) if name in names]
        chosen = " or ".join(dict.fromkeys(value(fold.hyperparameters[name]) for fold in members))
        where = f" in {len(members)} of {len(folds)} folds" if len(folds) > 1 else ""
        texts.append(f"{without_step(name)} {chosen}{where}")
    return [f"on the edge of its grid: {', '.join(texts)}"] if texts else []
