"""The verdict: the result of the paired tests in plain words, and when the cache has paid for itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..evaluation.effective_size import ALPHA, FEW_GROUPS, fold_inflation
from ..evaluation.paired_tests import smallest_significant
from ..pages.text import duration, points, probability, ratio
from ..records.choice import choice_in_folds
from ..records.class_report import with_warning
from ..records.description import labels, leaked, protocol, titles
from ..records.pairs import RunPair, compare_planned
from ..records.ranking import _is_arm, _selected_inside, _sorts, choose, eligible, fit_seconds, is_random, ranked
from ..records.runs import Run, by_images

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
    cached: float = 0.0
    once: float = 0.0

    @property
    def after(self) -> int | None:
        """The number of uses after which the cache has paid for itself."""
        # The slack keeps (x + f) - f from making one use into two by a rounding error.
        gain = self.each - self.cached
        return math.ceil((self.extract + self.once) / gain - 1e-9) if gain > 0 else None


@dataclass(frozen=True)
class Contest:
    """What the verdict compares of runs on the same images.

    Attributes
    ----------
    runs
        All of them.
    chosen
        The run that the verdict is about.
    choice
        The same with the predictions of the choice that is made anew in each fold, see
        :func:`fc7.classify.records.choice.choice_in_folds`; where there is none, `chosen` itself.
    candidates
        The runs that it was chosen among.
    pairs
        Its planned tests, by the id of the other run.
    rival, baseline
        The best of the rivals in `pairs`, and the baseline there.
    names
        The labels of all runs, by id.
    """

    runs: Sequence[Run]
    chosen: Run
    choice: Run
    candidates: Sequence[Run]
    pairs: dict[str, RunPair]
    rival: Run | None
    baseline: Run | None
    names: dict[str, str]

    def name(self, run: Run) -> str:
        """Return what a run is called beside the others."""
        return self.names[run.id]

    def against(self, other: Run) -> Run:
        """Return what is tested against another run: `chosen` against candidates, which are flattered like it."""
        return self.chosen if other.id in {run.id for run in self.candidates} else self.choice


def findings(runs: Sequence[Run]) -> list[str]:
    """Return the verdict as sentences: first the answer, then the evidence, and last what was done.

    Runs on several sets of images have a verdict for each, which begins with the title of the set.
    """
    sentences, sets = [], by_title(runs)
    for title, members in sets.items():
        answer, *evidence = verdict(members)
        sentences += [f"{title}: {answer}" if len(sets) > 1 else answer, *evidence, protocol(members)]
    return sentences


def by_title(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs on each set of images, by the title of the set; raises as :func:`choose` if there are none."""
    choose(runs)
    groups = by_images(runs)
    return dict(zip(titles(groups), groups, strict=True))


def verdict(runs: Sequence[Run]) -> list[str]:
    """Return the verdict on runs on the same images as sentences: first the answer, then the evidence.

    The cached head with the least log loss *on the fitted images* is compared with the fine-tuning arms and predictions
    from elsewhere, or else with the second-best head, and with the baseline. These comparisons are planned, so Holm's
    correction is over them only.

    - p <= 0.05: one beats the other.
    - else, where n could not have shown a difference of 10 points even in the best case: too few images to say.
    - else: the two cannot be told apart.
    """
    compared = contest(runs)
    arms, heads, _ = _sorts(eligible(runs))
    sentences = _against(compared, compared.rival) if compared.rival else [_alone(compared)]
    sentences[0] = with_warning(sentences[0], compared.choice)
    sentences += [_above(compared, compared.baseline)] if compared.baseline else []
    sentences += _dependence(compared.chosen)
    return [*sentences, _how_chosen(compared, heads or arms), *_picked(compared, arms), *_random(runs)]


def contest(runs: Sequence[Run]) -> Contest:
    """Return which of the runs on the same images the verdict compares, and the tests between them."""
    chosen, names = choose(runs), labels(runs)
    arms, heads, baselines = _sorts(eligible(runs))
    candidates = heads or arms or baselines
    others = [run for run in heads or arms if run is not chosen]
    rivals = arms if arms and not _is_arm(chosen) else ranked(others)[:1]
    baselines = [run for run in baselines if run is not chosen][:1]  # baselines are the same for every cache
    choice = (choice_in_folds(chosen, candidates) if _selected_inside(candidates) else None) or chosen
    flattered = {run.id for run in candidates}
    planned = [(chosen if run.id in flattered else choice, run) for run in (*rivals, *baselines)]
    pairs = {pair.second: pair for pair in compare_planned(planned, names)}
    rival = next((run for run in ranked(rivals) if run.id in pairs), None)
    baseline = next((run for run in baselines if run.id in pairs), None)
    return Contest(runs, chosen, choice, candidates, pairs, rival, baseline, names)


def break_even(runs: Sequence[Run]) -> list[BreakEven]:
    """Return, per cache whose extraction was timed, when it has paid for itself, of runs on the same images.

    See :class:`BreakEven`.
    """
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


def _sides(compared: Contest, rival: Run) -> tuple[str, str]:
    """Return what the answer calls the two runs; a name is in quotes, so a sentence can begin with it unchanged."""
    chosen = compared.chosen
    if not _is_arm(chosen) and not _is_arm(rival):
        return _called(chosen), "the next best head"
    if _called(chosen) == _called(rival):
        return f'"{compared.name(chosen)}"', f'"{compared.name(rival)}"'
    return _called(chosen), _called(rival)


def _against(compared: Contest, rival: Run) -> list[str]:
    """Return the answer and the evidence."""
    chosen, pair = compared.chosen, compared.pairs[rival.id]
    ours, theirs = _sides(compared, rival)
    images = f"{pair.count}{_seen([chosen, rival])}"
    if pair.p_corrected <= ALPHA:
        winner, loser = (ours, theirs) if pair.difference > 0 else (theirs, ours)
        answer = f"{winner} beats {loser} on {images}"
    elif pair.smallest_detectable > FEW:
        answer = f"{images} are too few to say whether {ours} or {theirs} is better"
    else:
        answer = f"{ours} and {theirs} cannot be told apart on {images}"
    if rival.trainable and not _is_arm(chosen):
        answer += f"; once cached, the head took {ratio(fit_seconds(chosen), fit_seconds(rival))} the time"
    return [
        f"{answer[0].upper()}{answer[1:]}.",
        _rests_on(compared, rival, pair),
        _limit(pair),
        _times(compared, rival),
    ]


def _seen(runs: Sequence[Run]) -> str:
    """Return how many evaluated images the fit has seen, as it follows their number."""
    return f" ({leaked(runs)} of them fitted on, too, which is optimistic)" if leaked(runs) else ""


def _rests_on(compared: Contest, rival: Run, pair: RunPair) -> str:
    planned, (first, second), (low, high) = len(compared.pairs), pair.names, pair.interval
    corrected = f", {probability(pair.p_corrected)} after Holm's correction for {planned} planned comparisons"
    return (
        f"{first} gets {_right(compared.against(rival))} right, {second} {_right(rival)}; "
        f"{pair.only_first} are right only with the first, {pair.only_second} only with the second: "
        f"{points(pair.difference)} points (95 % interval {points(low)} to {points(high)}), {pair.test} "
        f"{probability(pair.p)}{corrected if planned > 1 else ''}."
    )


def _limit(pair: RunPair) -> str:
    """Return the smallest difference that this n could have shown."""
    if math.isinf(pair.smallest_detectable):
        return f"With {pair.count} no result at all could be significant."
    least = points(pair.smallest_detectable, sign=False)
    text = f"With {pair.count} no difference under {least} points can be significant"
    if math.isfinite(pair.likely_detectable):
        text += f", and one of {points(pair.likely_detectable, sign=False)} points would be found four times in five"
    return f"{text}."


def _times(compared: Contest, rival: Run) -> str:
    chosen = compared.chosen
    untimed = [compared.name(run) for run in (chosen, rival) if run.elsewhere]
    if untimed:
        return f"What {' and '.join(untimed)} cost is not known."
    text = f"{compared.name(chosen)} took {duration(fit_seconds(chosen))}"
    text += f", {compared.name(rival)} {duration(fit_seconds(rival))}"
    extract = chosen.seconds.get("extract", 0.0)
    if not extract or chosen.trainable:
        return f"{text}."
    once = f"{text}; the extraction that filled the cache took {duration(extract)}, once"
    if not rival.trainable:
        return f"{once}."
    return f"{once}, and with it the head took {ratio(extract + fit_seconds(chosen), fit_seconds(rival))} the time."


def _above(compared: Contest, baseline: Run) -> str:
    pair, name = compared.pairs[baseline.id], compared.name(compared.chosen)
    name = name if compared.choice is compared.chosen else "the choice made in each fold"
    subject = f"Always answering the most frequent class gets {_right(baseline)} right"
    if pair.p_corrected > ALPHA:
        return f"{subject}, and {name} cannot be told apart from that ({probability(pair.p_corrected)})."
    better = "clearly better" if pair.difference > 0 else "clearly worse"
    return f"{subject}; {name} is {better} ({probability(pair.p_corrected)})."


def _alone(compared: Contest) -> str:
    chosen, runs = compared.chosen, compared.runs
    low, high = chosen.metrics["interval"]
    missing = "there is no other run on the same images to compare it with"
    if chosen.old:
        missing = "records of an earlier fc7 do not say what was predicted, so nothing can be tested"
    elif len(eligible(runs)) < len(runs):
        missing = "the other runs on these images are old, or evaluated on images that they were fitted on"
    few = " These are too few images to say much." if smallest_significant(_units(chosen)) > FEW else ""
    share = f"{100 * chosen.metrics['accuracy']:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    return f"{compared.name(chosen)} gets {_right(chosen)} right{_seen([chosen])} ({share}); {missing}.{few}"


def _how_chosen(compared: Contest, among: Sequence[Run]) -> str:
    chosen, name = compared.chosen, compared.name(compared.chosen)
    if len(among) < 2:
        return f"{name} is the only one of its kind here, so nothing was chosen."
    if _selected_inside(among):
        inside = chosen.selection["log_loss"]
        how = f"{name} was chosen among {len(among)} by its log loss"
        if chosen.folds_number == 1:
            return f"{how} inside train ({inside:.3f})."
        how += f" ({inside:.3f}) in folds of the images that it is judged on, which flatters it."
        if compared.choice is not compared.chosen:
            return f"{how} {_anew(compared)}"
        return f"{how} The choice cannot be made anew in each fold, as the runs have different ones."
    several = len({run.data.get("fingerprint") for run in among}) > 1
    why = "they were fitted on different images" if several else "not every run records a log loss inside train"
    how = "by its accuracy on the images it is judged on, which flatters it"
    return f"{name} was chosen among {len(among)} {how}: {why}."


def _anew(compared: Contest) -> str:
    """Return what the choice is worth that has not seen the images that it is judged on."""
    (low, high), metrics = compared.choice.metrics["interval"], compared.choice.metrics
    more = compared.chosen.metrics["accuracy"] - metrics["accuracy"]
    return (
        f"Chosen anew in each fold, without the images of that fold, the choice gets {_right(compared.choice)} right "
        f"({100 * metrics['accuracy']:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %): {points(-more)} "
        "points. That is what to expect of it on new images."
    )


def _picked(compared: Contest, arms: Sequence[Run]) -> list[str]:
    """Return a warning if the rival was picked by its accuracy on the evaluated images, which favours it."""
    rival = compared.rival
    if rival is None or not _is_arm(rival) or len(arms) < 2 or _selected_inside(arms):
        return []
    what = "arms" if all(run.trainable for run in arms) else "rivals"
    return [
        f"{compared.name(rival)} is the best of {len(arms)} {what} on the images it is judged on, which flatters it."
    ]


def _dependence(run: Run) -> list[str]:
    """Return what intervals and tests know of groups and folds."""
    sentences, groups = [], _units(run)
    if groups < run.metrics["n"]:
        sentences.append(f"Intervals and tests count the {groups} groups, as images of a group are alike.")
        if groups < FEW_GROUPS:
            sentences.append(f"{groups} groups are few: intervals can be too short, and tests show little.")
    if run.folds_number > 1:
        sentences.append(
            f"Heads of {run.folds_number} folds share most of their images, so intervals and tests allow for "
            f"{fold_inflation(run.folds_number):.3g} times the variance of independent images. It cannot be measured."
        )
    return sentences


def _units(run: Run) -> int:
    """Return how many groups were evaluated; images where each is its own."""
    return int(run.metrics.get("groups", run.metrics["n"]))


def _random(runs: Sequence[Run]) -> list[str]:
    networks = ", ".join(sorted({run.recipe["backbone"] for run in runs if is_random(run)}))
    return [f"The weights of {networks} are random: a lower bound, not what it is worth."] if networks else []


def _right(run: Run) -> str:
    return f"{run.metrics['correct']} of {run.metrics['n']}"


def _payments(head: Run, extract: float, arms: Sequence[Run]) -> list[BreakEven]:
    cache, fit = f"{head.recipe['backbone']} {head.recipe['layer']}", fit_seconds(head)
    rows = [BreakEven(cache, "extracting again", "heads or folds", extract, each=extract + fit, cached=fit)]
    for arm in arms:
        rows.append(BreakEven(cache, arm.name, "heads or folds", extract, each=fit_seconds(arm), cached=fit))
        if arm.curves:
            epochs = sum(row.get("share", 1.0) for row in arm.curves)  # of all folds
            rows.append(BreakEven(cache, arm.name, "epochs", extract, each=arm.seconds["fit"] / epochs, once=fit))
    return rows
