"""The sections of a report as plain values, which come from run records and the predictions in them."""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from ..evaluation.coverage import error_by_coverage
from ..evaluation.per_class import Estimate
from ..pages.text import named, value, without_folders
from ..records import description
from ..records.class_report import class_report
from ..records.contest import BASELINE, BEST, HEADS, Comparison, Contest
from ..records.pairs import BASELINES, compare_pairs
from ..records.ranking import fit_seconds, fitted, is_random
from ..records.runs import Run
from . import plots
from .drawing import unit_range
from .reach import compares_leaked

Values = dict[str, Any]

MATRIX_CLASSES = 20  # with more, only the most confused pairs are shown
CONFUSED = 15
PAIRS = 200  # besides those of the chosen run
CURVES = 24
LEARNING = 6
LONG = 40  # characters; longer values, such as hashes, have a line of their own


def kind(run: Run) -> str:
    """Return ``elsewhere``, ``random``, ``tuned``, ``baseline`` or ``head``: it sets the colour and shape of a run."""
    if run.elsewhere:
        return "elsewhere"
    if run.head in BASELINES:
        return "baseline"
    if is_random(run):
        return "random"
    return "tuned" if run.trainable else "head"


def table(compared: Contest) -> list[Values]:
    """Return the rows of the table of runs."""
    remarks = description.remarks(compared.runs)
    return [
        {
            "run": run,
            "name": compared.name(run),
            "kind": kind(run),
            "chosen": run is compared.chosen,
            "selection": run.selection.get("accuracy"),
            "selection_loss": run.selection.get("log_loss"),
            "seconds": _seconds(run),
            "hyperparameters": named(description.chosen(run)),
            "notes": list(map(without_folders, remarks[run.id])),
            "random": is_random(run),
            "means": means(run),
        }
        for run in compared.runs
    ]


def scale(compared: Contest) -> tuple[float, float]:
    """Return the ends of the bars of intervals: those of the runs, without the yardsticks far below them."""
    runs = [run for run in compared.runs if kind(run) in plots.SERIOUS] or compared.runs
    return unit_range([end for run in runs for end in run.metrics["interval"]])


def means(run: Run) -> list[Estimate | None]:
    """Return balanced accuracy and macro F1, with their intervals; None for an old record."""
    report = class_report(run)
    return [report.balanced_accuracy, report.macro_f1] if report else [None, None]


def _seconds(run: Run) -> float | None:
    return None if run.elsewhere else fit_seconds(run)


def tests(compared: Contest) -> Values:
    """Return the planned tests, and of the pairs that are none of the question's those that differ most."""
    planned = [
        test for about in dict.fromkeys(test.about for test in compared.comparisons) for test in compared.of(about)
    ]
    leaked = compares_leaked(compared)  # nothing that n could show holds then
    told = {frozenset({test.pair.first, test.pair.second}) for test in planned if not test.anew}
    pairs = [pair for pair in compare_pairs(compared.runs, compared.names) if {pair.first, pair.second} not in told]
    pairs.sort(key=lambda pair: (-abs(pair.difference), pair.p))
    return {
        "planned": planned,
        "others": pairs[:PAIRS],
        "left_out": max(0, len(pairs) - PAIRS),
        "untested": sum(run.old for run in compared.runs),
        "detectable": [(test.pair.count, test.pair.smallest_detectable) for test in planned[:1] if not leaked],
        "test": planned[0].pair.test if planned else "",
    }


def speed(compared: Contest) -> Values:
    """Return the plots of accuracy against seconds, wide and narrow, of the timed runs; empty if there are none."""
    timed = [run for run in compared.runs if not run.elsewhere]
    if not timed:
        return {}
    important = {compared.chosen.id, *compared.pairs}
    backbones = list(dict.fromkeys(run.recipe["backbone"] for run in timed))
    several = len(backbones) > 1
    marks = [
        plots.Mark(
            label=compared.name(run),
            short=compared.name(run).removeprefix(f"{run.recipe['backbone']} "),
            kind=kind(run),
            seconds=max(fit_seconds(run), 0.001),
            accuracy=run.metrics["accuracy"],
            interval=tuple(run.metrics["interval"]),
            important=run.id in important,
            series=backbones.index(run.recipe["backbone"]) if several else None,
        )
        for run in timed
    ]
    extract = compared.chosen.seconds.get("extract", 0.0)
    drawn = {size: plots.scatter(marks, extract, width) for size, width in _SIZES.items()}
    legend = {mark.style: (plots.key(mark), _legend(mark, backbones)) for mark in marks}
    return drawn | {"legend": list(legend.values())}


def _legend(mark: plots.Mark, backbones: Sequence[str]) -> str:
    """Return what a point stands for: its backbone where there are several, and how it was made."""
    words = {"head": "head on cached embeddings", "tuned": "fine-tuning from pixels", "random": "random weights"}
    words["baseline"] = "baseline: the class most frequent among the fitted images"
    if mark.series is None or mark.kind not in plots.SERIOUS:
        return words[mark.kind]
    return backbones[mark.series] + (f", {words['tuned']}" if mark.kind == "tuned" else "")


_SIZES = {"wide": plots.WIDE, "narrow": plots.NARROW}


def training(compared: Contest) -> Values:
    """Return loss and accuracy over epochs of every run with curves, and the last and the best epoch of its folds."""
    curved = [run for run in compared.runs if run.curves]
    rows = []
    for run in curved[:CURVES]:
        name = compared.name(run)
        recorded = {key for row in run.curves for key, figure in row.items() if figure is not None}
        quantities = [q for q in ("loss", "accuracy") if recorded & {f"train_{q}", f"val_{q}"}]
        drawn = [(q, plots.curve(run.curves, q, kind(run), name)) for q in quantities]
        folds = plots.by_fold([row for row in run.curves if row.get("val_accuracy") is not None])
        last = _epochs([epochs[-1] for epochs in folds])
        best = _epochs([max(epochs, key=itemgetter("val_accuracy")) for epochs in folds])
        rows.append({"name": name, "plots": drawn, "last": last, "best": best})
    return {"runs": rows, "left_out": max(0, len(curved) - CURVES)}


def _epochs(rows: Sequence[dict[str, float]]) -> Values | None:
    """Return the epochs of the folds as ``4 to 12``, the mean accuracy on the evaluated images, and how many folds."""
    if not rows:
        return None
    low, high = min(row["epoch"] for row in rows), max(row["epoch"] for row in rows)
    epochs = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return {"epoch": epochs, "val_accuracy": float(np.mean([row["val_accuracy"] for row in rows])), "folds": len(rows)}


def folds(compared: Contest) -> list[Values]:
    """Return what each fold chose, of the runs that have several."""
    return [
        {"name": compared.name(run), "fold": number, "chosen": named(fit.hyperparameters | fit.trained), "fit": fit}
        for run in compared.runs
        if len(run.folds) > 1
        for number, fit in enumerate(description.fold_fits(run), start=1)
    ]


def confusion(run: Run) -> Values:
    """Return the confusion matrix, if there are at most 20 classes, and the most confused pairs of classes.

    Nothing for an old record, which does not say what was predicted.
    """
    if run.old:
        return {}
    classes, labels = run.data["classes"], run.predictions["label"]
    counts, sizes = Counter(zip(labels, run.predictions["predicted"], strict=True)), Counter(labels)
    mistakes = sorted(((count, t, p) for (t, p), count in counts.items() if t != p), reverse=True)
    places = range(len(classes)) if len(classes) <= MATRIX_CLASSES else range(0)
    return {
        "classes": classes,
        "matrix": [
            {"name": classes[t], "size": sizes[t], "cells": [(counts[t, p], t == p) for p in places]} for t in places
        ],
        "confused": [
            {"true": classes[t], "predicted": classes[p], "count": count, "of": sizes[t]}
            for count, t, p in mistakes[:CONFUSED]
        ],
        "kinds_of_mistakes": len(mistakes),
    }


def calibrations(compared: Contest) -> list[Values]:
    """Return the calibration plots of the chosen run and its rival, of those that have probabilities."""
    return [
        {
            "name": compared.name(run),
            "plot": plots.calibration(run, run.confidence, kind(run), compared.name(run)),
            "error": run.metrics["calibration_error"],
        }
        for run in (compared.chosen, compared.rival)
        if run is not None and run.confidence is not None
    ]


def abstention(compared: Contest) -> Values:
    """Return the plots of error against coverage of the chosen run and its rival, and points of the chosen run."""
    runs = [run for run in (compared.chosen, compared.rival) if run is not None]
    curves = [
        (compared.name(run), error_by_coverage(run.confidence, run.right, run.groups, run.folds_number))
        for run in runs
        if run.confidence is not None
    ]
    if not curves:
        return {}
    drawn = {size: plots.coverage(curves, width) for size, width in _SIZES.items()}
    name, points = curves[0]
    half = min((point for point in points), key=lambda point: abs(point["coverage"] - 0.8))
    return drawn | {"name": name, "some": half, "all": points[-1]}


def learning(compared: Contest) -> Values:
    """Return the learning curves, wide and narrow; empty where none was measured."""
    curves = [(compared.name(run), kind(run), run.learning_curve) for run in compared.runs if run.learning_curve]
    if not curves:
        return {}
    drawn = {size: plots.learning(curves[:LEARNING], width) for size, width in _SIZES.items()}
    points = [{"name": name, **point} for name, _, rows in curves for point in rows]
    return drawn | {"points": points, "left_out": max(0, len(curves) - LEARNING)}


def provenance(runs: Sequence[Run]) -> Values:
    """Return the data, recipes, versions and machines of the runs, each of them once."""
    own = [run for run in runs if not run.elsewhere]
    data = [
        {
            "name": description.data_name(run),
            "fingerprint": run.data.get("fingerprint", ""),
            "classes": len(run.data["classes"]),
            "n": run.count,
            "on": description.on(run),
            "fitted": description.settings(run).get("fitted", "unknown").removeprefix("fitted on "),
        }
        for run in own
    ]
    recipes = [
        {"source": without_folders(run.weights_source), "random": is_random(run)}
        | {name: value(item) for name, item in run.recipe.items()}
        for run in own
    ]
    return {
        "data": _once(data),
        "recipes": _once([dict(sorted(row.items(), key=lambda item: len(str(item[1])) > LONG)) for row in recipes]),
        "long": LONG,
        "versions": _once([{name: without_folders(item) for name, item in run.versions.items()} for run in runs]),
        "machines": _once([{name: value(item) for name, item in run.machine.items()} for run in runs]),
    }


def sides(compared: Contest) -> list[Values]:
    """Return the figures of the two runs whose difference stands beside them; of the chosen run where it is alone.

    Where the choice is flattered and no side is the choice that is made anew in each fold, that one comes last.
    """
    test = compared.main or compared.baseline
    nested = compared.choice is not compared.chosen
    if test is None:
        return [_side(compared, "Chosen run", compared.choice)]
    titles, among = _titles(compared, test), [_among(compared, test, side) for side in test.sides]
    two = zip(titles, (test.first, test.second), among, strict=True)
    shown = [_side(compared, title, run, heads) for title, run, heads in two]
    if nested and not test.anew:
        shown[0]["flattered"] = True
        expected = "Choice made in each fold" if description.leaked([compared.choice]) else "To expect on new images"
        shown.append(_side(compared, expected, compared.choice, _among(compared, None)))
    numbers = {side["fitted"] for side in shown if side["fitted"]}
    return shown if len(numbers) > 1 else [side | {"fitted": 0} for side in shown]


def _among(compared: Contest, test: Comparison | None, side: str = "") -> str:
    """Return which heads a side is the best of."""
    if test and test.about in BEST:
        return f"the heads {BEST[test.about]} {side}"
    return f"all {len(compared.candidates)} heads"


def _side(compared: Contest, title: str, run: Run, among: str = "") -> Values:
    own = next(other for other in compared.runs if other.id == run.id)
    return {
        "run": own,
        "metrics": run.metrics,
        "anew": run is not own,
        "flattered": False,
        "among": among,
        "fitted": fitted(run),
        "means": [] if run.old else means(run),
        "name": compared.name(own),
        "kind": kind(own),
        "title": title,
        "seconds": _seconds(own),
    }


def _titles(compared: Contest, test: Comparison) -> tuple[str, str]:
    """Return what the two sides of a comparison are called."""
    if test.about in BEST:
        return f"Best head {BEST[test.about]} {test.sides[0]}", f"Best head {BEST[test.about]} {test.sides[1]}"
    others = len(compared.of(test.about))
    if test.about == HEADS:
        return "Chosen head", "The other head" if others == 1 else f"Hardest to beat of {others} others"
    first, second = (
        "From elsewhere" if run.elsewhere else "Fine-tuning" if run.trainable else "Cached head"
        for run in (test.first, test.second)
    )
    return first, "Baseline" if test.about == BASELINE else second


def _once(rows: Sequence[Values]) -> list[Values]:
    """Return each row once, and none that is empty."""
    return [row for place, row in enumerate(rows) if row and row not in rows[:place]]
