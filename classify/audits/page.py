"""The page of an audit: the findings with thumbnails, in the style of a report."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...cache.output_file import OutputFile
from ...cache.recipe import Recipe
from ...extract.progress import Progress, silent
from ..pages.page import render, write
from ..pages.text import pairs as named
from ..pages.text import without_folders
from ..pages.thumbnails import embedded, write_thumbnails
from ..records.schema import KEY_DIGITS
from .audit import Audit
from .findings import CONFIDENT, AuditedImage
from .tables import describe, headline, marks, pairs_of, summary


def write_audit(
    audit: Audit,
    path: Path | str | OutputFile,
    images: Path | str | None = None,
    *,
    top: int = 20,
    progress: Progress = silent,
) -> Path:
    """Write one self-contained page and return its path.

    Parameters
    ----------
    images
        The folder that image paths are relative to. Without it, or if an image is missing, its name is shown.
    top
        The number of findings shown of each kind.

    Raises
    ------
    DataError, MissingExtra
        See :mod:`fc7.classify.pages.page`.
    """
    output = path if isinstance(path, OutputFile) else OutputFile(path)
    with TemporaryDirectory() as folder:
        paths = {image.key[:KEY_DIGITS]: image.path for image in _shown(audit, top)}
        if images is not None:
            write_thumbnails(paths, images, folder, progress=progress)
        sources = embedded(Path(folder), list(paths))
    return write(output, render("audits/audit.html.jinja", _context(audit, top, sources)))


def _shown(audit: Audit, top: int) -> list[AuditedImage]:
    pairs = [pair for _, _, pairs in pairs_of(audit) for pair in pairs[:top]]
    single = [suspect.image for suspect in audit.suspects[:top]] + [outlier.image for outlier in audit.outliers[:top]]
    return [image for pair in pairs for image in (pair.first, pair.second)] + single


def _context(audit: Audit, top: int, sources: dict[str, str]) -> dict[str, Any]:
    """Return the values of the template; `sources` are pictures by the first digits of their keys."""
    recipe = audit.images.recipe
    return {
        "confident": CONFIDENT,
        "audit": audit,
        "top": top,
        "headline": headline(audit),
        "size": describe(audit),
        "summary": summary(audit),
        "recipe": recipe,
        "parts": [recipe] if isinstance(recipe, Recipe) else recipe.parts,
        "source": without_folders(audit.images.weights_source),
        "pairs": pairs_of(audit),
        "marks": marks,
        "picture_of": lambda image: sources[image.key[:KEY_DIGITS]],
        "hyperparameters": [named(point) for point in audit.settings.get("hyperparameters", [])],
        "records": {"settings": audit.settings, "notes": audit.notes, "counts": audit.counts},
    }
