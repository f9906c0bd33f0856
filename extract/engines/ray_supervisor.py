"""The supervisor: replaces workers that die, and ends those whose heartbeat shows no progress."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...errors import EngineError
from .ray_worker import Failure, Heartbeat, Ready, UnitResult, UnitTask

logger = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two requests for a heartbeat
LOADING = 600.0  # seconds that a worker may load without progress: weights may come over a network
DEATHS = 3  # beyond one for each worker: how many may die one after the other before a unit is done


@dataclass
class Member:
    """A worker as the driver sees it.

    Attributes
    ----------
    answer
        What its method at work will return.
    task
        What it computes; None before it is ready and between units.
    heartbeat
        The last one; None before the first, when the worker may be waiting for a place on the cluster.
    since
        When its progress last changed, by this machine's clock.
    """

    actor: Any
    answer: Any
    ready: Ready | None = None
    task: UnitTask | None = None
    asked: Any = None
    heartbeat: Heartbeat | None = None
    since: float = field(default_factory=time.monotonic)
    looked: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether it waits for a unit."""
        return self.answer is None


@dataclass(frozen=True)
class Lost:
    """A worker that is gone, and why."""

    reason: str


Event = tuple[UnitTask | None, Ready | UnitResult | Failure | Lost]


class Supervisor:
    """Workers on a cluster.

    Parameters
    ----------
    ray
        The module, connected.
    start_worker
        Makes an actor.
    size
        How many of them.
    patience
        Seconds without any progress after which a worker at work is ended.
    here
        Whether the cluster is this machine alone, so that a worker's process is one of this machine's.
    """

    def __init__(self, ray: Any, start_worker: Callable[[], Any], size: int, patience: float, *, here: bool) -> None:
        self._ray, self._start_worker, self._patience, self._here = ray, start_worker, patience, here
        self._deaths_allowed = DEATHS + size
        self._deaths = 0  # since a unit was done
        self._progressed = time.monotonic()  # when any worker last did
        self.members = [self._new() for _ in range(size)]

    @property
    def idle(self) -> list[Member]:
        """The workers that wait for a unit."""
        return [member for member in self.members if member.idle]

    @property
    def images(self) -> int:
        """How many images of units at work are done."""
        at_work = [(member.task, member.heartbeat) for member in self.members if member.task and member.heartbeat]
        # A heartbeat that was asked for before can tell of the unit before, whose images are counted by now.
        return sum(heartbeat.images for task, heartbeat in at_work if heartbeat.unit == task.keys[0])

    def assign(self, member: Member, task: UnitTask) -> None:
        """Have a worker compute a unit."""
        member.task, member.heartbeat = task, Heartbeat(b"", 0, ()) if member.heartbeat else None
        member.since = time.monotonic()
        member.answer = member.actor.run.remote(task)

    def events(self, timeout: float) -> list[Event]:
        """Return what has happened by now, waiting for something if nothing has."""
        busy = [member for member in self.members if member.answer is not None]
        answers = [member.answer for member in busy]
        self._ray.wait(answers, num_returns=1, timeout=timeout)
        ready, _ = self._ray.wait(answers, num_returns=len(answers), timeout=0)
        events = [self._collect(member) for member in busy if member.answer in ready]
        self._poll_heartbeats()
        return events + self._end_overdue()

    def close(self) -> None:
        """End all workers."""
        for member in self.members:
            self._end(member)
        self.members = []

    def _new(self) -> Member:
        actor = self._start_worker()
        return Member(actor, actor.prepare.remote())

    def _collect(self, member: Member) -> Event:
        """Return what a worker's method returned."""
        task = member.task
        try:
            answer = self._ray.get(member.answer)
        except self._ray.exceptions.RayError as error:
            return self._replace(member, _reason(error), dead=True)
        member.answer, member.task = None, None
        self._progressed = member.since = time.monotonic()
        if isinstance(answer, Ready):
            member.ready = answer
        if isinstance(answer, Failure) and not task and not answer.final:  # another one may start
            return self._replace(member, f"{answer.kind}: {answer.message}")
        if isinstance(answer, UnitResult):
            self._deaths = 0
        return task, answer

    def _poll_heartbeats(self) -> None:
        """Ask workers for heartbeats, and take those that have come; wait for none."""
        now = time.monotonic()
        for member in self.members:
            if member.asked is not None:
                self._receive_heartbeat(member, now)
            elif now - member.looked > LOOK:
                member.looked = now
                member.asked = member.actor.heartbeat.options(concurrency_group="heartbeat").remote()

    def _receive_heartbeat(self, member: Member, now: float) -> None:
        ready, _ = self._ray.wait([member.asked], timeout=0)
        if not ready:
            return
        try:
            heartbeat = self._ray.get(member.asked)
        except self._ray.exceptions.RayError:
            heartbeat = member.heartbeat  # it is gone, and its answer says why
        if heartbeat != member.heartbeat:
            member.heartbeat, member.since, self._progressed = heartbeat, now, now
        member.asked = None

    def _end_overdue(self) -> list[Event]:
        """End the workers that made no progress for too long."""
        now, events = time.monotonic(), []
        for member in tuple(self.members):
            patience = self._patience if member.task else max(self._patience, LOADING)
            if member.heartbeat and not member.idle and now - member.since > patience:
                events.append(self._replace(member, f"no progress in {patience:.0f} s"))
        waited = now - self._progressed
        if waited > max(self._patience, LOADING) and not any(member.heartbeat for member in self.members):
            free = {name: value for name, value in self._ray.available_resources().items() if name in ("CPU", "GPU")}
            raise EngineError(
                f"No worker has started in {waited:.0f} s; free on the cluster: {free or 'nothing'}. Wait until there "
                "is room, or ask for fewer or smaller ones with --actors and --workers. Finished units are kept."
            )
        return events

    def _replace(self, member: Member, reason: str, *, dead: bool = False) -> Event:
        """Replace a worker that is lost."""
        self._deaths += 1
        if not dead:
            self._end(member)
        self.members.remove(member)
        on_host = f" on {member.ready.host}" if member.ready else ""
        logger.warning("fc7: a worker%s is lost: %s", on_host, reason)
        if self._deaths > self._deaths_allowed:
            raise EngineError(
                f"{self._deaths} workers were lost one after the other, the last because: {reason}. Finished units are "
                "kept; the same command goes on from there."
            )
        self.members.append(self._new())
        return member.task, Lost(reason)

    def _end(self, member: Member) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(member.actor)
        if self._here and member.ready and not member.idle:  # a stopped process does not obey Ray
            with contextlib.suppress(OSError):
                os.kill(member.ready.pid, signal.SIGKILL)


def _reason(error: Exception) -> str:
    """Return the first line of an error of Ray, and the last if that names an error."""
    lines = str(error).strip().splitlines() or [repr(error)]
    last = lines[-1].strip()
    return f"{lines[0].strip()} {last}"[:300] if "Error: " in last and last != lines[0] else lines[0].strip()[:300]
