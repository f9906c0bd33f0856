"""The page of a review, served to this machine alone.

Only those who know the address can decide: it contains a token, the server listens on 127.0.0.1 only, and it refuses
requests with another host name (DNS rebinding) or from another page (``Origin``). The page loads nothing from other
servers. It requests images by number, never by path, and they are decoded and encoded again.
"""

import hmac
import json
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from ...errors import MissingExtra, UsageError
from .defaults import TOP
from .review import Review

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
HTTP = 80  # the port that browsers leave out of Host and Origin
BACKLOG = 64  # connections that wait to be accepted

HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Server:
    """A web server of one review, on this machine only.

    Parameters
    ----------
    images
        The folder that image paths are relative to.
    port
        0 for any free port.
    top
        The number of images in a list.

    Raises
    ------
    MissingExtra
        Starlette, uvicorn or Jinja2 is not installed.
    UsageError
        The port is not available.
    """

    def __init__(self, review: Review, images: Path, *, port: int = 0, top: int = TOP) -> None:
        require_extra()
        import uvicorn

        from .connections import Connection
        from .routes import application

        self.review = review
        token = secrets.token_urlsafe(24)
        self._socket = _listen(port)
        self.port = int(self._socket.getsockname()[1])
        self.address = f"http://{HOST}:{self.port}/{token}/"
        guarded = Guard(application(review, images, token, top), token, self.port)
        settings: dict[str, Any] = {"http": Connection, "ws": "none", "lifespan": "off", "log_config": None}
        settings |= {"access_log": False, "server_header": False, "timeout_graceful_shutdown": 2}
        # All that wait are accepted before the first of them is looked at, so these are no more than there are files.
        config = uvicorn.Config(guarded, backlog=BACKLOG, **settings)
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until Ctrl-C, or until :meth:`stop`."""
        from .connections import said_once

        try:
            with said_once():
                self._server.run(sockets=[self._socket])
        except KeyboardInterrupt:  # the usual end: every decision has been written
            logger.debug("stopped by Ctrl-C")
        finally:
            self._socket.close()

    def stop(self) -> None:
        """End :meth:`run`, which is in another thread."""
        self._server.should_exit = True


class Guard:
    """Refuse requests without the address, and add strict security headers to every answer.

    Parameters
    ----------
    application
        The ASGI application that answers all other requests.
    """

    def __init__(self, application: Application, token: str, port: int) -> None:
        self._application, self._token = application, token.encode()
        ports = [f":{port}", ""] if port == HTTP else [f":{port}"]
        self._hosts = {f"{name}{end}".encode() for name in (HOST, "localhost") for end in ports}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                more = {**HEADERS, "cache-control": "no-store"}
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in more.items() if name.encode() not in present),
                ]
            await send(message)

        reason = self._refusal(scope)
        if reason:
            body = json.dumps({"error": reason}).encode()
            kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await sealed({"type": "http.response.start", "status": 403, "headers": kind})
            await sealed({"type": "http.response.body", "body": body})
        else:
            await self._application(scope, receive, sealed)

    def _refusal(self, scope: Message) -> str:
        headers = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        token = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "This is not the host name of the review: open the address that fc7 review printed."
        if any(origin not in self._origins for origin in origins):
            return "Another page has no business here."
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token):
            return "The address lacks its token: open the whole address that fc7 review printed."
        return ""


def require_extra() -> None:
    """Raise if a package of the extra is not installed, before anything is computed."""
    for package in ("starlette", "uvicorn", "jinja2"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtra(package, "review") from error


def _listen(port: int) -> socket.socket:
    # With protocol 0 asyncio would not know that this is TCP, and answers would wait 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # So that the port of a review that has just ended is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()  # requests that come before the server runs wait
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"--port {port}: {why}. Take another, or leave it out for any that is free.") from error
    return listener
