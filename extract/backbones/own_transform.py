"""A function of the user's own that prepares images for a network of their own."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import PIL.Image

from ...cache.recipe import FunctionTransform
from ...errors import UsageError
from ..text import first_line
from .fingerprint import fingerprint

logger = logging.getLogger(__name__)

_TRIED = ((90, 60), (60, 90))  # width and height of made-up pictures


def own_transform(function: Callable[[Any], Any], name: str) -> FunctionTransform:
    """Return a function as a transform, after trying it on made-up pictures.

    Parameters
    ----------
    function
        From an upright RGB ``PIL.Image.Image`` to a tensor or an array ``(3, side, side)`` of floats, normalised;
        always of one side. Threads call it side by side.
    name
        In recipes, which hold the sha256 of its code beside it. Of a function whose code cannot be described, such as
        one that holds a file, the name is all that is known: another name must be given when it changes.

    Raises
    ------
    UsageError
        It cannot be called, raises, returns something else, or other numbers when it sees a picture again.
    """
    if not callable(function):
        raise UsageError(f"transform_name={name!r} is for a function; a {type(function).__name__} cannot be called.")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in _TRIED]
    first, *others = (_tried(function, name, picture) for picture in [*pictures, pictures[0]])
    side = first.shape[-1] if first.ndim else 0
    for made in (first, *others):
        if made.shape != (3, side, side) or made.dtype.kind != "f":
            raise UsageError(
                f"{name} returns {made.dtype} {made.shape}; needed: normalised floats (3, side, side), of one side for "
                "all pictures."
            )
        if not np.isfinite(made).all():
            raise UsageError(f"{name} returns numbers that are not finite.")
    if not np.array_equal(first, others[-1]):
        raise UsageError(f"{name} returns other numbers when it sees a picture again: something in it draws at random.")
    return FunctionTransform(resize=side, crop=side, name=name, code=_code(function, name), function=function)


def _tried(function: Callable[[Any], Any], name: str, picture: Any) -> Any:
    try:
        made = function(PIL.Image.fromarray(picture))
        if not isinstance(made, Mapping):
            return np.asarray(made)
    except Exception as error:  # the user's code can raise anything
        raise UsageError(f"{name} failed on a made-up picture: {type(error).__name__}: {first_line(error)}.") from error
    raise UsageError(
        f"{name} returns a {type(made).__name__} of {', '.join(map(str, made))}; needed: normalised floats (3, side, "
        "side). Of a processor of Hugging Face a function can return "
        "processor(image, return_tensors='pt')['pixel_values'][0]."
    )


def _code(function: Callable[[Any], Any], name: str) -> str:
    try:
        return fingerprint(function)
    except UsageError as error:
        logger.warning("Of %s its name is all that is known, so give another when it changes: %s", name, error)
        return ""
