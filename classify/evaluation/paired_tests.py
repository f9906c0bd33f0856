"""Paired tests: two classifiers on the same images, by the counts of images that only one of them got right.

Methods: McNemar 1947 (exact, two-sided), the paired percentile bootstrap (Efron 1979), Holm 1979 for many comparisons,
Connor 1987 for the difference that a paired study of n can be expected to find.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

ALPHA = 0.05  # of every test, and 1 - the confidence of every interval
POWER = 0.8  # of the difference that a study can be expected to find


def mcnemar(only_first: npt.ArrayLike, only_second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the exact two-sided McNemar p-values of counts of images that only one of two got right, of any shape.

    Without a difference these images are tosses of a fair coin. Where there are none, p is 1.0.
    """
    from scipy.stats import binom

    b, c = np.asarray(only_first), np.asarray(only_second)
    p: npt.NDArray[np.float64] = np.minimum(1.0, 2 * binom.cdf(np.minimum(b, c), b + c, 0.5))
    return p


def bootstrap_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Return the paired percentile bootstrap interval of the difference ``(only_first - only_second) / n``.

    Resampling images with replacement draws, per image, +1, -1 or 0 with the observed shares of "only the first right",
    "only the second right" and the rest. The sum of n such draws has a distribution that can be computed, by Fourier
    inversion of an n-fold convolution: this is the limit of infinitely many resamples, and it needs no seed. With no
    discordant image it is (0, 0), as every percentile bootstrap is; :func:`smallest_detectable` says what that means.
    """
    b, c = only_first, only_second
    if b + c == 0:
        return 0.0, 0.0
    # Beyond 10 standard deviations there is nothing to wrap around.
    half = math.ceil(10 * math.sqrt(b + c)) + 10
    size = 2 * half + 1
    turn = np.exp(2j * np.pi * np.arange(half + 1) / size)
    spectrum = ((b * turn + c / turn + (n - b - c)) / n) ** n * turn ** (half - (b - c))
    cumulative = np.cumsum(np.fft.irfft(spectrum.conj(), size))
    # The smallest difference with at least that much of the distribution at or below it.
    low, high = np.searchsorted(cumulative, [ALPHA / 2, 1 - ALPHA / 2]) - half + (b - c)
    return float(low / n), float(high / n)


def smallest_detectable(n: int, discordant: float | None = None) -> float:
    """Return the smallest accuracy difference that n paired images can show.

    Parameters
    ----------
    n
        Images.
    discordant
        None for the best case: every discordant image favours the same run. The exact test then needs k images with
        ``2 * 0.5**k <= ALPHA``, which are 6, and no difference below ``k / n`` can ever be significant.
        Else the share of images that only one of the two gets right: the difference that would be found with
        probability :data:`POWER` (Connor 1987, normal approximation).

    Returns
    -------
    float
        A difference of accuracies, ``inf`` where all n images are not enough.
    """
    if discordant is None:
        k = math.ceil(math.log2(2 / ALPHA) - 1e-9)
        return k / n if k <= n else math.inf
    z, w = NormalDist().inv_cdf(1 - ALPHA / 2), NormalDist().inv_cdf(POWER)
    # Connor: sqrt(n) d = z sqrt(share) + w sqrt(share - d^2), solved for d; a difference cannot exceed the share.
    inner = z * z * n - (n + w * w) * (z * z - w * w)
    difference = math.sqrt(discordant) * (z * math.sqrt(n) + math.sqrt(max(inner, 0.0))) / (n + w * w)
    return max(difference, smallest_detectable(n)) if 0 < difference <= discordant else math.inf


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number by Holm's step-down method, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return [float(value) for value in corrected]
