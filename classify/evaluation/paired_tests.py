"""Paired tests: two classifiers on the same images, by the counts of images that only one of them got right.

Methods: McNemar 1947 (exact, two-sided); over groups the exact test that flips the sign of each group's difference
(Fisher 1935), which is McNemar's where each image is its own group; the interval of Bonett and Price 2012; Holm 1979
for many comparisons.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from .effective_size import ALPHA

Interval = tuple[float, float]

POWER = 0.8  # of the difference that a study can be expected to find
_DEVIATIONS = 6  # of a binomial number around its mean; what lies beyond has no weight


def mcnemar(only_first: npt.ArrayLike, only_second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the exact two-sided McNemar p-values of counts of images that only one of two got right, of any shape.

    Without a difference these images are tosses of a fair coin. Where there are none, p is 1.0.
    """
    from scipy.stats import binom

    b, c = np.asarray(only_first), np.asarray(only_second)
    p: npt.NDArray[np.float64] = np.minimum(1.0, 2 * binom.cdf(np.minimum(b, c), b + c, 0.5))
    return p


def sign_flip(differences: npt.NDArray[np.int_]) -> float:
    """Return the exact two-sided p-value of whole differences ``(groups,)`` of two runs, one of each group.

    Without a difference each has either sign with the same probability, whatever its size. The distribution of their
    sum over all signs comes from its Fourier series, a product of cosines.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    most, total = int(sizes @ counts), abs(int(differences.sum()))
    if not total:
        return 1.0
    turn = 2 * np.pi * np.arange(most + 1) / (2 * most + 1)
    chances = np.fft.irfft(np.prod(np.cos(np.outer(sizes, turn)) ** counts[:, None], axis=0), 2 * most + 1)
    return float(np.clip(2 * chances[total : most + 1].sum(), 0.0, 1.0))


def allow_for(p: float, inflation: float) -> float:
    """Return a two-sided p-value of a statistic whose variance is so many times what the p-value took it for.

    Of a significance level and the inverse of that number, it is the level that the first p-value must reach.
    """
    normal = NormalDist()
    return p if inflation == 1 or not 0 < p < 1 else 2 * normal.cdf(normal.inv_cdf(p / 2) / math.sqrt(inflation))


def difference_interval(
    only_first: int, only_second: int, n: int, p: float, size: float | None = None, level: float = ALPHA
) -> Interval:
    """Return the interval of the difference ``(only_first - only_second) / n`` of two accuracies; 95 % by default.

    It is that of Bonett and Price (2012): Wald's, with one more image that only the first, and one that only the second
    got right. It agrees with the test: it holds 0 if, and only if, `p` is above :data:`ALPHA`.

    Parameters
    ----------
    p
        Of the two-sided test of the same difference, corrected if several are made.
    size
        Independent images that the n are worth, see :func:`fc7.classify.evaluation.effective_size.effective_size`;
        default n.
    level
        One minus the confidence: less than :data:`ALPHA` where several differences are tested, see :func:`holm_levels`.
    """
    low, high = bonett_price(only_first / n, only_second / n, n if size is None else size, level)
    if p > ALPHA:
        return min(low, 0.0), max(high, 0.0)
    least = 1 / (2 * n)  # half an image
    return (max(low, least), high) if only_first > only_second else (low, min(high, -least))


def bonett_price(only_first: float, only_second: float, size: float, level: float = ALPHA) -> Interval:
    """Return the interval of a difference from the shares of so many independent images that only one got right."""
    first, second = ((share * size + 1) / (size + 2) for share in (only_first, only_second))
    z = NormalDist().inv_cdf(1 - level / 2)
    middle, half = first - second, z * math.sqrt((first + second - (first - second) ** 2) / (size + 2))
    return max(middle - half, -1.0), min(middle + half, 1.0)


def smallest_significant(n: int, alpha: float = ALPHA) -> float:
    """Return the smallest accuracy difference of n paired images that can be significant at all.

    In the best case every image that only one run gets right favours the same run. The exact test then needs k of them,
    with ``2 * 0.5**k <= alpha``, which are 6, and no difference below ``k / n`` can be significant: ``inf`` where n is
    less than k. Of images in groups, k must lie in different groups.
    """
    return least_count(alpha) / n if least_count(alpha) <= n else math.inf


def least_count(alpha: float = ALPHA) -> int:
    """Return how many images, or groups, must favour the same run for the exact test to be significant."""
    return math.ceil(math.log2(2 / alpha) - 1e-9)


def likely_difference(size: float, discordant: float, alpha: float = ALPHA) -> float:
    """Return the accuracy difference that the exact test finds with probability :data:`POWER`.

    Parameters
    ----------
    size
        Independent images, or what others are worth.
    discordant
        Share of the images that only one of two runs gets right.

    Returns
    -------
    float
        The difference, of which the test's power is that, see :func:`power`; ``inf`` where even `discordant`, the
        largest difference that there can be, is found less often.
    """
    return _likely_difference(max(int(size), 1), float(discordant), alpha)


@lru_cache(maxsize=4096)
def _likely_difference(n: int, discordant: float, alpha: float) -> float:
    found = _power(n, discordant, alpha)
    if not discordant or found(discordant) < POWER:
        return math.inf
    low, high = 0.0, discordant
    while high - low > discordant / 2**12:
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < POWER else (low, middle)
    return high


def power(n: int, discordant: float, difference: float, alpha: float = ALPHA) -> float:
    """Return the probability that the exact McNemar test of n images finds a difference of two accuracies.

    The number of images that only one run gets right is binomial, and so is, of these, that of the better run.
    """
    return _power(n, discordant, alpha)(difference)


def _power(n: int, discordant: float, alpha: float) -> Callable[[float], float]:
    from scipy.special import bdtr, bdtrik, gammaln, xlog1py, xlogy

    spread = _DEVIATIONS * math.sqrt(n * discordant * (1 - discordant)) + _DEVIATIONS
    numbers = np.arange(max(1, int(n * discordant - spread)), min(n, math.ceil(n * discordant + spread)) + 1)
    ways = gammaln(n + 1) - gammaln(numbers + 1) - gammaln(n - numbers + 1)
    weights = np.exp(ways + xlogy(numbers, discordant) + xlog1py(n - numbers, -discordant))
    most = np.nan_to_num(np.floor(bdtrik(alpha / 2, numbers, 0.5)), nan=-1.0) + 1  # on the losing side, or one more
    for _ in range(2):
        most -= (most >= 0) & (bdtr(np.maximum(most, 0), numbers, 0.5) > alpha / 2)
    possible = most >= 0
    numbers, weights, most = numbers[possible], weights[possible], most[possible]

    def found(difference: float) -> float:
        chance = (1 - difference / discordant) / 2
        return float(weights @ (bdtr(most, numbers, chance) + bdtr(most, numbers, 1 - chance)))

    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number by Holm's step-down method, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return [float(value) for value in corrected]


def holm_levels(corrected: Sequence[float]) -> list[float]:
    """Return the significance level that Holm's steps leave to each of several tests, from their corrected p-values.

    What is clear is out of the way of the others: the level is divided by those that are not, this one with them.
    """
    unclear = sum(p > ALPHA for p in corrected)
    return [ALPHA / (unclear + (p <= ALPHA)) for p in corrected]
