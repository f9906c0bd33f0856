"""The shards of a recipe that one look at its folder finds, and the place of each of their rows."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from .format import shard_path
from .index import ShardEntry, stat_line
from .keys import Keys, Places

Item = TypeVar("Item")
Result = TypeVar("Result")

READERS = min(os.cpu_count() or 1, 8)  # threads that read or check shards; more wait for memory


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what each item gives, in their order; a failure of one is raised."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(work, items))


def survey(
    folder: Path,
    names: Callable[[], Collection[str]],
    known: Mapping[str, ShardEntry],
    check: Callable[[Path], ShardEntry | str | None],
    *,
    merging: bool = True,
) -> dict[str, ShardEntry | str]:
    """Look at the shards of a recipe until none was removed meanwhile: its rows may have moved to where the look was.

    Parameters
    ----------
    names
        Lists their file names.
    known
        Entries that need no check where the file is still the same.
    check
        Returns the entry of a shard, why it is damaged, or None if it is not there any more.
    merging
        Whether shards may be merged meanwhile.
    """
    looked: dict[str, ShardEntry | str] = {}
    shards_folder = f"{folder}{os.sep}shards{os.sep}"

    def is_same(name: str) -> bool:
        path = f"{shards_folder}{name[:2]}{os.sep}{name}"
        with contextlib.suppress(FileNotFoundError):
            return known[name].stat == stat_line(os.stat(path))  # noqa: PTH116 - of each shard, and a Path is slow
        return False

    before: Collection[str] | None = None if merging else ()
    while True:
        listed = names()
        looked |= {name: known[name] for name in listed if name not in looked and name in known and is_same(name)}
        new = [name for name in listed if name not in looked]
        found = in_threads(check, [shard_path(folder, name) for name in new])
        looked |= {name: entry for name, entry in zip(new, found, strict=True) if entry is not None}
        if before is not None and looked.keys() >= {*listed} >= {*before}:
            return {name: looked[name] for name in listed}
        before = [name for name in listed if name in looked]


class Listing:
    """The shards that one look at the folder has found, and the place of each of their rows.

    A refresh makes another listing, so that a reader who goes on with this one finds each row where it says. Shards may
    be added while others read: a row is found only when its shard is listed.
    """

    def __init__(self) -> None:
        self.entries: dict[str, ShardEntry] = {}  # in the order of their rows
        self.starts = [0]  # first place of each shard's rows, and the end: a row's place is one number
        self.rows = Places()
        self.rejected: dict[bytes, str] = {}
        self.left_out: set[str] = set()  # damaged shards that cannot be set aside here

    @classmethod
    def of(cls, entries: Mapping[str, ShardEntry]) -> "Listing":
        """Return the listing of some shards.

        Of a row that several shards hold, the largest one's is read: the small ones may be about to be removed.
        """
        listing = cls()
        names = sorted(entries, key=lambda name: (-len(entries[name].keys), name))
        keys = Keys.joined(entries[name].keys for name in names)
        rejected: dict[bytes, str] = {}
        for name in names:
            start = listing.starts[-1]
            own = keys[start : start + len(entries[name].keys)]  # of the joined ones: no key is in memory twice
            listing._list(name, entries[name]._replace(keys=own))
            rejected |= entries[name].rejected
        listing.rows.add(keys)
        listing.reject(rejected)
        return listing

    def add(self, name: str, entry: ShardEntry) -> None:
        """Add a shard, unless it is listed."""
        if name not in self.entries:
            self._list(name, entry)
            self.rows.add(entry.keys)
            answered = self.rejected.keys() & entry.keys if self.rejected else set()
            if answered:  # these images were looked at again
                self.rejected = {key: reason for key, reason in self.rejected.items() if key not in answered}
            self.reject(entry.rejected)

    def reject(self, reasons: Mapping[bytes, str]) -> None:
        """Add the rejections of images that have no row."""
        refused = Keys.of(reasons)
        refused = refused.where(self.rows.find(refused) < 0)
        # Not in place: other threads go through it.
        self.rejected = {**self.rejected, **{key: reasons[key] for key in refused}}

    def reopen(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """Forget the rejections of some images, and return them."""
        reopened = {key: self.rejected[key] for key in keys if key in self.rejected}
        self.rejected = {key: reason for key, reason in self.rejected.items() if key not in reopened}
        return reopened

    def is_same(self, other: "Listing") -> bool:
        """Return whether both have the same files."""
        return {name: entry.stat for name, entry in self.entries.items()} == {
            name: entry.stat for name, entry in other.entries.items()
        }

    def _list(self, name: str, entry: ShardEntry) -> None:
        self.entries[name] = entry
        self.starts.append(self.starts[-1] + len(entry.keys))
