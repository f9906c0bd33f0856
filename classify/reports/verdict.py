"""The verdict: the result of the planned tests in plain words."""

import math
from collections.abc import Mapping, Sequence

from ...cache.tables import are
from ...extract.text import listed
from ..evaluation.paired_tests import smallest_significant
from ..pages.text import duration, percent, points, probability, ratio
from ..records import contest as asked
from ..records.class_report import ClassReport, with_warning
from ..records.contest import BEST, Comparison, Contest, contest
from ..records.description import leaked, protocol, titles
from ..records.pairs import RunPair
from ..records.ranking import choose, eligible, fit_seconds, fitted, is_arm, repetitions, sorts
from ..records.runs import Run, by_images
from .reach import (
    FEW,
    compares_leaked,
    dependence,
    holds_for,
    how_chosen,
    left_out,
    quoted,
    random_weights,
    repeated,
    right,
    units,
)

NAMED = 3  # rivals that a sentence names
MOST_FREQUENT = "the class that is most frequent among the fitted images"


def findings(runs: Sequence[Run]) -> list[str]:
    """Return the verdict as sentences: first the answer, then the evidence, and last what was done.

    Runs on several sets of images have a verdict for each, which begins with the title of the set.
    """
    sentences, sets = [], by_title(runs)
    for title, members in sets.items():
        answer, *evidence = verdict(members)
        answer = f"{title}: {answer}" if len(sets) > 1 else answer
        sentences += [answer, *overlap(title, sets), *evidence, protocol(members)]
    return sentences


def overlap(title: str, sets: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return how many images of a set are of an earlier one, too: as data grow, say."""
    keys = {name: set(runs[0].predictions["key"]) for name, runs in sets.items()}
    before = [name for name in sets if name != title][: list(sets).index(title)]
    shared = [(len(keys[title] & keys[name]), name) for name in before]
    return [
        f"{'All of these' if number == len(keys[title]) else f'{number:,} of these {len(keys[title]):,}'} images "
        f"{'are' if number == len(keys[title]) else are(number)} in "
        f"“{name}”, too, so the two results are not independent."
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
    sentences[0] = _warned(compared, sentences[0])
    sentences += _baseline(compared) if compared.main else []
    sentences += [*holds_for(compared), *dependence(compared.chosen), how_chosen(compared), *_picked(compared)]
    return [*sentences, *repeated(compared), *left_out(compared), *random_weights(runs)]


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
        *_best(compared),
        *_unlike(compared),
        _rests_on(compared, test),
        *([] if compares_leaked(compared) else [_limit(test.pair)]),
        _times(compared, test),
    ]


def _warned(compared: Contest, answer: str) -> str:
    """Return the answer; where accuracy misleads, with the balanced accuracy of both sides."""
    test = compared.main
    if test is None:
        return with_warning(answer, compared.choice)
    ahead, other = _sides(compared, test)
    if not ahead[1].misleading or _disagree(compared, test):
        return answer
    both = f"balanced accuracy of {ahead[0]} is {_balanced(ahead[1])} %, of {other[0]} {_balanced(other[1])} %"
    return f"By accuracy, {answer[0].lower()}{answer.removesuffix('.')[1:]}; {both}{_lost(ahead, other)}."


def _sides(compared: Contest, test: Comparison) -> list[tuple[str, ClassReport]]:
    """Return name and classes of the side with more right by the test, else of the first; then of the other."""
    sides = [
        (_ours(compared, test), ClassReport(test.first)),
        (_theirs(compared, test), ClassReport(test.second)),
    ]
    return sides[::-1] if test.lost else sides


def _disagree(compared: Contest, test: Comparison) -> bool:
    """Return whether accuracy and balanced accuracy favour different sides of the only comparison of its kind."""
    (_, ahead), (_, other) = _sides(compared, test)
    behind = ahead.balanced_accuracy.value < other.balanced_accuracy.value
    return test.pair.clear and ahead.misleading and behind and len(compared.of(test.about)) == 1


def _balanced(report: ClassReport) -> str:
    return percent(report.balanced_accuracy.value)


def _lost(*sides: tuple[str, ClassReport]) -> str:
    return "".join(f"; with {name} {report.lost}" for name, report in sides if report.lost)


def better(compared: Contest) -> str:
    """Return what is said of the side of a comparison that has more right, by its test."""
    if compares_leaked(compared) or (compared.main and _disagree(compared, compared.main)):
        return "gets more right"
    return "is better"


def _part(compared: Contest, about: str) -> str:
    """Return the answer to one part of the question, as a sentence without its end."""
    tests = compared.of(about)
    pair, ours = tests[0].pair, _ours(compared, tests[0])
    seen = _seen([run for test in tests for run in (test.first, test.second)])
    other = "other " if about == asked.DATA and pair.folds == 1 and not seen else ""  # than those that were fitted on
    count = pair.count.replace(" image", f" {other}image", 1)
    images, judged = f"{count}{seen}", f" on {count}{seen}"
    if about == asked.DATA:
        judged = f", judged on the same {count}{seen}"
    lost = [_name(test) for test in tests if test.lost]
    won = [_name(test) for test in tests if test.won]
    tied = [_name(test) for test in tests if not test.pair.clear]
    short = bool(tied) and pair.smallest_detectable > FEW
    beats, beat = ("gets more right than", "get more right than") if seen else ("beats", "beat")
    if len(tests) == 1:
        return _of_two(compared, tests[0], images, judged, beats)
    best = f"the best head {BEST[about]} " if about in BEST else ""
    every = f"{best}each of the {len(tests)} {_others(compared, about)}"
    every += f" ({listed([_name(test) for test in tests])})" if len(tests) <= NAMED else ""
    if len(tied) == len(tests):
        if short:
            return f"{images} {'is' if pair.n == 1 else 'are'} too few to tell {ours} from {every}"
        return f"{ours} cannot be told apart from {every.replace('each of', 'any of', 1)}{judged}"
    if len(won) == len(tests):
        return f"{ours} {beats} {every}{judged}"

    def some(names: Sequence[str]) -> str:
        return best + (
            listed(names) if len(names) <= NAMED else f"{len(names)} of the {len(tests)} {_others(compared, about)}"
        )

    rest = [f"{beats} {some(won)}"] if won else []
    rest += [f"cannot be told apart from {some(tied)}"] if tied else []
    if not lost:
        return f"{ours} {' and '.join(rest)}{judged}"
    which = f", which {' and '.join(rest)}{'' if judged.startswith(',') else ','}" if rest else ""
    return f"{some(lost)} {beat if len(lost) > 1 else beats} {ours}{which}{judged}"


def _of_two(compared: Contest, test: Comparison, images: str, judged: str, beats: str) -> str:
    """Return the answer to a part of the question that has one comparison."""
    (first, ahead), (second, behind) = _sides(compared, test)
    if _disagree(compared, test):
        shares = [percent(report.run.metrics["accuracy"]) for report in (ahead, behind)]
        return (
            f"on {images}, {first} gets more right in all ({shares[0]} against {shares[1]} %), {second} more in the "
            f"mean over the classes (balanced accuracy {_balanced(behind)} against {_balanced(ahead)} %)"
            f"{_lost((first, ahead))}"
        )
    if test.pair.clear:
        return f"{first} {beats} {second}{judged}"
    if test.pair.smallest_detectable > FEW:
        return f"{images} {'is' if test.pair.n == 1 else 'are'} too few to say whether {first} or {second} is better"
    return f"{first} and {second} cannot be told apart{judged}"


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
    return quoted(compared.chosen, compared.name(compared.chosen))


def _theirs(compared: Contest, test: Comparison) -> str:
    if test.about in BEST:
        return f"the best head {BEST[test.about]} {test.sides[1]}"
    if test.about == asked.ARMS and test.second.trainable and not is_arm(compared.chosen):
        return "fine-tuning"
    return _name(test)


def _name(test: Comparison) -> str:
    """Return the name of the second side, as it stands in a list: of other heads on the same rows only the head."""
    if test.about in BEST:
        return test.sides[1]
    shared = f"{test.first.recipe['backbone']} {test.first.recipe['layer']} " if test.about == asked.HEADS else ""
    return quoted(test.second, test.sides[1].removeprefix(shared))


def _seen(runs: Sequence[Run]) -> str:
    """Return how many evaluated images the fit has seen, as it follows their number."""
    return f" ({leaked(runs)} of them fitted on, too: this says nothing of new images)" if leaked(runs) else ""


# The evidence


def _best(compared: Contest) -> list[str]:
    """Return what the best head of a side is."""
    if not any(test.about in BEST for test in compared.comparisons):
        return []
    anew = f", {asked.ANEW}" if any(test.about in BEST and test.anew for test in compared.comparisons) else ""
    if all(run.selection.get("log_loss") is not None for run in sorts(eligible(compared.runs))[1]):
        return [
            f"The best head of each side is the one with the least log loss inside the fitted images{anew}; another "
            "can get more of the images judged right."
        ]
    return [
        "The best head of each side is the one with the least log loss inside the fitted images, or, where not every "
        "head of the side has one, the one with the most of the images judged right, which flatters it."
    ]


def _unlike(compared: Contest) -> list[str]:
    """Return on how many images compared runs were fitted where it differs; of grown data the answer says it."""
    said, numbers = [], dict[int, dict[str, None]]()
    if grown := compared.of(asked.DATA):
        earlier = listed([test.sides[1] for test in grown])
        said.append(
            f"A record says on how many images a run was fitted, not on which: whether the {earlier} are among the "
            f"{grown[0].sides[0]} is not known here."
        )
    for test in compared.comparisons:
        for run in (test.first, test.second) if test.about not in (asked.DATA, asked.BASELINE) else ():
            numbers.setdefault(fitted(run), {})[compared.name(run)] = None
    numbers.pop(0, None)  # not known
    if len(numbers) > 1:
        told = [f"{_some(list(names))} on {number}" for number, names in sorted(numbers.items(), reverse=True)]
        said.append(f"Not all were fitted on as many images ({'; '.join(told)}), which alone can make a difference.")
    return said


def _some(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= NAMED else f"{len(names)} runs"


def _rests_on(compared: Contest, test: Comparison) -> str:
    pair, planned = test.pair, len(compared.comparisons)
    (first, second), (low, high) = pair.names, pair.interval
    first = first.replace("the best", "The best", 1) if test.anew else first
    said = f"{first} gets {right(test.first)} right, {second} {right(test.second)}"
    if not pair.only_first + pair.only_second:
        return (
            f"{said}, and the same ones: they differ on no image. So few cannot rule out a difference of less than "
            f"{points(high, sign=False)} points{'' if compares_leaked(compared) else ' on new ones'}."
        )
    corrected = f", {probability(pair.p_corrected)} after Holm's correction for {planned} planned comparisons"
    are_right = f"{pair.only_first} {are(pair.only_first)} right"
    return (
        f"{said}; {are_right} only with the first, {pair.only_second} only with the second: "
        f"{points(pair.difference)} points ({pair.confidence} interval {points(low)} to {points(high)}), {pair.test} "
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
    untimed = [quoted(run, name) for name, run in zip(names, (chosen, rival), strict=True) if run.elsewhere]
    if untimed:
        return f"What {' and '.join(untimed)} cost is not known."
    text = f"{names[0]} took {duration(fit_seconds(chosen))}, {names[1]} {duration(fit_seconds(rival))}"
    extract = chosen.seconds.get("extract", 0.0)
    if not extract or chosen.trainable:
        return f"{text}."
    once = f"{text}; the extraction that filled the cache took {duration(extract)}, once"
    if not rival.trainable:
        return f"{once}."
    share = ratio(extract + fit_seconds(chosen), fit_seconds(rival))
    return f"{once}: the first head on these images takes {share} the time with it, each further one the share above."


def _baseline(compared: Contest) -> list[str]:
    test = compared.baseline
    if test is None:
        return []
    name = "the choice made in each fold" if test.anew else compared.name(compared.chosen)
    subject, p = f"Always answering {MOST_FREQUENT} gets {right(test.second)} right", test.pair.p_corrected
    if compares_leaked(compared):
        return [f"{subject}, {name} {right(test.first)}."]
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
        gets, p = right(test.second), probability(test.pair.p_corrected)
        missing = f"it {found} the baseline, which always answers {MOST_FREQUENT} ({gets}, {p})"
        if compares_leaked(compared):
            missing = f"the baseline, which always answers {MOST_FREQUENT}, gets {gets}"
    elif any(chosen in same and len(same) > 1 for same in repetitions(eligible(runs))):
        missing = "the other runs on the same images are repetitions with other seeds"
    elif len(eligible(runs)) < len(runs):
        missing = "the other runs on these images are old, or evaluated on images that they were fitted on"
    short = " These are too few images to say much." if smallest_significant(units(chosen)) > FEW else ""
    share = f"{percent(chosen.metrics['accuracy'])} %, 95 % interval {percent(low)} to {percent(high)} %"
    return f"{compared.name(chosen)} gets {right(chosen)} right{_seen([chosen])} ({share}); {missing}.{short}"


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
