"""For what a verdict holds, and how the run that it is about was come by, in plain words."""

from collections.abc import Sequence

from ...cache.tables import are, counted
from ...extract.text import listed
from ..evaluation.effective_size import FEW_GROUPS, fold_inflation
from ..pages.text import percent
from ..records.contest import Contest
from ..records.description import leaked
from ..records.ranking import eligible, fitted, is_arm, is_random, repetitions, selected_inside
from ..records.runs import ELSEWHERE, Run

FEW = 0.1  # where n images cannot show a difference of 10 points, "no difference found" means nothing


def holds_for(compared: Contest) -> list[str]:
    """Return over what "beats" and "cannot be told apart" generalise."""
    if not compared.comparisons:
        return []
    if compares_leaked(compared):
        return ["Nothing here holds for new images, as some of the images judged were fitted on, too."]
    of = "groups" if units(compared.chosen) < compared.chosen.metrics["n"] else "images"
    how = "for heads fitted as these were" if compared.chosen.folds_number > 1 else "for these fitted runs"
    foreign = list({run.id: quoted(run, compared.name(run)) for run in _tested(compared) if run.elsewhere}.values())
    if foreign:
        how += (
            f", but only if no image judged was among those that {listed(foreign)} {'were' if foreign[1:] else 'was'} "
        )
        how += "fitted on, which is not known"
    return [
        f"This holds for new {of} like these, {how}. Other data, other training images or other seeds can reverse it."
    ]


def compares_leaked(compared: Contest) -> bool:
    """Return whether the verdict is about runs that were fitted on some of the images judged."""
    return leaked(_tested(compared)) > 0


def _tested(compared: Contest) -> list[Run]:
    return [run for test in compared.comparisons for run in (test.first, test.second)]


def how_chosen(compared: Contest) -> str:
    """Return among which runs the run of the verdict was chosen, and by what."""
    chosen, name, among = compared.chosen, compared.name(compared.chosen), compared.candidates
    kind = "fine-tuning arms" if all(map(is_arm, among)) else "heads"
    if len(among) < 2:
        return f"{name} is the only one of its kind here, so nothing was chosen."
    rest = len(compared.runs) - len(among)
    data = _of_data(compared)
    of = f"{'the ' if data else ''}{len(among)} {kind}{data}"
    of += f" (of {len(compared.runs)} runs; {_rest(compared)})" if rest else ""
    if selected_inside(among):
        inside = chosen.selection["log_loss"]
        how = f"{name} was chosen among {of} by its log loss"
        if chosen.folds_number == 1:
            return f"{how} inside train ({inside:.3f}), not by its accuracy on the images judged."
        how += f" ({inside:.3f}) in folds of the images that it is judged on, which can flatter it."
        if compared.choice is not chosen:
            return f"{how} {_anew(compared)}"
        return f"{how} The choice cannot be made anew in each fold, as the runs have different ones."
    why = "not every run records a log loss inside train"
    return f"{name} was chosen among {of} by its accuracy on the images it is judged on, which flatters it: {why}."


def _of_data(compared: Contest) -> str:
    """Return which data the runs were fitted on that one was chosen among, where there are several."""
    others = _other_data(compared)
    return (
        f" that were fitted on {'the most images' if _fewer(compared, others) else 'the same data'}" if others else ""
    )


def _fewer(compared: Contest, others: Sequence[Run]) -> bool:
    return all(fitted(run) < fitted(compared.chosen) for run in others)


def _other_data(compared: Contest) -> list[Run]:
    own = compared.chosen.data.get("fingerprint")
    return [run for run in compared.runs if not run.elsewhere and run.data.get("fingerprint") != own]


def _rest(compared: Contest) -> str:
    """Return what the other runs are, by their number."""
    others = [run for run in compared.runs if run not in compared.candidates]
    grown = _other_data(compared)
    kinds = {
        "old or leaked": [run for run in others if run not in eligible(compared.runs)],
        "baseline": [run for run in others if not is_arm(run) and run.head == "baseline"],
        "fine-tuned": [run for run in others if run.trainable],
        "from elsewhere": [run for run in others if run.elsewhere],
        f"fitted on {'fewer images' if _fewer(compared, grown) else 'other data'}": grown,
    }
    told, texts = set(), []
    for kind, runs in kinds.items():
        fresh = [run for run in runs if run.id not in told]
        told |= {run.id for run in fresh}
        texts += [counted(len(fresh), kind) if kind == "baseline" else f"{len(fresh)} {kind}"] if fresh else []
    more = len([run for run in others if run.id not in told])
    return ", ".join(texts + ([counted(more, "other seed")] if more else []))


def _anew(compared: Contest) -> str:
    """Return what the choice is worth that has not seen the images that it is judged on."""
    (low, high), metrics = compared.choice.metrics["interval"], compared.choice.metrics
    expected = "" if leaked([compared.choice]) else ": that is what to expect of such a choice on new images"
    return (
        f"Chosen anew in each fold among these {len(compared.candidates)}, without the images of that fold, the choice "
        f"gets {right(compared.choice)} right ({percent(metrics['accuracy'])} %, 95 % interval {percent(low)} to "
        f"{percent(high)} %){expected}."
    )


def dependence(run: Run) -> list[str]:
    """Return what intervals and tests know of groups and folds."""
    sentences, groups = [], units(run)
    if groups < run.metrics["n"]:
        sentences.append(f"Intervals and tests count the {counted(groups, 'group')}, as images of a group are alike.")
        if groups < FEW_GROUPS:
            sentences.append(
                f"{counted(groups, 'group')} {are(groups)} few: intervals can be too short, and tests show little."
            )
    if run.folds_number > 1:
        sentences.append(
            f"Heads of {run.folds_number} folds {_shared(run.folds_number)}, so intervals and tests allow for "
            f"{fold_inflation(run.folds_number):.3g} times the variance of independent images, as "
            "Nadeau and Bengio do. That variance cannot be measured."
        )
    return sentences


def _shared(folds: int) -> str:
    """Return what two heads share of the ``k - 1`` folds that each is fitted on: ``k - 2`` of them."""
    if folds == 2:
        return "are fitted on the images that the other is judged on"
    return f"share {'half' if folds == 3 else 'most'} of the images that they are fitted on"


def repeated(compared: Contest) -> list[str]:
    """Return how far the accuracy of the chosen run goes with other seeds."""
    same = next((runs for runs in repetitions(compared.runs) if compared.chosen in runs), [])
    if len(same) < 2:
        return []
    shares = sorted(run.metrics["accuracy"] for run in same)
    seeds = [str(run.protocol.get("random_state", 0)) for run in same]
    return [
        f"It was run with {len(same)} seeds ({listed(seeds)}): {percent(shares[0])} to {percent(shares[-1])} % right. "
        "The verdict takes the smallest seed of each run, and compares no seed with another."
    ]


def left_out(compared: Contest) -> list[str]:
    """Return how many runs the verdict does not speak of, and why."""
    able = eligible(compared.runs)
    old = sum(run.old for run in compared.runs if run not in able)
    dirty = len(compared.runs) - len(able) - old
    texts = [f"{old} of an earlier fc7, whose records do not say what was predicted"] if old else []
    texts += [f"{dirty} evaluated on images that were fitted on, too, which is optimistic"] if dirty else []
    return [f"Left out of the verdict: {'; '.join(texts)}."] if texts else []


def random_weights(runs: Sequence[Run]) -> list[str]:
    """Return a warning about backbones whose weights are random."""
    networks = ", ".join(sorted({run.recipe["backbone"] for run in runs if is_random(run)}))
    return [f"The weights of {networks} are random: a lower bound, not what it is worth."] if networks else []


def units(run: Run) -> int:
    """Return how many groups were evaluated; images where each is its own."""
    return int(run.metrics.get("groups", run.metrics["n"]))


def right(run: Run) -> str:
    """Return how many images a run gets right, as ``144 of 153``."""
    return f"{run.metrics['correct']} of {run.metrics['n']}"


def quoted(run: Run, name: str) -> str:
    """Return what a sentence calls a run; a name is in quotes, so a sentence can begin with it unchanged."""
    return f"“{name.removeprefix(f'{ELSEWHERE} ')}” (from elsewhere)" if run.elsewhere else f"“{name}”"
