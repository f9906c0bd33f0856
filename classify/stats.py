"""Statistics of runs compared on the same images: paired tests, what n could have shown, the verdict in words.

Methods: McNemar 1947 (exact, two-sided), the paired percentile bootstrap (Efron 1979), Holm 1979 for many comparisons,
Connor 1987 for the difference that a paired study of n can be expected to find.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .runs import Run

ALPHA = 0.05  # of every test, and 1 - the confidence of every interval
POWER = 0.8  # of the difference that a study can be expected to find
FEW = 0.1  # where n images cannot show a difference of 10 points, "no difference found" says nothing
BASELINES = frozenset({"baseline"})

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images.

    Attributes
    ----------
    first, second, names
        Ids and names of the two runs.
    n
        Images both predicted.
    difference, interval
        Accuracy of the first minus the second, and its 95 % paired bootstrap interval.
    only_first, only_second
        Images that only the one or only the other got right.
    p, p_corrected
        Exact McNemar, alone and after Holm's correction for all pairs of the same comparison.
    smallest_detectable
        See :func:`smallest_detectable`: in the best case; ``inf`` where n is too small for any.
    likely_detectable
        The same for 80 % power at this pair's share of discordant images.
    """

    first: str
    second: str
    names: tuple[str, str]
    n: int
    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int
    p: float
    p_corrected: float
    smallest_detectable: float
    likely_detectable: float

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON has; what cannot be detected at all is None."""
        values = asdict(self) | {"names": list(self.names), "interval": list(self.interval)}
        infinite = [name for name, value in values.items() if isinstance(value, float) and math.isinf(value)]
        return values | dict.fromkeys(infinite)


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


def compare_pairs(runs: Sequence[Run]) -> list[Pair]:
    """Return every pair of runs on the same images, Holm-corrected over all of them.

    Images are matched by the path and class name in the records' predictions, whatever their order. Runs on other
    images, or on the same images under other labels, are not paired: no paired test exists for them.
    """
    groups: dict[tuple[tuple[str, str], ...], list[tuple[int, Bools]]] = {}
    for place, run in enumerate(runs):
        images, right = _aligned(run)
        groups.setdefault(images, []).append((place, right))
    counted = sorted(row for members in groups.values() for row in _counts(members))
    return _pairs(runs, counted)


def compare_planned(chosen: Run, others: Sequence[Run]) -> list[Pair]:
    """Return `chosen` against each of `others` on the same images, Holm-corrected over these pairs only."""
    pairs = [pair for other in others for pair in compare_pairs([chosen, other])]
    corrected = holm([pair.p for pair in pairs])
    return [Pair(**{**vars(pair), "p_corrected": p}) for pair, p in zip(pairs, corrected, strict=True)]


def learning_curve(
    fit_and_score: Callable[[npt.NDArray[np.intp]], float],
    labels: npt.NDArray[Any],
    sizes: Sequence[int],
    repeats: int = 10,
    random_state: int = 0,
) -> list[dict[str, float]]:
    """Measure accuracy against images per class.

    Parameters
    ----------
    fit_and_score
        Takes ``(rows,)`` positions in `labels`, fits on them, returns the accuracy on images that are never among them.
    labels
        ``(n,)`` of the images that may be drawn.
    sizes
        Images per class; those larger than the smallest class are left out.
    repeats
        Subsets drawn per size. Each is seeded by (random_state, size, repeat), so other sizes never change it.

    Returns
    -------
    list of dict
        ``per_class, accuracy`` (mean), ``low, high`` (5th and 95th percentile over the subsets: how much the choice of
        images matters, not an interval of the mean), ``repeats``.

    Raises
    ------
    DataError
        The smallest class has fewer images than the smallest size.
    """
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    smallest = min(len(members) for members in rows)
    fitting = sorted({size for size in sizes if 1 <= size <= smallest})
    if not fitting:
        raise DataError(f"A learning curve over {list(sizes)} images per class: the smallest class has {smallest}.")
    curve = []
    for size in fitting:
        draws = [_stratified(rows, size, [random_state, size, repeat]) for repeat in range(repeats)]
        scores = np.array([fit_and_score(draw) for draw in draws])
        low, high = np.quantile(scores, [0.05, 0.95])
        point = {"per_class": size, "accuracy": float(scores.mean()), "low": float(low), "high": float(high)}
        curve.append(point | {"repeats": repeats})
    return curve


def _stratified(rows: Sequence[npt.NDArray[np.intp]], size: int, seed: list[int]) -> npt.NDArray[np.intp]:
    generator = np.random.default_rng(seed)
    return np.sort(np.concatenate([generator.choice(members, size, replace=False) for members in rows]))


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


def _aligned(run: Run) -> tuple[tuple[tuple[str, str], ...], Bools]:
    """Return the run's images as sorted (path, class name), and ``(n,)`` which were right in that order."""
    classes, columns = run.data["classes"], run.predictions
    images = [(path, classes[label]) for path, label in zip(columns["path"], columns["label"], strict=True)]
    order = sorted(range(len(images)), key=images.__getitem__)
    return tuple(images[place] for place in order), run.right[order]


def _counts(members: list[tuple[int, Bools]]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield place, place, only first, only second, n of every pair of one set of images."""
    right = np.array([row for _, row in members], dtype=np.float64)
    only = (right @ (1 - right).T).astype(int)  # [i, j]: i right and j wrong; counts are exact in float64
    for i, j in combinations(range(len(members)), 2):
        yield members[i][0], members[j][0], int(only[i, j]), int(only[j, i]), right.shape[1]


def _pairs(runs: Sequence[Run], counted: Sequence[tuple[int, int, int, int, int]]) -> list[Pair]:
    p_values = [float(p) for p in _exact_p([row[2] for row in counted], [row[3] for row in counted])]
    pairs = []
    for (i, j, b, c, n), p, corrected in zip(counted, p_values, holm(p_values), strict=True):
        pair = Pair(
            first=runs[i].id,
            second=runs[j].id,
            names=(runs[i].name, runs[j].name),
            n=n,
            difference=(b - c) / n,
            interval=_bootstrap(b, c, n),
            only_first=b,
            only_second=c,
            p=p,
            p_corrected=corrected,
            smallest_detectable=smallest_detectable(n),
            likely_detectable=smallest_detectable(n, (b + c) / n),
        )
        pairs.append(pair)
    return pairs
