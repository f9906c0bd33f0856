"""The manifest: the images of a data set with label and split, and the rejected files with the reason."""

import io
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from ...cache.urls import URL, Location, is_url, locate, without_secrets
from ...errors import DataError
from .columns import ImageEntry, Images
from .csv_table import read_csv
from .folder import read_folder
from .given import many
from .partition import Partition
from .paths import ARCHIVES, NOT_THERE, Reject, above, located, refusal, refusal_by_name


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
    """

    root: Location
    images: Images
    classes: tuple[str, ...]
    rejects: tuple[Reject, ...] = ()
    name: str = ""
    remote: Mapping[str, str] = field(default_factory=dict, repr=False)
    unclear: str = ""

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
    return refusal_by_name(file) if not is_url(file) and _can_be(file) else refusal(file, known)


def _can_be(file: str) -> bool:
    """Return whether a file can have this name."""
    try:
        return b"\0" not in os.fsencode(file)
    except UnicodeEncodeError:
        return False


def read_manifest(data: Path | str, *, with_bad: bool = False) -> Manifest:
    """Find or read the images of a data set, with labels or without.

    Everything found in a class folder and below it is an image or a reject with a reason, and so is everything in a
    folder of images without class folders. Left out and logged is what is hidden (``.DS_Store``, ``.git``), a system's
    own (``@eaDir``, ``Thumbs.db``), a cache of fc7, or in a folder beside ``train``. Links are followed, those that
    lead back to a folder above are rejects. No file is opened.

    Parameters
    ----------
    data
        A folder ``train|val|test/<class>/...``, a folder of class folders, or a folder of images, whose labels are
        empty; or a csv with the columns ``path[,label][,split][,group][,bad]`` whose paths are relative to the csv. An
        apostrophe before ``=``, ``+``, ``-`` or ``@`` keeps a spreadsheet from calculating, and is no part of the cell.
        Folder and csv may be URLs (``s3://bucket/pictures``), and so may paths in a csv.
    with_bad
        Keep the rows of a csv whose ``bad`` is ``yes``, which are left out otherwise, wherever their files are.

    Raises
    ------
    DataError
        Nothing usable: no such folder, no images, files of a csv that do not exist, a folder that cannot be listed, an
        archive; classes that look the same; a csv with cells in the wrong columns, or in another encoding. The message
        has the counts.
    """
    location = locate(data)
    manifest = (
        _remote(location, with_bad=with_bad) if isinstance(location, URL) else _local(location, with_bad=with_bad)
    )
    if not any(not bad for bad in manifest.images.bad):
        rejects = manifest.rejects
        hint = f" ({len(rejects)} other files, the first {rejects[0].path}: {rejects[0].reason})" if rejects else ""
        raise DataError(
            f"No images in {data}{hint}. Expected images, {location.name}/<class>/*.jpg, or a csv of paths."
        )
    classes = sorted(set(manifest.images.labels) - {""})
    require_distinct(location, classes)
    return replace(manifest, classes=tuple(classes))


def _local(data: Path, *, with_bad: bool) -> Manifest:
    mode, name = _mode(data), data.resolve().name  # of "." too
    if stat.S_ISDIR(mode):
        images, rejects, unclear = read_folder(data)
        return Manifest(data, images, (), tuple(rejects), name, unclear=unclear)
    if stat.S_ISREG(mode) and data.suffix.lower() == ".csv":
        images, rejects, remote = read_csv(data, with_bad=with_bad)
        return Manifest(data.parent, images, (), tuple(rejects), name, remote)
    if data.suffix.lower() in ARCHIVES:
        raise DataError(f"{data} is an archive, which fc7 does not unpack: unpack it, then name the folder.")
    raise DataError(f"{data} is neither a folder of images nor a .csv (path[,label][,split][,group][,bad]).")


def _remote(url: URL, *, with_bad: bool) -> Manifest:
    from .object_store import listing, read_file, read_objects

    if url.suffix.lower() in ARCHIVES:
        raise DataError(
            f"{without_secrets(url)} is an archive, which fc7 does not unpack: unpack it, then name the prefix."
        )
    if url.suffix.lower() == ".csv":
        images, rejects, known = read_csv(url, io.BytesIO(read_file(url)), with_bad=with_bad)
        return Manifest(url.parent, images, (), tuple(rejects), url.name, known)
    known = listing(url)
    images, rejects, unclear = read_objects(url, known)
    identities = {f"{url}/{path}": identity for path, identity in known.items()}
    return Manifest(url, images, (), tuple(rejects), url.name, identities, unclear)


def _mode(data: Path) -> int:
    try:
        return data.stat().st_mode
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise DataError(f"{data} cannot be read: {error.strerror}.") from error
    except ValueError:  # a null byte in the name
        pass
    raise DataError(f"There is no {data}. Name a folder of images, or a csv with their paths.")


def require_distinct(data: Location | str, labels: Iterable[str]) -> None:
    """Refuse two classes that look the same: two forms of Unicode, invisible characters, other spaces."""
    seen: dict[str, str] = {}
    for label in sorted(labels):
        visible = "".join(letter for letter in label if unicodedata.category(letter) != "Cf")
        twin = seen.setdefault(unicodedata.normalize("NFC", " ".join(visible.split())), label)
        if twin != label:
            raise DataError(f"{data}: the classes {twin!a} and {label!a} look the same: rename one.")
