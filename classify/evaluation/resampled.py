"""Figures over repeated splits: the corrected resampled t interval (Nadeau and Bengio 2003).

Splits of the same images share most of what they are fitted on, so that the spread of their figures is smaller than
that over new data sets: a plain t interval over them holds the truth far too seldom. The correction adds the share of
evaluated to fitted images to the variance. It is an approximation: nothing estimates this variance without a bias.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from .effective_size import ALPHA


class Resampled(NamedTuple):
    """The mean of a figure over splits, its 95 % interval, and its standard deviation over the splits."""

    mean: float
    low: float
    high: float
    deviation: float


def corrected_interval(figures: npt.ArrayLike, fitted: float, evaluated: float) -> Resampled:
    """Return the mean of figures of random splits ``(splits,)``, with the corrected resampled t interval.

    Parameters
    ----------
    fitted, evaluated
        Images on each side of a split.

    Raises
    ------
    ValueError
        There are fewer than two splits.
    """
    values = np.asarray(figures, np.float64)
    if len(values) < 2:
        raise ValueError(f"{len(values)} splits: an interval needs two.")
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    error = deviation * (1 / len(values) + evaluated / fitted) ** 0.5
    reach = float(student.ppf(1 - ALPHA / 2, len(values) - 1)) * error
    return Resampled(mean, mean - reach, mean + reach, deviation)
