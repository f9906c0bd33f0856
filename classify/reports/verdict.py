"""The verdict: the result of the paired tests in plain words, and when the cache has paid for itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..evaluation.paired_tests import ALPHA, smallest_detectable
from ..pages.text import duration, points, probability, ratio
from ..records.pairs import RunPair, compare_planned
from ..records.ranking import _is_arm, _selected_inside, _sorts, choose, fit_seconds, is_random, ranked
from ..records.runs import Run

FEW = 0.1  # where n images cannot show a difference of 10 points, "no difference found" means nothing


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
    cached: float
    once: float
    after: int | None


@dataclass(frozen=True)
class Contest:
    """What the verdict compares: `chosen` against each id in `pairs`, of which `rival` is the best."""

    chosen: Run
    rival: Run | None
    baseline: Run | None
    pairs: dict[str, RunPair]


def findings(runs: Sequence[Run]) -> list[str]:
    """Return the verdict as sentences: first the answer, then the evidence.

    The cached head with the least log loss *on the fitted images* is compared with the fine-tuning arms and predictions
    from elsewhere, or else with the second-best head, and with the baseline. These comparisons are planned, so Holm's
    correction is over them only.

    - p <= 0.05: one beats the other.
    - else, where n could not have shown a difference of 10 points even in the best case: too few images to say.
    - else: the two cannot be told apart.
    """
    compared = contest(runs)
    chosen, rival, pairs = compared.chosen, compared.rival, compared.pairs
    arms, heads, _ = _sorts(runs)
    sentences = (
        _against(chosen, rival, pairs[rival.id], len(pairs))
        if rival
        else [_alone(chosen, bool(arms) and not _is_arm(chosen))]
    )
    if compared.baseline:
        sentences.append(_above(chosen, compared.baseline, pairs[compared.baseline.id]))
    return [*sentences, _how_chosen(chosen, heads or arms), *_picked(rival, arms), *_random(runs)]


def contest(runs: Sequence[Run]) -> Contest:
    """Return which runs the verdict compares, and the tests between them."""
    chosen = choose(runs)
    arms, heads, baselines = _sorts(runs)
    others = [run for run in heads or arms if run is not chosen]
    rivals = arms if arms and not _is_arm(chosen) else ranked(others)[:1]
    baselines = [run for run in baselines if run is not chosen][:1]  # baselines are the same for every cache
    pairs = {pair.second: pair for pair in compare_planned(chosen, [*rivals, *baselines])}
    paired = [run for run in ranked(rivals) if run.id in pairs]
    baseline = next((run for run in baselines if run.id in pairs), None)
    return Contest(chosen, paired[0] if paired else None, baseline, pairs)


def break_even(runs: Sequence[Run]) -> list[BreakEven]:
    """Return, per cache whose extraction was timed, when it has paid for itself. See :class:`BreakEven`."""
    arms, heads, _ = _sorts(runs)
    caches: dict[str, list[Run]] = {}
    for head in heads:
        caches.setdefault(head.recipe.get("id", head.name), []).append(head)
    rows = []
    for members in caches.values():
        extract = max(run.seconds.get("extract", 0.0) for run in members)
        if extract > 0:
            head = ranked(members)[0]
            rows += _payments(head, extract, [arm for arm in arms if arm.recipe["backbone"] == head.recipe["backbone"]])
    return rows


def _called(run: Run) -> str:
    if run.elsewhere:
        return f'"{run.head}" (from elsewhere)'
    return "fine-tuning" if run.trainable else "the cached head"


def _names(chosen: Run, rival: Run) -> tuple[str, str]:
    """Return what the answer calls the two runs; a name is in quotes, so a sentence can begin with it unchanged."""
    if not _is_arm(chosen) and not _is_arm(rival):
        return _called(chosen), "the next best head"
    same = _called(chosen) == _called(rival)
    return (f'"{chosen.name}"', f'"{rival.name}"') if same else (_called(chosen), _called(rival))


def _against(chosen: Run, rival: Run, pair: RunPair, planned: int) -> list[str]:
    """Return the answer and the evidence."""
    ours, theirs = _names(chosen, rival)
    if pair.p_corrected <= ALPHA:
        winner, loser = (ours, theirs) if pair.difference > 0 else (theirs, ours)
        answer = f"{winner} beats {loser} on {pair.n} images"
    elif pair.smallest_detectable > FEW:
        answer = f"{pair.n} images are too few to say whether {ours} or {theirs} is better"
    else:
        answer = f"{ours} and {theirs} cannot be told apart on {pair.n} images"
    times = fit_seconds(chosen), fit_seconds(rival)
    if rival.trainable and not _is_arm(chosen):
        answer += f"; once cached, the head took {ratio(*times)} the time"
    return [
        f"{answer[0].upper()}{answer[1:]}.",
        _rests_on(chosen, rival, pair, planned),
        _limit(pair),
        _times(chosen, rival),
    ]


def _rests_on(chosen: Run, rival: Run, pair: RunPair, planned: int) -> str:
    corrected = f", {probability(pair.p_corrected)} after Holm's correction for {planned} planned comparisons"
    low, high = pair.interval
    return (
        f"{chosen.name} gets {_right(chosen)} right, {rival.name} {_right(rival)}; {pair.only_first} are right only "
        f"with the first, {pair.only_second} only with the second: {points(pair.difference)} points (95 % interval "
        f"{points(low)} to {points(high)}), exact McNemar {probability(pair.p)}{corrected if planned > 1 else ''}."
    )


def _limit(pair: RunPair) -> str:
    """Return the smallest difference that this n could have shown."""
    if math.isinf(pair.smallest_detectable):
        return f"With {pair.n} images no result at all could be significant."
    least = points(pair.smallest_detectable, sign=False)
    text = f"With {pair.n} images no difference under {least} points can be significant"
    if math.isfinite(pair.likely_detectable):
        text += f", and one of {points(pair.likely_detectable, sign=False)} points would be found four times in five"
    return f"{text}."


def _times(chosen: Run, rival: Run) -> str:
    untimed = [run.name for run in (chosen, rival) if run.elsewhere]
    if untimed:
        return f"What {' and '.join(untimed)} cost is not known."
    text = f"{chosen.name} took {duration(fit_seconds(chosen))}, {rival.name} {duration(fit_seconds(rival))}"
    extract = chosen.seconds.get("extract", 0.0)
    if not extract or chosen.trainable:
        return f"{text}."
    once = f"{text}; the extraction that filled the cache took {duration(extract)}, once"
    if not rival.trainable:
        return f"{once}."
    return f"{once}, and with it the head took {ratio(extract + fit_seconds(chosen), fit_seconds(rival))} the time."


def _above(chosen: Run, baseline: Run, pair: RunPair) -> str:
    subject = f"Always answering the most frequent class gets {_right(baseline)} right"
    if pair.p_corrected > ALPHA:
        return f"{subject}, and {chosen.name} cannot be told apart from that ({probability(pair.p_corrected)})."
    better = "clearly better" if pair.difference > 0 else "clearly worse"
    return f"{subject}; {chosen.name} is {better} ({probability(pair.p_corrected)})."


def _alone(chosen: Run, arms: bool) -> str:
    low, high = chosen.metrics["interval"]
    missing = "no fine-tuning run on the same images" if arms else "no other run on the same images"
    few = " These are too few images to say much." if smallest_detectable(chosen.metrics["n"]) > FEW else ""
    return (
        f"{chosen.name} gets {_right(chosen)} right ({100 * chosen.metrics['accuracy']:.1f} %, 95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f} %); there is {missing} to compare it with.{few}"
    )


def _how_chosen(chosen: Run, among: Sequence[Run]) -> str:
    if len(among) < 2:
        return f"{chosen.name} is the only one of its kind here, so nothing was chosen."
    if _selected_inside(among):
        inside = chosen.selection["log_loss"]
        return f"{chosen.name} was chosen among {len(among)} by its log loss inside train ({inside:.3f})."
    return (
        f"{chosen.name} was chosen among {len(among)} by its accuracy on the images it is judged on, which flatters "
        "it: not every run records a log loss inside train."
    )


def _picked(rival: Run | None, arms: Sequence[Run]) -> list[str]:
    """Return a warning if the rival was picked by its accuracy on the evaluated images, which favours it."""
    if rival is None or not _is_arm(rival) or len(arms) < 2 or _selected_inside(arms):
        return []
    what = "arms" if all(run.trainable for run in arms) else "rivals"
    return [f"{rival.name} is the best of {len(arms)} {what} on the images it is judged on, which flatters it."]


def _random(runs: Sequence[Run]) -> list[str]:
    networks = ", ".join(sorted({run.recipe["backbone"] for run in runs if is_random(run)}))
    return [f"The weights of {networks} are random: a lower bound, not what it is worth."] if networks else []


def _right(run: Run) -> str:
    return f"{run.metrics['correct']} of {run.metrics['n']}"


def _payments(head: Run, extract: float, arms: Sequence[Run]) -> list[BreakEven]:
    cache, fit = f"{head.recipe['backbone']} {head.recipe['layer']}", fit_seconds(head)
    payment = partial(_payment, cache, extract)
    rows = [payment("extracting again", "heads or folds", each=extract + fit, cached=fit)]
    for arm in arms:
        rows.append(payment(arm.name, "heads or folds", each=fit_seconds(arm), cached=fit))
        if arm.curves:
            rows.append(payment(arm.name, "epochs", each=arm.seconds["fit"] / len(arm.curves), once=fit))
    return rows


def _payment(
    cache: str, extract: float, instead_of: str, unit: str, *, each: float, cached: float = 0.0, once: float = 0.0
) -> BreakEven:
    # The slack keeps (x + f) - f from making one use into two by a rounding error.
    after = math.ceil((extract + once) / (each - cached) - 1e-9) if each > cached else None
    costs = {"extract": extract, "each": each, "cached": cached, "once": once}
    return BreakEven(cache=cache, instead_of=instead_of, unit=unit, **costs, after=after)
