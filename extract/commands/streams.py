"""The standard streams of the command line, whatever they are, and Ctrl-C."""

import atexit
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from ...errors import FC7Error, Interrupted
from ..text import plain
from .terminal import columns, wrapped


class OutputClosed(FC7Error):
    """Nobody reads the answer any more, as in ``fc7 ... | head``: there is nothing to say, and nobody to say it to."""


def prepare() -> None:
    """Make a process ready for streams that its caller has closed, and for a Ctrl-C that is pressed often.

    A file that is opened later must not get the number of a closed stream: what a library prints would be written into
    it, and it may be a file of the cache.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):  # to write to 1 is an error, as it was
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, flags), number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the last moments take no handler


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Stop in good order at the first Ctrl-C, and at once at the second: what is committed is safe at every moment."""
    signal.signal(signal.SIGINT, _end)
    raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> NoReturn:
    if not _said:
        os.write(2, b"fc7: Interrupted.\n")
    os._exit(Interrupted.exit_code)


_said: list[str] = []  # errors


def answer(text: str, *, data: str = "") -> None:
    """Print text on stdout, made harmless for a terminal.

    Parameters
    ----------
    data
        Text for a program, printed instead where stdout is no terminal, as it is.

    Raises
    ------
    FC7Error
        It cannot be printed.
    """
    terminal = sys.stdout.isatty()
    if hasattr(sys.stdout, "reconfigure"):
        # In a file there are names as they are: in UTF-8, and those that are no Unicode as their bytes.
        sys.stdout.reconfigure(**{"errors": "backslashreplace"} if terminal else _FILE)
    shown = data if data and not terminal else "\n".join(map(plain, text.split("\n")))
    if terminal:
        shown = "\n".join(wrapped(line, columns()) for line in shown.split("\n"))
    flush(f"{shown}\n")


# A line feed in a name stays one on Windows, too.
_FILE: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}


def flush(text: str = "") -> None:
    """Write text and what was printed before on stdout; raises as :func:`answer`."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        _discard(sys.stdout)
        raise OutputClosed from error
    except OSError as error:
        _discard(sys.stdout)
        raise FC7Error(f"The answer cannot be printed: {error.strerror or error}.") from error


def say(text: str) -> None:
    """Print a line on stderr, made harmless for a terminal; if stderr is full or gone, nobody can be told."""
    try:
        shown = plain(text)
        sys.stderr.write(f"{wrapped(shown, columns()) if sys.stderr.isatty() else shown}\n")
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def say_error(message: str) -> None:
    """Print what ended the command."""
    _said.append(message)
    say(f"fc7: {message}")


def _discard(stream: Any) -> None:
    """Let a stream that cannot be written lead nowhere, or Python would try again and fail when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Stderr(logging.Handler):
    """Write to whatever ``sys.stderr`` is now: a progress bar redirects it while it is drawn.

    Parameters
    ----------
    complete
        Returns a message as it is said here.
    """

    def __init__(self, complete: Callable[[str], str]) -> None:
        super().__init__()
        self._complete = complete

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record in one line."""
        say(self._complete(record.getMessage()))
