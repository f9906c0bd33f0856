"""The judgement: from rounds and the last comparison to what each candidate is worth, and the answer."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ...cache.embeddings import Embeddings
from ...cache.tables import counted
from ...extract.backbones.backbone import Backbone
from ...extract.text import listed
from ..evaluation.effective_size import ALPHA
from ..pages.text import percent, ratio, size, speed, without_folders
from ..records.choice import choice_in_folds
from ..records.description import on
from ..records.pairs import BASELINES, RunPair, compare_pairs, compare_planned
from ..records.ranking import choose, is_random, ranked
from ..records.runs import Run
from ..records.screened import ALIKE, BEST, BETTER, TOO_FEW, WORSE, Candidate, Screened
from ..reports.reach import FEW, right

MOST = 8  # names in a sentence


@dataclass(frozen=True)
class Stage:
    """A round, or the last comparison."""

    images: int  # how many were extracted
    final: bool  # whether it is the last comparison
    runs: Sequence[Run]  # all of them
    # Of each recipe, by its id, the run that is looked at: in a round there is one head, in the end the head with the
    # least log loss inside the fitted images.
    best: Mapping[str, Run]
    # The same with the predictions that are compared: in the end, where that is in folds, those of the best head chosen
    # anew in each fold.
    answers: Mapping[str, Run]
    speed: Mapping[str, float | None]  # images per second by recipe id

    @classmethod
    def of(cls, tables: Sequence[Embeddings], runs: Sequence[Run], *, final: bool) -> Self:
        """Collect what is known of some tables."""
        heads = [run for run in runs if run.head not in BASELINES]
        best: dict[str, Run] = {}
        for run in ranked(heads):
            best.setdefault(run.recipe["id"], run)
        speed = {
            table.recipe.id: (len(table.keys.unique()) / table.seconds if table.seconds > 0 else None)
            for table in tables
        }
        of = {identity: [run for run in heads if run.recipe["id"] == identity] for identity in best}
        answers = {identity: choice_in_folds(run, of[identity]) or run for identity, run in best.items()}
        return cls(len(tables[0]), final, runs, best, answers, speed)

    def ranked(self, backbones: Sequence[Backbone]) -> list[Backbone]:
        """Return backbones by the least log loss of their layers on images that the head had not seen."""
        return sorted(backbones, key=self._loss)

    def leaders(self, backbones: Sequence[Backbone], most: int) -> list[Backbone]:
        """Return the first of ranked backbones and the next ones that may be worth it, so many in all.

        These are faster, and not shown to be worse.
        """
        first, *others = backbones
        return [first, *(one for one in others if self._may_be_worth_it(one, first))][:most]

    def _may_be_worth_it(self, backbone: Backbone, first: Backbone) -> bool:
        best, own = self._layer(first), self._layer(backbone)
        faster = bool(best and own) and self._speed(backbone) > self._speed(first)
        return faster and _outcome(_pair(self, best, own)) != WORSE

    def _layer(self, backbone: Backbone) -> str:
        """Return the recipe id of the layer with the least loss; empty where none could be fitted."""
        known = [recipe.id for recipe in backbone.recipes if recipe.id in self.best]
        return min(known, key=lambda identity: self.best[identity].metrics["log_loss"], default="")

    def _loss(self, backbone: Backbone) -> float:
        layer = self._layer(backbone)
        return float(self.best[layer].metrics["log_loss"]) if layer else math.inf

    def _speed(self, backbone: Backbone) -> float:
        return self.speed[backbone.recipes[0].id] or 0.0


def judge(
    stages: Sequence[Stage],
    backbones: Sequence[Backbone],
    memory: Mapping[str, int | None],
    broken: Mapping[Backbone, str],
) -> Screened:
    """Return what stages have found of all candidates.

    The best is that of the last comparison, chosen by its log loss inside the fitted images, and tested against the
    others there, with Holm's correction for their number. What was left out before is tested against it on the sample
    of its last round. There the best was chosen among all by these images, so that the correction is for all pairs.

    Parameters
    ----------
    stages
        The rounds, and the last comparison.
    backbones
        All that were screened.
    memory
        By recipe id, in bytes.
    broken
        Why there are no embeddings of a backbone.
    """
    *rounds, last = stages
    heads = [run for run in last.runs if run.head not in BASELINES]
    chosen = choose(heads)
    names, best, candidates = _names(backbones), chosen.recipe["id"], []
    for backbone in backbones:
        for recipe in backbone.recipes:
            stage = next((one for one in reversed(stages) if recipe.id in one.best), None)
            if stage is None:  # no head could be fitted on it
                continue
            run, pair = stage.best[recipe.id], None if recipe.id == best else _pair(stage, best, recipe.id)
            metrics = stage.answers[recipe.id].metrics
            candidates.append(
                Candidate(
                    name=names[recipe.id],
                    backbone=recipe.backbone,
                    layer=recipe.layer,
                    weights=without_folders(backbone.weights_source),
                    image_size=recipe.transform.crop,
                    dim=recipe.dim,
                    recipe=recipe.id,
                    rounds=sum(recipe.id in one.best for one in rounds),
                    images=metrics["n"],
                    final=stage.final,
                    head=run.head,
                    accuracy=metrics["accuracy"],
                    interval=(metrics["interval"][0], metrics["interval"][1]),
                    log_loss=run.metrics["log_loss"],
                    outcome=BEST if recipe.id == best else _outcome(pair),
                    difference=pair.difference if pair else None,
                    difference_interval=pair.interval if pair else None,
                    p=pair.p_corrected if pair else None,
                    images_per_second=stage.speed.get(recipe.id),
                    memory=memory.get(recipe.id),
                    random=is_random(run),
                )
            )
    candidates.sort(key=lambda one: (one.outcome != BEST, not one.final, -one.rounds, one.log_loss))
    taking_part = [len(stage.best) for stage in stages]
    table = [
        {"images": stage.images, "candidates": before, "went_on": after}
        for stage, before, after in zip(rounds, taking_part, taking_part[1:], strict=False)
    ]
    lost = {
        listed([names[recipe.id] for recipe in one.recipes], MOST): without_folders(why) for one, why in broken.items()
    }
    failed = [f"Could not be extracted: {name} ({why.removesuffix('.')})." for name, why in lost.items()]
    expected = _expected(choice_in_folds(chosen, heads) if len(last.best) > 1 else None)
    return Screened([*_answer(candidates, last), *expected, *failed, *_how(table, last)], candidates, table, lost)


def _names(backbones: Sequence[Backbone]) -> dict[str, str]:
    """Return what candidates are called, by recipe id: backbone and layer, and what tells those of one name apart."""
    every = [(backbone, recipe) for backbone in backbones for recipe in backbone.recipes]
    texts = {recipe.id: f"{recipe.backbone} {recipe.layer}" for _, recipe in every}
    further = [
        {recipe.id: without_folders(backbone.weights_source) for backbone, recipe in every},
        {recipe.id: f"{recipe.transform.crop} px" for _, recipe in every},
        {recipe.id: f"#{recipe.id[:6]}" for _, recipe in every},
    ]
    for words in further:
        for text in [text for text, count in Counter(texts.values()).items() if count > 1]:
            members = [identity for identity in texts if texts[identity] == text]
            if len({words[identity] for identity in members}) > 1:
                texts |= {identity: f"{text} {words[identity]}" for identity in members}
    return texts


def _pair(stage: Stage, best: str, other: str) -> RunPair | None:
    """Return the best candidate against another on the images of a stage; None where it has no run there."""
    if best not in stage.best:
        return None
    first, second = stage.answers[best], stage.answers[other]
    others = [run for identity, run in stage.answers.items() if identity != best]
    pairs = compare_planned([(first, run) for run in others]) if stage.final else compare_pairs([first, *others])
    return next(pair for pair in pairs if (pair.first, pair.second) == (first.id, second.id))


def _outcome(pair: RunPair | None) -> str:
    if pair is None:
        return TOO_FEW
    if pair.p_corrected <= ALPHA:
        return WORSE if pair.difference > 0 else BETTER
    return TOO_FEW if pair.smallest_detectable > FEW else ALIKE


def _answer(candidates: Sequence[Candidate], last: Stage) -> list[str]:
    """Return the answer, and what it rests on."""
    best, *others = candidates
    if not others:
        return [f"{best.name} is the only candidate: {_figures(best, last)}."]
    of = {kind: [one for one in others if one.outcome == kind] for kind in (WORSE, ALIKE, BETTER, TOO_FEW)}
    said = [
        *([f"it beats {listed([one.name for one in of[WORSE]], MOST)}"] if of[WORSE] else []),
        *([f"it cannot be told apart from {_where(of[ALIKE])}"] if of[ALIKE] else []),
        *([f"the images are too few to say whether it is better than {_where(of[TOO_FEW])}"] if of[TOO_FEW] else []),
        *([f"{_where(of[BETTER])} {'gets' if len(of[BETTER]) == 1 else 'get'} more right there"] if of[BETTER] else []),
    ]
    beaten = any(one.final for one in of[BETTER])
    take = f"{best.name} has the least log loss inside the fitted images" if beaten else f"Take {best.name}"
    sentences = [f"{take}: {', and '.join(said)}.", f"{best.name}: {_figures(best, last)}."]
    equals = [one for one in [*of[ALIKE], *of[BETTER], *of[TOO_FEW]] if _speed(one) > _speed(best) > 0]
    if equals:
        fastest = max(equals, key=_speed)
        sentences.append(
            f"The fastest of those that it does not beat is {fastest.name}, with "
            f"{ratio(_speed(fastest), _speed(best))} its images per second."
        )
    if best.random:
        sentences.append("Its weights are random: that is a lower bound, not a result.")
    baseline = next((run for run in last.runs if run.head in BASELINES), None)
    if baseline:
        pair = compare_planned([(last.answers[best.recipe], baseline)])[0]
        if pair.p > ALPHA or pair.difference < 0:
            sentences.append("It cannot be told apart from always answering the most frequent class.")
    return sentences


def _expected(choice: Run | None) -> list[str]:
    """Return what the choice among all that was compared gets right, made anew in each fold; nothing with a split."""
    if choice is None:
        return []
    low, high = map(percent, choice.metrics["interval"])
    return [
        f"Chosen anew in each fold among all that was compared, without the images of that fold, the choice gets "
        f"{right(choice)} right (95 % interval {low} to {high} %): that is what to expect on new images."
    ]


def _speed(candidate: Candidate) -> float:
    return candidate.images_per_second or 0.0


def _where(candidates: Sequence[Candidate]) -> str:
    """Return the names, each with the images that it was compared on."""
    images = [f"{counted(one.images, 'image')}{' of the sample' * (not one.final)}" for one in candidates]
    return listed([f"{one.name} ({where})" for one, where in zip(candidates, images, strict=True)], MOST)


def _figures(best: Candidate, last: Stage) -> str:
    run, (low, high) = last.best[best.recipe], best.interval
    texts = [
        f"{percent(best.accuracy)} % of {run.count} right, 95 % interval {percent(low)} to {percent(high)} %",
        *([f"{speed(best.images_per_second)} images/s"] if best.images_per_second else []),
        *([size(best.memory)] if best.memory else []),
    ]
    return ", ".join(texts)


def _how(rounds: Sequence[Mapping[str, int]], last: Stage) -> list[str]:
    """Return how candidates were left out."""
    if not rounds:
        return ["All candidates were compared on all images."]
    first, *later = rounds
    texts = [
        f"Of {first['candidates']} candidates {first['went_on']} went on after {counted(first['images'], 'image')}",
        *(f"{row['went_on']} after {row['images']:,}" for row in later),
    ]
    run = next(iter(last.best.values()))
    where = f"evaluated {on(run)}: no sample had images of it"
    if len(run.folds) > 1:
        where = f"evaluated {on(run)} on the {run.count} that are in no sample"
    return [f"{', '.join(texts)}, by the log loss of logreg in folds. What was left was {where}."]
