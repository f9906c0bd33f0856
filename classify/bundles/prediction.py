"""The prediction of one image, and many predictions as csv."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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


def predictions_csv(predictions: Sequence[Prediction], top: int = 0) -> str:
    """Return csv with one line per image, and columns for its ``top`` most probable classes."""
    further = [name for place in range(1, top + 1) for name in (f"label_{place}", f"probability_{place}")]
    lines = [csv_row(["path", "label", "probability", "unlike", "rejected", *further])]
    for entry in predictions:
        top_classes = [*entry.probabilities.items()][:top]
        ranked = [cell for name, value in top_classes for cell in (name, f"{value:.4f}")]
        cells = [f"{entry.probability:.4f}" if entry.label else "", "unlike" if entry.unlike else "", entry.rejected]
        row = [entry.path, entry.answer, *cells, *ranked, *[""] * (len(further) - len(ranked))]
        lines.append(storable(csv_row(row)))
    return "\n".join(lines)
