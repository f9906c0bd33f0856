"""Claims about heads: fc7 against plain scikit-learn, side by side, on the same rows, folds and grids.

    python benchmarks/heads.py [--rounds 3] [--rows 244 2000] [--heads NAME ...] [--large] [--json FILE]

The rows are synthetic, 4,096-d float32, like fc7 embeddings after ReLU: a few dozen directions that the classes differ
in, noise, and what is negative cut off. 244 rows have two classes, more have ten. Plain scikit-learn is
``GridSearchCV(make_pipeline(Normalizer(), head), grid, cv=folds, scoring="accuracy")`` with 5 stratified folds. A
head prepares the rows once (part of the line of all heads), answers the grid over the same folds, chooses by the same
rule, and fits the chosen point on all rows. Both are then asked about 500 new rows: the choice must be the same, and no
probability (the softmax of the margins where a head has none) may differ by more than 1e-3.

Where one fit of scikit-learn takes more than ``--patience`` seconds, the chosen point is fitted on one fold, the time
of that is multiplied by the number of fits, and marked with ``~``; the answers of that fit are compared.

fc7 has the threads that it gives itself: one up to 2,000 rows. scikit-learn has one for 244 rows, where more slow it
down, and all otherwise. Its ``LogisticRegression`` stops early; the search is timed as it comes, and its chosen point
is then fitted to the end to compare probabilities.

``--large`` compares on 20,000 rows a search of ``RidgeClassifier`` (7 penalties, 5 folds) and ``LogisticRegressionCV``
(10 penalties, 5 folds; one of them is measured, and its time taken five times) with what fc7 does instead. The
latter twice: as it comes, which stops early, and with ``tol=1e-6``, where its answers are those of fc7 if its
last fit is given float64 rows, which no time is counted for.
"""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch  # noqa: F401  # both sides find the libraries loaded that they use
from scipy.special import softmax
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC, LinearSVC
from threadpoolctl import threadpool_limits

from fc7.classify.data.splits import Fold
from fc7.classify.heads.base import from_margins
from fc7.classify.heads.calibration import scores
from fc7.classify.heads.preparation import UnitRows
from fc7.classify.heads.rbf_svm import RbfSVM
from fc7.classify.heads.table import HEADS
from fc7.classify.solvers.eigenbasis import Eigenbasis
from fc7.classify.solvers.lapack import threads

DIM = 4096
NEW = 500
MANY = 1000  # rows from which scikit-learn gains from more than one thread
PLAIN = {
    "logreg": LogisticRegression(max_iter=2000),
    "linear-svm": LinearSVC(max_iter=20_000, random_state=0),
    "rbf-svm": SVC(break_ties=True),
    "ridge": RidgeClassifier(),
    "lda": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5),
    "knn": KNeighborsClassifier(algorithm="brute"),
    "centroid": NearestCentroid(),
}


def data(rows, classes, seed=0):
    """Return rows ``(n, 4096)`` float32 after ReLU and labels ``(n,)``."""
    generator = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    directions = generator.standard_normal((64, DIM)) / 8
    centres = 0.35 * generator.standard_normal((classes, 64))
    inside = (centres[y] + generator.standard_normal((rows, 64))).astype(np.float32) @ directions.astype(np.float32)
    noise = generator.standard_normal((rows, DIM), dtype=np.float32)
    return np.maximum(inside + 0.3 * noise - 0.3, 0), y


def timed(call):
    """Return what a call returns, and its seconds."""
    start = time.perf_counter()
    found = call()
    return found, time.perf_counter() - start


def prepare(X):
    """Return rows in everything that grid heads share."""
    basis = Eigenbasis(UnitRows().fit(X).transform(X))
    _ = basis.rows32, basis.squares
    return basis


def chosen(found, y, folds, points):
    """Return the first point of the highest mean accuracy over folds, as GridSearchCV does, and that accuracy."""
    right = found.scores.argmax(axis=2) == y
    means = [np.mean([row[held].mean() for _, held in folds]) for row in right]
    return points[int(np.argmax(np.round(means, 12)))], float(max(means))


def ours(name, basis, y, folds):
    """Return the fitted head, its point, accuracy and seconds."""
    head = HEADS[name]

    def work():
        points = list(ParameterGrid(head.grid))
        found = head.build(0).out_of_fold(basis, y, [Fold(*fold) for fold in folds], points)
        point, accuracy = chosen(found, y, folds, points)
        return head.build(0).set_params(**point).fit_prepared(basis, y), point, accuracy

    (estimator, point, accuracy), seconds = timed(work)
    return estimator, point, accuracy, seconds


def theirs(name, X, y, folds):
    """Return scikit-learn's search, fitted, and its seconds."""
    pipeline = make_pipeline(Normalizer(), PLAIN[name])
    grid = {f"{pipeline.steps[1][0]}__{key}": values for key, values in HEADS[name].grid.items()}
    search = GridSearchCV(pipeline, grid, cv=folds, scoring="accuracy")
    return timed(lambda: search.fit(X, y))


def estimated(name, point, X, y, folds):
    """Return scikit-learn's head fitted on one fold, and what its whole search would take."""
    pipeline = make_pipeline(Normalizer(), clone(PLAIN[name]).set_params(**point))
    fitted, held = folds[0]

    def work():
        pipeline.fit(X[fitted], y[fitted])
        return pipeline.score(X[held], y[held])

    seconds = timed(work)[1]
    return pipeline, seconds * fits(name, folds)


def ended(name, estimator, basis, y):
    """Return scikit-learn's head, fitted to the end where it stops early by default."""
    if name != "logreg":
        return estimator
    return clone(estimator).set_params(tol=1e-6, max_iter=5000).fit(basis.inputs.astype(np.float64), y)


def fits(name, folds):
    """Return how many fits a search takes."""
    return len(ParameterGrid(HEADS[name].grid)) * len(folds) + 1


def margins(estimator, rows):
    """Return probabilities, or the softmax of margins, of rows."""
    if isinstance(estimator, NearestCentroid):  # its own probabilities do not follow from the distances
        return softmax(rows @ estimator.centroids_.T - (estimator.centroids_**2).sum(axis=1) / 2, axis=1)
    if isinstance(estimator, RbfSVM | SVC):  # probabilities of fc7's come from other margins than the votes of pairs
        return softmax(from_margins(estimator.decision_function(rows)), axis=1)
    return softmax(scores(estimator, rows), axis=1)


def compare(name, basis, X, y, folds, new, arguments):
    """Return one row of the table."""
    with threads(len(X)):
        rounds = [ours(name, basis, y, folds) for _ in range(arguments.rounds)]
    estimator, point, accuracy, _ = rounds[0]
    row = {"head": name, "rows": len(X), "seconds": statistics.median(found[3] for found in rounds), "point": point}
    with threadpool_limits(1 if len(X) < MANY else None):
        one, whole = estimated(name, point, X, y, folds)
        if whole / fits(name, folds) > arguments.patience:
            fitted = Eigenbasis(basis.inputs[folds[0][0]])
            estimator = HEADS[name].build(0).set_params(**point).fit_prepared(fitted, y[folds[0][0]])
            row |= {"plain_seconds": whole, "estimated": True, "same_choice": None}
            other = ended(name, one[1], fitted, y[folds[0][0]])
        else:
            searches = [theirs(name, X, y, folds) for _ in range(arguments.rounds)]
            search = searches[0][0]
            best = {key.partition("__")[2]: value for key, value in search.best_params_.items()}
            row |= {"plain_seconds": statistics.median(seconds for _, seconds in searches), "estimated": False}
            row |= {"same_choice": best == point, "plain_point": best, "accuracy": accuracy}
            row["plain_accuracy"] = float(search.best_score_)
            other = ended(name, search.best_estimator_[1], basis, y)
    rows = UnitRows().fit(X).transform(new)
    row["difference"] = float(np.abs(margins(estimator, rows) - margins(other, rows)).max())
    row["same_answers"] = bool((estimator.predict(rows) == other.predict(rows)).all())
    row["ratio"] = row["plain_seconds"] / row["seconds"]
    return row


def show(row):
    """Print one line of the table."""
    mark = "~" if row.get("estimated") else ""
    same = {True: "same", False: "OTHER", None: ""}[row.get("same_choice")]
    difference = f"{row['difference']:.1e}" if "difference" in row else ""
    answers = {True: "same", False: "OTHER", None: ""}[row.get("same_answers")]
    print(
        f"| {row['rows']} | {row['head']} | {mark}{row['plain_seconds']:.2f} | {row['seconds']:.3f} | "
        f"{mark}{row['ratio']:.1f} | {same} | {difference} | {answers} |",
        flush=True,
    )


def small(count, arguments):
    """Return the rows of the table for so many rows of data."""
    classes = 2 if count < 1000 else 10
    X, y = data(count + NEW, classes)
    X, new, y = X[:count], X[count:], y[:count]
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
    rows = []
    with threads(count):
        prepared = [timed(lambda: prepare(X)) for _ in range(arguments.rounds)]
    basis, preparation = prepared[0][0], statistics.median(seconds for _, seconds in prepared)
    for name in arguments.heads or PLAIN:
        rows.append(compare(name, basis, X, y, folds, new, arguments))
        show(rows[-1])
    plain, fast = sum(row["plain_seconds"] for row in rows), sum(row["seconds"] for row in rows) + preparation
    estimated_too = any(row["estimated"] for row in rows)
    whole = {"head": "all, with preparation", "rows": count, "plain_seconds": plain, "seconds": fast}
    whole |= {"preparation": preparation, "ratio": plain / fast, "estimated": estimated_too}
    show(whole)
    exact = [row for row in rows if not row["estimated"]]
    if estimated_too:
        measured = {"head": "all but the estimated, with preparation", "rows": count, "estimated": False}
        measured["plain_seconds"] = sum(row["plain_seconds"] for row in exact)
        measured["seconds"] = sum(row["seconds"] for row in exact) + preparation
        measured["ratio"] = measured["plain_seconds"] / measured["seconds"]
        show(measured)
        rows.append(measured)
    return [*rows, whole]


def large(arguments):
    """Return the rows of the table for 20,000 rows: ridge, and the path of logistic regression."""
    X, y = data(arguments.large_rows, 10)
    X = UnitRows().fit(X).transform(X)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
    alphas, Cs = HEADS["ridge"].grid["alpha"], list(np.logspace(-4, 4, 10))
    heads = arguments.heads or ("ridge", "logreg")
    rows = []

    def ridge():
        basis, points = Eigenbasis(X), [{"alpha": alpha} for alpha in alphas]
        found = HEADS["ridge"].build(0).out_of_fold(basis, y, [Fold(*fold) for fold in folds], points)
        point, _ = chosen(found, y, folds, points)
        return HEADS["ridge"].build(0).set_params(**point).fit_prepared(basis, y)

    def logreg():
        basis, points = Eigenbasis(X), [{"C": C} for C in Cs]
        found = HEADS["logreg"].build(0).out_of_fold(basis, y, [Fold(*fold) for fold in folds], points)
        point, _ = chosen(found, y, folds, points)
        return HEADS["logreg"].build(0).set_params(**point).fit_prepared(basis, y)

    def path(C, tol):
        settings = {"tol": tol, "max_iter": 10_000}
        one = LogisticRegressionCV(Cs=Cs, cv=folds[:1], refit=False, **settings)
        seconds = len(folds) * timed(lambda: one.fit(X, y))[1]
        other, last = timed(lambda: LogisticRegression(C=C, **settings).fit(X, y))
        return other, seconds + last

    def add(title, fitted, other, same):
        (estimator, seconds), (plain, plain_seconds) = fitted, other
        row = {"head": f"{title}, with preparation", "rows": len(X), "seconds": seconds, "plain_seconds": plain_seconds}
        row |= {"ratio": plain_seconds / seconds, "estimated": same is None, "same_choice": same}
        row["difference"] = float(np.abs(margins(estimator, X[:NEW]) - margins(plain, X[:NEW])).max())
        rows.append(row)
        show(row)

    if "ridge" in heads:
        search = GridSearchCV(RidgeClassifier(), {"alpha": alphas}, cv=folds)
        fitted, (searched, seconds) = timed(ridge), timed(lambda: search.fit(X, y))
        add("ridge", fitted, (searched.best_estimator_, seconds), fitted[0].alpha == searched.best_params_["alpha"])
    if "logreg" in heads:
        fitted = timed(logreg)
        add("logreg", fitted, path(fitted[0].C, 1e-4), None)
        _, seconds = path(fitted[0].C, 1e-6)
        exact = LogisticRegression(C=fitted[0].C, tol=1e-6, max_iter=10_000).fit(X.astype(np.float64), y)
        add("logreg to the end", fitted, (exact, seconds), None)
    return rows


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="*", default=[244, 2000])
    parser.add_argument("--heads", nargs="+", choices=PLAIN)
    parser.add_argument("--patience", type=float, default=5.0, metavar="S")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--large-rows", type=int, default=20_000, metavar="N")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    for kind in (ConvergenceWarning, FutureWarning):
        warnings.simplefilter("ignore", kind)
    columns = ["rows", "head", "scikit-learn, s", "fc7, s", "times", "choice", "largest difference", "answers"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    rows = [row for count in arguments.rows for row in small(count, arguments)]
    rows += large(arguments) if arguments.large else []
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
