"""Claim: the report of 50 runs x 5,000 predictions is built in under 10 s, and Chromium opens it in under 2 s.

    python benchmarks/report.py

Records are made up and written to disk first, so that reading them is part of the time. Opening needs selenium,
chromium and chromedriver; without them it is left out, and said so.
"""

import hashlib
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from fc7.classify.evaluation.metrics import measure
from fc7.classify.records.pairs import compare_pairs
from fc7.classify.records.probabilities import Probabilities
from fc7.classify.records.runs import Run
from fc7.classify.records.table import load_runs
from fc7.classify.reports.report import report

RUNS, IMAGES, CLASSES = 50, 5000, 10


def made_up(number: int) -> Run:
    """Return a record of 5,000 predictions, better or worse by its number."""
    generator = np.random.default_rng(number)
    labels = np.arange(IMAGES) % CLASSES
    logits = generator.standard_normal((IMAGES, CLASSES)) + (2.5 + 0.03 * number) * np.eye(CLASSES)[labels]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    arm = "all" if number % 10 == 9 else ""
    curves = [
        {
            "epoch": e,
            "train_loss": 2 / e,
            "train_accuracy": 1 - 0.5 / e,
            "val_loss": 2.2 / e,
            "val_accuracy": 1 - 0.6 / e,
        }
        for e in range(1, 13)
    ]
    return Run(
        id=hashlib.sha256(str(number).encode()).hexdigest(),
        head="" if arm else f"head-{number}",
        trainable=arm,
        recipe={"id": "0" * 64, "backbone": "vgg16", "layer": "fc7", "dim": 4096, "weights": "0" * 64},
        weights_source="torchvision",
        data={"name": "made-up", "fingerprint": "0" * 64, "classes": [f"class {c}" for c in range(CLASSES)]}
        | {"n_eval": IMAGES, "evaluated": "val"},
        selection={"folds": 5, "accuracy": 0.8 + number / 1000},
        hyperparameters={"C": 1.0},
        metrics=measure(labels, probability).to_dict(),
        seconds={"extract": 60.0, "fit": 0.5 + number, "predict": 0.01},
        predictions={
            "path": [f"class {label}/{place}.jpg" for place, label in enumerate(labels)],
            "key": [hashlib.sha256(str(place).encode()).hexdigest()[:16] for place in range(IMAGES)],
            "label": labels.tolist(),
            "predicted": probability.argmax(axis=1).tolist(),
        },
        probabilities=Probabilities.of(probability, labels),
        curves=curves if arm else [],
    )


def opened(page: Path) -> str:
    """Return how long Chromium takes until the page is loaded and painted."""
    try:
        from selenium import webdriver
    except ImportError:
        return "not measured: selenium is not installed"
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        return "not measured: chromium or chromedriver is not installed"
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        start = time.perf_counter()
        driver.get(page.as_uri())
        painted = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        driver.execute_async_script(painted)
        return f"{time.perf_counter() - start:.2f} s"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(RUNS):
            made_up(number).save(folder)
        start = time.perf_counter()
        page = report(folder, folder / "report.html")
        print(f"{RUNS} runs x {IMAGES:,} predictions, from records to page: {time.perf_counter() - start:.2f} s")
        print(f"page: {page.stat().st_size / 1e6:.2f} MB")
        runs = load_runs(folder)
        start = time.perf_counter()
        pairs = compare_pairs(runs)
        print(f"of that, {len(pairs):,} paired tests: {time.perf_counter() - start:.2f} s, predictions parsed")
        print(f"opened in Chromium: {opened(page)}")


if __name__ == "__main__":
    main()
