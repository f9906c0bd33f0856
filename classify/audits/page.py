"""The page of an audit: the findings with thumbnails, in the style of a report."""

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.output_file import OutputFile
from ...cache.recipe import Recipe
from ...cache.urls import locate
from ...extract.manifest.paths import located
from ...extract.progress import Progress, silent
from ..maps.image_map import ImageMap
from ..pages.gallery import Gallery, Shown, Tile
from ..pages.page import PAGES, render, write
from ..pages.pictures import EMBEDDED, Pictures, pictures
from ..pages.point_map import PointMap
from ..pages.text import confident, named, without_folders
from ..records.schema import KEY_DIGITS
from .audit import Audit
from .findings import CONFIDENT, AuditedImage, ImagePair
from .tables import describe, headline, marks, pairs_of, summary


def write_audit(
    audit: Audit,
    path: Path | str | OutputFile,
    images: Path | str | None = None,
    *,
    method: str = "pca",
    progress: Progress = silent,
) -> Path:
    """Write one self-contained page and return its path.

    Parameters
    ----------
    method
        Of the map, see :func:`fc7.extract.coordinates.coordinates`.
    images
        The folder that image paths are relative to. Without it, or if an image is missing, its name is shown.

    Raises
    ------
    DataError, MissingExtra
        See :mod:`fc7.classify.pages.page`.
    """
    output = path if isinstance(path, OutputFile) else OutputFile(path, kinds=PAGES)
    paths = _paths(audit)
    chart = _map(audit, paths, method, progress)
    for key, path in chart.shown.items():
        if len(paths) < EMBEDDED:
            paths.setdefault(key, path)
    paths = {} if images is None else {key: located(locate(images), path) for key, path in paths.items()}
    with pictures(output, paths, filter(None, [images]), progress=progress) as sources:
        values = _context(audit, sources) | {"map": _drawn(audit, chart, sources)}
        return write(output, render("audits/audit.html.jinja", values, values["outliers"]))


def _paths(audit: Audit) -> dict[str, str]:
    """Return the paths of all images to show by key: one of each kind of finding after the other, the worst first."""
    kinds = [[image for pair in pairs for image in (pair.first, pair.second)] for _, _, pairs in pairs_of(audit)]
    kinds += [[suspect.image for suspect in audit.suspects], [outlier.image for outlier in audit.outliers]]
    turns = (image for several in zip_longest(*kinds) for image in several if image)
    return {image.key[:KEY_DIGITS]: image.path for image in turns}


def _map(audit: Audit, found: Mapping[str, str], method: str, progress: Progress) -> ImageMap:
    """Return the map of what was audited, with the images nearest to those that are found."""
    rows = audit.images
    row_of = {key.hex()[:KEY_DIGITS]: row for row, key in enumerate(rows.keys)}
    asked = np.array([row_of[key] for key in list(found)[:EMBEDDED]], np.intp)
    return ImageMap.of(rows, asked, np.arange(len(rows)), method=method, progress=progress)


def _drawn(audit: Audit, chart: ImageMap, sources: Pictures) -> PointMap:
    return chart.drawn(
        {suspect.image.key[:KEY_DIGITS]: suspect.predicted for suspect in audit.suspects},
        before="looks like",
        ringed="labels that out-of-fold predictions contradict" if audit.suspects else "",
        title="The images nearest to it, with the cosine of their embeddings",
        pictures=sources,
    )


def _context(audit: Audit, sources: Pictures) -> dict[str, Any]:
    """Return the values of the template; `sources` are the addresses of pictures by the first digits of their keys."""
    recipe = audit.images.recipe
    suspects = [
        Tile(
            (_shown(suspect.image, suspect.predicted, confident(suspect.probability)),),
            mark="bad" if suspect.confident else "mild",
            other=suspect.image.label,
        )
        for suspect in audit.suspects
    ]
    outliers = [
        Tile((_shown(one.image, one.image.label or "no label"),), line=f"distance {one.distance:.3f}")
        for one in audit.outliers
    ]
    kinds = {"bad": "confident", "mild": "others"}
    return {
        "confident": CONFIDENT,
        "audit": audit,
        "headline": headline(audit),
        "size": describe(audit),
        "summary": summary(audit),
        "recipe": recipe,
        "parts": [recipe] if isinstance(recipe, Recipe) else recipe.parts,
        "source": without_folders(audit.images.weights_source),
        "pairs": [
            (name, title, Gallery(title, [_pair(pair) for pair in found], sources, layout="pairs"))
            for name, title, found in pairs_of(audit)
        ],
        "suspects": Gallery("Suspected labels", suspects, sources, "labelled", kinds),
        "outliers": Gallery("Outliers", outliers, sources),
        "hyperparameters": [named(point) for point in audit.settings.get("hyperparameters", [])],
        "records": {"settings": audit.settings, "notes": audit.notes, "counts": audit.counts},
    }


def _shown(image: AuditedImage, label: str, note: str = "") -> Shown:
    return Shown(image.path, label, note, image.key[:KEY_DIGITS])


def _pair(pair: ImagePair) -> Tile:
    images = [
        _shown(image, image.label or "no label", f"in {image.split}" if image.split else "")
        for image in (pair.first, pair.second)
    ]
    alike = "the same bytes" if pair.kind == "duplicate" else f"cosine {pair.cosine:.3f}"
    line = " · ".join(filter(None, [alike, marks(pair)]))
    return Tile(tuple(images), mark="bad" if pair.across_splits or pair.labels_differ else "", line=line)
