"""The prediction of one image, and many predictions as csv."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ...cache.tables import Table
from ...errors import UsageError
from ...extract.text import csv_text, storable

NOT_SURE = "not sure"


@dataclass(frozen=True)
class Prediction:
    """The answer for one image, or the reason why there is none.

    Attributes
    ----------
    path
        As requested; images in memory are named by position, from ``image 0``.
    label, probability
        The most probable class; empty and 0 where the image was rejected.
    probabilities
        All classes by name, the most probable first.
    sure
        Whether the probability reaches the threshold of the bundle, if it has one.
    distance
        From the fitted images, see
        :meth:`fc7.classify.evaluation.abstention.Abstention.distances`; None if unknown.
    unlike
        Whether the distance is larger than those between the fitted images.
    rejected
        The reason, or empty.
    """

    path: str
    label: str = ""
    probability: float = 0.0
    probabilities: dict[str, float] = field(default_factory=dict)
    sure: bool = False
    distance: float | None = None
    unlike: bool = False
    rejected: str = ""

    def __repr__(self) -> str:
        if self.rejected:
            return f"Prediction({self.path!r}, rejected={self.rejected!r})"
        marks = "".join([", not sure" if not self.sure else "", ", unlike" if self.unlike else ""])
        return f"Prediction({self.path!r}, {self.label!r}, {self.probability:.3f}{marks})"

    @property
    def answer(self) -> str:
        """The label, or ``not sure``; empty where the image was rejected."""
        return self.label if self.sure or self.rejected else NOT_SURE

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"path": self.path, "answer": self.answer, **vars(self)}


class Predictions(Table[Prediction]):
    """Predictions of many images. :meth:`to_pandas` has a column ``probability_CLASS`` for each class, too."""

    shown = ("path", "answer", "probability", "unlike", "rejected")

    def to_dicts(self, first: int | None = None) -> list[dict[str, Any]]:
        """Return plain values of the first predictions, by default of all; what a rejected image has not is None."""
        return [_row(prediction) for prediction in self[:first]]


def _row(prediction: Prediction) -> dict[str, Any]:
    values = prediction.to_dict()
    probabilities = values.pop("probabilities")
    if prediction.rejected:
        values |= {"probability": None}
    return values | {f"probability_{name}": probabilities[name] for name in sorted(probabilities)}


def require_distinct(classes: Sequence[str]) -> None:
    """Refuse a class that could not be told from an answer that is none.

    Raises
    ------
    UsageError
        A class is called ``not sure``.
    """
    if NOT_SURE in classes:
        raise UsageError(
            f"--max-error answers {NOT_SURE!r} where the head is not sure, and a class has that name. Rename the "
            "class, or leave out --max-error."
        )


def predictions_table(predictions: Sequence[Prediction], top: int | None = None) -> dict[str, list[Any]]:
    """Return columns by name: what is said of each image, and the probabilities of classes.

    Parameters
    ----------
    top
        ``label_1, probability_1, ...`` of so many most probable classes; None for a column ``probability_CLASS`` of
        each class.

    Returns
    -------
    dict of lists
        Texts, numbers and, in ``unlike``, bools; what a rejected image has not is None.
    """
    labelled = [entry for entry in predictions if not entry.rejected]
    table: dict[str, list[Any]] = {
        "path": [entry.path for entry in predictions],
        "label": [entry.answer or None for entry in predictions],
        "probability": [entry.probability if entry.label else None for entry in predictions],
        "unlike": [entry.unlike for entry in predictions],
        "rejected": [entry.rejected for entry in predictions],
    }
    if top is None:
        for name in sorted(labelled[0].probabilities) if labelled else []:
            table[f"probability_{name}"] = [entry.probabilities.get(name) for entry in predictions]
        return table
    for place in range(top):
        best = [next(islice(entry.probabilities.items(), place, None), (None, None)) for entry in predictions]
        table[f"label_{place + 1}"] = [label for label, _ in best]
        table[f"probability_{place + 1}"] = [probability for _, probability in best]
    return table


def predictions_csv(
    predictions: Sequence[Prediction], top: int | None = 0, *, harmless: Callable[[str], str] = storable
) -> str:
    """Return csv with one row per image, the columns of :func:`predictions_table`; the last row has no end.

    `harmless` is that of :func:`fc7.extract.text.csv_text`.
    """
    table = predictions_table(predictions, top)
    rows = (dict(zip(table, map(_cell, row), strict=True)) for row in zip(*table.values(), strict=True))
    return csv_text([*table], rows, harmless=harmless).removesuffix("\n")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "unlike" if value else ""
    return f"{value:.4f}" if isinstance(value, float) else value or ""
