"""The manifest: which files are the images of a data set, with label and split, and which were rejected and why."""

import csv
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError

SPLITS = ("train", "val", "test")

# torchvision.datasets.folder.IMG_EXTENSIONS; here case does not matter.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

# Two of these side by side are splits under other names, not classes.
_LIKE_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"}


class Image(NamedTuple):
    """One row of a manifest. ``path`` is relative to the manifest's root; ``split`` and ``group`` may be empty."""

    path: str
    label: str
    split: str = ""
    group: str = ""


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
        In a fixed order.
    classes
        Sorted class names of ``train`` (of everything where there is no split).
    rejects
        Files found where images belong that are none.
    name
        What the folder or csv is called, without where it lies.
    """

    root: Path
    images: tuple[Image, ...]
    classes: tuple[str, ...]
    rejects: tuple[Reject, ...] = ()
    name: str = ""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def files(self) -> list[Path]:
        """Return where each image is."""
        return [self.root / image.path for image in self.images]


def read_manifest(data: Path | str) -> Manifest:
    """Find or read the images of a data set.

    Parameters
    ----------
    data
        A folder ``train|val|test/<class>/...``, a folder of class folders, or a csv with the columns
        ``path,label[,split][,group]`` whose paths are relative to the csv.

    Raises
    ------
    DataError
        Nothing usable: no such folder, no images, an empty class, fewer than two classes, files of a csv that do not
        exist, a class outside train. The message has the counts.
    """
    data = Path(data)
    if data.is_dir():
        images, rejects = _read_folder(data)
        root = data
    elif data.is_file() and data.suffix.lower() == ".csv":
        images, rejects = _read_csv(data)
        root = data.parent
    elif data.exists():
        raise DataError(f"{data} is neither a folder of images nor a .csv (path,label[,split][,group]).")
    else:
        raise DataError(f"There is no {data}. Name a folder of class folders, or a csv with path,label.")
    name = data.resolve().name  # of "." too
    return Manifest(root, tuple(images), _classes(data, images, rejects), tuple(rejects), name)


def _classes(data: Path, images: list[Image], rejects: list[Reject]) -> tuple[str, ...]:
    if not images:
        found = f" ({len(rejects)} other files, the first {rejects[0].path}: {rejects[0].reason})" if rejects else ""
        raise DataError(f"No images in {data}{found}. Expected {data.name}/<class>/*.jpg or train|val|test/<class>/.")
    splits = Counter(image.split for image in images)
    fitted = "train" if any(splits.keys() - {""}) else ""
    if not splits[fitted]:
        raise DataError(f"{data} has no images in train, only {dict(splits)}. A head is fitted on train.")
    counts = Counter(image.label for image in images if image.split == fitted)
    if len(counts) < 2:
        raise DataError(f"{data} has one class only, {dict(counts)}. A classifier needs two or more.")
    strangers = sorted({image.label for image in images} - counts.keys())
    if strangers:
        raise DataError(f"{data}: classes {strangers} are in val or test but not in train, which has {sorted(counts)}.")
    return tuple(sorted(counts))


def _read_folder(root: Path) -> tuple[list[Image], list[Reject]]:
    splits = [split for split in SPLITS if (root / split).is_dir()]
    alike = [folder.name for folder in _class_folders(root) if folder.name.lower() in _LIKE_SPLITS]
    strays = sorted(set(alike) - set(splits))
    if strays and len(alike) > 1:
        raise DataError(
            f"{root} has folders that look like splits, {', '.join(strays)}. Splits are called train, val and test: "
            "rename them, or say what is a class with a csv (path,label,split)."
        )
    images: list[Image] = []
    rejects: list[Reject] = []
    for split in splits or [""]:
        for folder in _class_folders(root / split):
            before = len(images)
            for path in _walk(folder, ()):
                relative = path.relative_to(root).as_posix()
                reason = refusal(path)
                if reason:
                    rejects.append(Reject(relative, reason))
                else:
                    images.append(Image(relative, folder.name, split))
            if len(images) == before:
                raise DataError(
                    f"The class folder {folder} has no images. Remove it or put images in it: an empty class "
                    "would shift the order of the others."
                )
    return images, rejects


def _class_folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Yield everything in a folder and below that is not hidden, links followed, loops left out, in sorted order."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), (*above, here))
        else:
            yield Path(entry.path)


def refusal(path: Path) -> str:
    """Return why a file is not taken for an image, before it is opened; empty if it is."""
    if path.suffix.lower() not in SUFFIXES:
        return f"suffix {path.suffix!r} is not one of {' '.join(SUFFIXES)}"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"not readable: {error.strerror}"
    return "" if stat.S_ISREG(mode) else "not a regular file"


def _read_csv(path: Path) -> tuple[list[Image], list[Reject]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not {"path", "label"} <= set(columns):
        raise DataError(f"{path} has the columns {list(columns)}; needed: path,label, optional: split,group.")
    images: list[Image] = []
    rejects: list[Reject] = []
    for line, row in enumerate(rows, start=2):
        image = Image(*((row.get(name) or "").strip() for name in Image._fields))
        if not image.path or not image.label:
            raise DataError(f"{path}, line {line}: path or label is empty.")
        if "split" in columns and image.split not in SPLITS:
            raise DataError(f"{path}, line {line}: split is {image.split!r}, not one of {', '.join(SPLITS)}.")
        reason = refusal(path.parent / image.path)
        images += [] if reason else [image]
        rejects += [Reject(image.path, reason)] if reason else []
    absent = [reject.path for reject in rejects if not (path.parent / reject.path).exists()]
    if absent:
        raise DataError(f"{len(absent)} of {len(rows)} files named in {path} do not exist, the first is {absent[0]}.")
    return images, rejects
