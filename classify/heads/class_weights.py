"""Class weights: the grid by class weights, and the weights of the classes."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight

from ..arrays import Floats
from .base import ClassWeight, Grid


def by_class_weight(points: Grid, default: ClassWeight) -> list[tuple[ClassWeight, list[int]]]:
    """Group points by class weights: return each class weight with the positions of its points."""
    groups: dict[str, tuple[ClassWeight, list[int]]] = {}
    for place, point in enumerate(points):
        kind = point.get("class_weight", default)
        groups.setdefault(repr(kind), (kind, []))[1].append(place)
    return list(groups.values())


def class_weights(kind: ClassWeight, labels: npt.NDArray[Any]) -> Floats | None:
    """Return the weights of the sorted classes, ``(classes,)``; None where all are equal."""
    return None if kind is None else np.asarray(compute_class_weight(kind, classes=np.unique(labels), y=labels))
