"""The prediction of one image, and many predictions as csv."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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


def predictions_csv(
    predictions: Sequence[Prediction], top: int = 0, *, harmless: Callable[[str], str] = storable
) -> str:
    """Return csv with one row per image, and columns for its ``top`` most probable classes; the last row has no end.

    `harmless` is that of :func:`fc7.extract.text.csv_text`.
    """
    columns = ["path", "label", "probability", "unlike", "rejected"]
    columns += [name for place in range(1, top + 1) for name in (f"label_{place}", f"probability_{place}")]
    rows = []
    for entry in predictions:
        probability = f"{entry.probability:.4f}" if entry.label else ""
        cells = [entry.path, entry.answer, probability, "unlike" if entry.unlike else "", entry.rejected]
        cells += [cell for name, value in [*entry.probabilities.items()][:top] for cell in (name, f"{value:.4f}")]
        rows.append(dict(zip(columns, cells, strict=False)))  # a rejected image has no classes
    return csv_text(columns, rows, harmless=harmless).removesuffix("\n")
