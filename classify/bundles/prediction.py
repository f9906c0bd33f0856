"""The prediction of one image, and many predictions as csv."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import UsageError
from ...extract.text import csv_row, storable

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

    @property
    def answer(self) -> str:
        """The label, or ``not sure``; empty where the image was rejected."""
        return self.label if self.sure or self.rejected else NOT_SURE

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"path": self.path, "answer": self.answer, **vars(self)}


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
    """Return csv with one row per image, and columns for its ``top`` most probable classes.

    Parameters
    ----------
    harmless
        What makes a row harmless: :func:`fc7.extract.text.storable` for a file, where a name with a line feed has it
        inside of quotation marks; :func:`fc7.extract.text.plain` for a terminal, where each row is one line.
    """
    further = [name for place in range(1, top + 1) for name in (f"label_{place}", f"probability_{place}")]
    lines = [csv_row(["path", "label", "probability", "unlike", "rejected", *further])]
    for entry in predictions:
        top_classes = [*entry.probabilities.items()][:top]
        ranked = [cell for name, value in top_classes for cell in (name, f"{value:.4f}")]
        cells = [f"{entry.probability:.4f}" if entry.label else "", "unlike" if entry.unlike else "", entry.rejected]
        row = [entry.path, entry.answer, *cells, *ranked, *[""] * (len(further) - len(ranked))]
        lines.append(harmless(csv_row(row)))
    return "\n".join(lines)
