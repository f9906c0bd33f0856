"""Processes that decode, for a device that computes faster than the threads of one Python can decode.

Why not threads alone: they exchange the interpreter's lock a dozen times per image, and more than eight are no faster
(docs/extraction.md). A thread with a decoding process only waits for pixels. They are bit-equal to those that it would
decode itself, and large images take memory from the same budget.
"""

import contextlib
import logging
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ...cache.recipe import Input
from ...errors import ImageRejected
from .memory_budget import Budget, ask_for_memory, in_turn, take
from .views import read_views

logger = logging.getLogger(__name__)

# Kind, errno, and the number of bytes that follow, or that a request for memory asks for.
_HEAD = struct.Struct("<BiQ")
_PIXELS, _REJECTED, _UNREADABLE, _FAILED, _MEMORY = range(5)
_GRANTED = b"\x01"
_PIPE = 2**18  # bytes; an ordinary view fits in
_PATIENCE = 5.0  # seconds for a process to end

# With the import paths of this process: another interpreter may not find them by itself.
_PROGRAM = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from fc7.extract.decoding.worker_process import serve
serve()
"""


class DecodeProcess:
    """A process that decodes one image after another; it starts with the first, and again if it was killed.

    If it cannot be started, images are decoded in this process.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._possible = bool(sys.executable)

    def __enter__(self) -> "DecodeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(self, path: str, key: bytes, rows: Mapping[Input, npt.NDArray[np.uint8]]) -> None:
        """Write views of a file to rows, each ``(crop, crop, 3)`` uint8 and contiguous.

        Raises
        ------
        ImageRejected
            It is no acceptable image; the message is the reason.
        OSError
            It cannot be read, its bytes are no longer those of the key, or the process was killed at it.
        """
        if not (self._start() and self._decode(path, key, rows)):
            for wanted, pixels in read_views(path, key, rows.keys()).items():  # here, where errors are what they are
                rows[wanted][:] = pixels

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr]

    def _start(self) -> bool:
        if self._process is not None or not self._possible:
            return self._possible
        words = [sys.executable, "-I", "-c", _PROGRAM]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "pipesize": _PIPE}
        try:
            # In a session of its own Ctrl-C does not reach it: it ends when its input does, that is with us.
            self._process = subprocess.Popen(words, start_new_session=True, **pipes)  # type: ignore[call-overload]
            self._send(pickle.dumps(sys.path))
        except OSError as error:
            self._do_without(str(error))
        return self._possible

    def _do_without(self, why: str) -> None:
        logger.info("images are decoded without a process of their own: %s", why)
        self._possible = False
        self.close()

    def _send(self, request: bytes) -> None:
        requests: IO[bytes] = self._process.stdin  # type: ignore[union-attr,assignment]
        requests.write(request)
        requests.flush()

    def _decode(self, path: str, key: bytes, rows: Mapping[Input, npt.NDArray[np.uint8]]) -> bool:
        """Return whether it was decoded; False if the process failed, not the image."""
        with in_turn():
            try:
                self._send(pickle.dumps((path, key, tuple(rows))))
                kind, number, size = self._head()
                while kind == _MEMORY:
                    take(size)
                    self._send(_GRANTED)
                    kind, number, size = self._head()
                if kind == _PIXELS:
                    for row in rows.values():
                        self._read_into(row.data.cast("B"))
                    return True
                message = bytearray(size)
                self._read_into(memoryview(message))
            except (EOFError, BrokenPipeError):
                for row in rows.values():
                    row[:] = 0
                code = self._ended()
                if code < 0:
                    raise OSError(0, f"the process that decoded it ended (signal {-code})") from None
                self._do_without(f"it ended with exit code {code}")
                return False
        if kind == _REJECTED:
            raise ImageRejected(message.decode())
        if kind == _UNREADABLE:
            raise OSError(number, message.decode())
        logger.debug("decoded here: %s", message.decode())
        return False

    def _head(self) -> tuple[int, int, int]:
        head = bytearray(_HEAD.size)
        self._read_into(memoryview(head))
        kind, number, size = _HEAD.unpack(head)
        return kind, number, size

    def _read_into(self, memory: memoryview) -> None:
        replies: Any = self._process.stdout  # type: ignore[union-attr]
        if replies.readinto(memory) < len(memory):
            raise EOFError

    def _ended(self) -> int:
        """Return the code with which it ended."""
        process = self._process
        self.close()
        return process.returncode if process else 0


def serve() -> None:
    """Run the process: answer requests until they end."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may come out between the answers
    requests = sys.stdin.buffer
    ask_for_memory(_Asking(requests, replies))
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            path, key, inputs = pickle.load(requests)
            _answer(replies, path, key, inputs)
            replies.flush()
    os._exit(0)  # what is left in the buffer has no reader


def _answer(replies: IO[bytes], path: str, key: bytes, inputs: tuple[Input, ...]) -> None:
    number = 0
    try:
        views = read_views(path, key, inputs)
    except ImageRejected as error:
        kind, message = _REJECTED, str(error)
    except OSError as error:
        kind, number, message = _UNREADABLE, error.errno or 0, error.strerror or str(error)
    except Exception as error:  # decoding in the other process raises it again
        kind, message = _FAILED, f"{type(error).__name__}: {error}"
    else:
        replies.write(_HEAD.pack(_PIXELS, 0, sum(view.nbytes for view in views.values())))
        for wanted in inputs:
            replies.write(np.ascontiguousarray(views[wanted]).data)
        return
    data = message.encode(errors="replace")
    replies.write(_HEAD.pack(kind, number, len(data)) + data)


class _Asking(Budget):
    """The budget of a decoding process: it asks the process that sends the images."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests, self._replies = requests, replies

    def take(self, size: int) -> None:
        """Wait until the budget has room."""
        self._replies.write(_HEAD.pack(_MEMORY, 0, size))
        self._replies.flush()
        if self._requests.read(1) != _GRANTED:
            raise EOFError

    def give_back(self, size: int) -> None:
        """Do nothing: the other process gives it back when it has the image."""
