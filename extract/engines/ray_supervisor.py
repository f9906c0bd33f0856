"""The crew: workers that live, are replaced when they die, and are ended when they give no more signs of life."""

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

LOOK = 1.0  # seconds between two questions to a worker how far it is
LOADING = 600.0  # seconds that it may load without a sign of life: weights may have to come over a network
DEATHS = 3  # workers that die one after the other, beyond one for each of the crew, before a unit is done


@dataclass
class Member:
    """A worker as the driver sees it.

    Attributes
    ----------
    answer
        What its method at work will return.
    task
        What it computes; None before it is ready and between units.
    life
        The last sign; None before the first, when it may be waiting for a place on the cluster.
    since
        When that came, by this machine's clock.
    """

    actor: Any
    answer: Any
    hello: Ready | None = None
    task: UnitTask | None = None
    asked: Any = None
    life: Heartbeat | None = None
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
    hire
        Makes an actor.
    size
        How many of them.
    patience
        Seconds without any progress after which a worker at work is ended.
    here
        Whether the cluster is this machine alone, so that a worker's process is one of this machine's.
    """

    def __init__(self, ray: Any, hire: Callable[[], Any], size: int, patience: float, *, here: bool) -> None:
        self._ray, self._hire, self._patience, self._here = ray, hire, patience, here
        self._most = DEATHS + size
        self._deaths = 0  # since a unit was done
        self._sign = time.monotonic()  # the last one of anybody
        self.members = [self._new() for _ in range(size)]

    @property
    def idle(self) -> list[Member]:
        """Those who wait for a unit."""
        return [member for member in self.members if member.idle]

    @property
    def images(self) -> int:
        """How many images of units at work are done."""
        return sum(member.life.images for member in self.members if member.task and member.life)

    def give(self, member: Member, task: UnitTask) -> None:
        """Let a worker compute a unit."""
        member.task, member.life = task, Heartbeat(0, ()) if member.life else None
        member.since = time.monotonic()
        member.answer = member.actor.run.remote(task)

    def events(self, timeout: float) -> list[Event]:
        """Return what has happened by now, waiting for something if nothing has.

        Raises
        ------
        EngineError
            Workers die one after the other, or not one of them starts.
        """
        working = [member for member in self.members if member.answer is not None]
        answers = [member.answer for member in working]
        self._ray.wait(answers, num_returns=1, timeout=timeout)
        ready, _ = self._ray.wait(answers, num_returns=len(answers), timeout=0)
        found = [self._ended(member) for member in working if member.answer in ready]
        self._look()
        return found + self._overdue()

    def close(self) -> None:
        """End all workers."""
        for member in self.members:
            self._end(member)
        self.members = []

    def _new(self) -> Member:
        actor = self._hire()
        return Member(actor, actor.prepare.remote())

    def _ended(self, member: Member) -> Event:
        """Take what a worker returned."""
        task = member.task
        try:
            said = self._ray.get(member.answer)
        except self._ray.exceptions.RayError as error:
            return self._lost(member, _reason(error), dead=True)
        member.answer, member.task = None, None
        self._sign = member.since = time.monotonic()
        if isinstance(said, Ready):
            member.hello = said
        if isinstance(said, Failure) and not task and not said.final:  # another one may start
            return self._lost(member, f"{said.kind}: {said.message}")
        if isinstance(said, UnitResult):
            self._deaths = 0
        return task, said

    def _look(self) -> None:
        """Ask workers how far they are, and hear what they answer; none is waited for."""
        now = time.monotonic()
        for member in self.members:
            if member.asked is not None:
                self._hear(member, now)
            elif now - member.looked > LOOK:
                member.looked = now
                member.asked = member.actor.life.options(concurrency_group="life").remote()

    def _hear(self, member: Member, now: float) -> None:
        ready, _ = self._ray.wait([member.asked], timeout=0)
        if not ready:
            return
        try:
            life = self._ray.get(member.asked)
        except self._ray.exceptions.RayError:
            life = member.life  # it is gone, which its answer says better
        if life != member.life:
            member.life, member.since, self._sign = life, now, now
        member.asked = None

    def _overdue(self) -> list[Event]:
        """End those that have given no sign of life for too long."""
        now, found = time.monotonic(), []
        for member in tuple(self.members):
            patience = self._patience if member.task else max(self._patience, LOADING)
            if member.life and not member.idle and now - member.since > patience:
                found.append(self._lost(member, f"no progress in {patience:.0f} s"))
        waited = now - self._sign
        if waited > max(self._patience, LOADING) and not any(member.life for member in self.members):
            free = {name: value for name, value in self._ray.available_resources().items() if name in ("CPU", "GPU")}
            raise EngineError(
                f"No worker has started in {waited:.0f} s; free on the cluster: {free or 'nothing'}. Wait until there "
                "is room, or ask for fewer or smaller ones with --actors and --workers. Finished units are kept."
            )
        return found

    def _lost(self, member: Member, reason: str, *, dead: bool = False) -> Event:
        """Replace a worker."""
        self._deaths += 1
        if not dead:
            self._end(member)
        self.members.remove(member)
        where = f" on {member.hello.host}" if member.hello else ""
        logger.warning("fc7: a worker%s is lost: %s", where, reason)
        if self._deaths > self._most:
            raise EngineError(
                f"{self._deaths} workers were lost one after the other, the last because: {reason}. Finished units are "
                "kept; the same command goes on from there."
            )
        self.members.append(self._new())
        return member.task, Lost(reason)

    def _end(self, member: Member) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(member.actor)
        if self._here and member.hello and not member.idle:  # one that is stopped does not hear Ray
            with contextlib.suppress(OSError):
                os.kill(member.hello.pid, signal.SIGKILL)


def _reason(error: Exception) -> str:
    """Return what there is to know of an error that Ray tells in many lines."""
    lines = str(error).strip().splitlines() or [repr(error)]
    last = lines[-1].strip()
    return f"{lines[0].strip()} {last}"[:300] if "Error: " in last and last != lines[0] else lines[0].strip()[:300]
