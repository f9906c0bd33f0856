"""Findings of an audit, on one image or on two."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...cache.embeddings import Embeddings, Rows

CONFIDENT = 0.9  # calibrated probability of another class than the label

# Of a table of findings; a cell that does not apply to a finding is empty.
COLUMNS = (
    "finding", "path", "label", "split", "other_path", "other_label", "other_split", "across_splits", "labels_differ",
    "cosine", "details", "distance", "predicted", "probability", "self_confidence", "off_diagonal", "confident",
)  # fmt: skip


@dataclass(frozen=True)
class AuditedImage:
    """One image of the data set; ``key`` is the sha256 of its bytes in hex, its label may be empty."""

    path: str
    label: str
    split: str
    key: str = field(repr=False)

    def to_dict(self, prefix: str = "") -> dict[str, Any]:
        """Return plain values, without the key."""
        return {f"{prefix}{name}": getattr(self, name) for name in ("path", "label", "split")}


@dataclass(frozen=True)
class ImagePair:
    """Two images that are, or may be, the same.

    Attributes
    ----------
    kind
        ``duplicate``: the same bytes. ``group``: one group of the manifest in two splits. ``near-duplicate``: similar
        pixels. ``candidate``: similar embeddings, and no pixels to compare.
    cosine
        Of their embeddings.
    details
        Correlation of their details, see :mod:`fc7.classify.audits.alignment`; None where pixels were not compared.
    """

    kind: str
    first: AuditedImage
    second: AuditedImage
    cosine: float
    details: float | None = None

    def __repr__(self) -> str:
        return f"ImagePair({self.kind}, {self.first.path!r}, {self.second.path!r}, cosine {self.cosine:.3f})"

    @property
    def across_splits(self) -> bool:
        """Whether the two are in different splits, so that one may be fitted on and the other evaluated."""
        return bool(self.first.split and self.second.split) and self.first.split != self.second.split

    @property
    def labels_differ(self) -> bool:
        """Whether both have a label and these differ, so that one of them is wrong if the images are the same."""
        return bool(self.first.label and self.second.label) and self.first.label != self.second.label

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "finding": self.kind,
            **self.first.to_dict(),
            **self.second.to_dict("other_"),
            "across_splits": self.across_splits,
            "labels_differ": self.labels_differ,
            "cosine": round(self.cosine, 6),
            "details": None if self.details is None else round(self.details, 6),
        }


@dataclass(frozen=True)
class Outlier:
    """An image unlike all others, with its cosine distance to the k-th nearest one."""

    image: AuditedImage
    distance: float

    def __repr__(self) -> str:
        return f"Outlier({self.image.path!r}, distance {self.distance:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"finding": "outlier", **self.image.to_dict(), "distance": round(self.distance, 6)}


@dataclass(frozen=True)
class Suspect:
    """An image whose label out-of-fold predictions contradict.

    Attributes
    ----------
    self_confidence
        The out-of-fold probability of its label.
    predicted, probability
        The most probable class.
    off_diagonal
        Whether it is off the diagonal of the confident joint: see
        :func:`fc7.classify.evaluation.confident_learning.off_diagonal`.
    """

    image: AuditedImage
    self_confidence: float
    predicted: str
    probability: float
    off_diagonal: bool

    @property
    def confident(self) -> bool:
        """Whether the head is sure of another class: off the diagonal, and at least :data:`CONFIDENT` probable.

        In a class of few images, or of hard ones, the diagonal alone asks for little probability.
        """
        return self.off_diagonal and self.probability >= CONFIDENT

    def __repr__(self) -> str:
        likelier = f"{self.predicted!r} {self.probability:.3f}"
        return f"Suspect({self.image.path!r}, {self.image.label!r} {self.self_confidence:.3f}, {likelier})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "finding": "label",
            **self.image.to_dict(),
            "predicted": self.predicted,
            "probability": round(self.probability, 6),
            "self_confidence": round(self.self_confidence, 6),
            "off_diagonal": self.off_diagonal,
            "confident": self.confident,
        }


def image_of(images: Rows, row: int) -> AuditedImage:
    """Return a row of a data set as an image."""
    key = images.sha256[row].tobytes().hex()
    return AuditedImage(str(images.paths[row]), str(images.labels[row]), str(images.split[row]), key)


def pair_of(kind: str, images: Rows, one: int, other: int, cosine: float, details: float | None = None) -> ImagePair:
    """Return two rows as a pair; of two splits, train comes before val."""
    first, second = sorted((one, other), key=lambda row: (str(images.split[row]), row))
    return ImagePair(kind, image_of(images, first), image_of(images, second), cosine, details)


def cosine_of(embeddings: Embeddings, first: int, second: int) -> float:
    """Return the cosine of the embeddings of two rows; 0 if one is all zeros."""
    a, b = embeddings.vectors[[first, second]].astype(np.float64)
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return min(float(a @ b / length), 1.0) if length else 0.0
