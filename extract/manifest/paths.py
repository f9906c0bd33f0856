"""Paths of images, and why some are rejected by name or kind of file, before they are opened."""

import errno
import functools
import os
import stat
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from ...cache.system import is_absolute
from ...cache.urls import URL, Location, is_url
from ..text import few, plain
from .members import is_in_table, is_member, split

SPLITS = ("train", "val", "test")
# Words that name a split, and the split that they name.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
}

# torchvision.datasets.folder.IMG_EXTENSIONS, other names of JPEG, and what telephones write; here case does not matter.
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),
    *(".jpe", ".jfif", ".heic", ".heif", ".avif"),
)
_SUFFIXES = frozenset(SUFFIXES)
_PICTURES = frozenset({".jxl", ".jp2", ".psd", ".dng", ".cr2", ".nef", ".arw"})

# What undoes a compression and leaves a tar, beside the file where the tool can.
_GUNZIP, _BUNZIP2, _UNXZ, _UNZSTD = "gunzip -k", "bunzip2 -k", "unxz -k", "unzstd"
UNPACK = {
    **dict.fromkeys((".gz", ".tgz"), _GUNZIP),
    **dict.fromkeys((".bz2", ".tbz", ".tbz2"), _BUNZIP2),
    **dict.fromkeys((".xz", ".txz"), _UNXZ),
    **dict.fromkeys((".zst", ".tzst"), _UNZSTD),
}
_READ_IF_NAMED = (".zip", ".tar")
ARCHIVES = (*_READ_IF_NAMED, *UNPACK, ".7z", ".rar")

# Error numbers of the system where nothing has a name, or nothing can have it.
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}

NO_OBJECT = "there is no such object"

MAX_BYTES = 256 * 2**20
MOST_DESCRIBED = 10  # rejects that are said one by one
LISTS_ALL = "all of them: fc7 extract DATA --json"


class Reject(NamedTuple):
    """A file that is not an acceptable image, and why."""

    path: str
    reason: str


def described(rejects: Sequence[Reject], where: str) -> list[str]:
    """Return rejects for a person, a line each: of many the first, and how many more there are for which reason.

    Parameters
    ----------
    where
        What says all of them.
    """
    lines = [plain(f"{path}: {reason}") for path, reason in rejects[:MOST_DESCRIBED]]
    if others := rejects[MOST_DESCRIBED:]:
        reasons = Counter(reason for _, reason in others).most_common()
        said = few([f"{count:,} {plain(reason)}" for reason, count in reasons], most=3, between="; ")
        lines.append(f"{len(others):,} more: {said} ({where})")
    return lines


def named_split(word: str) -> str:
    """Return the split that a word names; what names none, as it is."""
    return SPLIT_NAMES.get(word.lower(), word)


def located(root: Location, path: str) -> str:
    """Return where an image of a data set is, given its path in it."""
    if is_url(path):
        return URL(path)
    return path if is_absolute(path) else above(root) + path


def absolute(path: str) -> str:
    """Return a path that does not depend on the working directory; of a URL, itself."""
    return path if is_url(path) else os.path.abspath(path)  # noqa: PTH100 - not Path: as it is, but absolute


def relative(path: Path | str, folder: Path | str = os.curdir) -> str:
    """Return a path relative to a folder, with / between names; the whole one where none leads from drive to drive."""
    try:
        found = os.path.relpath(path, folder)
    except ValueError:
        found = os.path.abspath(path)  # noqa: PTH100 - as it is, but absolute
    return found.replace(os.sep, "/")


@functools.cache  # a csv asks for each of its rows, and to compare a Path takes longer than to look at a file
def above(root: Location) -> str:
    """Return what to put before a relative path."""
    if isinstance(root, URL):
        return f"{root}/"
    return "" if root == Path() else os.path.join(root, "")  # noqa: PTH118


def refusal(path: str, known: Collection[str] = ()) -> str:
    """Return why a file is not taken for an image, before it is opened; empty if it is.

    Parameters
    ----------
    known
        The URLs where there is something.
    """
    if is_url(path):
        return refusal_by_name(path) or ("" if path in known else NO_OBJECT)
    if is_member(path):  # who hashes it looks into the file around it
        return "" if is_in_table(path) else refusal_by_name(path)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
        return refusal_by_name(path) or refusal_by_mode(mode)
    except OSError as error:
        return f"not readable: {error.strerror}"
    except ValueError as error:  # a null byte
        return f"not readable: {error}"


def refusal_by_name(path: str) -> str:
    """Return what :func:`refusal` returns, for the name alone."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    suffix = name[dot:] if 0 < dot < len(name) - 1 else ""
    if suffix in _SUFFIXES or suffix.lower() in _SUFFIXES:
        return ""
    cure = "; convert it, for example to .png" if suffix.lower() in _PICTURES else ""
    cure = "; name it to read what is in it" if suffix.lower() in _READ_IF_NAMED else cure
    return f"suffix {suffix!r} is not one of {' '.join(SUFFIXES)}{cure}"


def refusal_by_mode(mode: int) -> str:
    """Return what :func:`refusal` returns, for the kind of file alone."""
    return "" if stat.S_ISREG(mode) else "not a regular file"


def is_absent(path: str) -> bool:
    """Return whether there is nothing at a path."""
    try:
        os.stat(split(path)[0] or path)  # noqa: PTH116
    except OSError as error:
        return error.errno in NOT_THERE
    except ValueError:
        return True
    return False
