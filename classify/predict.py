"""Predict: labels and probabilities for new images, through the same cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.recipe import AND, DECODES, Recipe
from ..cache.store import Store
from ..errors import BundleError, DataError
from ..extract.accounting import Extraction
from ..extract.backbones import OWN, Backbone, load_backbone
from ..extract.embed import fill
from ..extract.manifest import Image, Manifest, refusal
from ..extract.progress import Progress, silent
from .bundle import Bundle
from .joint import side_by_side


@dataclass(frozen=True)
class Prediction:
    """One image's answer, or the reason why there is none.

    Attributes
    ----------
    label, probability
        The most probable class; empty and 0 where the image was rejected.
    probabilities
        All classes, by name.
    rejected
        The reason, or empty.
    """

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]
    rejected: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dict(vars(self))


def predict(
    bundle: Bundle,
    images: Sequence[Path | str],
    *,
    backbone: Backbone | None = None,
    weights: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Prediction]:
    """Predict image files; folders stand for the images in them.

    Parameters
    ----------
    bundle
        From :meth:`fc7.classify.Bundle.load`.
    images
        Files and folders. A file that is no acceptable image is answered with the reason.
    backbone
        The one that the head was fitted on, where it is a module of your own; others are found by their name.
    weights
        Where to find the backbone's weights if not where they were; they must be the same bytes.
    device, batch_size, cache, workers, progress
        As in :func:`fc7.extract.extract`; the same images are free the second time.

    Raises
    ------
    DataError
        Nothing to predict: empty folders.
    BundleError
        The weights found here are not those that the head was fitted on.
    """
    named = [Image(path, "") for path in expand(images)]
    refused = {image.path: reason for image in named if (reason := refusal(Path(image.path)))}
    manifest = Manifest(Path(), tuple(image for image in named if image.path not in refused), bundle.classes)
    if not named:
        raise DataError(f"There are no images in {', '.join(str(image) for image in images)}.")
    machine = {"device": device, "batch_size": batch_size, "cache": cache, "progress": progress}
    backbones = find_backbones(bundle, backbone, weights, **machine)
    done = fill(manifest, backbones, cache=cache, workers=workers, progress=progress)
    reasons = refused | {reject.path: reject.reason for view in done for reject in view.rejects}
    stores = [[Store(part.recipe, cache) for part in view] for view in _by_view(backbones, done)]
    kept = [image.path for image in manifest.images if image.path not in reasons]
    keys = [key for key in stores[0][0].index.sha256(kept) if isinstance(key, bytes)]
    rows = [side_by_side([store.rows(keys) for store in parts]) for parts in stores] if keys else []
    views = [bundle.predict_proba(one) for one in rows]
    answers = dict(zip(kept, np.mean(views, axis=0) if keys else [], strict=True))
    return [_answer(bundle, image.path, answers.get(image.path), reasons) for image in named]


def find_backbones(
    bundle: Bundle, backbone: Backbone | None = None, weights: str | None = None, **machine: Any
) -> list[Backbone]:
    """Return the backbones that a bundle's head was fitted on, or the given one if it is the same.

    Neighbouring layers of one network come from one pass.

    Raises
    ------
    BundleError
        It is another one, or cannot be found by its name.
    """
    found = [backbone] if backbone else _by_name(bundle, weights or bundle.weights_source, machine)
    _require_same(bundle, [recipe for one in found for recipe in one.recipes])
    return found


def _by_name(bundle: Bundle, weights: str, machine: dict[str, Any]) -> list[Backbone]:
    if OWN in weights.split(AND):
        raise BundleError(
            f"The head was fitted on {bundle.recipe.backbone}, a module that fc7 cannot find by name. In Python, name "
            "it: backbone=Backbone(module, transform, layer)"
        )
    parts, sources = bundle.recipe.parts, weights.split(AND)
    sources = sources * len(parts) if len(sources) == 1 else sources
    networks = [(replace(part, layer="", dim=0), source) for part, source in zip(parts, sources, strict=True)]
    found = []
    for (recipe, source), layers in groupby(zip(networks, parts, strict=True), key=lambda pair: pair[0]):
        found.append(
            load_backbone(
                recipe.backbone,
                [part.layer for _, part in layers],
                weights=source,
                precision=recipe.precision,
                dtype=recipe.dtype,
                decode=next((name for name, rules in DECODES.items() if rules == recipe.decode), "exact"),
                image_size=(recipe.transform.crop, recipe.transform.resize),
                views=bundle.views,
                mirror=recipe.mirror,
                **machine,
            )
        )
    return found


def _by_view(backbones: Sequence[Backbone], done: Sequence[Extraction]) -> list[list[Extraction]]:
    """Return what was extracted view by view, each with its parts in the order of the bundle's recipe."""
    rest = iter(done)
    found = [[[next(rest) for _ in one.recipes] for _ in range(1 + one.views)] for one in backbones]
    return [[part for view in views for part in view] for views in zip(*found, strict=True)]


def _answer(bundle: Bundle, path: str, row: Any, reasons: dict[str, str]) -> Prediction:
    if row is None:
        return Prediction(path, "", 0.0, {}, reasons[path])
    top = int(row.argmax())
    probabilities = {name: round(float(value), 6) for name, value in zip(bundle.classes, row, strict=True)}
    return Prediction(path, bundle.classes[top], round(float(row[top]), 6), probabilities)


def expand(images: Sequence[Path | str]) -> Iterator[str]:
    """Yield the paths; of a folder, those of the images in it."""
    for image in images:
        path = Path(image)
        if path.is_dir():
            yield from (str(file) for file in sorted(path.rglob("*")) if not refusal(file))
        else:
            yield str(path)


def _require_same(bundle: Bundle, recipes: Sequence[Recipe]) -> None:
    pairs = zip(recipes, bundle.recipe.parts, strict=True)
    differences = [(name, *values) for one, other in pairs for name, values in one.differences(other).items()]
    if differences:
        found = "; ".join(f"{name}: here {here}, in the bundle {there}" for name, here, there in differences)
        raise BundleError(
            f"The backbone found here is not the one the head was fitted on: {found}. "
            "Name the same weights with --weights."
        )
