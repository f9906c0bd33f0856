"""What the exact test over groups of images is likely to find, simulated, as no formula is near it.

Counts of images of a group are drawn from the Dirichlet-multinomial distribution (Mosimann 1962), with the correlation
inside groups that was seen. The test counts choices of signs; here its critical value is that of the normal
distribution, corrected for the fourth moment (Cornish and Fisher 1938) and for steps of two. Of many groups the
distribution is near that of as many independent images as they are worth.
"""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from scipy.special import ndtri

from .effective_size import ALPHA, fold_inflation
from .paired_tests import POWER, likely_difference

MANY = 400  # groups
_COUNTS = 30_000  # of groups that are drawn in a step, about
_STEPS, _LINE, _NEAR = 8, 3, 0.18  # powers from 0.62 to 0.98 are on a line


@lru_cache(maxsize=256)
def likely_in_groups(
    sizes: tuple[int, ...], correlation: float, discordant: float, alpha: float = ALPHA, folds: int = 1
) -> float:
    """Return the accuracy difference that the test over groups finds with probability :data:`POWER`.

    Parameters
    ----------
    sizes
        The images of each group.
    correlation
        Of the differences of two images of a group.
    discordant
        Share of the images that only one of two runs gets right.
    folds
        In which the images were predicted; 1 for a split.

    Returns
    -------
    float
        The difference; ``inf`` where even `discordant`, the largest that there can be, is found less often.
    """
    images, number = np.array(sizes), max(round(len(sizes) / fold_inflation(folds)), 1)
    if number > MANY:
        effect = 1 + ((images**2).sum() / images.sum() - 1) * correlation
        return likely_difference(images.sum() / effect / fold_inflation(folds), discordant, alpha)
    z = NormalDist().inv_cdf(1 - alpha / 2)
    spread = max((1 - correlation) / max(correlation, 1e-3), 0.02)
    repeats = max(_COUNTS // number, 150)

    def found(difference: float, seed: int) -> float:
        generator = np.random.default_rng(seed)
        drawn = (
            np.broadcast_to(images, (repeats, number)) if folds == 1 else generator.choice(images, (repeats, number))
        )
        mean = np.array([(discordant + difference) / 2, (discordant - difference) / 2, 1 - discordant])
        shares = generator.standard_gamma(np.maximum(mean * spread, 1e-6), (repeats, number, 3)) + 1e-300
        counts = generator.multinomial(drawn, shares / shares.sum(axis=-1, keepdims=True))
        differences = (counts[..., 0] - counts[..., 1]).astype(float)
        total, second = np.abs(differences.sum(axis=1)), (differences**2).sum(axis=1)
        flat = -2 * (differences**4).sum(axis=1) / np.maximum(second, 1) ** 2
        return float((total - 1 >= (z + flat * (z**3 - 3 * z) / 24) * np.sqrt(second))[second > 0].sum() / repeats)

    if not discordant or found(discordant, _STEPS) < POWER:
        return math.inf
    low, high, tried = 0.0, discordant, []
    for step in range(_STEPS):
        middle = (low + high) / 2
        tried.append((middle, found(middle, step)))
        low, high = (middle, high) if tried[-1][1] < POWER else (low, middle)
    near = np.array([one for one in tried if abs(one[1] - POWER) < _NEAR] or tried[-1:])
    if len(near) < _LINE:
        return float(near[-1, 0])
    slope, level = np.polyfit(ndtri(near[:, 1]), near[:, 0], 1)  # of all draws, as one step is uncertain
    return float(np.clip(level + slope * ndtri(POWER), near[:, 0].min(), near[:, 0].max()))
