"""Accounting: every file counted once, every second assigned to a stage."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...cache.recipe import Recipe
from ...cache.tables import counted
from ..manifest.paths import Reject

if TYPE_CHECKING:
    from ...cache.keys import Keys
    from ...cache.store import Store
    from ..manifest.hashing import Hashed

WORK = ("decode", "forward", "commit")  # of several threads, summed
STAGES = ("total", "hash", "load", *WORK, "wait")


@dataclass
class Extraction:
    """What one extraction did for one recipe. ``seen = ok + duplicate + rejected``, always.

    Attributes
    ----------
    recipe
        Whose rows these are.
    seen, ok, duplicate, rejected
        Files found; images with a row; further files with the same bytes as one of those; files with a reason.
    computed, reused
        Rows made in this run; rows that the cache already had. ``ok = computed + reused``.
    rejected_before
        Images with a rejection of an earlier run, which were not looked at.
    retried
        Images with a rejection of an earlier run, which were looked at again.
    rejects
        The rejected files with their reasons.
    seconds
        Per stage: ``total``, ``hash``, ``load`` (of weights), and summed over threads ``decode``, ``forward``,
        ``commit`` and ``wait`` (idle).
    """

    recipe: Recipe
    seen: int
    ok: int
    duplicate: int
    rejected: int
    computed: int
    reused: int
    rejects: list[Reject]
    rejected_before: int = 0
    retried: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = f"{self.ok} ok, {self.duplicate} duplicate, {self.rejected} rejected; {self.computed} computed"
        return f"Extraction({self.recipe.backbone} {self.recipe.layer}: {counted(self.seen, 'file')} = {counts})"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``extract --json`` prints."""
        total = self.seconds["total"]
        return {
            "backbone": self.recipe.backbone,
            "layer": self.recipe.layer,
            "dim": self.recipe.dim,
            "view": self.recipe.view,
            "recipe_id": self.recipe.id,
            "seen": self.seen,
            "ok": self.ok,
            "duplicate": self.duplicate,
            "rejected": self.rejected,
            "computed": self.computed,
            "reused": self.reused,
            "rejected_before": self.rejected_before,
            "retried": self.retried,
            "seconds": round(total, 3),
            "images_per_second": round(self.computed / total, 1) if total else 0.0,
            "stages": {name: round(value, 3) for name, value in self.seconds.items() if name != "total"},
            "rejects": [reject._asdict() for reject in self.rejects],
        }

    def describe(self) -> str:
        """Return one line for a person."""
        recipe = self.recipe
        view = f", view {recipe.view}" if recipe.view else ""
        return (
            f"{recipe.backbone} {recipe.layer}, {recipe.dim}-d{view}: {counted(self.seen, 'file')} = "
            f"{self.ok:,} ok + {self.duplicate:,} duplicate + {self.rejected:,} rejected; "
            f"{self.computed:,} computed, {self.reused:,} from the cache (recipe {recipe.id[:12]})"
        )

    def describe_time(self) -> str:
        """Return where the time went, in one line."""
        total = self.seconds["total"]
        if not self.computed:
            return f"{total:.2f} s; nothing to compute"
        threads = sum(self.seconds[name] for name in (*WORK, "wait")) or 1.0
        shares = ", ".join(f"{name} {self.seconds[name] / threads:.0%}" for name in (*WORK, "wait"))
        before = f"hash {self.seconds['hash']:.1f} s, load {self.seconds['load']:.1f} s"
        return f"{total:.1f} s, {self.computed / total:.0f} images/s; {before}; the rest: {shares}"


class Clock:
    """Seconds per stage, and in all; `hashing` took place before."""

    def __init__(self, hashing: float = 0.0) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0) | {"hash": hashing}
        self._start = time.perf_counter() - hashing

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    @property
    def busy(self) -> float:
        """Seconds that threads have worked."""
        return sum(self.seconds[stage] for stage in WORK)

    def stop(self) -> None:
        """Record the total."""
        self.seconds["total"] = time.perf_counter() - self._start


def account(
    hashed: "Hashed", store: "Store", lacked: "Keys", unreadable: Mapping[bytes, str], *, retried: int, clock: Clock
) -> Extraction:
    """Count every file once: ok, duplicate or rejected.

    Parameters
    ----------
    lacked
        The keys that the store lacked before, each once.
    unreadable
        Images without a verdict: their files could not be read or decoded, or their rows not stored; with the reason.
    retried
        How many images with a rejection were looked at again.
    """
    from ...cache.keys import Keys

    there = store.places(hashed.images) >= 0
    ok, computed = int(there.sum()), int((store.places(lacked) >= 0).sum())
    refused = Keys.of(key for key in hashed.images[~there] if key in store.rejected)
    reasons = {
        row: unreadable.get(key) or store.rejected.get(key) or "its shard was lost while running"
        for row in hashed.rows_of(hashed.images[~there])
        for key in [hashed.keys[row]]
    }
    rejects = hashed.rejects(reasons)
    files = len(hashed.manifest) + len(hashed.manifest.rejects)
    return Extraction(
        store.recipe,
        seen=files,
        ok=ok,
        duplicate=files - ok - len(rejects),
        rejected=len(rejects),
        computed=computed,
        reused=ok - computed,
        rejects=rejects,
        rejected_before=len(refused.without(lacked)),
        retried=retried,
        seconds=clock.seconds,
    )
