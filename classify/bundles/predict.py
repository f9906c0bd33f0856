"""Predict: labels and probabilities for new images, through the same cache."""

import glob
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.store import Store
from ...cache.urls import address
from ...errors import DataError
from ...extract.backbones.backbone import Backbone
from ...extract.extraction import fill
from ...extract.in_memory import Picture, embed
from ...extract.manifest.hashing import hash_files
from ...extract.manifest.manifest import Manifest
from ...extract.manifest.paths import refusal, refusal_by_name
from ...extract.progress import Progress, silent
from ..data.joint import side_by_side
from .backbones import by_view, find_backbones
from .bundle import Bundle
from .prediction import Prediction

Vectors = Iterator[tuple[Sequence[int], list[npt.NDArray[Any]]]]

CHUNK = 4096  # images whose embeddings are in memory at once


def predict(
    bundle: Bundle,
    images: Sequence[Path | str | Picture],
    *,
    max_error: float | None = None,
    backbone: Backbone | None = None,
    weights: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Prediction]:
    """Predict images.

    Parameters
    ----------
    bundle
        From :meth:`fc7.classify.Bundle.load`.
    images
        Files or their URLs; folders, URLs of prefixes and patterns such as ``new/**/*.jpg``, which stand for the images
        in them; or images in memory, as :func:`fc7.extract.in_memory.embed` takes them. What is no acceptable image is
        answered with the reason.
    max_error
        The head is not sure below the probability from which out-of-fold predictions were wrong at most so often, as a
        share of the answers; default the bundle's own, if it has one. See
        :meth:`fc7.classify.evaluation.abstention.Abstention.threshold`.
    backbone
        The one that the head was fitted on, where it is a module of your own; others are found by their name.
    weights
        Where to find the backbone's weights if not where they were; they must be the same bytes.
    device, batch_size, cache, workers, progress
        As in :func:`fc7.extract.extract`; the same files are free the second time. Images in memory pass by the cache.

    Returns
    -------
    list of Prediction
        In the order of the images; those of a folder or a pattern are sorted.

    Raises
    ------
    DataError
        Nothing to predict: empty folders. Or `max_error` for a head without out-of-fold predictions.
    UsageError
        `max_error` is no share.
    BundleError
        The weights found here are not those that the head was fitted on.
    """
    bundle = bundle if max_error is None else bundle.doubting(max_error)
    files, pictures = _apart(images)
    if not files and not pictures:
        raise DataError(f"There are no images in {', '.join(map(str, images)) or 'an empty list'}.")
    machine = {"device": device, "batch_size": batch_size, "cache": cache, "progress": progress}
    backbones = find_backbones(bundle, backbone, weights, **machine)
    found = {place: Prediction(path) for place, path in files.items()}
    found |= {place: Prediction(f"image {place}") for place in pictures}
    threshold = bundle.threshold
    least = threshold.probability if threshold else 0.0
    parts = itertools.chain(
        _cached(files, backbones, found, cache=cache, workers=workers, progress=progress),
        _passing(pictures, backbones, found),
    )
    for places, views in parts:
        answers = np.mean([bundle.predict_proba(view) for view in views], axis=0)
        distances = bundle.doubt.distances(views[0]) if bundle.doubt else [None] * len(places)
        for place, row, distance in zip(places, answers, distances, strict=True):
            found[place] = _answer(bundle, found[place].path, row, least, distance)
    return [found[place] for place in sorted(found)]


def _cached(
    files: dict[int, str],
    backbones: Sequence[Backbone],
    found: dict[int, Prediction],
    *,
    cache: Path | str | None,
    workers: int | None,
    progress: Progress,
) -> Vectors:
    """Yield places of files, and their embeddings in every view; put into `found` why some have none."""
    manifest = Manifest.of_files(files.values())
    done = fill(manifest, backbones, cache=cache, workers=workers, progress=progress) if manifest.images else []
    rejects = itertools.chain(manifest.rejects, *(one.rejects for one in done))
    reasons = {reject.path: reject.reason for reject in rejects}
    found |= {place: replace(found[place], rejected=reasons[path]) for place, path in files.items() if path in reasons}
    kept = [place for place, path in files.items() if path not in reasons]
    if not kept:
        return
    stores = [[Store(part.recipe, cache) for part in view] for view in by_view(backbones, done)]
    rows = [row for row, path in enumerate(manifest.images.paths) if path not in reasons]
    keys = hash_files(manifest, stores[0][0].index).keys[np.array(rows)]
    for start in range(0, len(keys), CHUNK):
        some = slice(start, start + CHUNK)
        yield kept[some], [side_by_side([store.rows(keys[some]) for store in parts]) for parts in stores]


def _passing(pictures: dict[int, Picture], backbones: Sequence[Backbone], found: dict[int, Prediction]) -> Vectors:
    """Yield what :func:`_cached` does of images in memory, which pass by the cache."""
    for start in range(0, len(pictures), CHUNK):
        places = [*pictures][start : start + CHUNK]
        vectors, rejected = embed([pictures[place] for place in places], backbones)
        views = [side_by_side(parts) for parts in by_view(backbones, vectors)]
        finite = np.all([np.isfinite(view).all(axis=1) for view in views], axis=0)
        reasons = dict.fromkeys(np.flatnonzero(~finite), "its embedding is not finite") | rejected
        found |= {places[row]: replace(found[places[row]], rejected=reason) for row, reason in reasons.items()}
        kept = [row for row in range(len(places)) if row not in reasons]
        if kept:
            yield [places[row] for row in kept], [view[kept] for view in views]


def _apart(images: Sequence[Path | str | Picture]) -> tuple[dict[int, str], dict[int, Picture]]:
    """Return what are files and what is in memory, by place among all of them, folders and patterns expanded."""
    files: dict[int, str] = {}
    pictures: dict[int, Picture] = {}
    for image in images:
        if isinstance(image, str | Path):
            for path in expand([image]):
                files[len(files) + len(pictures)] = path
        else:
            pictures[len(files) + len(pictures)] = image
    return files, pictures


def _answer(bundle: Bundle, path: str, row: npt.NDArray[np.float64], least: float, distance: Any) -> Prediction:
    order = np.argsort(-row, kind="stable")
    probabilities = {bundle.classes[place]: round(float(row[place]), 6) for place in order}
    top = order[0]
    return Prediction(
        path,
        bundle.classes[top],
        round(float(row[top]), 6),
        probabilities,
        sure=bool(np.float32(row[top]) >= np.float32(least)),
        distance=None if distance is None else round(float(distance), 6),
        unlike=distance is not None and bundle.doubt is not None and bool(distance > bundle.doubt.limit),
    )


def expand(images: Sequence[Path | str]) -> Iterator[str]:
    """Yield the paths and URLs; of folders, patterns and prefixes, those of the images in them."""
    for image in images:
        path, url = Path(image), address(image)
        if url:
            yield from _objects(url)
        elif path.is_dir():
            yield from (str(file) for file in sorted(path.rglob("*")) if not refusal(file))
        elif glob.has_magic(str(path)) and not path.exists():
            matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - relative and absolute alike
            yield from (file for file in matches if not refusal(file)) if matches else [str(path)]
        else:
            yield str(path)


def _objects(url: str) -> Iterator[str]:
    """Yield a URL that is called like an image, or those of the images below it."""
    if not refusal_by_name(url):
        yield url
        return
    from ...extract.manifest.object_store import listing, visible

    yield from (f"{url}/{name}" for name in visible(listing(url)) if not refusal_by_name(name))
