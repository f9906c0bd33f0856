"""Walks through the folders of a data set, for extract and predict alike: each file is an image or has a reason.

A data set may have a million files, and a repeated extract does little else than list them. So names are plain strings
until they are packed, and files are not asked for what the listing of their folder has already returned.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ..text import plain
from .layout import Contents
from .left_out import LeftOut, is_about_images, is_cache, is_system
from .paths import above, refusal_by_mode, refusal_by_name

_MOST = 1000  # folders in one folder that are remembered


class Listing(NamedTuple):
    """The sorted names in a folder, the entries of those that are no ordinary files, and the links that lead back."""

    names: list[str]
    special: "dict[str, os.DirEntry[str]]"
    loops: Collection[str] = ()

    def contents(self) -> Contents:
        """Return its folders and images; a link to a folder above is none."""
        special = self.special.keys() - self.loops
        folders = [name for name in self.names if name in special and _is_folder(self.special[name])]
        return Contents(
            folders, [name for name in self.names if name not in self.special and not refusal_by_name(name)]
        )


class Walk:
    """Walks through folders and follows links.

    Below one folder, links lead to each folder once: one that leads to a folder above it makes a circle, and links to
    folders of links multiply without one.

    Parameters
    ----------
    root
        What paths are relative to.
    left_out
        Counts what is hidden or a system's own.

    Attributes
    ----------
    contents
        Of the folders that were walked, if they have folders in them; and of the one folder in such a folder.
    """

    def __init__(self, root: Path, left_out: LeftOut) -> None:
        self.root, self.above, self.left_out = root, above(root), left_out
        self.contents: dict[str, Contents] = {}
        self._followed: dict[tuple[int, int], str] = {}
        self._counted: set[str] = set()

    def listing(self, folder: str) -> Listing:
        """Return what is in a folder and not left out; raises OSError."""
        names: list[str] = []
        special: dict[str, os.DirEntry[str]] = {}
        left_out = LeftOut() if folder in self._counted else self.left_out  # a folder may be looked at again
        self._counted.add(folder)
        with os.scandir(self.above + folder or os.curdir) as entries:
            for entry in entries:
                if entry.name[0] == ".":
                    left_out.add(entry.name)
                elif _is_ordinary(entry):
                    names.append(entry.name)
                elif _is_folder(entry) and (is_system(entry.name) or is_cache(entry.path)):
                    left_out.add(entry.name)
                else:
                    names.append(entry.name)
                    special[entry.name] = entry
        links = [name for name, entry in special.items() if _is_link(entry) and _is_folder(entry)]
        start = f"{folder}/" if folder else ""
        return Listing(sorted(names), special, [name for name in links if self._loop(start + name) is not None])

    def below(self, folder: str) -> Iterator[tuple[str, str]]:
        """Yield each path below a folder and why it is no image; empty if it is one.

        What cannot be entered has one row with the reason, the folder itself included.
        """
        self._followed.clear()
        link = os.path.islink(self.above + folder) if folder else False  # noqa: PTH114 - False for any error
        listing, reason = self._enter(folder, link=link)
        if reason:
            yield folder, reason
            return
        outlined = self._outline(folder, listing)
        # A list and no recursion: folders can be nested deeper than Python's stack.
        inside = [(f"{folder}/" if folder else "", iter(listing.names), listing.special)]
        while inside:
            parent, names_left, special = inside[-1]
            for name in names_left:
                path = parent + name
                entry = special.get(name)
                if entry is None or not _is_folder(entry):
                    reason = refusal_by_name(name) if entry is None else _refusal_of(entry)
                    if reason and (is_system(name) or is_about_images(name)):
                        self.left_out.add(name)
                    else:
                        yield path, reason
                    continue
                listing, reason = self._enter(path, link=_is_link(entry))
                if reason:
                    yield path, reason
                    continue
                if path == outlined:
                    outlined = self._outline(path, listing)
                inside.append((f"{path}/", iter(listing.names), listing.special))
                break
            else:
                inside.pop()

    def _outline(self, folder: str, listing: Listing) -> str:
        """Remember the contents of a folder with folders, and return the only folder in it; empty if there are more."""
        if not listing.special:
            return ""
        folders, images = listing.contents()
        if folders:
            self.contents[folder] = Contents(folders[:_MOST], images[:1])
        return f"{folder}/{folders[0]}" if len(folders) == 1 and not images else ""

    def _enter(self, folder: str, *, link: bool) -> tuple[Listing, str]:
        """Return the listing of a folder, or why it is not entered; only a link can lead back."""
        try:
            reason = self._leads_back(folder) if link else ""
            return (Listing([], {}), reason) if reason else (self.listing(folder), "")
        except OSError as error:
            return Listing([], {}), f"not readable: {error.strerror}"

    def _loop(self, link: str) -> str | None:
        """Return the folder above a link to which it leads; None if to none of them."""
        parents = link.split("/")[:-1]
        try:
            target = _identity(self.above + link)
            above = ("/".join(parents[:depth]) for depth in range(len(parents) + 1))
            return next((higher for higher in above if _identity(self.above + higher or os.curdir) == target), None)
        except OSError:  # it is gone, or cannot be followed: whoever enters it says so
            return None

    def _leads_back(self, link: str) -> str:
        target = _identity(self.above + link)
        higher = self._loop(link)
        if higher is not None:
            return f"a link that loops back to {plain(higher or os.curdir)}"
        if target in self._followed:
            return f"a link to the same folder as {plain(self._followed[target])}"
        self._followed[target] = link
        return ""


def _is_ordinary(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_link(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_symlink()
    except OSError:  # it is gone
        return False


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _refusal_of(entry: "os.DirEntry[str]") -> str:
    """Return what ``paths.refusal`` returns; ordinary files cost no system call."""
    reason = refusal_by_name(entry.name)
    if reason:
        return reason
    try:
        return "" if entry.is_file() else refusal_by_mode(entry.stat().st_mode)
    except OSError as error:
        return f"not readable: {error.strerror}"
