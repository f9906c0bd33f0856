"""The manifest: the images of a data set with label and split, and the rejected files with the reason."""

import glob
import io
import os
import shlex
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from ...cache.arguments import shown
from ...cache.files import require_fetched
from ...cache.system import is_absolute
from ...cache.tables import counted
from ...cache.urls import URL, Location, is_url, locate, without_secrets
from ...errors import DataError, UsageError
from ..text import few
from .columns import Found, ImageEntry, Images
from .csv_table import read_csv
from .folder import read_folder, read_names
from .given import LISTED, many, read_paths
from .left_out import say_tables
from .members import is_in_table
from .partition import Partition
from .paths import ARCHIVES, NOT_THERE, UNPACK, Reject, above, located, refusal, refusal_by_name
from .shards import archives_of, read_archives
from .table import PARQUET, TABLES, TEXTS, VECTOR_FILES
from .tables import is_table, parquets_below, read_parquet, read_parquets, read_table

_LISTS = (".txt", ".lst", "")  # suffixes of files that may hold a path a line
_SHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_TABLE = Path("table")  # what one in memory is called


@dataclass(frozen=True)
class Manifest:
    """The images of a data set.

    Attributes
    ----------
    root
        Folder that the paths are relative to.
    images
        In a fixed order; packed, whatever they are given as.
        The label of an image without one is empty.
    classes
        Sorted class names; some may have no image in ``train``.
    rejects
        What is no image where images belong: files, links in a circle, folders that cannot be listed.
    name
        What the folder or csv is called, without where it lies.
    remote
        The identity of each image that is a URL: its size and ETag, or time.
    unclear
        Why its folders are no classes as they are, with the cure; empty if they are. No head is fitted then.
    stated
        The sha256 by path that a review has decided on, in hexadecimal digits. Other bytes are another image.
    """

    root: Location
    images: Images
    classes: tuple[str, ...]
    rejects: tuple[Reject, ...] = ()
    name: str = ""
    remote: Mapping[str, str] = field(default_factory=dict, repr=False)
    unclear: str = ""
    stated: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", Images.of(self.images))

    @classmethod
    def of_files(cls, files: Iterable[str]) -> Self:
        """Return a manifest of files and URLs, without labels; what is no image is a reject.

        Raises
        ------
        DataError
            A store does not answer, or a URL has a password in it.
        UsageError
            One file instead of many.
        """
        files = [located(Path(), os.fsdecode(file)) for file in many(files)]
        known: dict[str, str] = {}
        if urls := [file for file in files if is_url(file)]:
            from .object_store import identities

            known = identities(urls)
        reasons = {file: reason for file in files if (reason := _why_not(file, known))}
        images = Images(ImageEntry(file, "") for file in files if file not in reasons)
        return cls(Path(), images, (), tuple(Reject(*reject) for reject in reasons.items()), remote=known)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        splits = Counter(split for split in self.images.splits if split)
        counts = [counted(len(self), "image"), counted(len(self.classes), "class", "classes")]
        counts += [f"{split} {count}" for split, count in splits.items()]
        counts += [f"{len(self.rejects)} rejected"] if self.rejects else []
        return f"Manifest({self.name!r}, {', '.join(counts)})"

    @property
    def files(self) -> list[str]:
        """Return where each image is."""
        return list(self.each_file())

    def each_file(self, rows: Iterable[int] | None = None) -> Iterator[str]:
        """Yield where each image is; or those of some rows."""
        start, paths = above(self.root), self.images.paths
        chosen = paths if rows is None else (paths[row] for row in rows)
        if self.remote:
            return (located(self.root, path) for path in chosen)
        return (path if is_absolute(path) else start + path for path in chosen)

    def labelled(self) -> Self:
        """Return the images that have a label, and the rejects; itself if all have one."""
        if "" not in set(self.images.labels):
            return self
        return replace(self, images=self.images.where([label != "" for label in self.images.labels]))

    def part(self, part: Partition) -> Self:
        """Return the files of one part, images and rejects; it may have none. Classes stay those of all."""
        return replace(
            self,
            images=self.images.where([part.has(path) for path in self.images.paths]),
            rejects=tuple(reject for reject in self.rejects if part.has(reject.path)),
        )


def _why_not(file: str, known: Mapping[str, str]) -> str:
    """Return why a file or URL is not taken for an image; `known` are the URLs where there is something.

    A file is not looked at: whoever hashes it does.
    """
    if is_url(file) or is_in_table(file) or not _can_be(file):
        return refusal(file, known)
    return refusal_by_name(file)


def _can_be(file: str) -> bool:
    """Return whether a file can have this name."""
    try:
        return b"\0" not in os.fsencode(file)
    except UnicodeEncodeError:
        return False


def read_manifest(data: Any, *, with_bad: bool = False, columns: Mapping[str, str] | None = None) -> Manifest:
    """Find or read the images of a data set, with labels or without.

    Everything found in a class folder and below it is an image or a reject with a reason, and so is everything in a
    folder of images without class folders. Left out and logged is what is hidden (``.DS_Store``, ``.git``), a system's
    own (``@eaDir``, ``Thumbs.db``), a cache of fc7, or in a folder beside ``train``. Links are followed, those that
    lead back to a folder above are rejects. No file is opened.

    Parameters
    ----------
    data
        A folder ``train|val|test/<class>/...``, a folder of class folders, or a folder of images, whose labels are
        empty; a tar, a zip or shards of them, a folder or pattern (see
        :func:`fc7.extract.manifest.shards.archives_of`); a folder of parquet files; or a csv, tsv or parquet of
        paths, and perhaps labels, splits, groups and what is bad, whose paths are relative to it (see
        :func:`fc7.extract.manifest.csv_table.read_csv` and
        :func:`fc7.extract.manifest.tables.read_parquet`). Folder and csv may be URLs (``s3://bucket/pictures``), and so
        may paths in a table. Also a table of pandas, pyarrow, polars or ``datasets``, whose paths are relative to the
        working directory (see :func:`fc7.extract.manifest.tables.read_table`); and ``-``, paths on standard input.
    with_bad
        Keep the rows of a table whose ``bad`` is ``yes``, which are left out otherwise, wherever their files are.
    columns
        What columns of a table are called that have none of the usual names, such as ``{"label": "species"}``.

    Raises
    ------
    DataError
        Nothing usable: no such folder, no images, a table of files none of which exists, a folder that cannot be
        listed; classes that look the same; a csv with cells in the wrong columns, or in another encoding. The message
        has the counts.
    UsageError
        There are no columns to name.
    """
    in_memory = is_table(data)
    if not (in_memory or isinstance(data, str | os.PathLike)):
        raise UsageError(
            f"read_manifest: data={shown(data)} is of type {type(data).__name__}; needed: a path or a table. A list of "
            "images is one as: pandas.DataFrame({'image': images})"
        )
    location = _TABLE if in_memory else locate(data)
    if not isinstance(columns, Mapping | None):
        raise UsageError(f'columns is {columns!r}, not a mapping such as {{"label": "species"}}.')
    if columns and not in_memory and location.suffix.lower() not in TABLES and not parquets_below(location):
        raise UsageError(f"{without_secrets(str(location))} is not a table, and has no columns to name.")
    if in_memory:
        found, root = read_table(data, with_bad=with_bad, columns=columns)
        manifest = _manifest(root, found, _TABLE.name)
    elif isinstance(location, URL):
        manifest = _remote(location, with_bad=with_bad, columns=columns)
    elif location == LISTED:
        manifest = replace(Manifest.of_files(read_paths()), name="paths")
    else:
        manifest = _local(location, with_bad=with_bad, columns=columns)
    if not any(not bad for bad in manifest.images.bad):
        others = manifest.rejects
        other = counted(len(others), "other file")
        hint = f" ({other}, the first {others[0].path}: {others[0].reason})" if others else ""
        if location == LISTED:
            raise DataError(
                f"No images on standard input{hint}. Write their paths, one a line; name a table as a file."
            )
        raise DataError(
            f"No images in {location}{hint}. Expected images, {location.name}/<class>/*.jpg, or a csv of paths."
        )
    classes = sorted(set(manifest.images.labels) - {""})
    require_distinct(location, classes)
    return replace(manifest, classes=tuple(classes))


def _manifest(root: Location, found: Found, name: str) -> Manifest:
    remote, stated = dict(found.remote), dict(found.stated)
    return Manifest(root, found.images, (), tuple(found.rejects), name, remote, found.unclear, stated)


def _local(data: Path, *, with_bad: bool, columns: Mapping[str, str] | None) -> Manifest:
    if not os.path.isdir(data) and (archives := archives_of(data)):  # noqa: PTH112 - False for any error
        return _in_archives(data, archives)
    mode, name, suffix = _mode(data), data.resolve().name, data.suffix.lower()  # the name of "." too
    require_fetched(data)
    if stat.S_ISDIR(mode):
        return _folder(data, name, with_bad=with_bad, columns=columns)
    if stat.S_ISREG(mode) and suffix in TEXTS:
        return _manifest(data.parent, read_csv(data, with_bad=with_bad, columns=columns), name)
    if stat.S_ISREG(mode) and suffix == PARQUET:
        found, folder = read_parquet(data, with_bad=with_bad, columns=columns)
        return _manifest(folder, found, name)
    raise DataError(_no_data_set(data))


def _folder(data: Path, name: str, *, with_bad: bool, columns: Mapping[str, str] | None) -> Manifest:
    found = read_folder(data)
    if found.images:
        return _manifest(data, found, name)
    if archives := archives_of(data):
        say_tables(data)
        return _in_archives(data, archives)
    if parquets := parquets_below(data):
        return _manifest(data, read_parquets(data, parquets, with_bad=with_bad, columns=columns), name)
    if tables := sorted(each for each in data.iterdir() if each.suffix.lower() in TABLES):
        raise DataError(f"No images in {data}, but tables: {few([each.name for each in tables])}. Name {tables[0]}")
    say_tables(data)
    return _manifest(data, found, name)


def _no_data_set(data: Path) -> str:
    """Return why a file is no data set, and what to do."""
    suffix = data.suffix.lower()
    if suffix in ARCHIVES:
        return f"{data} is compressed as a whole, so that no image in it can be read alone. {_cure(data)}"
    if suffix in VECTOR_FILES:
        return f"{data} is a file of vectors, not of images: fc7 fit, compare and audit take it as it is."
    if suffix in _SHEETS:
        return f"{data} is a spreadsheet: save it as csv."
    if not refusal_by_name(data.name):
        return f"{data} is a single image: name the folder that it is in, or a table of paths."
    listed = f" A list of paths is standard input: write - in its place, and < {shlex.quote(str(data))} behind"
    return (
        f"{data} is neither a folder of images nor a table of paths ({', '.join(TABLES)})."
        f"{listed if suffix in _LISTS else ''}"
    )


def _in_archives(data: Path, archives: Sequence[str]) -> Manifest:
    found, root = read_archives(data, archives)
    return _manifest(root, found, data.name)


def _remote(url: URL, *, with_bad: bool, columns: Mapping[str, str] | None) -> Manifest:
    from .object_store import listing, read_file

    if url.suffix.lower() in ARCHIVES:
        raise DataError(
            f"{without_secrets(url)} is an archive that is not on this machine: download it, then name the file."
        )
    if url.suffix.lower() == PARQUET:
        raise DataError(f"{without_secrets(url)} is a parquet elsewhere: copy it to this machine.")
    if url.suffix.lower() in TEXTS:
        data = io.BytesIO(read_file(url))
        return _manifest(url.parent, read_csv(url, data, with_bad=with_bad, columns=columns), url.name)
    known = listing(url)
    identities = {f"{url}/{path}": identity for path, identity in known.items()}
    return _manifest(url, read_names(url, known)._replace(remote=identities), url.name)


def _cure(data: Path) -> str:
    command = UNPACK.get(data.suffix.lower())
    return f"Type: {command} {shlex.quote(str(data))}" if command else "Unpack it, then name the folder."


def _mode(data: Path) -> int:
    try:
        return data.stat().st_mode
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise DataError(f"{data} cannot be read: {error.strerror}.") from error
    except ValueError:  # a null byte in the name
        pass
    if glob.has_magic(str(data)):
        raise DataError(
            f"{data} is a pattern, and a pattern stands for archives only: name the folder that images are in."
        )
    raise DataError(f"There is no {data}. Name a folder of images, or a csv with their paths.")


def require_distinct(data: Location | str, labels: Iterable[str]) -> None:
    """Refuse two classes that look the same: two forms of Unicode, invisible characters, other spaces."""
    seen: dict[str, str] = {}
    for label in sorted(labels):
        visible = "".join(letter for letter in label if unicodedata.category(letter) != "Cf")
        twin = seen.setdefault(unicodedata.normalize("NFC", " ".join(visible.split())), label)
        if twin != label:
            raise DataError(f"{data}: the classes {twin!a} and {label!a} look the same: rename one.")
