"""The store: the shards of one recipe. Append commits, rows reads, missing says what is left to do."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CacheError, CorruptShard
from . import shard as shards
from .format import default_directory, open_directory
from .index import Index, ShardEntry, stat_line
from .recipe import Recipe
from .shard import Shard, unit_id

logger = logging.getLogger(__name__)


class Store:
    """One recipe's rows in a cache directory.

    Any number of processes may append and read at once without locks: shards are immutable, appear whole, and have
    names that follow from what they hold.

    Parameters
    ----------
    recipe
        Decides the folder.
    directory
        The cache; by default ``$FC7_CACHE`` or the user's cache folder.

    Raises
    ------
    CacheError
        The directory is not a cache, of another version, or not writable.
    """

    def __init__(self, recipe: Recipe, directory: Path | str | None = None) -> None:
        self.recipe = recipe
        self.directory = open_directory(Path(directory) if directory is not None else default_directory())
        self.folder = self.directory / "recipes" / recipe.id
        self.index = Index(self.directory / "index.sqlite")
        self._describe()
        self.refresh()

    def refresh(self) -> None:
        """List the shards once; those never seen before are checked bit by bit, damaged ones are quarantined."""
        known = self.index.shards(self.recipe.id)
        listed = {path.name: path for path in sorted(self.folder.glob("shards/??/*.h5"))}
        entries: dict[str, ShardEntry] = {}
        new: dict[str, ShardEntry] = {}
        for name, path in listed.items():
            entry = known.get(name)
            if entry is None or entry.stat != _stat(path):
                entry = self._admit(path)
                new |= {name: entry} if entry else {}
            if entry:
                entries[name] = entry
        self.index.remember_shards(self.recipe.id, new)
        self.index.forget_shards(self.recipe.id, known.keys() - entries.keys())
        self._rows: dict[bytes, tuple[Path, int]] = {}
        self.rejected: dict[bytes, str] = {}
        for name, entry in entries.items():
            self._take(listed[name], entry.keys, entry.rejected)

    def __contains__(self, key: bytes) -> bool:
        """Say whether the key has a row."""
        return key in self._rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the keys with neither a row nor a recorded rejection, sorted, each once."""
        return sorted({key for key in keys if key not in self._rows and key not in self.rejected})

    def append(self, shard: Shard) -> Path:
        """Commit rows; when this returns they survive a crash and a power loss.

        Raises
        ------
        CacheError
            Shape or dtype are not the recipe's, or the disk refuses.
        """
        expected = (len(shard.keys), self.recipe.dim)
        if shard.embeddings.shape != expected or shard.embeddings.dtype != self.recipe.dtype:
            raise CacheError(
                f"Embeddings are {shard.embeddings.dtype} {shard.embeddings.shape}, "
                f"the recipe says {self.recipe.dtype} {expected}."
            )
        name = unit_id(self.recipe.id, [*shard.keys, *shard.rejected])
        path = self.folder / "shards" / name[:2] / f"{name}.h5"
        try:
            shards.commit(shards.encode(shard, self.recipe.to_json()), path, self.folder / "tmp")
        except OSError as error:
            raise CacheError(
                f"The cache {self.directory} refused {len(shard.keys)} rows: {error.strerror or error}. "
                "What was committed before is kept; free some space or name another cache with --cache, then run again."
            ) from error
        self.index.remember_shards(
            self.recipe.id, {path.name: ShardEntry(_stat(path), list(shard.keys), dict(shard.rejected))}
        )
        self._take(path, shard.keys, shard.rejected)
        return path

    def rows(self, keys: Sequence[bytes]) -> npt.NDArray[Any]:
        """Return the embeddings of the keys, ``(len(keys), dim)`` in the stored dtype, in the order asked for.

        Raises
        ------
        CacheError
            Some keys have no row: says how many, and how to compute them.
        """
        absent = sum(key not in self._rows for key in keys)
        if absent:
            raise CacheError(
                f"{absent} of {len(keys)} images have no {self.recipe.backbone} {self.recipe.layer} embedding in "
                f"{self.directory}. Compute them with: fc7 extract"
            )
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for number, key in enumerate(keys):
            path, row = self._rows[key]
            wanted.setdefault(path, []).append((number, row))
        result = np.empty((len(keys), self.recipe.dim), self.recipe.dtype)
        for path, pairs in wanted.items():
            numbers, rows = np.array(pairs).T
            result[numbers] = _embeddings(path)[rows]
        return result

    def seconds(self, keys: Iterable[bytes]) -> float:
        """Return what computing these rows cost, from the provenance of their shards."""
        import h5py

        total = 0.0
        for path, count in Counter(self._rows[key][0] for key in set(keys)).items():
            with h5py.File(path, "r", locking=False) as file:
                total += float(file.attrs.get("seconds", 0)) * count / max(len(file["keys"]), 1)
        return total

    def _describe(self) -> None:
        path = self.folder / "recipe.json"
        if not path.exists():
            try:
                (self.folder / "shards").mkdir(parents=True, exist_ok=True)
                own = path.with_suffix(f".{os.getpid()}")
                own.write_text(self.recipe.to_json() + "\n", encoding="utf-8")
                own.replace(path)
                for folder in (self.folder, self.folder.parent, self.directory):
                    shards.fsync_folder(folder)
            except OSError as error:
                raise CacheError(f"The cache {self.directory} is not writable: {error.strerror or error}.") from error

    def _admit(self, path: Path) -> ShardEntry | None:
        stat = _stat(path)
        try:
            shard = shards.decode(path.read_bytes())
            return ShardEntry(stat, list(shard.keys), dict(shard.rejected))
        except FileNotFoundError:
            return None
        except CorruptShard as error:
            self._quarantine(path, str(error))
            return None

    def _quarantine(self, path: Path, reason: str) -> None:
        logger.warning("shard %s is damaged: %s. Set aside; its rows will be computed again.", path.name, reason)
        target = self.folder / "quarantine" / path.name
        target.parent.mkdir(exist_ok=True)
        path.replace(target)

    def _take(self, path: Path, keys: Iterable[bytes], rejected: Mapping[bytes, str]) -> None:
        for row, key in enumerate(keys):
            self._rows.setdefault(key, (path, row))
        self.rejected |= rejected


def _embeddings(path: Path) -> npt.NDArray[Any]:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:  # immutable: a lock could only get in the way on NFS
            matrix: npt.NDArray[Any] = file["embeddings"][:]
    except (OSError, KeyError, RuntimeError) as error:  # all three occur on damaged files
        raise CorruptShard(f"Shard {path} cannot be read ({error}). Check the disk, then: fc7 extract") from error
    return matrix


def _stat(path: Path) -> str:
    try:
        return stat_line(path.stat())
    except FileNotFoundError:
        return ""
