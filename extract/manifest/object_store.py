"""Remote images: listing them, their bytes, and what stands for their content so that a second run reads none.

One listing of a prefix tells size and ETag of a thousand objects in one request; no object is asked for by itself, but
for web addresses, which cannot be listed.
"""

import errno
import hashlib
from collections.abc import Iterable, Mapping

from ...cache.urls import address, asking, identity, require_open, store_of, without_secrets
from ...errors import DataError, ImageRejected
from .columns import ImageEntry, Images
from .folder import require_no_strays
from .paths import SPLITS, Reject, refusal_by_name

THREADS = 16  # that read objects at once: one waits for the network, not for a core

_WEB = ("http://", "https://")


def listing(url: str) -> dict[str, str]:
    """Return all objects below a URL: the rest of each one's path, sorted, and its identity.

    Raises
    ------
    DataError
        It cannot be listed, or there is nothing.
    """
    require_open(url)
    if url.startswith(_WEB):
        raise DataError(f"{url} is a web address, which cannot be listed. Name a csv of addresses: path,label.")
    store = store_of(url)
    try:
        with asking(url, DataError):
            store.invalidate_cache()
            found = store.find(url, detail=True)
    except FileNotFoundError as error:
        raise DataError(f"There is no {url}, or no such bucket. Name a prefix or a csv that is there.") from error
    except OSError as error:
        raise DataError(f"{url} cannot be listed: {error.strerror}. Check the credentials (docs/remote.md).") from error
    above = store._strip_protocol(url).rstrip("/") + "/"
    kept = sorted((name, entry) for name, entry in found.items() if name.startswith(above) and len(name) > len(above))
    if not kept:
        raise DataError(f"There is nothing below {url}. Name a prefix of class folders, or a csv with path,label.")
    return {name[len(above) :]: identity(entry) for name, entry in kept}


def identities(urls: Iterable[str]) -> dict[str, str]:
    """Return the identities of objects named one by one; those that are not there are left out.

    The folders that they are in are listed, each once; web addresses are asked for one by one.
    """
    wanted = list(urls)
    for url in wanted:
        require_open(url)
    folders = {} if not wanted else dict.fromkeys(url.rpartition("/")[0] for url in wanted if not url.startswith(_WEB))
    found: dict[str, str] = {}
    for folder in folders:
        store = store_of(folder)
        try:
            with asking(folder, DataError):
                store.invalidate_cache()
                entries = store.ls(folder, detail=True)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                raise DataError(f"{folder} cannot be listed: {error.strerror}.") from error
            entries = []
        for entry in entries:
            if entry["type"] == "file":
                found[f"{folder}/{entry['name'].rstrip('/').rpartition('/')[2]}"] = identity(entry)
    for url in (url for url in wanted if url.startswith(_WEB)):
        try:
            with asking(url, DataError):
                found[url] = identity(store_of(url).info(url))
        except OSError:
            continue  # as the others that are not there
    return {url: found[url] for url in wanted if url in found}


def read_remote(url: str, limit: int) -> bytes:
    """Return an object's bytes, in one request.

    Raises
    ------
    ImageRejected
        It has more than `limit` bytes; no more than one beyond are read.
    OSError
        There is none, or it is not to be read.
    DataError
        The store does not answer.
    """
    store = store_of(url)
    with asking(url, DataError):
        try:
            data: bytes = store.cat_file(url, start=0, end=limit + 1)
        except OSError as error:
            if isinstance(error, FileNotFoundError | PermissionError) or store.info(url)["size"]:
                raise
            data = b""  # of nothing, a store has no first bytes either
    if len(data) > limit:
        raise ImageRejected(f"more than {limit} bytes")
    return data


def read_text(url: str, limit: int) -> str:
    """Return a text, such as a csv.

    Raises
    ------
    DataError
        It cannot be read.
    """
    require_open(url)
    try:
        return read_remote(url, limit).decode("utf-8-sig")
    except (OSError, ImageRejected, UnicodeDecodeError) as error:
        raise DataError(
            f"{without_secrets(url)} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error


class ListedObjects:
    """What the index asks in place of the system: the identities of a manifest's objects, and their hashes.

    Parameters
    ----------
    known
        Identity by URL; other names are files of this machine.
    limit
        Bytes beyond which an object is not read.
    """

    def __init__(self, known: Mapping[str, str], limit: int) -> None:
        self.known, self.limit = known, limit

    def identity(self, file: str) -> str | OSError | None:
        """Return what stands for the content of a URL, None for a file of this machine."""
        if not address(file):
            return None
        known = self.known.get(file)
        if known is None:
            return FileNotFoundError(errno.ENOENT, "there is no such object")
        size = known.partition(" ")[0]
        if size.isdecimal() and int(size) > self.limit:
            return OSError(errno.EFBIG, f"{size} bytes, more than {self.limit}")
        return known

    def sha256(self, file: str) -> bytes | OSError:
        """Return the hash of an object, or why it has none."""
        try:
            return hashlib.sha256(read_remote(file, self.limit)).digest()
        except OSError as error:
            return error
        except ImageRejected as error:
            return OSError(errno.EFBIG, str(error))


def visible(names: Iterable[str]) -> list[str]:
    """Return the names in which no part begins with a dot: what is hidden is not looked at."""
    return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]


def read_objects(url: str, names: Iterable[str]) -> tuple[Images, list[Reject]]:
    """Return the images among the objects below a URL, by their names, and what is none; hidden ones are left out.

    Raises
    ------
    DataError
        A class without images, or folders that look like splits.
    """
    paths = visible(names)
    tops = dict.fromkeys(path.partition("/")[0] for path in paths if "/" in path)
    splits = {split for split in SPLITS if split in tops}
    require_no_strays(url, list(tops), splits)
    images, rejects = Images(), list[Reject]()
    found: dict[tuple[str, str], int] = {}
    for path in paths:
        parts = path.split("/")
        split = parts.pop(0) if splits else ""
        if len(parts) < 2 or (splits and split not in splits) or path.endswith("/"):
            continue  # beside the class folders, as in a folder; or the mark that a console leaves for a folder
        reason = refusal_by_name(path)
        found.setdefault((split, parts[0]), 0)
        if reason:
            rejects.append(Reject(path, reason))
        else:
            images.append(ImageEntry(path, parts[0], split))
            found[split, parts[0]] += 1
    for (split, label), count in found.items():
        if not count:
            raise DataError(f"The class folder {url}/{f'{split}/' if split else ''}{label} has no images. Remove it.")
    order = {split: place for place, split in enumerate(SPLITS)}
    return Images(sorted(images, key=lambda image: order.get(image.split, 0))), rejects
