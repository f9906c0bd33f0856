"""Connections of the review server: how many there are, how long each may take, and what is said about them."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_LOG = logging.getLogger(__name__.partition(".")[0])

SECONDS = 10.0  # to receive a request, head and body, or to read some of an answer
MOST = 100  # connections at a time; a browser opens six
KINDS = 20  # of errors that are said

_SOURCES = ("uvicorn.error", "asyncio", __package__)


class Connection(H11Protocol):
    """A connection that is closed if its next request is not whole in time, or its answer is not read.

    uvicorn limits none of this: a process of this machine that does not know the token could open connections until
    none is left for decisions. Of too many connections, the one that has waited longest for its request is closed.
    """

    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()
        waiting = [other for other in self.connections if isinstance(other, Connection) and other._waits]
        if len(self.connections) > MOST and waiting:
            min(waiting, key=lambda other: other._waits.when() if other._waits else 0.0)._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the time for a request is not longer if it comes in pieces."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def _should_upgrade(self) -> bool:
        return False  # a request for another protocol is answered in this one, without a word

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not HTTP; if its answer has begun, there is only the end of the connection."""
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self._close()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read its answer."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Wait no longer: it reads."""
        super().resume_writing()
        self._watch()

    def _watch(self) -> None:
        waits = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) or self.flow.write_paused
        if not waits or self.transport.is_closing():
            self._stop_waiting()
        elif self._waits is None:
            self._waits = self.loop.call_later(SECONDS, self._close)

    def _stop_waiting(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None

    def _close(self) -> None:
        self._stop_waiting()
        self.transport.abort()


class _OncePerKind(logging.Handler):
    """Says an error once, in one line: whoever can cause it can cause it a million times."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage().partition("\n")[0]
        error = record.exc_info[1] if record.exc_info else None
        kind = re.sub(r"\d+", "", f"{line} {type(error).__name__}")
        if kind not in self._said and len(self._said) < KINDS:
            self._said.add(kind)
            cause = f": {error!r}" if error else ""
            _LOG.log(record.levelno, "fc7: the review server: %s%s (said once)", line, cause)


@contextlib.contextmanager
def said_once() -> Iterator[None]:
    """Let uvicorn and asyncio say each kind of error once, in one line and by fc7's own log."""
    handler = _OncePerKind()
    before: list[tuple[logging.Logger, dict[str, Any]]] = []
    for name in _SOURCES:
        source = logging.getLogger(name)
        before.append((source, {"handlers": source.handlers, "propagate": source.propagate}))
        source.handlers, source.propagate = [handler], False
    try:
        yield
    finally:
        for source, settings in before:
            vars(source).update(settings)
