"""The manifest: which files are the images of a data set, with label and split, and which were rejected and why.

A data set may have a million files and a repeated extract does little else than list them. So names are plain strings
until they are packed, a csv is read line by line, and nothing is asked of the system that the listing of a folder has
already told.
"""

import csv
import errno
import io
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from ..cache.address import address, shown
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
    remote
        What stands for the content of each image that is a URL: its size and ETag, or time.
    """

    root: Path
    images: Images
    classes: tuple[str, ...]
    rejects: tuple[Reject, ...] = ()
    name: str = ""
    remote: Mapping[str, str] = field(default_factory=dict, repr=False)

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
        if self.remote:
            return (located(self.root, path) for path in self.images.paths)
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
        return located(self.root, self.images.paths[row])


def located(root: Path, path: str) -> str:
    """Return where an image of a data set is, given its path in it."""
    return path if path.startswith(os.sep) or address(path) else _above(root) + path


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
        ``-`` or ``@`` keeps a spreadsheet from calculating, and is no part of the cell. Folder and csv may be URLs
        (``s3://bucket/pictures``), and so may paths in a csv.
    with_bad
        Keep the rows of a csv whose ``bad`` is ``yes``, which are left out otherwise, wherever their files are.

    Raises
    ------
    DataError
        Nothing usable: no such folder, no images, an empty class, fewer than two classes, files of a csv that do not
        exist, a class outside train, a class folder that cannot be listed, an archive. The message has the counts.
    """
    url, data = address(data), Path(data)
    if url:
        return _read_remote(url, data, with_bad=with_bad)
    mode = _mode(data)
    if stat.S_ISDIR(mode):
        images, rejects = _read_folder(data)
        root, remote = data, dict[str, str]()
    elif stat.S_ISREG(mode) and data.suffix.lower() == ".csv":
        rows = _Csv(data, _read_rows(data))
        images, rejects, remote = rows.read(with_bad=with_bad)
        root = data.parent
    elif data.suffix.lower() in ARCHIVES:
        raise DataError(f"{data} is an archive, which fc7 does not unpack: unpack it, then name the folder.")
    else:
        raise DataError(f"{data} is neither a folder of images nor a .csv (path,label[,split][,group][,bad]).")
    return _manifest(data, root, images, rejects, data.resolve().name, remote)  # of "." too


def _manifest(
    data: Path, root: Path, images: Images, rejects: list[Reject], name: str, remote: Mapping[str, str]
) -> Manifest:
    sound = images.where([not bad for bad in images.bad]) if any(images.bad) else images
    classes = set(_classes(data, sound, rejects)) | {image.label for image in images if image.bad}
    return Manifest(root, images, tuple(sorted(classes)), tuple(rejects), name, remote)


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
    url = address(root)
    if url:
        return f"{url}/"
    return "" if root == Path() else os.path.join(root, "")  # noqa: PTH118


def _classes(data: Path, images: Images, rejects: list[Reject]) -> tuple[str, ...]:
    where = address(data) or data
    if not images:
        found = f" ({len(rejects)} other files, the first {rejects[0].path}: {rejects[0].reason})" if rejects else ""
        raise DataError(f"No images in {where}{found}. Expected {data.name}/<class>/*.jpg or train|val|test/<class>/.")
    splits = Counter(images.splits)
    fitted = "train" if any(splits.keys() - {""}) else ""
    if not splits[fitted]:
        raise DataError(f"{where} has no images in train, only {dict(splits)}. A head is fitted on train.")
    pairs = Counter(zip(images.labels, images.splits, strict=True))
    counts = {label: count for (label, split), count in pairs.items() if split == fitted}
    if len(counts) < 2:
        raise DataError(f"{where} has one class only, {counts}. A classifier needs two or more.")
    strangers = sorted({label for label, _ in pairs} - counts.keys())
    if strangers:
        raise DataError(
            f"{where}: classes {strangers} are in val or test but not in train, which has {sorted(counts)}."
        )
    return tuple(sorted(counts))


def _read_folder(root: Path) -> tuple[Images, list[Reject]]:
    folders = _folders_in(root)
    splits = [split for split in SPLITS if split in folders]
    _require_no_strays(root, folders, splits)
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


def _require_no_strays(root: Path | str, folders: Sequence[str], splits: Collection[str]) -> None:
    alike = [name for name in folders if name.lower() in _LIKE_SPLITS]
    strays = sorted(set(alike) - set(splits))
    if strays and len(alike) > 1:
        raise DataError(
            f"{root} has folders that look like splits, {', '.join(strays)}. Splits are called train, val and test: "
            "rename them, or say what is a class with a csv (path,label,split)."
        )


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


class _Csv:
    """A csv of images, whose paths are relative to it, and may be URLs.

    Parameters
    ----------
    path
        Of the csv, for messages, and for what its paths are relative to.
    rows
        The names of the columns, then each row with its line.
    """

    def __init__(self, path: Path, rows: Iterator[tuple[int, list[str]]]) -> None:
        self.path, self.above, self.where = path, _above(path.parent), address(path) or path
        _, self.columns = next(rows)
        if not {"path", "label"} <= set(self.columns):
            raise DataError(
                f"{self.where} has the columns {self.columns}; needed: path,label, optional: split,group,bad."
            )
        self.images, self.rejects, self.absent = Images(), list[Reject](), list[str]()
        self._rows = rows

    def read(self, *, with_bad: bool) -> tuple[Images, list[Reject], dict[str, str]]:
        """Return the images, what is none, and what stands for the content of those that are URLs."""
        urls: list[tuple[Image, str]] = []
        for line, image in images_of(self.path, self.columns, self._rows):
            if image.bad:
                if with_bad:
                    self.images.append(image)
                continue
            self._require(line, image)
            file = image.path if image.path.startswith(os.sep) else self.above + image.path
            url = address(image.path) or address(file)
            if url:
                urls.append((image, url))
                continue
            reason = refusal(file)
            self._sort(image, reason, absent=bool(reason) and _is_absent(file))
        known = self._remote(urls) if urls else {}
        if self.absent:
            named = len(self.images) + len(self.rejects)
            raise DataError(
                f"{len(self.absent)} of {named} files named in {self.where} do not exist, "
                f"the first is {self.absent[0]}."
            )
        return self.images, self.rejects, known

    def _remote(self, urls: list[tuple[Image, str]]) -> dict[str, str]:
        from .remote import identities

        known = identities(url for _, url in urls)
        for image, url in urls:
            reason = _refusal_by_name(image.path) or ("" if url in known else "there is no such object")
            self._sort(image, reason, absent=url not in known)
        return known

    def _sort(self, image: Image, reason: str, *, absent: bool) -> None:
        if reason:
            self.rejects.append(Reject(image.path, reason))
            self.absent += [image.path] if absent else []
        else:
            self.images.append(image)

    def _require(self, line: int, image: Image) -> None:
        if not image.path or not image.label:
            raise DataError(f"{self.where}, line {line}: path or label is empty.")
        if "split" in self.columns and image.split not in SPLITS:
            raise DataError(f"{self.where}, line {line}: split is {image.split!r}, not one of {', '.join(SPLITS)}.")


def _read_remote(url: str, data: Path, *, with_bad: bool) -> Manifest:
    from .decode import MAX_BYTES
    from .remote import listing, read_text

    if data.suffix.lower() in ARCHIVES:
        raise DataError(f"{shown(url)} is an archive, which fc7 does not unpack: unpack it, then name the prefix.")
    if data.suffix.lower() == ".csv":
        rows = _rows_of(csv.reader(io.StringIO(read_text(url, MAX_BYTES), newline="")))
        try:
            images, rejects, known = _Csv(data, rows).read(with_bad=with_bad)
        except csv.Error as error:
            raise DataError(f"{shown(url)} cannot be read: {error}") from error
        return _manifest(data, data.parent, images, rejects, data.name, known)
    known = listing(url)
    images, rejects = _read_objects(url, [path for path in known if not any(map(_hidden, path.split("/")))])
    return _manifest(data, data, images, rejects, data.name, {f"{url}/{path}": one for path, one in known.items()})


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _read_objects(url: str, paths: Sequence[str]) -> tuple[Images, list[Reject]]:
    """Return what :func:`_read_folder` does, of the names of objects: a prefix has no empty folders, and no links."""
    tops = dict.fromkeys(path.partition("/")[0] for path in paths if "/" in path)
    splits = {split for split in SPLITS if split in tops}
    _require_no_strays(url, list(tops), splits)
    images, rejects = Images(), list[Reject]()
    found: dict[tuple[str, str], int] = {}
    for path in paths:
        parts = path.split("/")
        split = parts.pop(0) if splits else ""
        if len(parts) < 2 or (splits and split not in splits) or path.endswith("/"):
            continue  # beside the class folders, as in a folder; or the mark that a console leaves for a folder
        reason = _refusal_by_name(path)
        found.setdefault((split, parts[0]), 0)
        if reason:
            rejects.append(Reject(path, reason))
        else:
            images.append(Image(path, parts[0], split))
            found[split, parts[0]] += 1
    for (split, label), count in found.items():
        if not count:
            raise DataError(f"The class folder {url}/{f'{split}/' if split else ''}{label} has no images. Remove it.")
    order = {split: place for place, split in enumerate(SPLITS)}
    return Images(sorted(images, key=lambda image: order.get(image.split, 0))), rejects


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns, and each row that is not empty with its line."""
    rows = _read_rows(path)
    _, columns = next(rows)
    return columns, list(rows)


def _read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the names of the columns, then each row that is not empty, with its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows_of(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _rows_of(reader: Any) -> Iterator[tuple[int, list[str]]]:
    yield 1, next(reader, [])
    for row in reader:
        if row:
            yield reader.line_num, row


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
