"""What two runs got right, and the figures of their paired test."""

from dataclasses import replace

import numpy as np

from fc7.classify.evaluation.effective_size import agresti_coull, effective_size
from fc7.classify.evaluation.paired_tests import difference_interval, mcnemar


def answers(both, first, second, neither):
    """Two runs with these four counts."""
    right = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return np.array([row[0] for row in right]), np.array([row[1] for row in right])


def p_of(first, second):
    return float(mcnemar(int(np.sum(first & ~second)), int(np.sum(~first & second))))


def interval_of(first, second):
    counts = int(np.sum(first & ~second)), int(np.sum(~first & second))
    return difference_interval(*counts, len(first), p_of(first, second))


def grouped(run, groups):
    """Return the record of the same predictions of images in groups."""
    groups = np.unique(groups, return_inverse=True)[1]
    effective = effective_size(run.right, groups)
    low, high = agresti_coull(run.metrics["correct"], run.metrics["n"], effective)
    metrics = run.metrics | {"groups": int(groups.max()) + 1, "effective": effective, "interval": [low, high]}
    return replace(run, metrics=metrics, predictions=run.predictions | {"group": groups.tolist()})
