"""Processes that decode, for a device that computes faster than the threads of one Python can decode.

Why not threads alone: they exchange the interpreter's lock a dozen times per image, and more than eight are no faster
(docs/extraction.md). A thread with a decoding process only waits for pixels. They are bit-equal to those that it would
decode itself, and large images take memory from the same budget.
"""

import contextlib
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ...cache.recipe import FunctionTransform, Input
from ...errors import ImageRejected
from .memory_budget import Budget, ask_for_memory, in_turn, take
from .views import read_views

logger = logging.getLogger(__name__)

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
        self._process: Any = None  # a subprocess.Popen, while it runs
        self._possible = bool(sys.executable)

    def __enter__(self) -> "DecodeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(self, path: str, key: bytes, rows: Mapping[Input, npt.NDArray[Any]]) -> None:
        """Write views of a file to rows, each ``(crop, crop, 3)`` and contiguous.

        Raises
        ------
        ImageRejected
            It is no acceptable image; the message is the reason.
        OSError
            It cannot be read, its bytes are no longer those of the key, or the process was killed at it.
        """
        own = any(isinstance(wanted.transform, FunctionTransform) for wanted in rows)  # whose code is here alone
        if own or not (self._start() and self._decode(path, key, rows)):
            for wanted, pixels in read_views(path, key, rows.keys()).items():  # here, where errors are what they are
                rows[wanted][:] = pixels

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _start(self) -> bool:
        if self._process is not None or not self._possible:
            return self._possible
        words = [sys.executable, "-I", "-c", _PROGRAM]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "pipesize": _PIPE}
        try:
            # In a session of its own Ctrl-C does not reach it: it ends when its input does, that is with us.
            self._process = subprocess.Popen(words, start_new_session=True, **pipes)  # type: ignore[call-overload]
            _send(self._process.stdin, sys.path)
        except OSError as error:
            self._do_without(str(error))
        return self._possible

    def _do_without(self, why: str) -> None:
        logger.info("images are decoded without a process of their own: %s", why)
        self._possible = False
        self.close()

    def _decode(self, path: str, key: bytes, rows: Mapping[Input, npt.NDArray[np.uint8]]) -> bool:
        """Return whether it was decoded; False if the process failed, not the image."""
        requests, replies = self._process.stdin, self._process.stdout
        with in_turn():
            try:
                _send(requests, (path, key, tuple(rows)))
                while isinstance(reply := pickle.load(replies), int):
                    take(reply)
                    _send(requests, None)
                if reply is None:
                    for row in rows.values():  # into the batch itself, without the interpreter's lock
                        if replies.readinto(row.data.cast("B")) < row.nbytes:
                            raise EOFError
                    return True
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):
                for row in rows.values():
                    row[:] = 0
                process = self._process
                self.close()
                if process.returncode < 0:
                    raise OSError(0, f"the process that decoded it ended (signal {-process.returncode})") from None
                self._do_without(f"it ended with exit code {process.returncode}")
                return False
        if isinstance(reply, str):
            logger.debug("decoded here: %s", reply)
            return False
        kind, arguments = reply
        raise kind(*arguments)


def _send(pipe: IO[bytes], message: Any) -> None:
    pickle.dump(message, pipe)
    pipe.flush()


def serve() -> None:
    """Run the process: answer requests until they end."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may come out between the answers
    requests = sys.stdin.buffer
    ask_for_memory(_Asking(requests, replies))
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            path, key, inputs = pickle.load(requests)
            reply, views = _answer(path, key, inputs)
            pickle.dump(reply, replies)
            for view in views:
                replies.write(np.ascontiguousarray(view).data)
            replies.flush()
    os._exit(0)  # what is left in the buffer has no reader


def _answer(path: str, key: bytes, inputs: tuple[Input, ...]) -> tuple[Any, list[npt.NDArray[np.uint8]]]:
    """Return a reply, and the pixels that follow it.

    None: the pixels follow. An exception's class and arguments: it is the image's. A text: something else went wrong,
    and decoding in the other process raises it again. (A number asks for so many bytes of memory, before the reply.)
    """
    try:
        views = read_views(path, key, inputs)
    except ImageRejected as error:
        return (ImageRejected, (str(error),)), []
    except OSError as error:
        return (OSError, (error.errno or 0, error.strerror or str(error))), []
    except Exception as error:
        return f"{type(error).__name__}: {error}", []
    return None, [views[wanted] for wanted in inputs]


class _Asking(Budget):
    """The budget of a decoding process: it asks the process that sends the images."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests, self._replies = requests, replies

    def take(self, size: int) -> None:
        """Wait until the budget has room."""
        _send(self._replies, size)
        pickle.load(self._requests)

    def give_back(self, size: int) -> None:
        """Do nothing: the other process gives it back when it has the image."""
