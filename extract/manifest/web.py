"""Images at web addresses, which whoever wrote a table has chosen: how much is read, for how long, and of which hosts.

Each error is an :class:`OSError` of one image, whose ``strerror`` is the reason. Hosts of private networks are refused
when a connection is made, by the address that it is made to: whatever the name, and whatever it resolves to next time.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ...cache.urls import EXTRA, PRIVATE_HOSTS, REDIRECTS, allowed, without_secrets
from ...errors import MissingExtra

if TYPE_CHECKING:
    import aiohttp

SECONDS = 60.0  # for an image as a whole, and as many to ask for its size before
TRIES = 3  # of what the server says will pass
PAUSE = 1.0  # seconds before the second try; each further one is twice as long
MOVES = 5  # redirects one after the other
AT_ONCE = 16  # addresses that are asked for sizes

_BLOCK = 2**16
_MOVED = {301, 302, 303, 307, 308}
_PASSES = {429, 503}
_STATUSES = {
    401: (errno.EACCES, "the server denies access"),
    403: (errno.EACCES, "the server denies access"),
    404: (errno.ENOENT, "there is no such object"),
    410: (errno.ENOENT, "there is no such object"),
    429: (errno.EBUSY, "the server is asked too often"),
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4, as networks without it write it

T = TypeVar("T")


def read_web(url: str, limit: int, write: Callable[[bytes], Any]) -> None:
    """Hand an image's bytes on, some at a time.

    Raises
    ------
    OSError
        It has more than `limit` bytes, packed or unpacked, of which one beyond are handed on at most; it did not come
        in time; there is none; or its host is not asked. The message says which.
    """
    _wait(_fetch(url, limit, write))


def headers_of(urls: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return size and ETag of images by URL, as far as servers say them; images that do not exist are left out."""
    return _wait(_ask_all(list(urls)))


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the internet: not of this machine, of a private network, or of many.

    >>> is_public("8.8.8.8"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1"), is_public("fe80::1%eth0")
    (True, False, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(ip) % 2**32) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour
        ip = inner or ip
    unwanted = ip.is_multicast or ip.is_reserved or (ip.version == 6 and ip.is_site_local)
    return ip.is_global and not unwanted


def _wait(work: Coroutine[Any, Any, T]) -> T:
    """Do the work in a loop of its own: a server that floods one image is not in the way of others."""
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        work.close()
        raise MissingExtra("aiohttp", EXTRA) from error
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:  # this thread has a loop already, as in a notebook
        return pool.submit(asyncio.run, work).result()


class _Session:
    """Requests of one image, or of the sizes of many."""

    def __init__(self) -> None:
        import aiohttp

        self.refused = ""  # the last private address that a connection was wanted to
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._socket, limit=AT_ONCE, use_dns_cache=False),
            cookie_jar=aiohttp.DummyCookieJar(),  # none: what one host sets is not for the next
            timeout=aiohttp.ClientTimeout(),  # none: _in_time is for a request as a whole
            auto_decompress=False,  # a bomb is unpacked to the limit, and not as a whole
            headers={"Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> "_Session":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def _socket(self, found: Any) -> socket.socket:
        """Return a socket for an address that a name has resolved to, or that was named itself."""
        family, kind, protocol, _, (address, *_) = found
        if not allowed(PRIVATE_HOSTS) and not is_public(address):
            self.refused = address
            raise OSError(errno.EACCES, address)
        return socket.socket(family, kind, protocol)

    @asynccontextmanager
    async def answer(self, method: str, url: str) -> "AsyncIterator[aiohttp.ClientResponse]":
        """Ask, follow redirects, and yield an answer; what passes is waited for."""
        import aiohttp

        moved = waited = 0
        try:
            while True:
                async with self._client.request(method, url, allow_redirects=False) as response:
                    if response.status in _MOVED:
                        moved += 1
                        url = _target(response, moved)
                        continue
                    waited += 1
                    if response.status not in _PASSES or waited == TRIES:
                        yield response
                        return
                await asyncio.sleep(PAUSE * 2 ** (waited - 1))
        except aiohttp.ClientError as error:
            raise OSError(*self._reason(error)) from error
        except ValueError as error:  # of an address that is none
            raise OSError(errno.EINVAL, f"not a web address: {_brief(error)}") from error

    def _reason(self, error: "aiohttp.ClientError") -> tuple[int, str]:
        """Return errno and reason of what went wrong before there was an answer, or within it."""
        import aiohttp

        if self.refused:
            return errno.EACCES, f"its host is {self.refused}, a private address: see --allow-private-hosts"
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return errno.EIO, f"the name of its host is not known: {error.host}"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return errno.EIO, f"the certificate of {error.host} is not valid: {_brief(error.certificate_error)}"
        if isinstance(error, aiohttp.ClientSSLError) or isinstance(error.__cause__, ssl.SSLError):
            return errno.EIO, f"no TLS with its host: {_brief(error)}"
        if isinstance(error, aiohttp.ClientConnectorError):
            if isinstance(error.os_error, ConnectionRefusedError):
                return errno.EIO, f"{error.host} refuses connections"
            why = error.os_error.strerror or "it closed the connection"
            return errno.EIO, f"{error.host} is not reached: {_brief(why)}"
        if isinstance(error, aiohttp.InvalidURL):
            return errno.EINVAL, f"not a web address: {_brief(error)}"
        if isinstance(error, aiohttp.ClientResponseError):
            return errno.EIO, f"the server does not speak HTTP: {_brief(error)}"
        return errno.EIO, "the connection ended early"


async def _fetch(url: str, limit: int, write: Callable[[bytes], Any]) -> None:
    size = 0
    async with _in_time(), _Session() as session, session.answer("GET", url) as response:
        _require_found(response.status)
        async for block in _unpacked(response):
            write(block[: limit + 1 - size])
            size += len(block)
            if size > limit:
                raise OSError(errno.EFBIG, f"more than {limit} bytes")


async def _ask_all(urls: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    places = iter(urls)

    async def work() -> None:
        async with _Session() as session:
            for url in places:
                try:
                    found[url] = await _headers(session, url)
                except FileNotFoundError:
                    continue
                except OSError:  # the same may be said when it is read; if not, it is as good as any
                    found[url] = {}

    await asyncio.gather(*(work() for _ in range(min(AT_ONCE, len(urls)))))
    return found


async def _headers(session: _Session, url: str) -> dict[str, str]:
    session.refused = ""
    async with _in_time(), session.answer("HEAD", url) as response:
        _require_found(response.status)
        names = {"ETag": "ETag"} | ({} if _packing(response) else {"size": "Content-Length"})
        return {name: response.headers[header] for name, header in names.items() if header in response.headers}


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError as error:
        raise OSError(errno.EIO, f"not answered within {SECONDS:g} s") from error


def _target(response: "aiohttp.ClientResponse", moved: int) -> str:
    """Return where a redirect leads, if it stays on the host or may leave it."""
    here, there = response.url, response.url.join(type(response.url)(response.headers.get("Location", "")))
    if moved > MOVES:
        raise OSError(errno.ELOOP, f"more than {MOVES} redirects")
    if there.scheme not in ("http", "https") or not there.host:
        raise OSError(errno.EINVAL, "the server redirects to something that is not a web address")
    upgraded = (here.scheme, there.scheme) == ("http", "https") and here.is_default_port() and there.is_default_port()
    if there.origin() != here.origin() and not (here.host == there.host and upgraded) and not allowed(REDIRECTS):
        raise OSError(
            errno.EACCES, f"the server redirects to another host, {there.host}:{there.port}: see --allow-redirects"
        )
    return str(there)


def _require_found(status: int) -> None:
    if not 200 <= status < 300:
        number, reason = _STATUSES.get(status, (errno.EIO, "the server fails" if status >= 500 else "no image is sent"))
        raise OSError(number, reason if number == errno.ENOENT else f"{reason} ({status})")


def _packing(response: "aiohttp.ClientResponse") -> str:
    return response.headers.get("Content-Encoding", "").strip().lower().replace("identity", "")


async def _unpacked(response: "aiohttp.ClientResponse") -> AsyncIterator[bytes]:
    """Yield a body in blocks, unpacked if the server packed it although that was not asked for."""
    packing = _packing(response)
    if packing and packing not in ("gzip", "x-gzip", "deflate"):
        raise OSError(errno.EIO, f"the server packs it unasked, by {packing[:40]}")
    unpack = _unpacking()
    async for block in response.content.iter_chunked(_BLOCK):
        if not packing:
            yield block
            continue
        try:
            while block:
                if unpack.eof:  # another part begins
                    unpack = _unpacking()
                yield unpack.decompress(block, _BLOCK)
                block = unpack.unconsumed_tail or unpack.unused_data
        except zlib.error as error:
            raise OSError(errno.EIO, f"the server packs it, but not by {packing}: {_brief(error)}") from error
    if packing and not unpack.eof:
        raise OSError(errno.EIO, "the packed body ended early")


def _unpacking() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip, or zlib


def _brief(error: object) -> str:
    return " ".join(without_secrets(str(error)).split())[:200]
