"""The sections of a report as plain values, which come from run records and the predictions in them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation.paired_tests import ALPHA
from ..pages.text import duration, points, probability, shown, value, without_folders
from ..pages.text import pairs as named
from ..records import description
from ..records.pairs import BASELINES, RunPair, compare_pairs
from ..records.ranking import fit_seconds, is_random
from ..records.runs import Run
from . import plots
from .verdict import Contest, break_even

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
    if run.trainable:
        return "random" if is_random(run) else "tuned"
    if run.head in BASELINES:
        return "baseline"
    return "random" if is_random(run) else "head"


def labels(runs: Sequence[Run]) -> dict[str, str]:
    """Return what each run is called beside the others, by id."""
    return {identity: shown(label) for identity, label in description.labels(runs).items()}


def table(runs: Sequence[Run], chosen: Run) -> list[Values]:
    """Return the rows of the table of runs."""
    names, unsaid = labels(runs), description.unsaid(runs)
    floor = max(0.0, min(run.metrics["interval"][0] for run in runs) - 0.03)
    rows = []
    for run in runs:
        low, high = run.metrics["interval"]
        row = {
            "name": names[run.id],
            "kind": kind(run),
            "chosen": run is chosen,
            "record": run.id[:16],
            "n": run.metrics["n"],
            "correct": run.metrics["correct"],
            "accuracy": run.metrics["accuracy"],
            "low": low,
            "high": high,
            "bar": plots.interval_bar(low, run.metrics["accuracy"], high, floor, kind=kind(run)),
            "log_loss": run.metrics["log_loss"],
            "calibration_error": run.metrics["calibration_error"],
            "selection": run.selection.get("accuracy"),
            "seconds": -1 if run.elsewhere else fit_seconds(run),
            "duration": "" if run.elsewhere else duration(fit_seconds(run)),
            "hyperparameters": named(description.chosen(run)),
            "notes": [without_folders(note) for note in description.notes(run)],
            "settings": unsaid[run.id],
            "random": is_random(run),
        }
        rows.append(row)
    return rows


def tests(runs: Sequence[Run], chosen: Run) -> Values:
    """Return the pairwise tests: all of the chosen run, and of the other runs those with the smallest p."""
    names = labels(runs)
    pairs = compare_pairs(runs, names)
    pairs.sort(key=lambda pair: pair.p)
    own = [_facing(pair, chosen.id) for pair in pairs if chosen.id in (pair.first, pair.second)]
    others = [pair for pair in pairs if chosen.id not in (pair.first, pair.second)]
    return {
        "chosen": names[chosen.id],
        "own": [_test(pair, names) for pair in own],
        "others": [_test(pair, names) for pair in others[:PAIRS]],
        "left_out": max(0, len(others) - PAIRS),
        "total": len(pairs),
        "untested": sum(run.old for run in runs),
        "detectable": sorted({(pair.n, points(pair.smallest_detectable, sign=False)) for pair in pairs}),
    }


def speed(runs: Sequence[Run], compared: Contest) -> Values:
    """Return the plots of accuracy against seconds, wide and narrow, of the timed runs; empty if there are none."""
    timed = [run for run in runs if not run.elsewhere]
    if not timed:
        return {}
    names, important = labels(runs), {compared.chosen.id, *compared.pairs}
    usual = f"{shown(compared.chosen.recipe['backbone'])} "
    marks = [
        plots.Mark(
            label=names[run.id],
            short=names[run.id].removeprefix(usual),
            kind=kind(run),
            seconds=max(fit_seconds(run), 0.001),
            accuracy=run.metrics["accuracy"],
            interval=tuple(run.metrics["interval"]),
            important=run.id in important,
        )
        for run in timed
    ]
    extract = compared.chosen.seconds.get("extract", 0.0)
    kinds = sorted({kind(run) for run in timed})
    return {size: plots.scatter(marks, extract, width) for size, width in _SIZES.items()} | {"kinds": kinds}


_SIZES = {"wide": plots.WIDE, "narrow": plots.NARROW}


def training(runs: Sequence[Run]) -> Values:
    """Return loss and accuracy over epochs of every run with curves, and the last and the best epoch of its folds."""
    names, curved = labels(runs), [run for run in runs if run.curves]
    rows = []
    for run in curved[:CURVES]:
        folds = plots.by_fold([row for row in run.curves if row.get("val_accuracy") is not None])
        last, best = ([pick(rows) for rows in folds] for pick in (lambda rows: rows[-1], _best))
        recorded = {name for row in run.curves for name, figure in row.items() if figure is not None}
        quantities = [q for q in ("loss", "accuracy") if recorded & {f"train_{q}", f"val_{q}"}]
        drawn = [(q, plots.curve(run.curves, q, kind(run), names[run.id])) for q in quantities]
        rows.append({"name": names[run.id], "plots": drawn, "last": _epochs(last), "best": _epochs(best)})
    return {"runs": rows, "left_out": max(0, len(curved) - CURVES)}


def _best(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return max(rows, key=lambda row: row["val_accuracy"])


def _epochs(rows: Sequence[dict[str, float]]) -> Values | None:
    """Return the epochs of the folds as ``4 to 12``, the mean accuracy on the evaluated images, and how many folds."""
    if not rows:
        return None
    low, high = min(row["epoch"] for row in rows), max(row["epoch"] for row in rows)
    epochs = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return {"epoch": epochs, "val_accuracy": float(np.mean([row["val_accuracy"] for row in rows])), "folds": len(rows)}


def folds(runs: Sequence[Run]) -> list[Values]:
    """Return what each fold chose, of the runs that have several."""
    names = labels(runs)
    rows = []
    for run in (run for run in runs if len(run.folds) > 1):
        for number, fit in enumerate(description.fold_fits(run), start=1):
            chosen = named(fit.hyperparameters | fit.trained)
            rows.append(vars(fit) | {"name": names[run.id], "fold": number, "chosen": chosen})
    return rows


def confusion(run: Run) -> Values:
    """Return the confusion matrix, if there are at most 20 classes, and the most confused pairs of classes.

    Nothing for an old record, which does not say what was predicted.
    """
    if run.old:
        return {}
    classes = run.data["classes"]
    truth, predicted = np.asarray(run.predictions["label"]), np.asarray(run.predictions["predicted"])
    sizes = np.bincount(truth, minlength=len(classes))
    counts = Counter((int(t), int(p)) for t, p in zip(truth, predicted, strict=True))
    mistakes = sorted(((count, t, p) for (t, p), count in counts.items() if t != p), reverse=True)
    confused = [
        {"true": classes[t], "predicted": classes[p], "count": count, "of": int(sizes[t])}
        for count, t, p in mistakes[:CONFUSED]
    ]
    matrix = []
    if len(classes) <= MATRIX_CLASSES:
        for t, name in enumerate(classes):
            cells = [(counts[t, p], counts[t, p] / max(int(sizes[t]), 1), t == p) for p in range(len(classes))]
            matrix.append({"name": name, "size": int(sizes[t]), "cells": cells})
    return {"classes": classes, "matrix": matrix, "confused": confused, "kinds_of_mistakes": len(mistakes)}


def calibrations(runs: Sequence[Run], names: Mapping[str, str]) -> list[Values]:
    """Return the calibration plots of the runs that have probabilities."""
    drawn = []
    for run in runs:
        if run.confidence is not None:
            plot = plots.calibration(run.right, run.confidence, kind(run), names[run.id])
            drawn.append({"name": names[run.id], "plot": plot, "error": run.metrics["calibration_error"]})
    return drawn


def learning(runs: Sequence[Run]) -> Values:
    """Return the learning curves, wide and narrow; empty where none was measured."""
    names = labels(runs)
    curves = [(names[run.id], kind(run), run.learning_curve) for run in runs if run.learning_curve]
    if not curves:
        return {}
    drawn = {size: plots.learning(curves[:LEARNING], width) for size, width in _SIZES.items()}
    points = [{"name": name, **point} for name, _, rows in curves for point in rows]
    return drawn | {"points": points, "left_out": max(0, len(curves) - LEARNING)}


def payments(runs: Sequence[Run]) -> list[Values]:
    """Return the break-even rows with their seconds in words."""
    durations = ("extract", "each", "cached", "once")
    singular = {"heads or folds": "head or fold", "epochs": "epoch"}
    return [
        vars(row)
        | {f"{name}_words": duration(getattr(row, name)) for name in durations}
        | {"uses": singular[row.unit] if row.after == 1 else row.unit}
        for row in break_even(runs)
    ]


def provenance(runs: Sequence[Run]) -> Values:
    """Return the data, recipes, versions and machines of the runs, each of them once."""
    data = [
        {name: run.data.get(name, "") for name in ("name", "fingerprint")}
        | {"classes": len(run.data["classes"]), "n": run.metrics["n"], "on": description.on(run)}
        | {"fitted": description.settings(run).get("fitted", "unknown").removeprefix("fitted on ")}
        for run in runs
        if not run.elsewhere
    ]
    recipes = [
        {"source": without_folders(run.weights_source), "random": is_random(run)}
        | {name: value(item) for name, item in run.recipe.items()}
        for run in runs
        if not run.elsewhere
    ]
    return {
        "data": _once([row | {"name": without_folders(str(row["name"] or ""))} for row in data]),
        "recipes": _once([dict(sorted(row.items(), key=lambda item: len(str(item[1])) > LONG)) for row in recipes]),
        "long": LONG,
        "versions": _once(
            [{name: without_folders(item) for name, item in run.versions.items()} for run in runs if run.versions]
        ),
        "machines": _once([{name: value(item) for name, item in run.machine.items()} for run in runs if run.machine]),
    }


def tiles_of(compared: Contest) -> list[Values]:
    """Return the headline figures: the chosen run, its rival, and the difference."""
    sides = [run for run in (compared.chosen, compared.rival) if run]
    return [
        {
            "name": shown(compared.name(run)),
            "kind": kind(run),
            "title": _title(run, run is compared.chosen),
            "accuracy": run.metrics["accuracy"],
            "interval": run.metrics["interval"],
            "right": f"{run.metrics['correct']} of {run.metrics['n']}",
            "duration": "not timed here" if run.elsewhere else duration(fit_seconds(run)),
        }
        for run in sides
    ]


def _title(run: Run, chosen: bool) -> str:
    if run.elsewhere:
        return "From elsewhere"
    return "Fine-tuning" if run.trainable else "Cached head" if chosen else "Next best head"


def difference(compared: Contest) -> Values | None:
    """Return the test between the chosen run and its rival."""
    if not compared.rival:
        return None
    pair = compared.pairs[compared.rival.id]
    return _test(pair, {pair.first: pair.names[0], pair.second: pair.names[1]}) | {"planned": len(compared.pairs)}


def _once(rows: Sequence[Values]) -> list[Values]:
    return [row for place, row in enumerate(rows) if row not in rows[:place]]


def _facing(pair: RunPair, first: str) -> RunPair:
    """Return the pair with the run `first` as its first."""
    if pair.first == first:
        return pair
    low, high = pair.interval
    turned = {
        "first": pair.second,
        "second": pair.first,
        "names": pair.names[::-1],
        "difference": -pair.difference,
        "interval": (-high, -low),
        "only_first": pair.only_second,
        "only_second": pair.only_first,
    }
    return RunPair(**(vars(pair) | turned))


def _test(pair: RunPair, names: dict[str, str]) -> Values:
    low, high = pair.interval
    better = pair.difference > 0
    tied = "cannot be told apart"
    return {
        "first": names[pair.first],
        "second": names[pair.second],
        "n": pair.n,
        "difference": points(pair.difference),
        "interval": f"{points(low)} to {points(high)}",
        "only_first": pair.only_first,
        "only_second": pair.only_second,
        "p": probability(pair.p),
        "p_corrected": probability(pair.p_corrected),
        "sort": (pair.difference, pair.p, pair.p_corrected),
        "significant": pair.p_corrected <= ALPHA,
        "words": f"the {'first' if better else 'second'} is better" if pair.p_corrected <= ALPHA else tied,
        "facing": ("it is better" if better else "the other is better") if pair.p_corrected <= ALPHA else tied,
    }
