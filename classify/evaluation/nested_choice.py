"""The choice among many, made anew in each fold: nested cross-validation (Varma and Simon 2006).

A choice by folds of all images has seen the images that it is evaluated on, so the accuracy of what was chosen is too
high: the more there is to choose among, and the fewer images, the more. Made in each fold by the images that are fitted
on there, it has not. The accuracy of its predictions is that of choosing and fitting, without a bias on new images, for
heads fitted on the images of all folds but one.
"""

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions


def choose_in_folds(losses: Floats, folds: Positions, predicted: Positions) -> tuple[Positions, Positions]:
    """Return what is chosen in each fold ``(folds,)``, and its predictions ``(n,)``.

    Parameters
    ----------
    losses
        Of each candidate in each fold, ``(candidates, folds)``, on the images that are fitted on there; the least one
        is chosen, of equal ones the first.
    folds
        In which each image is evaluated, ``(n,)``, counted from 0.
    predicted
        What each candidate predicts, ``(candidates, n)``.
    """
    chosen: npt.NDArray[np.intp] = losses.argmin(axis=0)
    return chosen, predicted[chosen[folds], np.arange(len(folds))]
