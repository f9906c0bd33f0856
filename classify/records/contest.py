"""What runs on the same images ask, and the tests that answer it: one family of comparisons for whatever shows them."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..pages.text import without_folders
from .choice import choice_in_folds
from .description import TAKES_NONE, labels, settings
from .pairs import RunPair, compare_planned
from .ranking import eligible, first_seeds, fitted, newest, ranked, selected_inside, sorts
from .runs import Run

ARMS, BACKBONES, LAYERS, SETTINGS, DATA = "arms", "backbones", "layers", "settings", "data"
HEADS, BASELINE = "heads", "baseline"
BEST = {BACKBONES: "on", LAYERS: "on", SETTINGS: "with", DATA: "fitted on"}  # the best head of each is compared
ANEW = "chosen anew in each fold"


@dataclass(frozen=True)
class Comparison:
    """A planned comparison."""

    # The part of the question that it answers: `arms` (the cached head against fine-tuning and predictions from
    # elsewhere), `backbones`, `layers`, `settings` or `data` (the best head of each against each), `heads` (the chosen
    # one against the others), `baseline`.
    about: str
    # The runs; where the choice among heads is made anew in each fold, with the predictions of that choice.
    first: Run
    second: Run
    sides: tuple[str, str]  # what the two stand for: a backbone, a layer, settings, data; a run's name elsewhere
    # The test. `second` is better where its difference is negative.
    pair: RunPair

    @property
    def won(self) -> bool:
        """Whether the first is better, by the test."""
        return self.pair.clear and self.pair.difference > 0

    @property
    def lost(self) -> bool:
        """Whether the second is better, by the test."""
        return self.pair.clear and self.pair.difference < 0

    @property
    def anew(self) -> bool:
        """Whether the first is the choice that is made anew in each fold."""
        return self.pair.names[0].endswith(f"({ANEW})")

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return {"about": self.about, "sides": list(self.sides), **self.pair.to_dict()}


@dataclass(frozen=True)
class Contest:
    """What the verdict compares of runs on the same images."""

    runs: Sequence[Run]  # all of them
    chosen: Run  # the run that the verdict is about
    # The same with the predictions of the choice that is made anew in each fold, see `choice_in_folds`; where there is
    # none, `chosen` itself.
    choice: Run
    candidates: Sequence[Run]  # the runs that it was chosen among
    # Its planned tests, by what they are about, in the order of importance; the baseline is last.
    comparisons: Sequence[Comparison]
    names: dict[str, str]  # the labels of all runs, by id

    @cached_property
    def question(self) -> str:
        """What the headline is about; empty where there is nothing to compare but the baseline."""
        return next((test.about for test in self.comparisons if test.about != BASELINE), "")

    def of(self, about: str) -> list[Comparison]:
        """Return the comparisons of a part of the question, the hardest to beat first.

        Those that are better come first, then those that cannot be told apart, and of these the most right. Any order
        will do, as the correction is for all of them.
        """
        tests = [test for test in self.comparisons if test.about == about]
        return sorted(tests, key=lambda test: (not test.lost, test.won, test.pair.difference))

    @cached_property
    def main(self) -> Comparison | None:
        """The comparison that the figures on top show: the hardest to beat of the headline's."""
        return next(iter(self.of(self.question)), None)

    @cached_property
    def baseline(self) -> Comparison | None:
        """The comparison with the baseline."""
        return next(iter(self.of(BASELINE)), None)

    @property
    def rival(self) -> Run | None:
        """The second run of `main`, as it is recorded."""
        return next((run for run in self.runs if self.main and run.id == self.main.second.id), None)

    @property
    def pairs(self) -> dict[str, RunPair]:
        """The planned tests by the id of the other run."""
        return {test.second.id: test.pair for test in self.comparisons}

    def name(self, run: Run) -> str:
        """Return what a run is called beside the others."""
        return self.names[run.id]


def contest(runs: Sequence[Run]) -> Contest:
    """Return what runs on the same images ask, and the tests that answer it; raises DataError without runs.

    Fine-tuning and predictions from elsewhere are compared with the cached head. Of several backbones the best head of
    each is compared with the best head of the chosen one; else of several layers, else of several settings, and of data
    that have grown. Only where there is none of these, the chosen head is compared with every other. Holm's correction
    is for these comparisons and the one with the baseline.
    """
    names, able = labels(runs), first_seeds(eligible(runs))
    arms, heads, baselines = sorts(newest(able))
    candidates = heads or arms or baselines
    chosen, choice = ranked(candidates)[0], _anew(candidates)
    plan = [_Planned(ARMS, choice if heads else chosen, arm) for arm in arms if arm is not chosen]
    plan += [*_parts(heads, chosen), *_data(sorts(able)[1], chosen, choice)] if heads else []
    if heads and not plan:
        plan = [_Planned(HEADS, chosen, run) for run in ranked(heads) if run is not chosen]
    # Baselines are the same for every cache.
    plan += [_Planned(BASELINE, choice, run) for run in baselines if run is not chosen][:1]
    plan = [planned for planned in plan if not (planned.first.old or planned.second.old)]

    def told(run: Run, side: str) -> str:
        if any(run is other for other in runs):
            return names[run.id]
        return f"the best head{f' of {side}' if side else ''} ({ANEW})"

    pairs = compare_planned([(planned.first, planned.second) for planned in plan], names)
    comparisons = [
        Comparison(
            planned.about,
            planned.first,
            planned.second,
            (planned.sides[0] or names[planned.first.id], planned.sides[1] or names[planned.second.id]),
            replace(pair, names=(told(planned.first, planned.sides[0]), told(planned.second, planned.sides[1]))),
        )
        for planned, pair in zip(plan, pairs, strict=True)
    ]
    return Contest(runs, chosen, choice, candidates, comparisons, names)


@dataclass(frozen=True)
class _Planned:
    about: str
    first: Run
    second: Run
    sides: tuple[str, str] = ("", "")


def _parts(heads: Sequence[Run], chosen: Run) -> list[_Planned]:
    """Return the best head of the chosen one's backbone, layer or settings against the best of each of the others."""
    about, parts = division(heads)
    own = next((name for name, members in parts.items() if chosen in members), "")
    return [
        _Planned(about, _anew(parts[own]), _anew(members), (own, name))
        for name, members in parts.items()
        if name != own
    ]


def _data(heads: Sequence[Run], chosen: Run, choice: Run) -> list[_Planned]:
    """Return the choice among heads on the data of now against the best of those on each earlier state."""
    data = _by_data(heads)
    now = next(name for name, members in data.items() if chosen in members)
    return [_Planned(DATA, choice, _anew(members), (now, name)) for name, members in data.items() if name != now]


def division(heads: Sequence[Run]) -> tuple[str, dict[str, list[Run]]]:
    """Return what divides heads, and the heads of each part by its name: backbones, layers, settings, or nothing.

    Settings divide heads where a head was fitted with several: a head that takes no class weights is not another
    setting of those that do.
    """
    networks = _groups(heads, lambda run: (run.recipe["backbone"], run.weights_source, run.recipe.get("weights")))
    if len(networks) > 1:
        return BACKBONES, _by_name(networks, lambda run: str(run.recipe["backbone"]))
    layers = by_layer(heads)
    if len(layers) > 1:
        return LAYERS, layers
    values: dict[str, dict[str, set[str]]] = {}
    for run in heads:
        for name, text in settings(run).items():
            values.setdefault(name, {}).setdefault(run.head, set()).add(text.removesuffix(TAKES_NONE))
    varied = [name for name in _SETTINGS if any(len(texts) > 1 for texts in values.get(name, {}).values())]
    if not varied:
        return HEADS, {}
    said = _groups(
        heads,
        lambda run: ", ".join(filter(None, (settings(run).get(name, "").removesuffix(TAKES_NONE) for name in varied))),
    )
    return SETTINGS, {str(text) or "the usual settings": members for text, members in said.items()}


def by_layer(heads: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the heads on each recipe, by the names of backbone and layer."""
    layers = _groups(heads, lambda run: str(run.recipe.get("id", run.recipe["layer"])))
    return _by_name(layers, lambda run: f"{run.recipe['backbone']} {run.recipe['layer']}")


_SETTINGS = ("class_weight", "preparation", "views")  # which a user asks about


def _groups(runs: Sequence[Run], key: Callable[[Run], Hashable]) -> dict[Hashable, list[Run]]:
    groups: dict[Hashable, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups


def _by_name(groups: dict[Hashable, list[Run]], name: Callable[[Run], str]) -> dict[str, list[Run]]:
    """Return groups by their names; those of one name get what else is different, or the start of their recipe's id."""
    ways: list[Callable[[Run], str]] = [
        name,
        lambda run: f"{name(run)} (weights {without_folders(run.weights_source)})",
        lambda run: ", ".join(filter(None, (name(run), settings(run).get("resize")))),
        lambda run: f"{name(run)} #{str(run.recipe.get('id', run.id))[:6]}",
    ]
    every = [[way(members[0]) for members in groups.values()] for way in ways]
    texts = next((texts for texts in every if len(set(texts)) == len(texts)), every[-1])
    return dict(zip(texts, groups.values(), strict=True))


def _by_data(heads: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the heads that were fitted on the same data, by the number of images, and if need be the fingerprint."""
    groups = _groups(heads, lambda run: str(run.data.get("fingerprint")))
    numbers = [fitted(members[0]) for members in groups.values()]
    plain = len(set(numbers)) == len(numbers)
    return {
        f"{number} images" if plain else f"{number} images of data {str(data)[:6]}": members
        for number, (data, members) in zip(numbers, groups.items(), strict=True)
    }


def _anew(candidates: Sequence[Run]) -> Run:
    """Return the run to choose, where it can be with the predictions of the choice that is made anew in each fold."""
    chosen = ranked(candidates)[0]
    return (choice_in_folds(chosen, candidates) if selected_inside(candidates) else None) or chosen
