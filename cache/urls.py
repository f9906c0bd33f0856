"""Addresses: which paths are URLs, the store behind one, and what is said when it refuses. fsspec comes with the first.

A URL survives being a :class:`pathlib.Path`, which makes ``s3:/bucket`` of ``s3://bucket``: :func:`address` reads both.
"""

import errno
import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import DataError, FC7Error, MissingExtra

EXTRA = "remote"

# Few and by name: a csv from elsewhere must not reach whatever else fsspec can open, and a folder may be called `a:`.
SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "sftp", "memory")
_BEGINNINGS = tuple(f"{scheme}:/" for scheme in SCHEMES)

_OF_ONE_OBJECT = {errno.EINVAL, errno.EPERM}  # what else a store says is about itself: busy, broken, not there

_QUERY = re.compile(r"\?[^\s\"']*")
_USER = re.compile(r"//[^/@\s]*@")


def address(path: str | os.PathLike[str]) -> str:
    """Return the URL that a path is, without a slash at its end; empty if it is a path of this machine.

    >>> address("s3://bucket/pictures/"), address("s3:/bucket/a.jpg"), address("s3.csv")
    ('s3://bucket/pictures', 's3://bucket/a.jpg', '')
    """
    text = os.fspath(path)
    if not text.startswith(_BEGINNINGS):
        return ""
    scheme, _, rest = text.partition(":")
    return f"{scheme}://{rest.lstrip('/').rstrip('/')}"


def without_secrets(text: str) -> str:
    """Return a URL, or a text with URLs, without what may be secret: users, passwords, queries.

    >>> without_secrets("https://me:word@host/a.jpg?X-Amz-Signature=12")
    'https://host/a.jpg'
    """
    return _USER.sub("//", _QUERY.sub("", text))


def require_open(url: str) -> None:
    """Refuse a URL with something in it that must not be written into a record.

    Raises
    ------
    DataError
        A user, a password, or the query of a web address.
    """
    if _USER.search(url):
        raise DataError(
            f"{without_secrets(url)} was named with a user or password in it. Give them as docs/remote.md says."
        )
    if url.startswith("http") and "?" in url:
        raise DataError(
            f"{without_secrets(url)} was named with a query, which may be a signature: it would be kept in records."
        )


@functools.cache
def filesystem(url: str) -> Any:
    """Return the fsspec file system of a URL's store; given any URL of it, by its scheme and host.

    Raises
    ------
    MissingExtra
        fsspec or what it needs for this store is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec", EXTRA) from error
    try:
        return fsspec.core.url_to_fs(url)[0]
    except ImportError as error:
        package = {"gs": "gcsfs", "gcs": "gcsfs", "sftp": "paramiko", "http": "aiohttp", "https": "aiohttp"}
        scheme = url.partition(":")[0]
        raise MissingExtra(package.get(scheme, "s3fs" if scheme.startswith("s3") else "adlfs"), EXTRA) from error


def store_of(url: str) -> Any:
    """Return the file system of a URL, one for each store."""
    scheme, _, rest = url.partition("://")
    return filesystem(f"{scheme}://{rest.partition('/')[0]}")


@contextmanager
def asking(url: str, kind: type[FC7Error]) -> Iterator[None]:
    """Let what a store refuses of one object be an OSError, and what is wrong with the store an error of `kind`.

    Its own words are not passed on where a kind is known, and never with a query in them.
    """
    try:
        yield
    except (FC7Error, FileExistsError):
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such object") from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, "the store denies access") from error
    except Exception as error:  # each store's library has errors of its own, most of them no OSError
        said = " ".join(without_secrets(str(error)).split())[:200]
        if isinstance(error, OSError) and error.errno in _OF_ONE_OBJECT:
            raise OSError(error.errno, f"the store refuses it: {said}") from error
        raise kind(
            f"{without_secrets(url)} cannot be reached: {type(error).__name__}: {said}. "
            "Check the network, the endpoint and the credentials (docs/remote.md), then run again."
        ) from error


def identity(entry: dict[str, Any]) -> str:
    """Return what stands for an object's content in a listing: size, time in ns, ETag.

    The time is 0 where there is an ETag: a store changes it with the content, however soon. Where there is neither, the
    time is one that never comes, so that nothing is believed.
    """
    tag = next(
        (str(entry[name]).strip('"') for name in ("ETag", "etag", "generation", "md5Hash") if entry.get(name)), ""
    )
    changed: Any = next((entry[name] for name in ("mtime", "LastModified", "created") if entry.get(name)), None)
    seconds: Any = changed.timestamp() if hasattr(changed, "timestamp") else changed
    known = isinstance(seconds, int | float)
    return f"{entry.get('size')} {0 if tag else int(seconds * 1e9) if known else 2**63} {tag}".rstrip()
