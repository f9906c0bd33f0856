"""Remote images: their listings, their bytes, and the identities that spare a second run from reading them.

One request lists size and ETag of a thousand objects, so objects are not asked for one by one. Web addresses are,
because they cannot be listed.
"""

import errno
import hashlib
from collections.abc import Iterable, Mapping

from ...cache.urls import address, asking, identity, require_open, store_of, without_secrets
from ...errors import DataError, ImageRejected
from .columns import ImageEntry, Images
from .folder import require_no_strays
from .paths import SPLITS, Reject, refusal_by_name

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
    for url in (url for url in wanted if url.startswith(_WEB)):
        try:
            with asking(url, DataError):
                by_url[url] = identity(store_of(url).info(url))
        except OSError:
            continue  # it does not exist
    return {url: by_url[url] for url in wanted if url in by_url}


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
            data = b""  # an empty object has no first byte to ask for
    if len(data) > limit:
        raise ImageRejected(f"more than {limit} bytes")
    return data


def read_text(url: str, limit: int) -> str:
    """Return a text, such as a csv."""
    require_open(url)
    try:
        return read_remote(url, limit).decode("utf-8-sig")
    except (OSError, ImageRejected, UnicodeDecodeError) as error:
        raise DataError(
            f"{without_secrets(url)} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error


class ListedObjects:
    """Identities and hashes of a manifest's objects, which the index asks for in place of the file system.

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
    """Return the names that are not hidden: no file or folder in them begins with a dot."""
    return [name for name in names if not any(folder.startswith(".") for folder in name.split("/"))]


def read_objects(url: str, names: Iterable[str]) -> tuple[Images, list[Reject]]:
    """Sort the objects below a URL into images and rejects, by their names; hidden ones are left out."""
    paths = visible(names)
    tops = dict.fromkeys(path.partition("/")[0] for path in paths if "/" in path)
    splits = {split for split in SPLITS if split in tops}
    require_no_strays(url, list(tops), splits)
    images, rejects = Images(), list[Reject]()
    counts: dict[tuple[str, str], int] = {}
    for path in paths:
        levels = path.split("/")
        split = levels.pop(0) if splits else ""
        if len(levels) < 2 or (splits and split not in splits) or path.endswith("/"):
            continue  # beside the class folders; or the empty object that consoles make for a folder
        reason = refusal_by_name(path)
        counts.setdefault((split, levels[0]), 0)
        if reason:
            rejects.append(Reject(path, reason))
        else:
            images.append(ImageEntry(path, levels[0], split))
            counts[split, levels[0]] += 1
    for (split, label), count in counts.items():
        if not count:
            raise DataError(f"The class folder {url}/{f'{split}/' if split else ''}{label} has no images. Remove it.")
    order = {split: place for place, split in enumerate(SPLITS)}
    return Images(sorted(images, key=lambda image: order.get(image.split, 0))), rejects
