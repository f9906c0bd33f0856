"""What a table of images or vectors is, whoever keeps it: which column holds what, and what becomes of its rows."""

import math
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cache.files import require_fetched
from ...cache.system import is_absolute
from ...cache.tables import counted
from ...cache.urls import Location, is_url
from ...errors import DataError, UsageError
from ..archives.parquet import open_parquet
from ..text import few
from .columns import Found, ImageEntry, Images
from .paths import NO_OBJECT, SPLITS, Reject, is_absent, located, named_split, refusal

TEXTS, PARQUET = (".csv", ".tsv"), ".parquet"
TABLES = (*TEXTS, PARQUET)
VECTOR_FILES = (".h5", PARQUET, ".npz", ".npy", ".safetensors")

# What a column or an array is usually called, by what it holds. Case does not matter, nor do spaces and hyphens.
USUAL = {
    "embedding": ("embedding", "embeddings", "vector", "vectors", "features", "X"),
    "label": ("label", "labels", "class", "classes", "class_name", "classname", "category", "target", "y"),
    "path": (
        *("path", "paths", "filename", "filenames", "file_name", "file", "files", "filepath", "file_path"),
        *("image", "images", "image_path", "image_file", "image_name", "img", "img_path"),
    ),
    "split": ("split", "set", "subset", "partition"),
    "group": ("group", "groups"),
    "sha256": ("sha256",),
    "bad": ("bad",),
}
_LAST_RESORT = {"path": ("id",)}
OF_VECTORS = ("embedding", "label", "path", "split", "group", "sha256")
OF_IMAGES = ImageEntry._fields

_GONE = "no such file"


def is_vectors(data: Location, columns: Mapping[str, str] | None = None) -> bool:
    """Return whether a data set is a file of embeddings, such as ``fc7 cache export`` writes, and no images.

    A ``.parquet`` is one if it has a column of vectors; `columns` may say what it is called, see :func:`choose`.

    Raises
    ------
    MissingExtra
        It is a ``.parquet``, and pyarrow is not installed.
    DataError
        It is called ``.parquet`` and is none.
    """
    if not (isinstance(data, Path) and data.suffix.lower() in VECTOR_FILES and data.is_file()):
        return False
    if data.suffix.lower() != PARQUET or "embedding" in (columns or {}):
        return True
    require_fetched(data)
    with open_parquet(data) as file:
        return any(name in USUAL["embedding"] or name.lower() in USUAL["embedding"] for name in file.schema_arrow.names)


def text_of(cell: Any) -> str:
    """Return what a cell of a table in memory says, bytes as the UTF-8 that they are; nothing if it is missing."""
    if isinstance(cell, bytes):
        return os.fsdecode(cell)
    return "" if is_missing(cell) else str(cell)


def is_missing(cell: Any) -> bool:
    """Return whether a table in memory has no value there."""
    nothing = isinstance(cell, float) and math.isnan(cell)
    return cell is None or nothing or type(cell).__name__ in {"NAType", "NaTType"}  # of pandas


class Columns(dict[str, str]):
    """What columns are called, by what they hold.

    >>> Columns.parse("path=file name,label=species")
    {'path': 'file name', 'label': 'species'}
    """

    @classmethod
    def parse(cls, text: str) -> "Columns":
        """Return them from ``path=filename,label=species``; argparse makes a usage error of a ValueError."""
        pairs = [pair.partition("=") for pair in text.split(",")]
        columns = cls((what.strip(), name.strip()) for what, _, name in pairs)
        if not all(columns.values()) or len(columns) < len(pairs) or not columns.keys() <= USUAL.keys():
            raise ValueError(text)
        return columns

    def __str__(self) -> str:
        return ",".join(f"{what}={name}" for what, name in self.items())


def choose(
    names: Sequence[str], purposes: Sequence[str], where: Any, given: Mapping[str, str] | None = None
) -> Columns:
    """Return which name holds what.

    The name of the purpose itself comes before other usual names.

    Parameters
    ----------
    names
        Of all columns or arrays.
    purposes
        What is looked for: :data:`OF_IMAGES` or :data:`OF_VECTORS`.
    where
        What the table is called, for messages.
    given
        What a column is called that has none of the usual names, by what it holds.

    Raises
    ------
    UsageError
        Something is given that is not looked for, or a column for two purposes.
    DataError
        There is no such column, or several of the usual names.
    """
    given = given or {}
    free = [name for name in names if name not in given.values()]
    unknown = [what for what in given if what not in purposes]
    if unknown:
        raise UsageError(f"{where} has no use for a column {few(unknown)}: name one of {', '.join(purposes)}.")
    if len(set(given.values())) < len(given):
        raise UsageError(f"{Columns(given)} names a column twice.")
    chosen = Columns()
    for what in purposes:
        if what in given:
            if given[what] not in names:
                raise DataError(f"{where} has no column {given[what]!r}. It has {few(list(names))}.")
            chosen[what] = given[what]
            continue
        there = (
            [name for name in free if _same(name) == what]
            or [name for name in free if name in USUAL[what] or _same(name) in USUAL[what]]
            or [name for name in free if _same(name) in _LAST_RESORT.get(what, ())]
        )
        if len(there) > 1:
            raise DataError(
                f"{where} has the columns {few(there)}, of which one can be the {what}. Say which: "
                f"--columns {shlex.quote(f'{what}={there[0]}')}"
            )
        if there:
            chosen[what] = there[0]
    return chosen


def _same(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def images_in(
    where: Any, root: Location, rows: Iterable[tuple[str, ImageEntry]], *, with_bad: bool, inside: bool = False
) -> Found:
    """Return the images that the rows of a table name; a file that is not there is a reject like all others.

    Parameters
    ----------
    where
        What the table is called, for messages.
    root
        What its paths are relative to.
    rows
        Each with its place, such as ``line 3``.
    with_bad
        Keep the rows that are ``bad``.
    inside
        Relative paths lead to images inside of a file that is there.

    Raises
    ------
    DataError
        A row has a split that there is not; some have a split and some have none; there is no row, or not
        one of the files is there.
    """
    images, rejects = Images(), list[Reject]()
    remote: list[tuple[ImageEntry, str]] = []

    def sort(image: ImageEntry, reason: str) -> None:
        if reason:
            rejects.append(Reject(image.path, reason))
        else:
            images.append(image)

    for place, image in _checked(where, rows, with_bad=with_bad):
        file = located(root, image.path)
        if not image.path:
            rejects.append(Reject(place, "the path is empty"))
        elif image.bad:
            images.append(image)
        elif is_url(file):
            remote.append((image, file))
        else:
            sort(image, "" if inside and not is_absolute(image.path) else _why_not(file))
    known: dict[str, str] = {}
    if remote:
        from .object_store import identities

        known = identities(url for _, url in remote)
        for image, url in remote:
            sort(image, refusal(url, known))
    missing = [reject.path for reject in rejects if reject.reason in (_GONE, NO_OBJECT)]
    if missing and len(missing) == len(images) + len(rejects):
        raise DataError(
            f"Not one of {counted(len(missing), 'file')} that {where} names is there, the first is {missing[0]}. They "
            f"were looked for in {'the working directory' if root == Path() else root}.{_cure(missing[0])}"
        )
    return Found(images, rejects, known)


def _why_not(file: str) -> str:
    reason = refusal(file)
    return _GONE if reason and is_absent(file) else reason


def _checked(where: Any, rows: Iterable[tuple[str, ImageEntry]], *, with_bad: bool) -> Iterator[tuple[str, ImageEntry]]:
    """Yield rows with splits by their own names; what is wrong with the splits of rows that are not bad is refused."""
    place, first = "", dict[bool, str]()
    for place, image in rows:
        image = image._replace(split=named_split(image.split))
        if not image.bad:
            if image.split not in {"", *SPLITS}:
                names = f"{', '.join(SPLITS)} or empty"
                raise DataError(f"{where}, {place}: the split is {image.split!r}, not {names}.")
            first.setdefault(bool(image.split), place)
        if with_bad or not image.bad:
            yield place, image
    if not place:
        raise DataError(f"{where} has no rows: write one per image.")
    if len(first) > 1:
        raise DataError(f"{where}, {first[False]}: the split is empty, but not in {first[True]}. Give all rows one.")


def _cure(path: str) -> str:
    """Return what to do about a path as other systems write it."""
    if path.startswith("file:"):
        return " Leave out file:// before paths."
    if path.startswith("~"):
        return " ~ is not a folder here: write out paths."
    return " Write / in paths, not \\." if "\\" in path else ""
