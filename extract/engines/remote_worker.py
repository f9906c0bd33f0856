"""One worker on Ray as the driver sees it: what it computes, how far it is, and whether it still moves.

Ray sees that a worker has died, not that one hangs: that one is ended here. Another takes the place of either. Ray
could restart a worker itself, but fails what is asked of it meanwhile, or asks it again without end (Ray 2.60).
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from ...errors import EngineError, FC7Error
from .ray_worker import Heartbeat, Ready, UnitResult, UnitTask

logger = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two requests for a heartbeat
LOADING = 600.0  # seconds that a worker may load without progress: weights may come over a network


class WorkerLost(EngineError):
    """A worker died, hangs, or failed in a way that another try may change."""


class RemoteWorker:
    """An actor that is asked for one thing at a time.

    Parameters
    ----------
    ray
        The module, connected.
    start, spec
        Makes an actor of :class:`fc7.extract.engines.ray_worker.Worker`; and a reference to what it is made for.
    patience
        Seconds without any progress after which it is ended.
    here
        Whether its process is one of this machine's.

    Attributes
    ----------
    answer
        What its method at work will return; None between units.
    task
        The unit that it computes; None before it is ready and between units.
    ready
        What it said when it had loaded; None before.
    started
        Whether it has shown any sign of life; before, it may be waiting for a place on the cluster.
    """

    def __init__(self, ray: Any, start: Callable[[], Any], spec: Any, patience: float, *, here: bool) -> None:
        self._ray, self._start, self._spec, self._patience, self._here = ray, start, spec, patience, here
        self.ready: Ready | None = None
        self.task: UnitTask | None = None
        self._heartbeat: Heartbeat | None = None
        self._asked: Any = None
        self._looked = 0.0
        self._ended = ""
        self._load()

    @property
    def idle(self) -> bool:
        """Whether it waits for a unit."""
        return self.answer is None

    @property
    def started(self) -> bool:
        """Whether it has shown any sign of life."""
        return self._heartbeat is not None

    @property
    def images(self) -> int:
        """How many images of its unit are done."""
        # A heartbeat that was asked for before can tell of the unit before, whose images are counted by now.
        heartbeat, task = self._heartbeat, self.task
        return heartbeat.images if heartbeat and task and heartbeat.unit == task.keys[0] else 0

    def assign(self, task: UnitTask) -> None:
        """Have it compute a unit."""
        self.task, self.answer = task, self._actor.run.remote(task)
        self._since = time.monotonic()

    def collect(self) -> Ready | UnitResult:
        """Return what its method has returned.

        Raises
        ------
        FC7Error
            One of fc7's own, which another try will not change.
        WorkerLost
            Any other error, or the worker is gone. Another is loading in its place.
        """
        try:
            answer: Ready | UnitResult = self._ray.get(self.answer)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, FC7Error):
                raise cause from None
            reason = f"{type(cause).__name__}: {cause}"
        except self._ray.exceptions.RayError as error:
            reason = self._ended or _reason(error)
            self._heartbeat = None  # its process may be another one by now
        else:
            self.ready = answer if isinstance(answer, Ready) else self.ready
            self.answer = self.task = None
            return answer
        host = f" on {self.ready.host}" if self.ready else ""
        logger.warning("fc7: a worker%s is lost: %s", host, reason)
        self.close()
        self._load()
        raise WorkerLost(reason)

    def watch(self) -> None:
        """Look for a heartbeat, and end the worker if it has made no progress for too long; wait for nothing."""
        now = time.monotonic()
        if self._asked is not None:
            self._receive(now)
        elif now - self._looked > LOOK:
            self._looked = now
            self._asked = self._actor.heartbeat.options(concurrency_group="heartbeat").remote()
        patience = self._patience if self.task else max(self._patience, LOADING)
        if self.started and not self.idle and not self._ended and now - self._since > patience:
            self._ended = f"no progress in {patience:.0f} s"
            self.close()

    def close(self) -> None:
        """End its process."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)
        if self._here and self._heartbeat and not self.idle:  # a stopped process does not obey Ray
            with contextlib.suppress(OSError):
                os.kill(self._heartbeat.pid, signal.SIGKILL)

    def _load(self) -> None:
        """Start a process and have it load its networks."""
        self._actor, self.ready = self._start(), None
        self.task = self._heartbeat = self._asked = None
        self._ended, self._since = "", time.monotonic()
        self.answer = self._actor.prepare.remote(self._spec)

    def _receive(self, now: float) -> None:
        ready, _ = self._ray.wait([self._asked], timeout=0)
        if not ready:
            return
        # If it is gone, its answer says why.
        with contextlib.suppress(self._ray.exceptions.RayError):
            heartbeat = self._ray.get(self._asked)
            if heartbeat != self._heartbeat:
                self._heartbeat, self._since = heartbeat, now
        self._asked = None


def _reason(error: Exception) -> str:
    """Return the first line of an error of Ray, and the last if that names an error."""
    lines = str(error).strip().splitlines() or [repr(error)]
    last = lines[-1].strip()
    return f"{lines[0].strip()} {last}"[:300] if "Error: " in last and last != lines[0] else lines[0].strip()[:300]
