"""Claims about predict: what a threshold for a stated error does on new images, and which images are called unlike.

    python benchmarks/predict.py DATA --vgg16 FILE [--cache DIR] [--splits 50]

All images of DATA are split at random into two halves, stratified by class, again and again: a head and its threshold
are fitted on one half, and the other half is answered. `wrong` and `answered` are means over the splits, on the new
half; `kept` is the share of splits in which no more than the error asked for was wrong there, and `nothing` of those
with no answer. Images unlike the fitted
ones are counted among the new halves, and among pictures of something else: photographs and digits of scikit-learn,
noise, and plain colours.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split

from fc7.classify import Bundle, fit
from fc7.extract import extract, load_backbone, read_manifest

ERRORS = (0.05, 0.02, 0.01)


def strangers():
    """Return pictures of something else, by kind."""
    rng = np.random.default_rng(0)
    photographs = [
        photograph[top : top + 200, left : left + 200]
        for photograph in load_sample_images().images
        for top in (0, 200)
        for left in (0, 200, 400)
    ]
    digits = [
        np.asarray(Image.fromarray((one * 15).astype(np.uint8)).resize((256, 256))) for one in load_digits().images
    ]
    return {
        "crops of two photographs": photographs,
        "handwritten digits": digits[:100],
        "noise": [rng.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(20)],
        "plain colours": [np.full((256, 256, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(20)],
    }


def halves(rows, splits):
    """Yield embeddings whose split says which half is fitted and which is new."""
    for seed in range(splits):
        fitted, _ = train_test_split(np.arange(len(rows)), train_size=0.5, stratify=rows.y, random_state=seed)
        split = np.full(len(rows), "val", dtype="<U5")
        split[fitted] = "train"
        yield replace(rows, split=split)


def main():
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vgg16", type=Path, required=True, help="weights of VGG16's convolutions")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--splits", type=int, default=50)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = arguments.cache or Path(folder)
        backbone = load_backbone("vgg16", "gap", weights=f"file:{arguments.vgg16}", cache=cache)
        rows = extract(read_manifest(arguments.data), backbone, cache=cache)
        found = {error: [] for error in ERRORS}
        new = []
        for one in halves(rows, arguments.splits):
            fitted = fit(one, "logreg", allow_leakage=True)
            held = one[one.split == "val"]
            probability = fitted.estimator.predict_proba(held.vectors)
            right, top = probability.argmax(axis=1) == held.y, probability.max(axis=1).astype(np.float32)
            for error in ERRORS:
                threshold = fitted.abstention.threshold(error)
                sure = top >= np.float32(threshold.probability)
                wrong, answered = int((sure & ~right).sum()), int(sure.sum())
                kept = wrong <= error * answered
                found[error].append((wrong, answered, len(held), int((~right).sum()), kept, not threshold.answered))
            new.append((fitted.abstention.distances(held.vectors) > fitted.abstention.limit).mean())
        print("| asked | wrong | answered | wrong if all are answered | kept | nothing |\n|---|---|---|---|---|---|")
        for error, counts in found.items():
            wrong, answered, held, mistakes, kept, nothing = np.sum(counts, axis=0)
            share = f"{wrong / answered:.3f}" if answered else ""
            print(
                f"| {error} | {share} | {answered / held:.1%} | {mistakes / held:.3f} | "
                f"{kept / arguments.splits:.0%} | {nothing / arguments.splits:.0%} |"
            )
        print(f"\n| pictures | unlike |\n|---|---|\n| new images of {arguments.data.name} | {np.mean(new):.1%} |")
        bundle = Bundle.of(fit(rows, "logreg", on="val"))
        for kind, pictures in strangers().items():
            answers = bundle.predict(pictures, backbone=backbone, cache=cache)
            print(f"| {kind} ({len(pictures)}) | {np.mean([one.unlike for one in answers]):.0%} |")


if __name__ == "__main__":
    main()
