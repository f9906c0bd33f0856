"""Predict labels and probabilities of new images, through the same cache."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...cache.arguments import checked
from ...extract.in_memory import Picture
from .bundle import Bundle
from .prediction import Predictions


@checked
def predict(bundle: Bundle, images: Iterable[Path | str | Picture], **options: Any) -> Predictions:
    """Predict images with a bundle.

    Parameters
    ----------
    bundle
        Fitted, or read with :meth:`fc7.classify.Bundle.load`.
    images, options
        And what is returned and raised: see :meth:`fc7.classify.Bundle.predict`.
    """
    return bundle.predict(images, **options)
