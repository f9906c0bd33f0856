"""Remote images: their listings, their bytes, and the identities that spare a second run from reading them.

One request lists size and ETag of a thousand objects, so objects are not asked for one by one. Web addresses are,
because they cannot be listed.
"""

import errno
import hashlib
import io
from collections.abc import Iterable, Mapping

from ...cache.urls import asking, identity, is_url, require_open, store_of, without_secrets
from ...errors import DataError
from .members import Members
from .paths import MAX_BYTES, NO_OBJECT
from .web import headers_of, read_web

THREADS = 16  # that read objects at once; they wait for the network, not for a core

_WEB = ("http://", "https://")


def listing(url: str) -> dict[str, str]:
    """Return the identities of all objects below a URL, by the rest of their path, sorted."""
    require_open(url)
    if url.startswith(_WEB):
        raise DataError(f"{url} is a web address, which cannot be listed. Name a csv of addresses: path,label.")
    store = store_of(url)
    try:
        with asking(url, DataError):
            store.invalidate_cache()
            files = store.find(url, detail=True)
    except FileNotFoundError as error:
        raise DataError(f"There is no {url}, or no such bucket. Name a prefix or a csv that is there.") from error
    except OSError as error:
        raise DataError(f"{url} cannot be listed: {error.strerror}. Check the credentials (docs/remote.md).") from error
    above = store._strip_protocol(url).rstrip("/") + "/"
    below = sorted((name, info) for name, info in files.items() if name.startswith(above) and len(name) > len(above))
    if not below:
        raise DataError(f"There is nothing below {url}. Name a prefix of class folders, or a csv with path,label.")
    return {name[len(above) :]: identity(info) for name, info in below}


def identities(urls: Iterable[str]) -> dict[str, str]:
    """Return the identities of named objects; objects that do not exist are left out.

    Their folders are listed, each once; web addresses are asked for one by one.
    """
    wanted = list(urls)
    for url in wanted:
        require_open(url)
    folders = {} if not wanted else dict.fromkeys(url.rpartition("/")[0] for url in wanted if not url.startswith(_WEB))
    by_url: dict[str, str] = {}
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
                by_url[f"{folder}/{entry['name'].rstrip('/').rpartition('/')[2]}"] = identity(entry)
    on_the_web = [url for url in wanted if url.startswith(_WEB)]
    if on_the_web:
        by_url |= {url: identity(headers) for url, headers in headers_of(on_the_web).items()}
    return {url: by_url[url] for url in wanted if url in by_url}


def read_remote(url: str, limit: int) -> bytes:
    """Return an object's bytes, in one request.

    Raises
    ------
    OSError
        There is none, it is not to be read, or it has more than `limit` bytes, of which one beyond is read at most.
    DataError
        The store does not answer.
    """
    if url.startswith(_WEB):
        whole = io.BytesIO()
        read_web(url, limit, whole.write)
        return whole.getvalue()
    store = store_of(url)
    with asking(url, DataError):
        try:
            data: bytes = store.cat_file(url, start=0, end=limit + 1)
        except OSError as error:
            if isinstance(error, FileNotFoundError | PermissionError) or store.info(url)["size"]:
                raise
            data = b""  # an empty object has no first byte to ask for
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes")
    return data


def read_file(url: str) -> bytes:
    """Return the bytes of an object that is no image, such as a csv."""
    require_open(url)
    try:
        return read_remote(url, MAX_BYTES)
    except OSError as error:
        raise DataError(f"{without_secrets(url)} cannot be read: {error.strerror or error}.") from error


class ListedObjects(Members):
    """Identities and hashes of a manifest's objects, which the index asks for in place of the file system.

    Parameters
    ----------
    known
        Identity by URL; other names are files of this machine.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__(MAX_BYTES)
        self.known = known

    def identity(self, file: str) -> str | OSError | None:
        """Return what stands for the content of a URL, or as of :class:`Members`."""
        if not is_url(file):
            return super().identity(file)
        known = self.known.get(file)
        if known is None:
            return FileNotFoundError(errno.ENOENT, NO_OBJECT)
        size = known.partition(" ")[0]
        if size.isdecimal() and int(size) > MAX_BYTES:
            return OSError(errno.EFBIG, f"{size} bytes, more than {MAX_BYTES}")
        return known

    def sha256(self, file: str) -> bytes | OSError:
        """Return the hash of an object, or why it has none."""
        if not is_url(file):
            return super().sha256(file)
        hashed = hashlib.sha256()
        try:
            if file.startswith(_WEB):
                read_web(file, MAX_BYTES, hashed.update)  # which keeps none of them
            else:
                hashed.update(read_remote(file, MAX_BYTES))
        except OSError as error:
            return error
        return hashed.digest()
