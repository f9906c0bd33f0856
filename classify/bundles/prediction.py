"""The prediction of one image, and many predictions as csv."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.tables import Table
from ...errors import UsageError
from ...extract.text import csv_text, storable
from ..data.neighbour import Neighbour

NOT_SURE = "not sure"
COLUMNS = ("path", "answer", "label", "probability", "sure", "distance", "unlike", "rejected")


class ByClass:
    """Probabilities of all classes in a float32 each: as dicts, those of 100,000 images and 1,000 classes take 6 GB.

    Parameters
    ----------
    places
        The place of each class by its name.
    probabilities
        ``(classes,)`` float32, see :func:`compact`.
    first
        The place of the most probable class: in float64 it can be one alone, in float32 one of several.
    """

    __slots__ = ("first", "places", "probabilities")

    def __init__(self, places: Mapping[str, int], probabilities: npt.NDArray[np.float32], first: int) -> None:
        self.places, self.probabilities, self.first = places, probabilities, first

    def most_probable(self, count: int | None = None) -> dict[str, float]:
        """Return the first of the classes and their probabilities of six digits, the most probable first."""
        if count == 0:
            return {}
        names = [*self.places]
        order = np.lexsort((np.arange(len(names)) != self.first, -self.probabilities))[:count]
        shares = self.probabilities[order].tolist()
        return {names[place]: round(share, 6) for place, share in zip(order.tolist(), shares, strict=True)}


def compact(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return probabilities in float32 that have the same first six digits."""
    near = probabilities.astype(np.float32)
    other = np.nextafter(near, np.where(near < probabilities, 2, -1).astype(np.float32))
    return np.where(near.astype(np.float64).round(6) == probabilities.round(6), near, other)


class _MadeWhenAsked:
    """The attribute ``probabilities``: a dict that is made when it is asked for."""

    def __get__(self, prediction: "Prediction | None", owner: type | None = None) -> dict[str, float]:
        empty: Any = ()  # of the class, it is the default, for which dataclass takes no dict
        return _most_probable(prediction) if prediction else empty

    def __set__(self, prediction: "Prediction", value: ByClass | Mapping[str, float]) -> None:
        vars(prediction)["_by_class"] = value or {}


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
        All classes by name, the most probable first; made when it is asked for.
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
    probabilities: _MadeWhenAsked = _MadeWhenAsked()
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
        return _values(self)


def _values(prediction: Prediction, top: int | None = None) -> dict[str, Any]:
    """Return the plain values of a prediction, with so many of its most probable classes; None for all."""
    values: dict[str, Any] = {"path": prediction.path, "answer": prediction.answer}
    for field in fields(prediction):
        is_dict = field.name == "probabilities"
        values[field.name] = _most_probable(prediction, top) if is_dict else getattr(prediction, field.name)
    if prediction.rejected:
        values |= {"answer": None, "label": None, "probability": None}
    if prediction.neighbours is not None:
        values["neighbours"] = [neighbour.to_dict() for neighbour in prediction.neighbours]
    optional = ("classes", "neighbours")
    return {name: value for name, value in values.items() if name not in optional or value is not None}


def _most_probable(prediction: Prediction, count: int | None = None) -> dict[str, float]:
    by_class = vars(prediction)["_by_class"]
    return by_class.most_probable(count) if isinstance(by_class, ByClass) else dict(islice(by_class.items(), count))


def _names(prediction: Prediction) -> Mapping[str, Any]:
    by_class = vars(prediction)["_by_class"]
    return by_class.places if isinstance(by_class, ByClass) else by_class


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
    rows = [table_row(prediction, top) for prediction in predictions]
    return {name: [row.get(name) for row in rows] for name in table_columns(predictions, top)}


def table_columns(predictions: Sequence[Prediction], top: int | None = None) -> list[str]:
    """Return the names of the columns of :func:`predictions_table`."""
    columns = [*COLUMNS]
    columns += ["classes"] if any(prediction.classes is not None for prediction in predictions) else []
    near = max((len(prediction.neighbours or ()) for prediction in predictions), default=0)
    for place in range(1, near + 1):
        columns += [f"neighbour_{place}", f"neighbour_label_{place}", f"neighbour_score_{place}"]
    if top is None:
        names = {id(some): some for some in map(_names, predictions)}.values()  # many share theirs
        return columns + [f"probability_{name}" for name in sorted({name for some in names for name in some})]
    return columns + [name for place in range(1, top + 1) for name in (f"label_{place}", f"probability_{place}")]


def table_row(prediction: Prediction, top: int | None = None) -> dict[str, Any]:
    """Return what a row of :func:`predictions_table` has."""
    row = _values(prediction, top)
    probabilities = row.pop("probabilities")
    if prediction.classes is not None:
        row["classes"] = "; ".join(prediction.classes)
    for place, one in enumerate(row.pop("neighbours", ()), 1):
        row |= {f"neighbour_{place}": one["path"], f"neighbour_label_{place}": one["label"]}
        row[f"neighbour_score_{place}"] = one["score"]
    if top is None:
        return row | {f"probability_{name}": share for name, share in probabilities.items()}
    for place, (name, share) in enumerate(probabilities.items(), 1):
        row |= {f"label_{place}": name, f"probability_{place}": share}
    return row


def predictions_csv(
    predictions: Sequence[Prediction], top: int | None = 0, *, harmless: Callable[[str], str] = storable
) -> str:
    """Return csv with one row per image, the columns of :func:`predictions_table`; the last row has no end.

    `harmless` is that of :func:`fc7.extract.text.csv_text`.
    """
    rows = (table_row(prediction, top) for prediction in predictions)
    return csv_text(table_columns(predictions, top), rows, harmless=harmless).removesuffix("\n")
