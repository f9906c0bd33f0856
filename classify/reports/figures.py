"""The figures of a run as names with one number each, as trackers keep them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..records.runs import Run


class Figure(NamedTuple):
    """A number of a run; ``step`` is its epoch, or its number of images per class, where there are several."""

    name: str
    value: float
    step: int = 0


def figures(run: Run) -> list[Figure]:
    """Return what was measured of a run; what is not known is left out."""
    low, high = run.metrics["interval"]
    single = {**run.metrics, "accuracy_low": low, "accuracy_high": high}
    single |= {f"selection_{name}": run.selection.get(name) for name in ("accuracy", "log_loss")}
    single |= {f"seconds_{name}": value for name, value in run.seconds.items()}
    points = [Figure(name, value) for name, value in single.items() if _is_number(value)]
    for row in run.curves:
        points += _curve(row, "epoch", f"fold_{row['fold']:.0f}/" if "fold" in row else "")
    for row in run.learning_curve:
        points += _curve(row, "per_class", "learning_curve/")
    return points


def epochs(run: Run) -> list[Figure]:
    """Return the figures of each epoch, as ``loss/train`` and ``accuracy/val``; the names of folds come first."""
    points = []
    for row in run.curves:
        fold = f"fold_{row['fold']:.0f}/" if "fold" in row else ""
        for figure in _curve(row, "epoch", ""):
            part, _, what = figure.name.partition("_")
            points.append(figure._replace(name=f"{fold}{what}/{part}" if what else f"{fold}{part}"))
    return points


def parameters(run: Run) -> dict[str, str]:
    """Return what was chosen and set for a run, as text."""
    chosen: dict[str, Any] = {
        "backbone": run.recipe["backbone"],
        "layer": run.recipe["layer"],
        "weights": run.weights_source,
        "recipe": run.recipe.get("id", ""),
        "head": run.head,
        "trainable": run.trainable,
        "evaluated": run.data["evaluated"],
        "n_eval": run.metrics["n"],
        "classes": len(run.data["classes"]),
        "licence": run.licence,
    }
    chosen |= {f"hyperparameters.{name}": value for name, value in run.hyperparameters.items()}
    chosen |= {f"protocol.{name}": value for name, value in run.protocol.items()}
    return {name: str(value) for name, value in chosen.items() if value not in ("", None)}


def _curve(row: Mapping[str, Any], step: str, start: str) -> Iterator[Figure]:
    for name, value in row.items():
        if name not in (step, "fold", "repeats") and _is_number(value):
            yield Figure(start + name, value, int(row[step]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
