"""A folder of images: train, val and test with class folders, or class folders alone.

A data set may have a million files and a repeated extract does little else than list them. So names are plain strings
until they are packed, and nothing is asked of the system that the listing of a folder has already told.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ...errors import DataError
from .columns import Images
from .paths import SPLITS, Reject, above, refusal_by_mode, refusal_by_name

# Two of these side by side are splits under other names, not classes.
_LIKE_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"}


def read_folder(root: Path) -> tuple[Images, list[Reject]]:
    """Return the images of a folder in a fixed order, and what is none.

    Raises
    ------
    DataError
        An empty class, folders that look like splits, or one that cannot be listed.
    """
    folders = _folders_in(root)
    splits = [split for split in SPLITS if split in folders]
    require_no_strays(root, folders, splits)
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
        self.root, self.above = root, above(root)
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
                    yield found, refusal_by_name(name)
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
    reason = refusal_by_name(entry.name)
    if reason:
        return reason
    try:
        return "" if entry.is_file() else refusal_by_mode(entry.stat().st_mode)
    except OSError as error:
        return f"not readable: {error.strerror}"
