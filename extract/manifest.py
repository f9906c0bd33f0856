"""The manifest: which files are the images of a data set, with label and split, and which were rejected and why.

A data set may have a million files and a repeated extract does little else than list them. So names are plain strings
until they are packed, a csv is read line by line, and nothing is asked of the system that the listing of a folder has
already told.
"""

import csv
import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

from ..errors import DataError
from .cells import unguarded
from .images import Image, Images
from .part import Part

SPLITS = ("train", "val", "test")

# torchvision.datasets.folder.IMG_EXTENSIONS; here case does not matter.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_SUFFIXES = frozenset(SUFFIXES)

ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")

# Two of these side by side are splits under other names, not classes.
_LIKE_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"}

# What the system says where there is nothing of a name, and can be nothing.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}


class Reject(NamedTuple):
    """A file that is not an acceptable image, and why."""

    path: str
    reason: str


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
        Sorted class names of ``train`` (of everything where there is no split).
    rejects
        What was found where images belong and is none: files, links in a circle, folders that cannot be listed.
    name
        What the folder or csv is called, without where it lies.
    """

    root: Path
    images: Images
    classes: tuple[str, ...]
    rejects: tuple[Reject, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", Images.of(self.images))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __repr__(self) -> str:
        """Return the counts in one line."""
        splits = Counter(split for split in self.images.splits if split)
        parts = [f"{len(self)} images", f"{len(self.classes)} classes"]
        parts += [f"{split} {count}" for split, count in splits.items()]
        parts += [f"{len(self.rejects)} rejected"] if self.rejects else []
        return f"Manifest({self.name!r}, {', '.join(parts)})"

    @property
    def files(self) -> list[str]:
        """Return where each image is."""
        return list(self.each_file())

    def each_file(self) -> Iterator[str]:
        """Yield where each image is."""
        above = _above(self.root)
        return (path if path.startswith(os.sep) else above + path for path in self.images.paths)

    def part(self, part: Part) -> Self:
        """Return the files of one part, images and rejects; it may have none. Classes stay those of all."""
        return replace(
            self,
            images=self.images.where([part.has(path) for path in self.images.paths]),
            rejects=tuple(reject for reject in self.rejects if part.has(reject.path)),
        )

    def file(self, row: int) -> str:
        """Return where one image is."""
        path: str = self.images.paths[row]
        return path if path.startswith(os.sep) else _above(self.root) + path


def read_manifest(data: Path | str, *, with_bad: bool = False) -> Manifest:
    """Find or read the images of a data set.

    Everything found in a class folder and below it is an image or a reject with a reason, except what is hidden: files
    and folders whose name begins with a dot are not looked at (``.DS_Store``, ``.git``, ``.thumbnails``). Links are
    followed, those that lead back to a folder above are rejects. No file is opened.

    Parameters
    ----------
    data
        A folder ``train|val|test/<class>/...``, a folder of class folders, or a csv with the columns
        ``path,label[,split][,group][,bad]`` whose paths are relative to the csv. An apostrophe before ``=``, ``+``,
        ``-`` or ``@`` keeps a spreadsheet from calculating, and is no part of the cell.
    with_bad
        Keep the rows of a csv whose ``bad`` is ``yes``, which are left out otherwise, wherever their files are.

    Raises
    ------
    DataError
        Nothing usable: no such folder, no images, an empty class, fewer than two classes, files of a csv that do not
        exist, a class outside train, a class folder that cannot be listed, an archive. The message has the counts.
    """
    data = Path(data)
    mode = _mode(data)
    if stat.S_ISDIR(mode):
        images, rejects = _read_folder(data)
        root = data
    elif stat.S_ISREG(mode) and data.suffix.lower() == ".csv":
        images, rejects = _read_csv(data, with_bad=with_bad)
        root = data.parent
    elif data.suffix.lower() in ARCHIVES:
        raise DataError(f"{data} is an archive, which fc7 does not unpack: unpack it, then name the folder.")
    else:
        raise DataError(f"{data} is neither a folder of images nor a .csv (path,label[,split][,group][,bad]).")
    name = data.resolve().name  # of "." too
    sound = images.where([not bad for bad in images.bad]) if any(images.bad) else images
    classes = set(_classes(data, sound, rejects)) | {image.label for image in images if image.bad}
    return Manifest(root, images, tuple(sorted(classes)), tuple(rejects), name)


def _mode(data: Path) -> int:
    try:
        return data.stat().st_mode
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise DataError(f"{data} cannot be read: {error.strerror}.") from error
    except ValueError:  # a null byte in the name
        pass
    raise DataError(f"There is no {data}. Name a folder of class folders, or a csv with path,label.")


def _above(root: Path) -> str:
    """Return what to put before a relative path."""
    return "" if root == Path() else os.path.join(root, "")  # noqa: PTH118


def _classes(data: Path, images: Images, rejects: list[Reject]) -> tuple[str, ...]:
    if not images:
        found = f" ({len(rejects)} other files, the first {rejects[0].path}: {rejects[0].reason})" if rejects else ""
        raise DataError(f"No images in {data}{found}. Expected {data.name}/<class>/*.jpg or train|val|test/<class>/.")
    splits = Counter(images.splits)
    fitted = "train" if any(splits.keys() - {""}) else ""
    if not splits[fitted]:
        raise DataError(f"{data} has no images in train, only {dict(splits)}. A head is fitted on train.")
    pairs = Counter(zip(images.labels, images.splits, strict=True))
    counts = {label: count for (label, split), count in pairs.items() if split == fitted}
    if len(counts) < 2:
        raise DataError(f"{data} has one class only, {counts}. A classifier needs two or more.")
    strangers = sorted({label for label, _ in pairs} - counts.keys())
    if strangers:
        raise DataError(f"{data}: classes {strangers} are in val or test but not in train, which has {sorted(counts)}.")
    return tuple(sorted(counts))


def _read_folder(root: Path) -> tuple[Images, list[Reject]]:
    folders = _folders_in(root)
    splits = [split for split in SPLITS if split in folders]
    alike = [name for name in folders if name.lower() in _LIKE_SPLITS]
    strays = sorted(set(alike) - set(splits))
    if strays and len(alike) > 1:
        raise DataError(
            f"{root} has folders that look like splits, {', '.join(strays)}. Splits are called train, val and test: "
            "rename them, or say what is a class with a csv (path,label,split)."
        )
    images = Images()
    rejects: list[Reject] = []
    for split in splits or [""]:
        for label in _folders_in(root / split):
            found = images.extend(_images_below(root, f"{split}/{label}" if split else label, rejects), label, split)
            if not found:
                raise DataError(
                    f"The class folder {root / split / label} has no images. Remove it or put images in it: an empty "
                    "class would shift the order of the others."
                )
    return images, rejects


def _images_below(root: Path, folder: str, rejects: list[Reject]) -> Iterator[str]:
    """Yield the paths of the images of a class; what is none goes to the rejects."""
    for path, reason in _Walk(root).below(folder):
        if reason:
            rejects.append(Reject(path, reason))
        else:
            yield path


def _folders_in(folder: Path) -> list[str]:
    try:
        names, others = _listed(os.fspath(folder))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be listed: {error.strerror}.") from error
    return [name for name in names if name in others and _is_folder(others[name])]


_Listing = tuple[list[str], dict[str, "os.DirEntry[str]"]]


def _listed(folder: str) -> _Listing:
    """Return the names in a folder that are not hidden, sorted, and more about those that are no ordinary files."""
    names: list[str] = []
    others: dict[str, os.DirEntry[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[0] != ".":
                names.append(entry.name)
                if not _is_ordinary(entry):
                    others[entry.name] = entry
    return sorted(names), others


def _is_ordinary(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


class _Walk:
    """What is in one class folder and below, links followed.

    A link leads to each folder once: back to one above it would be a circle, and links that lead to folders of links
    would multiply without one.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.above = root, _above(root)
        self._followed: dict[tuple[int, int], str] = {}

    def below(self, folder: str) -> Iterator[tuple[str, str]]:
        """Yield the path of each thing found and why it is no image, which is empty if it is one.

        Raises
        ------
        DataError
            The class folder itself cannot be listed.
        """
        link = os.path.islink(self.root / folder)  # noqa: PTH114 - False for any error
        (names, others), reason = self._enter(folder, link=link)
        if reason:
            raise DataError(f"The class folder {self.root / folder} cannot be used: {reason}.")
        # A list and no recursion: folders can be nested deeper than Python's stack.
        inside = [(folder, iter(names), others)]
        while inside:
            path, rest, others = inside[-1]
            for name in rest:
                found = f"{path}/{name}"
                entry = others.get(name)
                if entry is None:
                    yield found, _refusal_by_name(name)
                    continue
                if not _is_folder(entry):
                    yield found, _refusal_of(entry)
                    continue
                (names, more), reason = self._enter(found, link=entry.is_symlink())
                if reason:
                    yield found, reason
                else:
                    inside.append((found, iter(names), more))
                    break
            else:
                inside.pop()

    def _enter(self, folder: str, *, link: bool) -> tuple[_Listing, str]:
        """Return what is in a folder, or why it is not entered. Only a link can lead back, so nothing else is asked."""
        try:
            reason = self._leads_back(folder) if link else ""
            return (([], {}), reason) if reason else (_listed(self.above + folder), "")
        except OSError as error:
            return ([], {}), f"not readable: {error.strerror}"

    def _leads_back(self, link: str) -> str:
        target = _identity(self.above + link)
        parts = link.split("/")[:-1]
        for depth in range(len(parts) + 1):
            higher = "/".join(parts[:depth])
            if _identity(self.above + higher or os.curdir) == target:
                return f"a link that loops back to {higher or os.curdir}"
        if target in self._followed:
            return f"a link to the same folder as {self._followed[target]}"
        self._followed[target] = link
        return ""


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _refusal_of(entry: os.DirEntry[str]) -> str:
    """Return what :func:`refusal` does, without asking the system for an ordinary file."""
    reason = _refusal_by_name(entry.name)
    if reason:
        return reason
    try:
        return "" if entry.is_file() else _refusal_by_mode(entry.stat().st_mode)
    except OSError as error:
        return f"not readable: {error.strerror}"


def refusal(path: Path | str) -> str:
    """Return why a file is not taken for an image, before it is opened; empty if it is."""
    path = os.fspath(path)
    try:
        return _refusal_by_name(path) or _refusal_by_mode(os.stat(path).st_mode)  # noqa: PTH116
    except OSError as error:
        return f"not readable: {error.strerror}"
    except ValueError as error:  # a null byte
        return f"not readable: {error}"


def _refusal_by_name(path: str) -> str:
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    suffix = name[dot:] if 0 < dot < len(name) - 1 else ""
    if suffix in _SUFFIXES or suffix.lower() in _SUFFIXES:
        return ""
    return f"suffix {suffix!r} is not one of {' '.join(SUFFIXES)}"


def _refusal_by_mode(mode: int) -> str:
    return "" if stat.S_ISREG(mode) else "not a regular file"


def _read_csv(path: Path, *, with_bad: bool) -> tuple[Images, list[Reject]]:
    rows = _read_rows(path)
    _, columns = next(rows)
    if not {"path", "label"} <= set(columns):
        raise DataError(f"{path} has the columns {columns}; needed: path,label, optional: split,group,bad.")
    above = _above(path.parent)
    images = Images()
    rejects: list[Reject] = []
    absent: list[str] = []
    for line, image in images_of(path, columns, rows):
        if image.bad:
            if with_bad:
                images.append(image)
            continue
        if not image.path or not image.label:
            raise DataError(f"{path}, line {line}: path or label is empty.")
        if "split" in columns and image.split not in SPLITS:
            raise DataError(f"{path}, line {line}: split is {image.split!r}, not one of {', '.join(SPLITS)}.")
        file = image.path if image.path.startswith(os.sep) else above + image.path
        reason = refusal(file)
        if not reason:
            images.append(image)
        else:
            rejects.append(Reject(image.path, reason))
            absent += [image.path] if _is_absent(file) else []
    if absent:
        named = len(images) + len(rejects)
        raise DataError(f"{len(absent)} of {named} files named in {path} do not exist, the first is {absent[0]}.")
    return images, rejects


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns, and each row that is not empty with its line."""
    rows = _read_rows(path)
    _, columns = next(rows)
    return columns, list(rows)


def _read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the names of the columns, then each row that is not empty, with its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            yield 1, next(reader, [])
            for row in reader:
                if row:
                    yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def images_of(path: Path, columns: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, Image]]:
    """Yield the images that rows of a csv name, each with its line.

    Raises
    ------
    DataError
        ``bad`` is neither ``yes`` nor ``no`` nor empty.
    """
    where = {name: place for place, name in enumerate(columns)}
    places = [where.get(name, len(columns)) for name in Image._fields]
    padding = [""] * (len(columns) + 1)
    for line, row in rows:
        cells = row[: len(columns)] + padding if len(row) != len(columns) else [*row, ""]
        image, label, split, group, bad = (unguarded(cells[place].strip()) for place in places)
        if bad not in ("", "yes", "no"):
            raise DataError(f"{path}, line {line}: bad is {bad!r}, not yes, no or empty.")
        yield line, Image(image, label, split, group, bad == "yes")


def _is_absent(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116
    except OSError as error:
        return error.errno in _NOT_THERE
    except ValueError:
        return True
    return False
