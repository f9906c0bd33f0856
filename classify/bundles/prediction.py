"""What a bundle answers about one image, and many answers as csv."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...extract.text import plain

NOT_SURE = "not sure"


@dataclass(frozen=True)
class Prediction:
    """One image's answer, or the reason why there is none.

    Attributes
    ----------
    path
        As asked for; an image in memory is called by its place, ``image 0`` the first.
    label, probability
        The most probable class; empty and 0 where the image was rejected.
    probabilities
        All classes by name, the most probable first.
    sure
        Whether the probability reaches the threshold of the bundle, if it has one.
    distance
        From the images that the head was fitted on, see
        :meth:`fc7.classify.evaluation.abstention.Abstention.distances`; None if not known.
    unlike
        Whether that is further than they are from each other.
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


def predictions_csv(found: Sequence[Prediction], top: int = 0) -> str:
    """Return a line per image, the path first; with further columns for its most probable classes if asked for."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    further = [name for place in range(1, top + 1) for name in (f"label_{place}", f"probability_{place}")]
    writer.writerow(["path", "label", "probability", "unlike", "rejected", *further])
    for one in found:
        ranked = [cell for name, value in [*one.probabilities.items()][:top] for cell in (plain(name), f"{value:.4f}")]
        about = [f"{one.probability:.4f}" if one.label else "", "unlike" if one.unlike else "", one.rejected]
        writer.writerow([plain(one.path), plain(one.answer), *about, *ranked, *[""] * (len(further) - len(ranked))])
    return buffer.getvalue().rstrip("\n")
