"""Seconds of processor time that a search takes, beside what the table of heads foresees, over sizes of data.

Run it with OMP_NUM_THREADS=1: ``python benchmarks/foreseen.py [HEAD ...]``.
"""

import sys
import time
import warnings

import numpy as np
from sklearn.model_selection import ParameterGrid, StratifiedKFold

from fc7.classify.data.splits import Fold
from fc7.classify.heads.table import HEADS, Head
from fc7.classify.solvers.eigenbasis import Eigenbasis

FOLDS = 3
LONGEST = 30.0  # foreseen seconds of a search that is measured
SIZES = [(n, d, k) for n in (1200, 4800) for d in (4, 16, 64, 512) for k in (2, 10, 100) if n >= 2 * FOLDS * k]


def main(names: list[str]) -> None:
    """Measure and print a csv."""
    print("head,rows,columns,classes,overlap,foreseen,measured,ratio")
    for head in HEADS.values():
        if head.layer or head.name in ("baseline", "centroid") or (names and head.name not in names):
            continue
        for n, d, k in SIZES:
            fits = len(ParameterGrid(head.grid)) * FOLDS
            foreseen = fits * head.seconds(n * (FOLDS - 1) // FOLDS, d, k)
            if foreseen > LONGEST:
                continue
            for overlap in (0.5, 1.5):
                measured = search(head, n, d, k, overlap)
                print(
                    f"{head.name},{n},{d},{k},{overlap},{foreseen:.3f},{measured:.3f},{foreseen / measured:.2f}",
                    flush=True,
                )


def search(head: Head, n: int, d: int, k: int, overlap: float) -> float:
    """Return the seconds of processor time that the folds of a grid take on classes around centres."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % k
    rows = rng.normal(size=(k, d))[y] + overlap * rng.normal(size=(n, d))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    folds = [Fold(*pair) for pair in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(rows, y)]
    points = [point for point in ParameterGrid(head.grid) if head.possible(point, n // 2)]
    start = time.process_time()
    if head.answers_grid:
        basis = Eigenbasis(rows)
        head.build(0).out_of_fold(basis, y, folds, points)
    else:
        for point in points:
            for fold in folds:
                estimator = head.build(0).set_params(**point).fit(rows[fold.fitted], y[fold.fitted])
                estimator.predict_proba(rows[fold.held])
    return time.process_time() - start


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:])
