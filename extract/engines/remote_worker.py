"""One worker on Ray as the driver sees it: what it computes, how far it is, and whether it still moves."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from ...errors import EngineError, FC7Error
from .ray_worker import Ready, Status
from .sinks import BufferSink

LOADING = 600.0  # seconds that a worker may load without progress: weights may come over a network


class WorkerLost(EngineError):
    """A worker died, hangs, or failed in a way that another try may change."""


class RemoteWorker:
    """An actor of :class:`fc7.extract.engines.ray_worker.Worker` that is asked for one thing at a time.

    Parameters
    ----------
    ray
        The module, connected.
    here
        Whether the actor's process is one of this machine's.
    """

    def __init__(self, ray: Any, actor: Any, *, here: bool) -> None:
        self._ray, self._actor, self._here = ray, actor, here
        self.answer = actor.status.remote()  # its next status, on Ray; None between units
        self.status: Status | None = None  # the last one; before the first it may be waiting for a place on the cluster
        self.ready: Ready | None = None  # what it said when it had loaded
        self.unit: Sequence[bytes] = ()  # the keys that it computes; none while it loads and between units
        self._since = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether it waits for a unit."""
        return self.answer is None

    @property
    def images(self) -> int:
        """How many images of its unit are done."""
        return self.status.images if self.status and self.status.result is None else 0

    def assign(self, keys: Sequence[bytes], files: Sequence[str | bytes], sinks: Sequence[BufferSink]) -> None:
        """Have it compute a unit."""
        self.unit, self.answer = keys, self._actor.run.remote(keys, files, sinks)
        self._since = time.monotonic()

    def collect(self) -> Status:
        """Return what it has said; ask again if it is not done.

        Raises
        ------
        FC7Error
            One of fc7's own, which another try will not change.
        WorkerLost
            Any other error, or it is gone.
        """
        try:
            status: Status = self._ray.get(self.answer)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, FC7Error):
                raise error.cause from None
            raise WorkerLost(f"{type(error.cause).__name__}: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            self.status = None  # its process may be another one by now
            raise WorkerLost(_reason(error)) from error
        if self.status is None or status.progress != self.status.progress:
            self._since = time.monotonic()
        self.status = status
        if status.result is None:
            self.answer = self._actor.status.remote()
        else:
            self.answer, self.unit = None, ()
        if isinstance(status.result, Ready):
            self.ready = status.result
        return status

    def watch(self, patience: float) -> None:
        """Raise WorkerLost if it has made no progress for so many seconds, or for longer while it loads."""
        patience = patience if self.unit else max(patience, LOADING)
        if self.status and not self.idle and time.monotonic() - self._since > patience:
            raise WorkerLost(f"no progress in {patience:.0f} s")

    def close(self) -> None:
        """End its process."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)
        if self._here and self.status and not self.idle:  # a stopped process does not obey Ray
            with contextlib.suppress(OSError):
                os.kill(self.status.pid, signal.SIGKILL)


def _reason(error: Exception) -> str:
    """Return the first line of an error of Ray, and the last if that names an error."""
    lines = str(error).strip().splitlines() or [repr(error)]
    last = lines[-1].strip()
    return f"{lines[0].strip()} {last}"[:300] if "Error: " in last and last != lines[0] else lines[0].strip()[:300]
