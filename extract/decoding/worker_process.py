"""Processes that decode batches, for a device that computes faster than the threads of one Python can decode.

Why not threads alone: they exchange the interpreter's lock a dozen times per image, and more than eight are no faster
(docs/extraction.md). A process gets one message per batch and writes pixels into shared memory. They are bit-equal to
those that a thread would decode itself, and large images take memory from the same budget.
"""

import contextlib
import logging
import os
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

from ...cache.recipe import Input
from ...errors import ImageRejected
from ..child_process import ChildProcess, pipes, send
from .memory_budget import Budget, ask_for_memory, lend, take_back
from .shared_pixels import SharedPixels, Slot, mapped
from .views import read_augmented, read_views

logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for a process to end
STUCK = 300.0  # seconds without a step, after which it is killed
_DEATHS = 2  # in a row, of a process that has begun no image: another one would do no better

WAITING, AT_WORK, DONE, FAILED = range(4)  # states of a row


class Request(NamedTuple):
    """A batch: where it goes, which views are wanted, and rows with the path and the key of their file.

    A row with a draw, the numbers that seed it, gets an augmented crop instead, as fine-tuning trains on.
    """

    slot: int
    inputs: Sequence[Input]
    files: Sequence[tuple[int, str, bytes]]
    draws: Mapping[int, Sequence[int]] | None = None


class DecodeProcess:
    """A process that decodes one batch after another; it starts with the first at the latest, and again if killed.

    If it cannot be started, nothing is decoded.
    """

    def __init__(self, shared: SharedPixels) -> None:
        self._shared = shared
        self._process: ChildProcess | None = None  # while it runs
        self._possible = bool(sys.executable)
        self._lent = 0  # bytes of the memory budget that it has
        self._working: Slot | None = None  # what it fills, unless it waits for memory
        self._seen, self._since = b"", 0.0  # how far it was, and since when

    def decode(self, request: Request) -> dict[int, Exception | None]:
        """Write the views of files to their rows of a slot; rows that fail have zeros.

        Returns
        -------
        dict
            For each row that failed: ``ImageRejected`` if it is no acceptable image, OSError if it cannot be read, its
            bytes are no longer those of the key, or the process was killed at it. None if the process failed and not
            the image, so that it is to be decoded here, where errors are what they are.
        """
        slot, failures, deaths = self._shared.slots[request.slot], dict[int, Exception | None](), 0
        slot.states[:] = WAITING
        while request.files and self.start():
            try:
                return failures | self._ask(request, slot)
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):
                code = self._end()
            at_work = [row for row, *_ in request.files if slot.states[row] == AT_WORK]
            if code < 0:
                _clear(request, slot, at_work)
                reason = f"the process that decoded it ended (signal {-code})"
                failures |= {row: OSError(0, reason) for row in at_work}
            deaths = 0 if at_work else deaths + 1
            if code >= 0 or deaths == _DEATHS:
                self._do_without(f"it ended with exit code {code}")
            # What failed before is asked for again: nobody has the reasons.
            files = [file for file in request.files if slot.states[file[0]] != DONE and file[0] not in failures]
            request = request._replace(files=files)
        left = [row for row, *_ in request.files]
        _clear(request, slot, left)
        return failures | dict.fromkeys(left)

    def end_if_stuck(self) -> None:
        """Kill it if it has come no further for long, as one that was stopped; that costs its image."""
        slot, process, now = self._working, self._process, time.monotonic()
        states = slot.states.tobytes() if slot else b""
        if not slot or states != self._seen:
            self._seen, self._since = states, now
        elif process and now - self._since > STUCK:
            process.kill()

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._end()

    def start(self) -> bool:
        """Start it, if it does not run; return whether it could be started."""
        if self._process is not None or not self._possible:
            return self._possible
        try:
            self._process = ChildProcess(__name__, files=[self._shared.file])
            self._process.send((self._shared.file, self._shared.layout))
        except OSError as error:
            self._do_without(str(error))
        return self._possible

    def _ask(self, request: Request, slot: Slot) -> dict[int, Exception | None]:
        """Return what failed."""
        process = self._process
        if process is None:
            raise EOFError
        self._seen, self._working = b"", slot
        process.send(request)
        while isinstance(reply := process.receive(), int):
            if reply > 0:
                self._working = None
                lend(reply)
                self._lent, self._working = self._lent + reply, slot
                process.send(None)
            else:
                self._take_back(-reply)
        self._working = None
        failures = dict[int, Exception | None]()
        for row, failure in reply.items():
            if isinstance(failure, str):
                logger.debug("decoded here: %s", failure)
                failures[row] = None
            else:
                kind, arguments = failure
                failures[row] = kind(*arguments)
        return failures

    def _take_back(self, size: int) -> None:
        self._lent -= size
        take_back(size)

    def _end(self) -> int:
        """End the process and return its exit code."""
        process, self._process, self._working = self._process, None, None
        code = process.end(_PATIENCE) if process else 0
        if self._lent:
            self._take_back(self._lent)
        return code

    def _do_without(self, why: str) -> None:
        logger.info("images are decoded without a process of their own: %s", why)
        self._possible = False
        self.close()


def _clear(request: Request, slot: Slot, rows: Sequence[int]) -> None:
    for wanted in request.inputs:
        slot.pixels[wanted][rows] = 0


def serve() -> None:
    """Run the process: answer requests until they end."""
    requests, replies = pipes()
    ask_for_memory(_Asking(requests, replies))
    with contextlib.suppress(EOFError, BrokenPipeError):
        file, layout = pickle.load(requests)
        slots = layout.of(mapped(file, layout))
        while True:
            send(replies, _answer(pickle.load(requests), slots))
    os._exit(0)  # what is left in the buffer has no reader


def _answer(request: Request, slots: Sequence[Slot]) -> dict[int, Any]:
    """Decode a batch, and return what failed by its row; between, numbers ask for so many bytes or give them back.

    An exception's class and arguments: it is the image's. A text: something else went wrong.
    """
    slot, failures = slots[request.slot], dict[int, Any]()
    for row, path, key in request.files:
        slot.states[row] = AT_WORK
        rows = {wanted: slot.pixels[wanted][row] for wanted in request.inputs}
        failure = _decode(path, key, rows, (request.draws or {}).get(row))
        if failure is not None:
            failures[row] = failure
        slot.states[row] = DONE if failure is None else FAILED
    return failures


def _decode(path: str, key: bytes, rows: dict[Input, Any], draw: Sequence[int] | None) -> Any:
    for pixels in rows.values():
        pixels[:] = 0
    try:
        if draw is None:
            views = read_views(path, key, rows.keys())
        else:
            views = {wanted: read_augmented(path, key, wanted.transform, draw) for wanted in rows}
        for wanted, view in views.items():
            rows[wanted][:] = view
    except ImageRejected as error:
        return ImageRejected, (str(error),)
    except OSError as error:
        return OSError, (error.errno or 0, error.strerror or str(error))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


class _Asking(Budget):
    """The budget of a decoding process: it asks the process that sends the images."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests, self._replies = requests, replies

    def take(self, size: int) -> None:
        """Wait until the budget has room."""
        send(self._replies, size)
        pickle.load(self._requests)

    def give_back(self, size: int) -> None:
        """Let others go on."""
        send(self._replies, -size)
