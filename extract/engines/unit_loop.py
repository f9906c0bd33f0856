"""What both engines do with units: they are claimed, computed, and looked for again until none is missing."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from ...cache.leases import Claims
from ...cache.shard import unit_id
from ...cache.tables import are
from ...errors import Interrupted
from ..backbones.backbone import Backbone
from ..progress import Progress, silent
from .accounting import Clock
from .sinks import ShardSink

POLL = 0.2  # seconds between two looks at units that another process has claimed, and at the progress

LocateFiles = Callable[[Sequence[bytes]], Sequence[str]]  # returns where the bytes of each key are
Units = Sequence[Sequence[bytes]]


class Plan(NamedTuple):
    """What an engine is to compute, and whom it tells."""

    backbones: Sequence[Backbone]
    stores: Sequence[ShardSink]  # one per recipe
    files: LocateFiles
    clock: Clock
    progress: Progress = silent


class UnitLoop(ABC):
    """One extraction: which units are missing, which are claimed, and how far it is."""

    def __init__(self, plan: Plan) -> None:
        self.backbones, self.stores, self.files, self.clock, self._progress = plan
        self.claims = Claims(self.stores[0].directory / "claims")
        self.unreadable: dict[bytes, str] = {}
        self.total = self.done = 0  # images
        self._stage = "extract " + " + ".join(dict.fromkeys(backbone.name for backbone in self.backbones))

    def run(self, missing: Sequence[bytes], unit_rows: int | None = None) -> dict[bytes, str]:
        """Compute the missing keys and return those whose files could not be read, with the reason.

        Units that another process is computing are left to it, and taken up if it does not finish them. `unit_rows` are
        committed together; by default about 20 seconds of work.

        Raises
        ------
        EngineError
            A cluster cannot be used, or units failed three times.
        Interrupted
            Ctrl-C; finished units are kept.
        """
        self.total = len(missing)
        rows = unit_rows or self.unit_rows()
        units: Units = [missing[start : start + rows] for start in range(0, self.total, rows)]
        try:
            with self.started(units) as workers:
                while units:
                    skipped: list[Sequence[bytes]] = []
                    start, before = time.perf_counter(), self.clock.busy
                    self.compute(units, skipped)
                    idle = workers * (time.perf_counter() - start) - (self.clock.busy - before)
                    self.clock.seconds["wait"] += max(idle, 0.0)
                    if len(skipped) == len(units):
                        with self.clock("wait"):
                            time.sleep(POLL)
                    units = self.still_missing(units, skipped)
        except KeyboardInterrupt:
            raise Interrupted(
                f"Interrupted: {self.done} of {self.total} images {are(self.done)} computed and kept. "
                "The same command goes on from there."
            ) from None
        finally:
            self.claims.release_all()
        return self.unreadable

    @abstractmethod
    def unit_rows(self) -> int:
        """Return how many rows are committed together by default."""

    @abstractmethod
    def started(self, units: Units) -> AbstractContextManager[int]:
        """Have workers ready until the end of the block; yield how many."""

    @abstractmethod
    def compute(self, units: Units, skipped: list[Sequence[bytes]]) -> None:
        """Compute the units that nobody else has claimed, and put the others into ``skipped``."""

    @abstractmethod
    def still_missing(self, units: Units, skipped: Units) -> Units:
        """Return the units that the stores lack after a pass."""

    def claim(self, keys: Sequence[bytes]) -> bool:
        """Claim a unit; return False if it is committed, or claimed by another process."""
        return not all(store.committed(keys) for store in self.stores) and self.claims.take(self._claim_name(keys))

    def release(self, keys: Sequence[bytes]) -> None:
        """Give up a unit that is done."""
        self.claims.release(self._claim_name(keys))

    def report(self, done: int) -> None:
        """Show the progress."""
        self._progress(self._stage, done, self.total)

    def _claim_name(self, keys: Sequence[bytes]) -> str:
        return unit_id("".join(store.recipe.id for store in self.stores), keys)
