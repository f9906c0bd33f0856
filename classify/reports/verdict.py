"""The verdict: the result of the planned tests in plain words."""

import math
from collections.abc import Mapping, Sequence

from ...cache.tables import counted
from ...extract.text import few
from ..evaluation.effective_size import FEW_GROUPS, fold_inflation
from ..evaluation.paired_tests import smallest_significant
from ..pages.text import duration, points, probability, ratio
from ..records import contest as asked
from ..records.class_report import with_warning
from ..records.contest import BEST, Comparison, Contest, contest
from ..records.description import leaked, protocol, titles
from ..records.pairs import RunPair
from ..records.ranking import choose, eligible, fit_seconds, is_arm, is_random, repetitions, selected_inside
from ..records.runs import ELSEWHERE, Run, by_images

FEW = 0.1  # where n images cannot show a difference of 10 points, "no difference found" means nothing
NAMED = 3  # rivals that a sentence names


def findings(runs: Sequence[Run]) -> list[str]:
    """Return the verdict as sentences: first the answer, then the evidence, and last what was done.

    Runs on several sets of images have a verdict for each, which begins with the title of the set.
    """
    sentences, sets = [], by_title(runs)
    for title, members in sets.items():
        answer, *evidence = verdict(members)
        answer = f"{title}: {answer}" if len(sets) > 1 else answer
        sentences += [answer, *evidence, *overlap(title, sets), protocol(members)]
    return sentences


def overlap(title: str, sets: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return how many images of a set are of an earlier one, too: as data grow, say."""
    keys = {name: set(runs[0].predictions["key"]) for name, runs in sets.items()}
    before = [name for name in sets if name != title][: list(sets).index(title)]
    shared = [(len(keys[title] & keys[name]), name) for name in before]
    return [
        f"{number} of these {len(keys[title])} images are of “{name}”, too. Runs on different images are not compared."
        for number, name in shared
        if number
    ]


def by_title(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs on each set of images, by the title of the set; raises as :func:`choose` if there are none."""
    choose(runs)
    groups = by_images(runs)
    return dict(zip(titles(groups), groups, strict=True))


def verdict(runs: Sequence[Run]) -> list[str]:
    """Return the verdict on runs on the same images as sentences: first the answer, then the evidence.

    The answer is to the question that the runs ask, see :func:`fc7.classify.records.contest.contest`.

    - p <= 0.05 after Holm's correction: one beats the other.
    - else, where n could not have shown a difference of 10 points even in the best case: too few images to say.
    - else: the two cannot be told apart.
    """
    compared = contest(runs)
    sentences = _answer(compared) if compared.main else [_alone(compared)]
    sentences[0] = with_warning(sentences[0], compared.choice)
    sentences += _baseline(compared) if compared.main else []
    sentences += [*_holds_for(compared), *_dependence(compared.chosen), _how_chosen(compared), *_picked(compared)]
    return [*sentences, *_repeated(compared), *_left_out(compared), *_random(runs)]


# The answer


def _answer(compared: Contest) -> list[str]:
    """Return the answer and the evidence: that of the headline, and the other parts of the question."""
    test = compared.of(compared.question)[0]
    abouts = dict.fromkeys(test.about for test in compared.comparisons if test.about != asked.BASELINE)
    answer, *more = [_part(compared, about) for about in abouts]
    if test.second.trainable and not is_arm(test.first):
        share = ratio(fit_seconds(compared.chosen), fit_seconds(test.second))
        several = len(compared.of(asked.ARMS)) > 1
        answer += (
            f"; once cached, the head took {share} the time{f' of {compared.name(test.second)}' if several else ''}"
        )
    return [
        *(f"{text[0].upper()}{text[1:]}." for text in (answer, *more)),
        _rests_on(compared, test),
        _limit(test.pair),
        _times(compared, test),
    ]


def _part(compared: Contest, about: str) -> str:
    """Return the answer to one part of the question, as a sentence without its end."""
    tests = compared.of(about)
    pair, ours = tests[0].pair, _ours(compared, tests[0])
    same = "the same " if about == asked.DATA else ""
    images = f"{same}{pair.count}{_seen([run for test in tests for run in (test.first, test.second)])}"
    lost = [_name(test) for test in tests if test.lost]
    won = [_name(test) for test in tests if test.won]
    tied = [_name(test) for test in tests if not test.pair.clear]
    short = bool(tied) and pair.smallest_detectable > FEW
    if len(tests) == 1:
        theirs = _theirs(compared, tests[0])
        if won or lost:
            return f"{ours if won else theirs} beats {theirs if won else ours} on {images}"
        if short:
            return f"{images} {'is' if pair.n == 1 else 'are'} too few to say whether {ours} or {theirs} is better"
        return f"{ours} and {theirs} cannot be told apart on {images}"
    best = f"the best head {BEST[about]} " if about in BEST else ""
    every = f"{best}each of the {len(tests)} {_others(compared, about)}"
    every += f" ({_and([_name(test) for test in tests])})" if len(tests) <= NAMED else ""
    if len(tied) == len(tests):
        if short:
            return f"{images} {'is' if pair.n == 1 else 'are'} too few to tell {ours} from {every}"
        return f"{ours} cannot be told apart from {every.replace('each of', 'any of', 1)} on {images}"
    if len(won) == len(tests):
        return f"{ours} beats {every} on {images}"

    def some(names: Sequence[str]) -> str:
        return best + (
            _and(names) if len(names) <= NAMED else f"{len(names)} of the {len(tests)} {_others(compared, about)}"
        )

    rest = [f"beats {some(won)}"] if won else []
    rest += [f"cannot be told apart from {some(tied)}"] if tied else []
    if not lost:
        return f"{ours} {' and '.join(rest)} on {images}"
    which = f", which {' and '.join(rest)}," if rest else ""
    return f"{some(lost)} {'beat' if len(lost) > 1 else 'beats'} {ours}{which} on {images}"


def _others(compared: Contest, about: str) -> str:
    """Return what the others are called, if they are several."""
    if about == asked.ARMS:
        tests = compared.of(about)
        if not all(test.second.trainable for test in tests):
            return "rivals"
        return "other arms" if is_arm(compared.chosen) else "fine-tuning arms"
    return {asked.SETTINGS: "other settings", asked.DATA: "earlier states of the data"}.get(about, f"other {about}")


def _ours(compared: Contest, test: Comparison) -> str:
    """Return what the answer calls the first; a name is in quotes, so a sentence can begin with it unchanged."""
    if test.about in BEST:
        return f"the best head {BEST[test.about]} {test.sides[0]}"
    if test.about == asked.ARMS and not is_arm(compared.chosen):
        return "the cached head"
    return _quoted(compared.chosen, compared.name(compared.chosen))


def _theirs(compared: Contest, test: Comparison) -> str:
    if test.about in BEST:
        return f"the best head {BEST[test.about]} {test.sides[1]}"
    if test.about == asked.ARMS and test.second.trainable and not is_arm(compared.chosen):
        return "fine-tuning"
    return _name(test)


def _name(test: Comparison) -> str:
    """Return the name of the second side, as it stands in a list."""
    return test.sides[1] if test.about in BEST else _quoted(test.second, test.sides[1])


def _quoted(run: Run, name: str) -> str:
    return f"“{name.removeprefix(f'{ELSEWHERE} ')}” (from elsewhere)" if run.elsewhere else f"“{name}”"


def _and(names: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return few(names) if len(names) < 2 else f"{', '.join(names[:-1])} and {names[-1]}"


def _seen(runs: Sequence[Run]) -> str:
    """Return how many evaluated images the fit has seen, as it follows their number."""
    return f" ({leaked(runs)} of them fitted on, too, which is optimistic)" if leaked(runs) else ""


# The evidence


def _rests_on(compared: Contest, test: Comparison) -> str:
    pair, planned = test.pair, len(compared.comparisons)
    (first, second), (low, high) = pair.names, pair.interval
    first = first.replace("the best", "The best", 1) if test.anew else first
    said = f"{first} gets {_right(test.first)} right, {second} {_right(test.second)}"
    if not pair.only_first + pair.only_second:
        return (
            f"{said}, and the same ones: they differ on no image. So few cannot rule out a difference of less than "
            f"{points(high, sign=False)} points on new ones."
        )
    corrected = f", {probability(pair.p_corrected)} after Holm's correction for {planned} planned comparisons"
    return (
        f"{said}; {pair.only_first} are right only with the first, {pair.only_second} only with the second: "
        f"{points(pair.difference)} points (interval {points(low)} to {points(high)}), {pair.test} "
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


def _times(compared: Contest, test: Comparison) -> str:
    chosen, rival = compared.chosen if test.about == asked.ARMS else test.first, test.second
    names = [compared.name(chosen), compared.name(rival)]
    untimed = [name for name, run in zip(names, (chosen, rival), strict=True) if run.elsewhere]
    if untimed:
        return f"What {' and '.join(untimed)} cost is not known."
    text = f"{names[0]} took {duration(fit_seconds(chosen))}, {names[1]} {duration(fit_seconds(rival))}"
    extract = chosen.seconds.get("extract", 0.0)
    if not extract or chosen.trainable:
        return f"{text}."
    once = f"{text}; the extraction that filled the cache took {duration(extract)}, once"
    if not rival.trainable:
        return f"{once}."
    return f"{once}, and with it the head took {ratio(extract + fit_seconds(chosen), fit_seconds(rival))} the time."


def _baseline(compared: Contest) -> list[str]:
    test = compared.baseline
    if test is None:
        return []
    name = "the choice made in each fold" if test.anew else compared.name(compared.chosen)
    subject, p = f"Always answering the most frequent class gets {_right(test.second)} right", test.pair.p_corrected
    if not test.pair.clear:
        return [f"{subject}, and {name} cannot be told apart from that ({probability(p)})."]
    return [f"{subject}; {name} is {'clearly better' if test.won else 'clearly worse'} ({probability(p)})."]


def _alone(compared: Contest) -> str:
    """Return the answer where there is nothing to compare a run with but the baseline."""
    chosen, runs, test = compared.chosen, compared.runs, compared.baseline
    low, high = chosen.metrics["interval"]
    missing = "there is no other run on the same images to compare it with"
    if chosen.old:
        missing = "records of an earlier fc7 do not say what was predicted, so nothing can be tested"
    elif test:
        found = "beats" if test.won else "is beaten by" if test.lost else "cannot be told apart from"
        right, p = _right(test.second), probability(test.pair.p_corrected)
        missing = f"it {found} the baseline, which always answers the most frequent class ({right}, {p})"
    elif any(chosen in same and len(same) > 1 for same in repetitions(eligible(runs))):
        missing = "the other runs on the same images are repetitions with other seeds"
    elif len(eligible(runs)) < len(runs):
        missing = "the other runs on these images are old, or evaluated on images that they were fitted on"
    short = " These are too few images to say much." if smallest_significant(_units(chosen)) > FEW else ""
    share = f"{100 * chosen.metrics['accuracy']:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    return f"{compared.name(chosen)} gets {_right(chosen)} right{_seen([chosen])} ({share}); {missing}.{short}"


# What it holds for, and how it was come by


def _holds_for(compared: Contest) -> list[str]:
    """Return over what "beats" and "cannot be told apart" generalise."""
    if not compared.comparisons:
        return []
    tested = [run for test in compared.comparisons for run in (test.first, test.second)]
    if leaked(tested):
        return ["As images that were fitted on are among those judged, none of this holds for new images."]
    units = "groups" if _units(compared.chosen) < compared.chosen.metrics["n"] else "images"
    how = "for heads fitted as these were" if compared.chosen.folds_number > 1 else "for these fitted runs"
    return [
        f"This holds for new {units} like these, {how}. Other data, other training images or other seeds can turn it."
    ]


def _how_chosen(compared: Contest) -> str:
    chosen, name, among = compared.chosen, compared.name(compared.chosen), compared.candidates
    kind = "fine-tuning arms" if all(map(is_arm, among)) else "heads"
    if len(among) < 2:
        return f"{name} is the only one of its kind here, so nothing was chosen."
    rest = len(compared.runs) - len(among)
    of = f"{len(among)} {kind}" + (f" (of {len(compared.runs)} runs; {_rest(compared)})" if rest else "")
    if selected_inside(among):
        inside = chosen.selection["log_loss"]
        how = f"{name} was chosen among {of} by its log loss"
        if chosen.folds_number == 1:
            return f"{how} inside train ({inside:.3f}), not by its accuracy on the images judged."
        how += f" ({inside:.3f}) in folds of the images that it is judged on, which flatters it."
        if compared.choice is not chosen:
            return f"{how} {_anew(compared)}"
        return f"{how} The choice cannot be made anew in each fold, as the runs have different ones."
    why = "not every run records a log loss inside train"
    return f"{name} was chosen among {of} by its accuracy on the images it is judged on, which flatters it: {why}."


def _rest(compared: Contest) -> str:
    """Return what the other runs are, by their number."""
    others = [run for run in compared.runs if run not in compared.candidates]
    kinds = {
        "old or leaked": [run for run in others if run not in eligible(compared.runs)],
        "baseline": [run for run in others if not is_arm(run) and run.head == "baseline"],
        "fine-tuned": [run for run in others if run.trainable],
        "from elsewhere": [run for run in others if run.elsewhere],
    }
    told, texts = set(), []
    for kind, runs in kinds.items():
        fresh = [run for run in runs if run.id not in told]
        told |= {run.id for run in fresh}
        texts += [counted(len(fresh), kind) if kind == "baseline" else f"{len(fresh)} {kind}"] if fresh else []
    more = len([run for run in others if run.id not in told])
    return ", ".join(texts + ([f"{more} other seeds or data"] if more else []))


def _anew(compared: Contest) -> str:
    """Return what the choice is worth that has not seen the images that it is judged on."""
    (low, high), metrics = compared.choice.metrics["interval"], compared.choice.metrics
    more = metrics["accuracy"] - compared.chosen.metrics["accuracy"]
    change = f"{points(more)} points" if round(1000 * more) else "no more and no fewer"
    return (
        f"Chosen anew in each fold, without the images of that fold, the choice gets {_right(compared.choice)} right "
        f"({100 * metrics['accuracy']:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %), {change}. That is "
        "what to expect of it on new images."
    )


def _picked(compared: Contest) -> list[str]:
    """Return a warning if a run is spoken of because of its accuracy on the evaluated images, which favours it."""
    tests = compared.of(compared.question)
    if compared.question not in (asked.ARMS, asked.HEADS) or len(tests) < 2:
        return []
    others, name = _others(compared, compared.question), tests[0].pair.names[1]
    return [
        f"Of the {len(tests)} {others}, {name} is the hardest to beat on the images that all are judged on. That "
        "flatters its accuracy; the tests are corrected for all of them."
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
            f"{fold_inflation(run.folds_number):.3g} times the variance of independent images, as "
            "Nadeau and Bengio do. It cannot be measured."
        )
    return sentences


def _repeated(compared: Contest) -> list[str]:
    """Return how far the accuracy of the chosen run goes with other seeds."""
    same = next((runs for runs in repetitions(compared.runs) if compared.chosen in runs), [])
    if len(same) < 2:
        return []
    shares = sorted(100 * run.metrics["accuracy"] for run in same)
    seeds = [str(run.protocol.get("random_state", 0)) for run in same]
    return [
        f"It was run with {len(same)} seeds ({_and(seeds)}): {shares[0]:.1f} to {shares[-1]:.1f} % right. The "
        "verdict takes the smallest seed of each run, and compares no seed with another."
    ]


def _left_out(compared: Contest) -> list[str]:
    """Return how many runs the verdict does not speak of, and why."""
    able = eligible(compared.runs)
    old = sum(run.old for run in compared.runs if run not in able)
    dirty = len(compared.runs) - len(able) - old
    texts = [f"{old} of an earlier fc7, whose records do not say what was predicted"] if old else []
    texts += [f"{dirty} evaluated on images that were fitted on, too, which is optimistic"] if dirty else []
    return [f"Left out of the verdict: {'; '.join(texts)}."] if texts else []


def _random(runs: Sequence[Run]) -> list[str]:
    networks = ", ".join(sorted({run.recipe["backbone"] for run in runs if is_random(run)}))
    return [f"The weights of {networks} are random: a lower bound, not what it is worth."] if networks else []


def _units(run: Run) -> int:
    """Return how many groups were evaluated; images where each is its own."""
    return int(run.metrics.get("groups", run.metrics["n"]))


def _right(run: Run) -> str:
    return f"{run.metrics['correct']} of {run.metrics['n']}"
