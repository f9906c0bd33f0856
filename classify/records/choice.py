"""The choice among cross-validated runs, evaluated on images that it has not seen."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..evaluation.metrics import measure
from ..evaluation.nested_choice import choose_in_folds
from .pairs import image_order
from .runs import Run


def choice_in_folds(chosen: Run, candidates: Sequence[Run]) -> Run | None:
    """Return the run to choose with the predictions of the choice among candidates that is made anew in each fold.

    It has its id, no probabilities, and the metrics of those predictions. None where the choice has not seen the
    evaluated images, as with a split, or where it cannot be made anew, as the candidates have not the same folds.
    """
    folds = chosen.predictions.get("fold")
    if len(candidates) < 2 or folds is None:
        return None
    order = image_order(chosen)
    y, fold = np.asarray(chosen.predictions["label"])[order], np.asarray(folds)[order] - 1
    predicted = []
    for run in candidates:
        own = image_order(run)
        same = "fold" in run.predictions and np.array_equal(np.asarray(run.predictions["fold"])[own] - 1, fold)
        if not same or len(run.folds) <= fold.max() or run.data["classes"] != chosen.data["classes"]:
            return None
        predicted.append(np.asarray(run.predictions["predicted"])[own])
    losses = np.array([[one["log_loss"] for one in run.folds] for run in candidates])
    _, answers = choose_in_folds(losses, fold, np.array(predicted))
    groups = None if chosen.groups is None else chosen.groups[order]
    metrics = measure(y, None, answers, groups=groups, folds=chosen.folds_number)
    columns = {name: [column[place] for place in order] for name, column in chosen.predictions.items()}
    columns |= {"predicted": answers.tolist()}
    return replace(chosen, metrics=metrics.to_dict(), predictions=columns, probabilities=None)
