"""What two runs got right, and the figures of their paired test."""

import numpy as np

from fc7.classify.evaluation.paired_tests import bootstrap_interval, mcnemar


def answers(both, first, second, neither):
    """Two runs with these four counts."""
    right = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return np.array([row[0] for row in right]), np.array([row[1] for row in right])


def p_of(first, second):
    return float(mcnemar(int(np.sum(first & ~second)), int(np.sum(~first & second))))


def interval_of(first, second):
    return bootstrap_interval(int(np.sum(first & ~second)), int(np.sum(~first & second)), len(first))
