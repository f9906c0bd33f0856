"""Random splits of the same images, drawn as those of simulations.py: what claims.py judges ``compare --repeat`` by."""

import numpy as np
import simulations
from scipy.special import ndtr

from fc7.classify.evaluation.resampled import corrected_interval


def over_splits(n, dim, shift, repeats, splits, share):
    """Return accuracies and true accuracies ``(repeats, backbones, splits)`` of ridge heads of two backbones alike."""
    rng = simulations.RNG
    y = np.where(np.arange(n) % 2 == 1, 1.0, -1.0)
    mean = np.zeros(dim)
    mean[0] = shift
    accuracy, truth = np.empty((2, repeats, 2, splits))
    common = rng.standard_normal((repeats, n, dim))
    ridge = np.diag([10.0] * dim + [1e-6])
    tables = [np.sqrt(0.5) * (common + rng.standard_normal((repeats, n, dim))) + y[:, None] * mean for _ in range(2)]
    for number in range(splits):
        order = np.argsort(rng.random((repeats, n // 2)), axis=1)  # of each class
        count = round(share * n / 2)
        held, fitted = (np.sort(np.hstack([2 * part, 2 * part + 1])) for part in (order[:, :count], order[:, count:]))
        for backbone, table in enumerate(tables):
            rows = np.concatenate([table, np.ones((repeats, n, 1))], axis=2)
            inside, outside = (np.take_along_axis(rows, part[..., None], 1) for part in (fitted, held))
            moment = inside.transpose(0, 2, 1) @ inside + ridge
            plane = np.linalg.solve(moment, np.einsum("rnd,rn->rd", inside, y[fitted])[..., None])
            accuracy[:, backbone, number] = ((outside @ plane)[..., 0] * y[held] > 0).mean(axis=1)
            length, along = np.linalg.norm(plane[:, :-1, 0], axis=1), plane[:, :-1, 0] @ mean
            ends = [ndtr((along + sign * plane[:, -1, 0]) / length) for sign in (1, -1)]
            truth[:, backbone, number] = np.mean(ends, axis=0)
    return accuracy, truth


def stable(n, share, repeats, splits=10):
    """Yield where, coverage of mean accuracies, of differences, and of plain t intervals of accuracies."""
    for dim, shift in ((10, 0.3), (10, 0.6), (10, 1.5), (60, 0.4), (60, 0.8), (60, 1.8)):
        accuracy, truth = over_splits(n, dim, shift, repeats, splits, share)
        evaluated = 2 * round(share * n / 2)
        held = []
        for sizes in ((n - evaluated, evaluated), (np.inf, evaluated)):  # the second is without the correction
            ends = [corrected_interval(values, *sizes) for values in accuracy[:, 0]]
            held.append(np.mean([one.low <= truth.mean() <= one.high for one in ends]))
        ends = [corrected_interval(one - two, n - evaluated, evaluated) for one, two in accuracy]
        differ = np.mean([one.low <= 0 <= one.high for one in ends])
        yield f"{dim} columns, accuracy {truth.mean():.2f}", held[0], differ, held[1]
