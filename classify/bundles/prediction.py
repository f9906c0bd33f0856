"""The prediction of one image, and many predictions as csv."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ...cache.tables import Table
from ...errors import UsageError
from ...extract.text import csv_text, storable
from ..data.neighbour import Neighbour

NOT_SURE = "not sure"
COLUMNS = ("path", "answer", "label", "probability", "sure", "distance", "unlike", "rejected")


@dataclass(frozen=True)
class Prediction:
    """The answer for one image, or the reason why there is none.

    Attributes
    ----------
    path
        As requested; images in memory are named by position, from ``image 0``.
    label, probability
        The most probable class, or with costs that of least expected cost; empty and 0 where the image was rejected.
    probabilities
        All classes by name, the most probable first.
    sure
        Whether the probability reaches the threshold of the bundle, if it has one; and with ``unlike="not-sure"``,
        whether the image is like the fitted ones.
    distance
        From the fitted images, see
        :meth:`fc7.classify.evaluation.abstention.Abstention.distances`; None if unknown.
    unlike
        Whether the distance is larger than those between the fitted images.
    classes
        The set of classes that a coverage was asked for, the most probable first; None without one.
    neighbours
        The nearest fitted images, the nearest first; None if they were not asked for.
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
    classes: list[str] | None = None
    neighbours: list[Neighbour] | None = None
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
        """Return plain values; what a rejected image has not is None, what was not asked for is absent."""
        absent: dict[str, Any] = {"answer": None, "label": None, "probability": None} if self.rejected else {}
        values = {"path": self.path, "answer": self.answer, **vars(self)} | absent
        if self.neighbours is not None:
            values["neighbours"] = [neighbour.to_dict() for neighbour in self.neighbours]
        optional = ("classes", "neighbours")
        return {name: value for name, value in values.items() if name not in optional or value is not None}


class Predictions(Table[Prediction]):
    """Predictions of many images, in Python and in files of the same columns: see :func:`predictions_table`."""

    shown = ("path", "answer", "probability", "unlike", "rejected")

    def to_dicts(self, first: int | None = None) -> list[dict[str, Any]]:
        """Return plain values of the first predictions, by default of all; what a rejected image has not is None."""
        table = predictions_table(self[:first])
        return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


def counts(predictions: Sequence[Prediction]) -> dict[str, int]:
    """Return how many images were answered, not sure and rejected, which are all of them, and how many are unlike."""
    rejected = sum(bool(entry.rejected) for entry in predictions)
    answered = sum(entry.sure and not entry.rejected for entry in predictions)
    return {
        "files": len(predictions),
        "answered": answered,
        "not_sure": len(predictions) - answered - rejected,
        "rejected": rejected,
        "unlike": sum(entry.unlike for entry in predictions),
    }


def require_distinct(classes: Sequence[str], option: str) -> None:
    """Refuse a class called ``not sure``, which could not be told from such an answer; raises UsageError."""
    if NOT_SURE in classes:
        raise UsageError(
            f"{option} answers {NOT_SURE!r} where the head is not sure, and a class has that name. Rename the "
            f"class, or leave out {option}."
        )


def predictions_table(predictions: Sequence[Prediction], top: int | None = None) -> dict[str, list[Any]]:
    """Return columns by name: what is said of each image, and the probabilities of classes.

    They are those of :meth:`Predictions.to_pandas`, and of files of predictions.

    Parameters
    ----------
    top
        ``label_1, probability_1, ...`` of so many most probable classes; None for a column ``probability_CLASS`` of
        each class.

    Returns
    -------
    dict of lists
        ``path``, ``answer`` (the label, or ``not sure``), ``label``, ``probability``, ``sure``, ``distance``,
        ``unlike``, ``rejected``, if a coverage was asked for ``classes`` with ``; `` between them, if neighbours were
        ``neighbour_1``, ``neighbour_label_1``, ``neighbour_score_1`` and so on, and then probabilities; what a rejected
        image has not is None.
    """
    rows = [prediction.to_dict() for prediction in predictions]
    table = {name: [row[name] for row in rows] for name in COLUMNS}
    if any("classes" in row for row in rows):
        table["classes"] = ["; ".join(row["classes"]) if "classes" in row else None for row in rows]
    near = [prediction.neighbours or [] for prediction in predictions]
    for place in range(max(map(len, near), default=0)):
        some = [neighbours[place] if place < len(neighbours) else None for neighbours in near]
        table[f"neighbour_{place + 1}"] = [one and one.path for one in some]
        table[f"neighbour_label_{place + 1}"] = [one and one.label for one in some]
        table[f"neighbour_score_{place + 1}"] = [one and round(one.score, 6) for one in some]
    every = [row["probabilities"] for row in rows]
    if top is None:
        for name in sorted({name for probabilities in every for name in probabilities}):
            table[f"probability_{name}"] = [probabilities.get(name) for probabilities in every]
        return table
    for place in range(top):
        best = [next(islice(probabilities.items(), place, None), (None, None)) for probabilities in every]
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
    rows = (dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True))
    return csv_text([*table], rows, harmless=harmless).removesuffix("\n")
