"""Images that came to a data set after its review: the csv of the review does not have them, and would hide them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ...cache.urls import Location
from ...errors import DataError
from ...extract.manifest.csv_rows import each_row
from ...extract.manifest.layout import Contents
from ...extract.manifest.left_out import LeftOut
from ...extract.manifest.manifest import Manifest, read_manifest
from ...extract.manifest.paths import SPLITS, named_split, relative
from ...extract.manifest.walk import Walk
from .labels import REVIEWED, SHA256


class Newcomers(NamedTuple):
    """Images that are not in a csv, and the folder that the csv is a review of; None if it is one of a table."""

    folder: str | None
    paths: list[str]


def newcomers(table: Location) -> Newcomers | None:
    """Return the images that lie among those of a review's csv and are not in it; None if there are none.

    Looked at are the folders that its images lie in, and the folders beside these: a new class. A csv that no review
    wrote is a choice, of which nobody knows what else belongs to it.
    """
    if not (isinstance(table, Path) and table.suffix.lower() == ".csv" and table.is_file() and _is_of_review(table)):
        return None
    manifest = read_manifest(table, with_bad=True)
    named = {_absolute(file) for file in manifest.files}
    folders = {os.path.dirname(file) for file in named}  # noqa: PTH120
    common = _common(folders)
    walk = Walk(Path(), LeftOut())
    for above in {os.path.dirname(folder) for folder in folders if folder != common}:  # noqa: PTH120
        folders |= {f"{above}/{folder}" for folder in _listed(walk, above).folders}
    inside = (f"{folder}/{image}" for folder in folders for image in _listed(walk, folder).images)
    paths = sorted(path for path in inside if path not in named)
    return Newcomers(_reviewed(manifest, common), [_short(path) for path in paths]) if paths else None


def _reviewed(manifest: Manifest, common: str) -> str | None:
    """Return the folder that a csv without groups and with these splits is a review of, `common` or the one above."""
    if not common:
        return None
    above, _, name = common.rpartition("/")
    folder = above if _split(name) and manifest.images[0].split else common
    for file, image in zip(manifest.files, manifest.images, strict=True):
        first = _absolute(file).removeprefix(f"{folder}/").partition("/")[0]
        if image.group or image.split != _split(first):
            return None
    return _short(folder)


def _split(folder: str) -> str:
    """Return the split that a folder of this name holds, or none."""
    split = named_split(folder)
    return split if split in SPLITS else ""


def _absolute(file: str) -> str:
    return os.path.abspath(file).replace(os.sep, "/")  # noqa: PTH100 - a Path for each takes a second


def _common(folders: Iterable[str]) -> str:
    """Return the folder that all others are in; empty if there is none, as on two drives."""
    try:
        return os.path.commonpath(folders).replace(os.sep, "/")
    except ValueError:
        return ""


def _is_of_review(table: Path) -> bool:
    try:
        next(each_row(table, (SHA256, REVIEWED)))
    except DataError:  # what is wrong with it, whoever reads its images says
        return False
    return True


def _listed(walk: Walk, folder: str) -> Contents:
    try:
        return walk.listing(folder).contents()
    except OSError:  # it is gone, and so are its images, which are rejects
        return Contents((), ())


def _short(path: str) -> str:
    """Return a path relative to the working directory, if it is below that."""
    inside = relative(path)
    return path if inside.startswith(os.pardir) else inside
