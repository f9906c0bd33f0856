"""The page of a review, served to this machine alone.

Only those who know the address can decide: it contains a token, the server listens on 127.0.0.1 only, and it refuses
requests with another host name (DNS rebinding) or from another page (``Origin``). The page loads nothing from other
servers. It requests images by number, never by path, and they are decoded and encoded again.
"""

import logging
import secrets
import socket
from pathlib import Path
from typing import Any

from ...errors import MissingExtra, UsageError
from .lists import Findings, Lists
from .review import Review

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
BACKLOG = 64  # connections that wait to be accepted


class Server:
    """A web server of one review, on this machine only.

    Parameters
    ----------
    images
        The folder that image paths are relative to.
    port
        0 for any free port.
    findings
        What else is to be looked at; see :class:`fc7.classify.reviews.lists.Lists`.

    Raises
    ------
    MissingExtra
        Starlette, uvicorn or Jinja2 is not installed.
    UsageError
        The port is not available.
    """

    def __init__(self, review: Review, images: Path, *, port: int = 0, findings: Findings | None = None) -> None:
        require_extra()
        import uvicorn

        from .connections import Connection
        from .guard import Guard
        from .routes import application

        self.review, self._lists = review, Lists(review, findings)
        token = secrets.token_urlsafe(24)
        self._socket = _listen(port)
        self.port = int(self._socket.getsockname()[1])
        self.address = f"http://{HOST}:{self.port}/{token}/"
        guarded = Guard(application(review, self._lists, images, token), token, self.port)
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
            self._lists.end()
            self._socket.close()

    def stop(self) -> None:
        """End :meth:`run`, which is in another thread."""
        self._server.should_exit = True


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
