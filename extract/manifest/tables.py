"""Tables whose cells are images or the paths of images: files of parquet, and tables in memory."""

import io
import itertools
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cache.system import is_absolute
from ...cache.urls import Location, is_url
from ...errors import DataError, UsageError
from ..archives.directory import TAR, ZIP
from ..archives.parquet import open_parquet
from ..text import few, plain
from .columns import Found, ImageEntry, Images
from .csv_table import choose_images, say_unlabelled
from .layout import split_of
from .left_out import is_left_out
from .members import spool
from .paths import Reject, absolute, refusal_by_name
from .table import PARQUET, Columns, images_in, is_missing, is_vectors, text_of

logger = logging.getLogger(__name__)

_TABLE = "The table"
_BAD = {"": False, "no": False, "False": False, "yes": True, "True": True}


def read_parquet(path: Path, *, with_bad: bool, columns: Mapping[str, str] | None) -> tuple[Found, Location]:
    """Return the images of a parquet file, and what their paths are relative to.

    Images are in a column of bytes, or of structures of bytes and path, as Hugging Face's ``datasets`` writes them: the
    path of one is ``column/row`` in the file, and none is read. Otherwise they are files that a column names.

    Parameters
    ----------
    columns
        What columns are called that have none of the usual names, by what they hold: see :func:`choose`.

    Raises
    ------
    MissingExtra
        pyarrow is not installed.
    DataError
        It is no parquet; else see :func:`images_in`.
    """
    root = parquet_root(path, columns)
    return images_in(path, root, _rows_of(path, columns), with_bad=with_bad, inside=root != path.parent), root


def read_parquets(folder: Path, files: Sequence[str], *, with_bad: bool, columns: Mapping[str, str] | None) -> Found:
    """Return the images of several parquet files, as ``datasets`` stores them; paths are relative to the folder.

    Files are splits if all of them, or the folders that they are in, are called so: ``train-00000-of-00003.parquet``.

    Parameters
    ----------
    files
        Relative to the folder.
    columns
        As for :func:`read_parquet`.

    Raises
    ------
    DataError
        They are in several folders that are no splits, and may be several data sets; else see :func:`read_parquet`.
    """
    splits = {file: split_of(Path(file).stem) or split_of(Path(file).parent.name) for file in files}
    folders = sorted({os.path.dirname(file) for file in files})  # noqa: PTH120 - as text, and not "."
    if len(folders) > 1 and not all(splits.values()):
        raise DataError(
            f"{folder} has parquet files in several folders, {few(folders)}, which may be several data sets. Name one "
            f"of them: {folder / folders[-1]}"
        )
    named = [file for file in files if splits[file]]
    if named and len(named) < len(files):
        other = next(file for file in files if not splits[file])
        logger.warning(
            "fc7: %s: %s is called like a split and %s is not, so no image has one.",
            *(plain(str(folder)), plain(named[0]), plain(other)),
        )
    if len(named) < len(files) or len(set(splits.values())) == 1:
        splits = dict.fromkeys(files, "")

    def rows() -> Iterator[tuple[str, ImageEntry]]:
        for file in files:
            path = folder / file
            inside = parquet_root(path, columns) != path.parent
            start = f"{file}!/" if inside else file[: file.rfind("/") + 1]
            for place, entry in _rows_of(path, columns):
                away = not entry.path or is_absolute(entry.path) or is_url(entry.path)
                where = entry.path if away and not inside else f"{start}{entry.path}"
                yield f"{file}, {place}", entry._replace(path=where, split=entry.split or splits[file])

    return images_in(folder, folder, rows(), with_bad=with_bad)


def parquets_below(folder: Location) -> list[str]:
    """Return the parquet files in a folder and below it that have images or their paths, sorted.

    There are none if there are images or archives, too. What is hidden or a system's own is left out.
    """
    found, inside = [], [str(folder)]
    while inside:
        try:
            with os.scandir(inside.pop()) as entries:
                for entry in entries:
                    if is_left_out(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        inside.append(entry.path)
                    elif not refusal_by_name(entry.name) or entry.name.lower().endswith((TAR, ZIP)):
                        return []
                    elif entry.name.lower().endswith(PARQUET) and entry.is_file():
                        found.append(entry.path)
        except (OSError, ValueError):  # whoever reads the folder says why
            return []
    return sorted(
        Path(os.path.relpath(path, str(folder))).as_posix() for path in found if not _has_vectors_only(Path(path))
    )


def _has_vectors_only(path: Path) -> bool:
    if not is_vectors(path):
        return False
    with open_parquet(path) as file:
        return not any(_is_binary(field.type) for field in file.schema_arrow)


def _rows_of(path: Path, columns: Mapping[str, str] | None) -> Iterator[tuple[str, ImageEntry]]:
    """Yield the rows of a parquet, each with its place; the path of an image inside of it is ``column/row``."""
    with open_parquet(path) as file:
        schema, (chosen, inside) = file.schema_arrow, _places(file, path, columns)
        say_unlabelled(schema.names, chosen, path)
        column = chosen["path"]
        names = [name for name in chosen.values() if name != column or not inside]
        rows = (row for batch in file.iter_batches(columns=names) for row in batch.to_pylist())
        entries = _entries(path, rows, chosen, _class_names(schema.metadata).get(chosen.get("label", "")))
        for row, (cell, entry) in enumerate(entries):
            yield f"row {row}", entry._replace(path=f"{column}/{row}" if inside else _path(cell))


def parquet_root(path: Path, columns: Mapping[str, str] | None) -> Path:
    """Return what the paths of :func:`read_parquet` are relative to, without reading its rows."""
    with open_parquet(path) as file:
        return Path(f"{path}!") if _places(file, path, columns)[1] else path.parent


def _places(file: Any, path: Path, columns: Mapping[str, str] | None) -> tuple[Columns, bool]:
    """Return which column holds what, and whether the images themselves are in the file."""
    pictures = [field.name for field in file.schema_arrow if _is_binary(field.type)]
    chosen = _choose(file.schema_arrow.names, pictures, path, columns)
    kind = file.schema_arrow.field(chosen["path"]).type
    if kind.num_fields and not hasattr(kind, "fields"):
        raise DataError(f"{path}: the column {chosen['path']!r} has {kind} in its cells: write one image in each row.")
    return chosen, chosen["path"] in pictures and not _names_files(file.metadata, chosen["path"])


def is_table(data: Any) -> bool:
    """Return whether something is a table in memory, or tables by the name of their split."""
    if isinstance(data, Mapping):
        return bool(data) and all(map(is_table, data.values()))
    return hasattr(data, "column_names") or hasattr(data, "columns")


def read_table(data: Any, *, with_bad: bool, columns: Mapping[str, str] | None) -> tuple[Found, Location]:
    """Return the images of a table in memory, and what their paths are relative to.

    Parameters
    ----------
    data
        A table of pandas, pyarrow, polars or Hugging Face's ``datasets``; or tables by the name of their split, as
        ``datasets.DatasetDict``. Its images are paths, bytes of image files, mappings with ``bytes`` or ``path``, or
        images of Pillow. What is no path is copied to a temporary file that lives as long as this process.
    columns
        As for :func:`read_parquet`.

    Raises
    ------
    UsageError
        A cell is nothing of that.
    DataError
        See :func:`choose` and :func:`images_in`.
    """
    parts = [_Part(f"{split}/", table, columns) for split, table in data.items()] if isinstance(data, Mapping) else []
    parts = parts or [_Part("", data, columns)]
    inside = any(part.has_pictures for part in parts)
    images, rejects = Images(), list[Reject]()

    def pictures() -> Iterator[tuple[str, bytes]]:
        for name, cell, entry in itertools.chain.from_iterable(part.entries() for part in parts):
            try:
                content = _content(cell, name)
            except (OSError, ValueError) as error:  # of Pillow, which reads files late
                rejects.append(Reject(name, f"not readable: {error}"))
                continue
            if isinstance(content, bytes):
                images.append(entry._replace(path=name))
                yield name, content
            elif content:
                images.append(entry._replace(path=absolute(content) if inside else content))
            else:
                rejects.append(Reject(name, "the cell is empty"))

    if inside:
        root = Path(f"{spool(pictures())}!")
    else:
        root = Path.cwd()
        for name, _ in pictures():
            raise DataError(f"{_TABLE} has an image at {name}, and paths before it. Give one or the other.")
    found = images_in(_TABLE, root, ((image.path, image) for image in images), with_bad=with_bad, inside=inside)
    return found._replace(rejects=rejects + found.rejects), root


class _Part:
    """A table in memory; `above` is what stands before the paths of its images, the name of a split or nothing."""

    def __init__(self, above: str, table: Any, columns: Mapping[str, str] | None) -> None:
        features = getattr(table, "features", None) or {}
        if hasattr(table, "with_format"):  # of `datasets`: its own types, and neither tensors nor arrays
            table = table.with_format(None)
        for name, feature in features.items():
            if type(feature).__name__ == "Image" and feature.decode:  # the bytes are wanted, not their pixels
                table = table.cast_column(name, type(feature)(decode=False))
        keys = getattr(table, "column_names", None) or getattr(table, "columns", None)
        if keys is None or not hasattr(table, "__getitem__"):
            raise UsageError(f"A {type(table).__name__} has no columns that can be read by name: give a whole table.")
        self._keys = {str(key): key for key in keys}
        self._above, self._table = above, table
        pictures = [name for name in self._keys if _is_picture(self._first(name))]
        self._chosen = _choose(list(map(str, keys)), pictures, _TABLE, columns)
        say_unlabelled(list(self._keys), self._chosen, _TABLE)
        self.has_pictures = self._chosen["path"] in pictures
        schema = getattr(getattr(table, "schema", None), "metadata", None)
        names = {name: feature.names for name, feature in features.items() if hasattr(feature, "names")}
        self._classes = (names or _class_names(schema)).get(self._chosen.get("label", ""))

    def _column(self, name: str) -> Iterator[Any]:
        cells = self._table[self._keys[name]]
        return (cell.as_py() if hasattr(cell, "as_py") else cell for cell in cells)

    def _first(self, name: str) -> Any:
        return next((cell for cell in self._column(name) if not is_missing(cell)), None)

    def entries(self) -> Iterator[tuple[str, Any, ImageEntry]]:
        """Yield the name of each cell with an image, the cell, and what else the table says of it."""
        names = self._chosen.values()
        rows = (dict(zip(names, row, strict=True)) for row in zip(*map(self._column, names), strict=True))
        for row, (cell, entry) in enumerate(_entries(_TABLE, rows, self._chosen, self._classes)):
            split = entry.split or self._above.rstrip("/")
            yield f"{self._above}{self._chosen['path']}/{row}", cell, entry._replace(split=split)


def _choose(names: Sequence[str], pictures: Sequence[str], where: Any, columns: Mapping[str, str] | None) -> Columns:
    """Return which column holds what; the only one with images in it has them, whatever it is called."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where} has the column {twice[0]!r} twice: rename or remove one.")
    given = dict(columns or {})
    if len(pictures) == 1 and pictures[0] not in given.values():
        given.setdefault("path", pictures[0])
    return choose_images(names, where, given)


def _entries(
    where: Any, rows: Iterable[Mapping[str, Any]], chosen: Mapping[str, str], classes: Sequence[str] | None
) -> Iterator[tuple[Any, ImageEntry]]:
    """Yield the cell that says where each image is, and what else a table says of it.

    Parameters
    ----------
    rows
        Each by the names of columns.
    classes
        Their names, if labels are numbers of classes.
    """
    for number, row in enumerate(rows):
        texts = {what: text_of(row[name]) for what, name in chosen.items() if what != "path"}
        if classes is not None and texts.get("label"):
            texts["label"] = _class(texts["label"], classes, where, number)
        bad = _BAD.get(texts.pop("bad", ""))
        if bad is None:
            raise DataError(f"{where}, row {number}: {chosen['bad']} is not yes, no or empty.")
        yield row.get(chosen["path"]), ImageEntry("", **({"label": ""} | texts), bad=bad)


def _class(number: str, classes: Sequence[str], where: Any, row: int) -> str:
    """Return the name of a class; -1 stands for none."""
    if number == "-1":
        return ""
    if not (number.isdecimal() and int(number) < len(classes)):
        raise DataError(f"{where}, row {row}: the label is {number}, and {len(classes)} classes have names.")
    return classes[int(number)]


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, Sequence[str]]:
    """Return the names of classes that ``datasets`` has put into a schema, by column."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (AttributeError, KeyError, TypeError, ValueError):  # not as `datasets` writes it
        return {}


def _is_binary(kind: Any) -> bool:
    """Return whether a column of that type of pyarrow has bytes, or structures with bytes."""
    if hasattr(kind, "fields") and kind.num_fields:
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return "binary" in str(kind) and not kind.num_fields  # of a list, its elements


def _names_files(metadata: Any, column: str) -> bool:
    """Return whether no structure of a column has bytes: then their paths are those of files."""
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    counts = [
        chunk.statistics and chunk.statistics.null_count == chunk.num_values
        for chunk in chunks
        if chunk.path_in_schema == f"{column}.bytes"
    ]
    return bool(counts) and all(counts)


def _is_picture(cell: Any) -> bool:
    if isinstance(cell, Mapping):
        return cell.get("bytes") is not None
    return isinstance(cell, bytes | bytearray | memoryview) or hasattr(cell, "getexif")


def _path(cell: Any) -> str:
    return text_of(cell.get("path") if isinstance(cell, Mapping) else cell)


def _content(cell: Any, name: str) -> bytes | str:
    """Return the bytes of an image, or its path; nothing if a cell is empty."""
    if isinstance(cell, Mapping):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if is_missing(cell):
        return ""
    if isinstance(cell, str | os.PathLike):
        return os.fspath(cell)
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    if hasattr(cell, "getexif"):
        return _file_of(cell)
    raise UsageError(f"{_TABLE} has a {type(cell).__name__} at {name}, and no path, bytes or image of Pillow.")


def _file_of(picture: Any) -> bytes:
    """Return a file of the pixels of an image of Pillow: the same bytes on every machine, as nothing is packed."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(picture)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("L", "RGB"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PPM" if image.mode == "RGB" else "TIFF")
    return buffer.getvalue()
