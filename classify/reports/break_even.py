"""When the cache has cost less than doing without it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..records.contest import by_layer
from ..records.description import labels
from ..records.ranking import fit_seconds, ranked, sorts
from ..records.runs import Run


@dataclass(frozen=True)
class BreakEven:
    """After how many uses the cache has cost less than doing without it.

    Extraction costs ``extract`` seconds once. Without the cache, `n` uses cost ``n * each``; with it,
    ``extract + once + n * cached``. The cache has paid for itself at the smallest `n` where the second is not more:
    ``after = ceil((extract + once) / (each - cached))``, None where ``each <= cached``.

    ====================  ==========================  =====================  ========
    instead of            each                        cached                 once
    ====================  ==========================  =====================  ========
    extracting again      extract + fit the head      fit the head           0
    fine-tuning, a run    fit + predict of the arm    fit the head           0
    fine-tuning, epochs   fit of the arm / epochs     0                      fit the head
    ====================  ==========================  =====================  ========

    "Fit the head" is ``fit + predict`` of the best head on this cache, by the order of the verdict. Against extracting
    again, the first use costs the same either way, and every later use is a gain.
    """

    cache: str
    instead_of: str
    unit: str
    extract: float
    each: float
    cached: float = 0.0
    once: float = 0.0

    @property
    def after(self) -> int | None:
        """The number of uses after which the cache has paid for itself."""
        # The slack keeps (x + f) - f from making one use into two by a rounding error.
        gain = self.each - self.cached
        return math.ceil((self.extract + self.once) / gain - 1e-9) if gain > 0 else None


def break_even(runs: Sequence[Run]) -> list[BreakEven]:
    """Return, per cache whose extraction was timed, when it has paid for itself, of runs on the same images.

    See :class:`BreakEven`.
    """
    arms, heads, _ = sorts(runs)
    names = labels(runs)
    rows = []
    for cache, members in by_layer(heads).items():
        extract = max(run.seconds.get("extract", 0.0) for run in members)
        if extract > 0:
            head = ranked(members)[0]
            own = {names[arm.id]: arm for arm in arms if arm.recipe["backbone"] == head.recipe["backbone"]}
            rows += _payments(cache, head, extract, own)
    return rows


def _payments(cache: str, head: Run, extract: float, arms: Mapping[str, Run]) -> list[BreakEven]:
    fit = fit_seconds(head)
    rows = [BreakEven(cache, "extracting again", "heads or folds", extract, each=extract + fit, cached=fit)]
    for name, arm in arms.items():
        rows.append(BreakEven(cache, name, "heads or folds", extract, each=fit_seconds(arm), cached=fit))
        if arm.curves:
            epochs = sum(row.get("share", 1.0) for row in arm.curves)  # of all folds
            rows.append(BreakEven(cache, name, "epochs", extract, each=arm.seconds["fit"] / epochs, once=fit))
    return rows
