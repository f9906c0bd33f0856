"""The map of a review: points for images by PCA, their labels, and what speaks against them."""

from typing import Any

import numpy as np

from ...extract.coordinates import coordinates
from ..pages.point_map import MOST, PointMap
from .review import Review


def plane(review: Review) -> dict[str, Any]:
    """Return what the page draws: that of :meth:`PointMap.data`, and the images that the points are of.

    Of more than 20,000 images so many are drawn, evenly spread over their order, which is that of chance.
    """
    count = len(review)
    images = np.linspace(0, count - 1, min(count, MOST)).round().astype(int)
    subjects = review.subjects(images.tolist())
    likeliest = [subject.likely[0][0] if subject.likely else "" for subject in subjects]
    labels = ["" if subject.decision.bad else subject.decision.label for subject in subjects]
    points = PointMap(
        points=coordinates(review.vectors[images], "pca").points,
        paths=[subject.paths[0] for subject in subjects],
        labels=labels,
        others=[other if label and other != label else "" for label, other in zip(labels, likeliest, strict=True)],
        before="looks like",
    )
    return points.data() | {"images": images.tolist()}
