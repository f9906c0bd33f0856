"""What a page says once, in plain English: what was held out, and what intervals and words mean."""

from collections.abc import Sequence

from ...cache.tables import counted
from ..records import description
from ..records.contest import Contest
from ..records.runs import Run
from .reach import FEW, compares_leaked


def reading(contests: Sequence[Contest]) -> list[tuple[str, str]]:
    """Return the words that a page uses and what they mean, for the runs on all sets of images."""
    runs = [run for compared in contests for run in compared.runs]
    leaky = list(map(compares_leaked, contests))
    texts = [(f"What was {'not ' if all(leaky) else ''}held out", text) for text in _held_out(runs)]
    grouped = any(run.in_groups for run in runs)
    interval = (
        "Of an accuracy: in 95 of 100 studies on as many new images like these, such an interval holds the accuracy on "
        "all images like them. Of a difference: the same; where Holm's correction for several comparisons asks for "
        "more than 95 %, it is as much wider, and says its level. It includes 0 if no winner is named, and only then."
    )
    interval += " Images of one group are alike, so groups are counted, not images." if grouped else ""
    interval += " Where images judged were fitted on, too, it says nothing of new ones." if any(leaky) else ""
    texts.append(("Interval", interval))
    numbers = dict.fromkeys(len(compared.comparisons) for compared in contests if compared.comparisons)
    if not numbers:
        return texts
    made = "" if list(numbers) == [1] else f", over the {' or '.join(map(str, numbers))} comparisons together"
    again = "for heads fitted in the same way" if any(run.folds_number > 1 for run in runs) else "for these fitted runs"
    units = "groups" if grouped else "images"
    holds = f"It holds {again}, on new {units} like these"
    if any(run.elsewhere for run in runs):
        holds += ", if predictions from elsewhere were fitted on none of those judged"
    holds += ". Other data, other training images or other seeds can reverse it."
    if any(leaky):
        holds += " Where images judged were fitted on, too, nothing of it holds for new images."
    beats = (
        "“Beats”, “is better”",
        "One gets more of the same images right than the other, by more than chance would explain: if the two were "
        f"equally good, at most 5 of 100 studies would say so{made}. {holds}",
    )
    power = (
        "“Can be significant”, “found four times in five”",
        "Chance makes small differences. With so few images one under the first figure is never called a win, even "
        "if every image that only one side gets right favours the same side. The second figure is larger: if that "
        "is the true difference, four of five studies like this one find it, where as many images as here are "
        "right with only one side; without a second figure these are too few for that. Both grow with the number "
        "of comparisons.",
    )
    tied = (
        "“Cannot be told apart”",
        "The test found no winner. They need not be equally good: the interval of the difference says by how much "
        "either may be better.",
    )
    if all(leaky):
        beats = (
            "“Gets more right than”",
            "More of the images judged, by more than chance would explain. As some of them were fitted on, too, this "
            "says nothing of new images.",
        )
        return [*texts, beats, tied, *_too_few(contests)]
    return [*texts, beats, tied, *_too_few(contests), power]


def _too_few(contests: Sequence[Contest]) -> list[tuple[str, str]]:
    pairs = [test.pair for compared in contests for test in compared.comparisons]
    if not any(pair.smallest_detectable > FEW and not pair.clear for pair in pairs):
        return []
    words = "The test found no winner. With so few images it could have found one only if the difference were "
    return [("“Too few to say”", f"{words}more than 10 points.")]


def _held_out(runs: Sequence[Run]) -> list[str]:
    """Return what was held out from what, for each way in which runs were evaluated."""
    texts = []
    for place in dict.fromkeys(description.on(run) for run in runs):
        members = [run for run in runs if description.on(run) == place]
        own = [run for run in members if not run.elsewhere]
        if "cross-validation" in place:
            text = (
                f"{place[:1].upper()}{place[1:]}, every image was predicted once, by a head that was fitted on the "
                "other folds and had not seen it. What a head has to choose was chosen inside those other folds. Which "
                "head to speak of is chosen on all folds, so the verdict makes that choice anew in each fold, too."
            )
        else:
            text = (
                f"The images of {place.removeprefix('on ')} were held out. On training images alone runs were fitted, "
                "and all was chosen that they have to choose. The held-out images were predicted once, at the end."
            )
        leaky = [run for run in own if description.leaked([run])]
        seen = f"{counted(description.leaked(own), 'was', 'were')} fitted on, too"
        if leaky and len(leaky) == len(own):
            text = (
                f"Of the images judged, those of {place.removeprefix('on ')}, {seen}: figures, intervals and tests are "
                "optimistic, and nothing of them holds for new images. All that runs have to choose was chosen on "
                "training images."
            )
        elif leaky:
            text += (
                f" But of the images judged {seen}, in {len(leaky)} of {len(own)} runs: the figures of such runs, and "
                "their intervals, are optimistic, and nothing of them holds for new images."
            )
        if len(own) < len(members):
            text += " What predictions from elsewhere were fitted on is not known, nor whether it was these images."
        texts.append(text)
    return texts
