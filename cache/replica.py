"""The replica: a local folder through which a cache in an object store is read and written.

The replica is a cache directory with one more file, REPLICA, that names the URL; the names below the URL are those
in the folder. The store decides: a shard is committed once it was put there and read back, and shards that the store
does not list are not seen, whatever the replica has. Delete a replica at any time.

This works because shards are immutable and named after their content. A store in which objects appear whole needs no
lock, no rename and no folder: the second writer puts the same rows under the same name, or finds them there.
"""

import contextlib
import errno
import logging
import re
import time
from collections.abc import Collection, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from ..errors import CacheError, CorruptShard
from .files import make_folder, publish, read_regular, replace
from .format import FORMAT_LINE, fingerprint, open_local, require_version, shard_names, shard_path
from .recipe import Recipe, sha256_of
from .shard import check
from .urls import URL, asking, require_open, store_of

logger = logging.getLogger(__name__)

MARK = "REPLICA"

# Stores in which an object appears whole or not at all, for every reader at once, and stays once it is acknowledged.
# Not sftp: readers can see a half-written file.
KEEPING = ("s3:", "s3a:", "gs:", "gcs:", "az:", "abfs:", "abfss:", "memory:")

CONFLICT = 1.0  # seconds until a PUT that met another one is retried
FETCHERS = 8  # shards fetched in parallel, each complete in memory

_SHARD = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62}\.h5)")


class Replica:
    """A cache in an object store.

    Parameters
    ----------
    directory
        The local folder.
    url
        The location of the cache.

    Attributes
    ----------
    damaged
        Shards that are damaged in the store and not fetched: path in the replica, and reason.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self.directory, self.url = directory, url
        self._store = store_of(url)
        self.damaged: dict[Path, str] = {}
        self._described: set[str] = set()

    @classmethod
    def open(cls, url: URL, *, new: bool) -> Self:
        """Return the replica of a cache, its FORMAT checked; a `new` one is created if there is none.

        Raises
        ------
        CacheError
            There is no cache, the URL holds something else or another version, or the store refuses.
        DataError
            The URL contains a password or a signature.
        MissingExtra
            A package that the store needs is not installed.
        """
        require_open(url)
        if not url.startswith(KEEPING):
            raise CacheError(
                f"{url} cannot hold a cache, which needs a store where an object appears whole or not at all. "
                "Name a folder, or s3://, gs:// or az://, with --cache."
            )
        replica = cls(replicas() / _folder(url), url)
        require_version(url, replica._format(new=new))
        open_local(replica.directory)
        if cls.of(replica.directory) is None:
            replace(replica.directory / MARK, f"{url}\n".encode())
        return replica

    @classmethod
    def of(cls, directory: Path) -> Self | None:
        """Return the replica in a cache directory; None if the directory is the cache itself.

        Raises CacheError if the mark is damaged.
        """
        mark = directory / MARK
        try:
            url = read_regular(mark).decode(errors="replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CacheError(
                f"The cache {directory} cannot be used: {error.strerror or error}. "
                "Name another one with --cache DIR or FC7_CACHE."
            ) from error
        if not url.startswith(KEEPING) or directory.name != _folder(url):
            raise CacheError(f"{mark} is damaged. Delete {directory}: it is a copy, and fetched anew.")
        return cls(directory, url)

    def fetch(self, folder: Path, held: Collection[str]) -> Set[str]:
        """Fetch the shards of a recipe but those held here, and return the file names of all that the store lists."""
        listed = self._listed(folder)
        lacking = sorted(listed.keys() - set(held))
        if lacking:
            size = sum(listed[name] for name in lacking) / 1e6
            logger.info("fc7: fetching %.1f MB from %s to %s", size, self.url, self.directory)
            with ThreadPoolExecutor(FETCHERS) as pool:
                list(pool.map(self.fetch_one, [shard_path(folder, name) for name in lacking]))
        return listed.keys()

    def fetch_one(self, path: Path) -> None:
        """Fetch one shard, unless it is absent or damaged in the store."""
        with self._use(path):
            try:
                data = self._read(path)
                check(data)
            except FileNotFoundError:
                return
            except CorruptShard as error:
                self.damaged[path] = str(error)
                logger.warning(
                    "%s is damaged: %s. Its rows are missing until they are computed.", self._url(path), error
                )
                return
            if not path.exists():
                try:
                    publish(data, path, path.parents[2] / "tmp", self.directory)
                except FileNotFoundError:
                    fingerprint(self.directory)
                    raise

    def put(self, data: bytes, path: Path) -> bytes:
        """Put a shard's bytes into the store and return the bytes read back: another writer's, if it was first.

        Raises
        ------
        OSError
            The store refuses, or returns other bytes.
        CacheError
            It does not answer.
        """
        url = self._url(path)
        with asking(url, CacheError):
            for put in (self._create, self._store.pipe_file):  # a damaged object of that name is replaced
                put(url, data)
                stored = self._read(path)
                with contextlib.suppress(CorruptShard):
                    check(stored)
                    self.damaged.pop(path, None)
                    return stored
        raise OSError(errno.EIO, f"what was put to {url} is not what is read from it")

    def has(self, path: Path) -> bool:
        """Return whether the store has a shard now; a shard known to be damaged does not count."""
        with self._use(path):
            self._store.invalidate_cache()
            return path not in self.damaged and bool(self._store.exists(self._url(path)))

    def describe(self, recipe: Recipe) -> None:
        """Put the description of a recipe, once; raises what :meth:`put` raises."""
        url = f"{self.url}/recipes/{recipe.id}/recipe.json"
        if url not in self._described:
            with asking(url, CacheError):
                self._create(url, f"{recipe.to_json()}\n".encode())
            self._described.add(url)

    def fetch_all(self, *, again: bool = False) -> Collection[str]:
        """Fetch every recipe's description and shards, and return the file names of all shards that the store lists.

        `again`: also those that are here, so that `damaged` has all damage in the store.
        """
        recipes = self.directory / "recipes"
        with self._use(recipes):
            self._store.invalidate_cache()
            objects = self._store.ls(self._url(recipes), detail=False) if self._store.exists(self._url(recipes)) else []
        names: set[str] = set()
        for name in sorted(object_name.rstrip("/").rpartition("/")[2] for object_name in objects):
            if re.fullmatch(r"[0-9a-f]{64}", name):
                folder = recipes / name
                with self._use(folder), contextlib.suppress(FileNotFoundError):
                    data = self._read(folder / "recipe.json")
                    make_folder(folder / "shards", self.directory)
                    replace(folder / "recipe.json", data)
                held = () if again else shard_names(folder)
                names.update(self.fetch(folder, held))
        return names

    def _format(self, *, new: bool) -> str:
        """Return the line in FORMAT; with ``new``, write it first if there is no cache."""
        marker = self.directory / "FORMAT"
        with self._use(marker):
            self._store.invalidate_cache()
            with contextlib.suppress(FileNotFoundError):
                return self._text(marker)
            if not new:
                raise CacheError(f"There is no fc7 cache in {self.url}. Fill one: fc7 extract DATA --cache {self.url}")
            foreign = self._store.exists(self.url) and self._store.ls(self.url, detail=False)
            if foreign and not self._store.exists(self._url(marker)):  # else another process created it
                raise CacheError(
                    f"{self.url} is not an fc7 cache (it is not empty and has no FORMAT). "
                    "Name a prefix below which nothing is with --cache."
                )
            self._create(self._url(marker), f"{FORMAT_LINE}\n".encode())
            return self._text(marker)

    def _create(self, url: str, data: bytes) -> None:
        """Put an object unless one of that name exists."""
        with contextlib.suppress(FileExistsError):
            try:
                self._store.pipe_file(url, data, mode="create")
            except (FileExistsError, FileNotFoundError, PermissionError):
                raise
            except OSError:  # of two simultaneous PUTs, S3 may refuse both (409) and ask for a retry
                time.sleep(CONFLICT)
                self._store.pipe_file(url, data, mode="create")

    def _listed(self, folder: Path) -> dict[str, int]:
        """Return the sizes of a recipe's shards in the store, by file name."""
        url = self._url(folder / "shards")
        with self._use(folder):
            self._store.invalidate_cache()
            objects = self._store.find(url, detail=True)
        matches = ((_SHARD.fullmatch("/".join(name.split("/")[-2:])), entry) for name, entry in objects.items())
        return {match[2]: int(entry.get("size") or 0) for match, entry in matches if match}

    def _url(self, path: Path) -> str:
        return f"{self.url}/{path.relative_to(self.directory).as_posix()}"

    def _read(self, path: Path) -> bytes:
        data: bytes = self._store.cat_file(self._url(path))
        return data

    def _text(self, path: Path) -> str:
        return self._read(path).decode(errors="replace").strip()

    @contextmanager
    def _use(self, path: Path) -> Iterator[None]:
        """Turn what the store or the replica refuses into a CacheError that names the URL."""
        try:
            with asking(self.url, CacheError):
                yield
        except FileNotFoundError as error:
            raise CacheError(f"The cache {self.url} cannot be used: there is no such bucket.") from error
        except OSError as error:
            raise CacheError(
                f"The cache {self.url} cannot be used: {error.strerror or error} ({path.name})."
            ) from error


def replicas() -> Path:
    """Return this user's folder of replicas."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("fc7-replicas", appauthor=False))


def _folder(url: str) -> str:
    """Return the name of a replica: a readable part, and a hash that makes it unique."""
    return f"{re.sub('[^a-zA-Z0-9.-]+', '-', url)[:80]}-{sha256_of(url)[:12]}"
