"""Locations, which are paths of this machine or URLs; and the stores of URLs. fsspec is imported with the first one."""

import errno
import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Self, TypeAlias

from ..errors import DataError, FC7Error, MissingExtra, UsageError
from .arguments import shown

EXTRA = "remote"

# Why not every scheme of fsspec: a csv from elsewhere must not reach all it can open, and a folder may be called `a:`.
SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "sftp", "memory")
_BEGINNINGS = tuple(f"{scheme}:/" for scheme in SCHEMES)

_OF_ONE_OBJECT = {errno.EINVAL, errno.EPERM}  # other errors concern the whole store: busy, broken, absent

# What web addresses may do, named in an environment variable: processes that decode and workers here have it, too.
PRIVATE_HOSTS, REDIRECTS = "private-hosts", "redirects"

_QUERY = re.compile(r"\?[^\s\"']*")
_USER = re.compile(r"//[^/@\s]*@")


class URL(str):
    """A location in a store or on the web, without a slash at its end.

    Why text, and no class of its own: whatever takes ``Path | str`` takes it, and so do stores and messages.

    >>> URL("s3://bucket/pictures/"), URL("s3:/bucket/a.jpg")
    ('s3://bucket/pictures', 's3://bucket/a.jpg')
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Return a URL of its text, also of one that was a Path, which makes one slash of two."""
        scheme, _, rest = text.partition(":")
        return super().__new__(cls, f"{scheme}://{rest.strip('/')}")

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self).name

    @property
    def suffix(self) -> str:
        """What its name ends with, from the last dot on."""
        return PurePosixPath(self).suffix

    @property
    def parent(self) -> "URL":
        """What it lies in."""
        return URL(self.rpartition("/")[0])


Location: TypeAlias = Path | URL


def is_url(text: str) -> bool:
    """Return whether a text is a URL, and not a path of this machine."""
    return text.startswith(_BEGINNINGS)


def locate(path: Path | str) -> Location:
    """Return where something lies, as a person has named it.

    Raises
    ------
    UsageError
        A URL without a bucket or host, an empty text, or no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"{shown(path)} is of type {type(path).__name__}, not a path.")
    text = os.fspath(path)
    if not text:
        raise UsageError("An empty path names nothing, and . names this folder. Is a variable of the shell not set?")
    if not is_url(text):
        return Path(path)
    url = URL(text)
    if url.endswith("://"):
        raise UsageError(f"{url} names no bucket or host: {url}NAME/...")
    return url


def without_secrets(text: str) -> str:
    """Remove users, passwords and queries, which may be secret, from a URL or a text with URLs.

    >>> without_secrets("https://me:word@host/a.jpg?X-Amz-Signature=12")
    'https://host/a.jpg'
    """
    return _USER.sub("//", _QUERY.sub("", text))


def allow(what: str) -> None:
    """Allow private hosts, or redirects to other hosts, from now on in this process and in those that it starts."""
    os.environ["FC7_ALLOW"] = f"{os.environ.get('FC7_ALLOW', '')} {what}".strip()


def allowed(what: str) -> bool:
    """Return whether that was allowed."""
    return what in os.environ.get("FC7_ALLOW", "").split()


def require_open(url: str) -> None:
    """Refuse a URL with a user, a password or a query of the web, which no record may hold; raises DataError."""
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
    """Return the fsspec file system of a store, which scheme and host of the URL decide."""
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
    """Return the file system of a URL; URLs of one store share it."""
    scheme, _, rest = url.partition("://")
    return filesystem(f"{scheme}://{rest.partition('/')[0]}")


@contextmanager
def asking(url: str, kind: type[FC7Error]) -> Iterator[None]:
    """Turn a store's errors about one object into OSErrors, and errors about the store into errors of `kind`.

    The store's own message is replaced where the error is a known one, and secrets are removed from all others.
    """
    try:
        yield
    except (FC7Error, FileExistsError):
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such object") from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, "the store denies access") from error
    except Exception as error:  # each store's library has its own errors, and few are OSErrors
        reason = " ".join(without_secrets(str(error)).split())[:200]
        if isinstance(error, OSError) and error.errno in _OF_ONE_OBJECT:
            raise OSError(error.errno, f"the store refuses it: {reason}") from error
        raise kind(
            f"{without_secrets(url)} cannot be reached: {type(error).__name__}: {reason}. "
            "Check the network, the endpoint and the credentials (docs/remote.md), then run again."
        ) from error


def identity(entry: dict[str, Any]) -> str:
    """Return what identifies an object's content in a listing: size, time in ns, ETag.

    The time is 0 if there is an ETag, which changes with the content, however soon. If there is neither, the time is in
    the far future, so that the hash is never reused.
    """
    tag = next(
        (str(entry[name]).strip('"') for name in ("ETag", "etag", "generation", "md5Hash") if entry.get(name)), ""
    )
    changed: Any = next((entry[name] for name in ("mtime", "LastModified", "created") if entry.get(name)), None)
    seconds: Any = changed.timestamp() if hasattr(changed, "timestamp") else changed
    known = isinstance(seconds, int | float)
    return f"{entry.get('size')} {0 if tag else int(seconds * 1e9) if known else 2**63} {tag}".rstrip()
