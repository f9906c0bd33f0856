"""Statistics of runs compared on the same images: paired tests, what n could have shown, the verdict in words.

Methods: McNemar 1947 (exact, two-sided), the paired percentile bootstrap (Efron 1979), Holm 1979 for many comparisons,
Connor 1987 for the difference that a paired study of n can be expected to find.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ...errors import DataError

ALPHA = 0.05  # of every test, and 1 - the confidence of every interval
POWER = 0.8  # of the difference that a study can be expected to find

Bools = npt.NDArray[np.bool_]


def mcnemar(first: Bools, second: Bools) -> float:
    """Return the exact two-sided McNemar p-value of two ``(n,)`` arrays of which images were right.

    1.0 where no image is discordant: the test looks at nothing else.
    """
    return float(_exact_p(*_discordant(first, second)))


def bootstrap_difference(first: Bools, second: Bools, *, confidence: float = 1 - ALPHA) -> tuple[float, float]:
    """Return the paired percentile bootstrap interval of ``mean(first) - mean(second)``.

    Resampling images with replacement draws, per image, +1, -1 or 0 with the observed shares of "only the first right",
    "only the second right" and the rest. The sum of n such draws has a distribution that can be computed, so nothing is
    drawn: this is the limit of infinitely many resamples, and it needs no seed. With no discordant image it is (0, 0),
    as every percentile bootstrap is; :func:`smallest_detectable` says what that is worth.
    """
    return _bootstrap(*_discordant(first, second), len(first), confidence)


def smallest_detectable(
    n: int, discordant: float | None = None, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the smallest accuracy difference that n paired images can show.

    Parameters
    ----------
    n
        Images.
    discordant
        None for the best case: every discordant image favours the same run. The exact test then needs k images with
        ``2 * 0.5**k <= alpha`` (6 at 0.05), and no difference below ``k / n`` can ever be significant.
        Else the share of images that only one of the two gets right: the difference that would be found with
        probability `power` (Connor 1987, normal approximation).

    Returns
    -------
    float
        A difference of accuracies, ``inf`` where even all n images would not do.
    """
    if discordant is None:
        k = math.ceil(math.log2(2 / alpha) - 1e-9)
        return k / n if k <= n else math.inf
    z, w = NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(power)
    # Connor: sqrt(n) d = z sqrt(share) + w sqrt(share - d^2), solved for d; a difference cannot exceed the share.
    inner = z * z * n - (n + w * w) * (z * z - w * w)
    found = math.sqrt(discordant) * (z * math.sqrt(n) + math.sqrt(max(inner, 0.0))) / (n + w * w)
    return max(found, smallest_detectable(n, alpha=alpha)) if 0 < found <= discordant else math.inf


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number by Holm's step-down method, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return [float(value) for value in corrected]


def _discordant(first: Bools, second: Bools) -> tuple[int, int]:
    """Return how many only the first and only the second got right."""
    if len(first) != len(second):
        raise DataError(f"A paired test needs the same images: {len(first)} and {len(second)}.")
    return int(np.sum(first & ~second)), int(np.sum(~first & second))


def _exact_p(only_first: npt.ArrayLike, only_second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return McNemar's p; under no difference the discordant images are tosses of a fair coin."""
    from scipy.stats import binom

    b, c = np.asarray(only_first), np.asarray(only_second)
    p: npt.NDArray[np.float64] = np.minimum(1.0, 2 * binom.cdf(np.minimum(b, c), b + c, 0.5))
    return p


def _bootstrap(b: int, c: int, n: int, confidence: float = 1 - ALPHA) -> tuple[float, float]:
    """Return the interval of (b - c) / n when n images are redrawn, by Fourier inversion of the n-fold convolution."""
    if b + c == 0:
        return 0.0, 0.0
    # Beyond 10 standard deviations there is nothing to wrap around.
    half = math.ceil(10 * math.sqrt(b + c)) + 10
    size = 2 * half + 1
    turn = np.exp(2j * np.pi * np.arange(half + 1) / size)
    spectrum = ((b * turn + c / turn + (n - b - c)) / n) ** n * turn ** (half - (b - c))
    cumulative = np.cumsum(np.fft.irfft(spectrum.conj(), size))
    tail = (1 - confidence) / 2
    # The smallest difference with at least that much of the distribution at or below it.
    low, high = np.searchsorted(cumulative, [tail, 1 - tail]) - half + (b - c)
    return float(low / n), float(high / n)
