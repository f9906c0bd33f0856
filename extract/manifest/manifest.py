"""The manifest: the images of a data set with label and split, and the rejected files with the reason."""

import io
import os
import shlex
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from ...cache.urls import URL, Location, is_url, locate, without_secrets
from ...errors import DataError, UsageError
from .columns import ImageEntry, Images
from .csv_table import read_csv
from .folder import read_folder
from .given import LISTED, many, read_paths
from .partition import Partition
from .paths import ARCHIVES, NOT_THERE, UNPACK, Reject, above, located, refusal, refusal_by_name
from .shards import archives_of, read_archives
from .table import PARQUET, TABLES, TEXTS
from .tables import is_table, read_parquet, read_table


@dataclass(frozen=True)
class Manifest:
    """The images of a data set.

    Attributes
    ----------
    root
        Folder that the paths are relative to.
    images
        In a fixed order; packed, whatever they are given as.
    classes
        Sorted class names; some may have no image in ``train``.
    rejects
        What is no image where images belong: files, links in a circle, folders that cannot be listed.
    name
        What the folder or csv is called, without where it lies.
    remote
        The identity of each image that is a URL: its size and ETag, or time.
    """

    root: Location
    images: Images
    classes: tuple[str, ...]
    rejects: tuple[Reject, ...] = ()
    name: str = ""
    remote: Mapping[str, str] = field(default_factory=dict, repr=False)

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
        counts = [f"{len(self)} images", f"{len(self.classes)} classes"]
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
        return (path if path.startswith(os.sep) else start + path for path in chosen)

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
    return refusal_by_name(file) if not is_url(file) and _can_be(file) else refusal(file, known)


def _can_be(file: str) -> bool:
    """Return whether a file can have this name."""
    try:
        return b"\0" not in os.fsencode(file)
    except UnicodeEncodeError:
        return False


def read_manifest(data: Any, *, with_bad: bool = False, columns: Mapping[str, str] | None = None) -> Manifest:
    """Find or read the images of a data set.

    Everything found in a class folder and below it is an image or a reject with a reason. Left out and logged is what
    is hidden (``.DS_Store``, ``.git``), a system's own (``@eaDir``, ``Thumbs.db``), a cache of fc7, or in no class.
    Links are followed, those that lead back to a folder above are rejects. No file is opened.

    Parameters
    ----------
    data
        A folder ``train|val|test/<class>/...``, a folder of class folders, or a csv with the columns
        ``path,label[,split][,group][,bad]`` whose paths are relative to the csv. An apostrophe before ``=``, ``+``,
        ``-`` or ``@`` keeps a spreadsheet from calculating, and is no part of the cell. Folder and csv may be URLs
        (``s3://bucket/pictures``), and so may paths in a csv. Also a parquet of paths or images, see
        :func:`fc7.extract.manifest.tables.read_parquet`; a table of pandas, pyarrow, polars or ``datasets``, whose
        paths are relative to the working directory, see :func:`fc7.extract.manifest.tables.read_table`; and ``-``,
        paths on standard input.
    with_bad
        Keep the rows of a table whose ``bad`` is ``yes``, which are left out otherwise, wherever their files are.
    columns
        What columns of a table are called that have none of the usual names, such as ``{"label": "species"}``.

    Raises
    ------
    DataError
        Nothing usable: no such folder, no images, an empty class, fewer than two classes, a table of files none of
        which exists, a class folder that cannot be listed, an archive; folders that are splits and not
        called so; a csv with cells in the wrong columns, or in another encoding. The message has the counts.
    """
    location = Path("table") if is_table(data) else locate(data)
    if columns and not is_table(data) and location.suffix.lower() not in TABLES:
        raise UsageError(f"{without_secrets(str(location))} is no table, and has no columns to name.")
    remote: Mapping[str, str]
    if is_table(data):
        (images, rejects, remote), root = read_table(data, with_bad=with_bad, columns=columns)
        name = location.name
    elif isinstance(location, URL):
        images, rejects, root, remote = _read_remote(location, with_bad=with_bad, columns=columns)
        name = location.name
    elif location == LISTED:
        return replace(Manifest.of_files(read_paths()), name="paths")
    else:
        images, rejects, root, remote = _read_local(location, with_bad=with_bad, columns=columns)
        name = location.resolve().name  # of "." too
    sound = images.where([not bad for bad in images.bad]) if any(images.bad) else images
    classes = set(_classes(location, sound, rejects)) | {image.label for image in images if image.bad}
    return Manifest(root, images, tuple(sorted(classes)), tuple(rejects), name=name, remote=remote)


def _read_local(
    data: Path, *, with_bad: bool, columns: Mapping[str, str] | None
) -> tuple[Images, list[Reject], Location, Mapping[str, str]]:
    """Return images and rejects, what their paths are relative to, and the identities of those that are URLs."""
    root: Location
    if archives := archives_of(data):
        images, rejects, root = read_archives(data, archives)
        return images, rejects, root, {}
    mode, suffix = _mode(data), data.suffix.lower()
    if stat.S_ISDIR(mode):
        return *read_folder(data), data, {}
    if stat.S_ISREG(mode) and suffix in TEXTS:
        images, rejects, remote = read_csv(data, with_bad=with_bad, columns=columns)
        return images, rejects, data.parent, remote
    if stat.S_ISREG(mode) and suffix == PARQUET:
        (images, rejects, remote), root = read_parquet(data, with_bad=with_bad, columns=columns)
        return images, rejects, root, remote
    if suffix in ARCHIVES:
        raise DataError(f"{data} is compressed as a whole, so that no image in it can be read alone. {_cure(data)}")
    raise DataError(f"{data} is neither a folder of images nor a table of paths ({', '.join(TABLES)}).")


def _read_remote(
    url: URL, *, with_bad: bool, columns: Mapping[str, str] | None
) -> tuple[Images, list[Reject], Location, Mapping[str, str]]:
    from .object_store import listing, read_file, read_objects

    if url.suffix.lower() in ARCHIVES:
        raise DataError(
            f"{without_secrets(url)} is an archive that is not on this machine: download it, then name the file."
        )
    if url.suffix.lower() == PARQUET:
        raise DataError(f"{without_secrets(url)} is a parquet elsewhere: copy it to this machine.")
    if url.suffix.lower() in TEXTS:
        data = io.BytesIO(read_file(url))
        images, rejects, known = read_csv(url, data, with_bad=with_bad, columns=columns)
        return images, rejects, url.parent, known
    known = listing(url)
    return *read_objects(url, known), url, {f"{url}/{path}": identity for path, identity in known.items()}


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
    raise DataError(f"There is no {data}. Name a folder of class folders, or a csv with path,label.")


def _classes(data: Location, images: Images, rejects: list[Reject]) -> tuple[str, ...]:
    if not images:
        hint = f" ({len(rejects)} other files, the first {rejects[0].path}: {rejects[0].reason})" if rejects else ""
        raise DataError(f"No images in {data}{hint}. Expected {data.name}/<class>/*.jpg or train|val|test/<class>/.")
    splits = Counter(images.splits)
    fitted = "train" if any(splits.keys() - {""}) else ""
    if not splits[fitted]:
        raise DataError(f"{data} has no images in train, only {dict(splits)}. A head is fitted on train.")
    pairs = Counter(zip(images.labels, images.splits, strict=True))
    counts = {label: count for (label, split), count in pairs.items() if split == fitted}
    if len(counts) < 2:
        raise DataError(f"{data} has one class only, {counts}. A classifier needs two or more.")
    labels = {label for label, _ in pairs}
    _require_distinct(data, labels)
    return tuple(sorted(labels))


def _require_distinct(data: Location, labels: Iterable[str]) -> None:
    """Refuse two classes that look the same: two forms of Unicode, invisible characters, other spaces."""
    seen: dict[str, str] = {}
    for label in sorted(labels):
        visible = "".join(letter for letter in label if unicodedata.category(letter) != "Cf")
        twin = seen.setdefault(unicodedata.normalize("NFC", " ".join(visible.split())), label)
        if twin != label:
            raise DataError(f"{data}: the classes {twin!a} and {label!a} look the same: rename one.")
