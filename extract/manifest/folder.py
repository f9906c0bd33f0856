"""A folder of images: train, val and test with class folders, or class folders alone.

A data set may have a million files, and a repeated extract does little else than list them. So names are plain strings
until they are packed, and files are not asked for what the listing of their folder has already returned.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ...errors import DataError
from .columns import Images
from .paths import SPLITS, Reject, above, refusal_by_mode, refusal_by_name

# Two of these side by side are splits with other names, not classes.
_LIKE_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"}


def read_folder(root: Path) -> tuple[Images, list[Reject]]:
    """Return the images of a folder, in a fixed order, and the rejects."""
    folders = _folders_in(root)
    splits = [split for split in SPLITS if split in folders]
    require_no_strays(root, folders, splits)
    images = Images()
    rejects: list[Reject] = []
    for split in splits or [""]:
        for label in _folders_in(root / split):
            count = images.extend(_images_below(root, f"{split}/{label}" if split else label, rejects), label, split)
            if not count:
                raise DataError(
                    f"The class folder {root / split / label} has no images. Remove it or put images in it: an empty "
                    "class would shift the order of the others."
                )
    return images, rejects


def require_no_strays(root: Path | str, folders: Sequence[str], splits: Collection[str]) -> None:
    """Refuse folders that look like splits and are not called so."""
    alike = [name for name in folders if name.lower() in _LIKE_SPLITS]
    strays = sorted(set(alike) - set(splits))
    if strays and len(alike) > 1:
        raise DataError(
            f"{root} has folders that look like splits, {', '.join(strays)}. Splits are called train, val and test: "
            "rename them, or say what is a class with a csv (path,label,split)."
        )


def _images_below(root: Path, folder: str, rejects: list[Reject]) -> Iterator[str]:
    """Yield the paths of the images of a class, and append the others to the rejects."""
    for path, reason in _Walk(root).below(folder):
        if reason:
            rejects.append(Reject(path, reason))
        else:
            yield path


def _folders_in(folder: Path) -> list[str]:
    try:
        names, entries = _listed(os.fspath(folder))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be listed: {error.strerror}.") from error
    return [name for name in names if name in entries and _is_folder(entries[name])]


_Listing = tuple[list[str], dict[str, "os.DirEntry[str]"]]


def _listed(folder: str) -> _Listing:
    """Return the names in a folder that are not hidden, sorted, and the entries that are no ordinary files."""
    names: list[str] = []
    special: dict[str, os.DirEntry[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[0] != ".":
                names.append(entry.name)
                if not _is_ordinary(entry):
                    special[entry.name] = entry
    return sorted(names), special


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
    """Walks through one class folder and follows links.

    Links lead to each folder once: one that leads to a folder above it makes a circle, and links to folders of links
    multiply without one.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.above = root, above(root)
        self._followed: dict[tuple[int, int], str] = {}

    def below(self, folder: str) -> Iterator[tuple[str, str]]:
        """Yield each path, and why it is no image; empty if it is one."""
        link = os.path.islink(self.root / folder)  # noqa: PTH114 - False for any error
        (names, special), reason = self._enter(folder, link=link)
        if reason:
            raise DataError(f"The class folder {self.root / folder} cannot be used: {reason}.")
        # A list and no recursion: folders can be nested deeper than Python's stack.
        inside = [(folder, iter(names), special)]
        while inside:
            parent, names_left, special = inside[-1]
            for name in names_left:
                path = f"{parent}/{name}"
                entry = special.get(name)
                if entry is None:
                    yield path, refusal_by_name(name)
                    continue
                if not _is_folder(entry):
                    yield path, _refusal_of(entry)
                    continue
                (names, special_inside), reason = self._enter(path, link=entry.is_symlink())
                if reason:
                    yield path, reason
                else:
                    inside.append((path, iter(names), special_inside))
                    break
            else:
                inside.pop()

    def _enter(self, folder: str, *, link: bool) -> tuple[_Listing, str]:
        """Return the listing of a folder, or why it is not entered; only a link can lead back."""
        try:
            reason = self._leads_back(folder) if link else ""
            return (([], {}), reason) if reason else (_listed(self.above + folder), "")
        except OSError as error:
            return ([], {}), f"not readable: {error.strerror}"

    def _leads_back(self, link: str) -> str:
        target = _identity(self.above + link)
        parents = link.split("/")[:-1]
        for depth in range(len(parents) + 1):
            higher = "/".join(parents[:depth])
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
    """Return what ``paths.refusal`` returns; ordinary files cost no system call."""
    reason = refusal_by_name(entry.name)
    if reason:
        return reason
    try:
        return "" if entry.is_file() else refusal_by_mode(entry.stat().st_mode)
    except OSError as error:
        return f"not readable: {error.strerror}"
