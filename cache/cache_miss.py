"""Explain a cache miss: which similar recipe has the rows, and in which fields it differs."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import CorruptRecipe
from .commit import described
from .format import recipe_folders
from .index import Index
from .keys import Keys, Table
from .recipe import Recipe
from .tables import are

# The option that sets each field.
_OPTIONS = {
    "weights": "--weights",
    "precision": "--precision",
    "dtype": "--dtype",
    "layer": "--layer",
    "transform.crop": "--image-size",
    "transform.resize": "--image-size",
    "transform.resize_mode": "--resize",
}
_SIZES = {"transform.crop", "transform.resize"}
_RESIZE = {"transform.resize_mode", "transform.resize"}  # --resize may change both


def explain(directory: Path, recipe: Recipe, keys: Sequence[bytes]) -> str:
    """Say which other recipe of this backbone and layer has these images, where it differs, and how to ask for it.

    These are sentences with a space at the end; the text is empty if no other recipe has any of the images.
    """
    index = Index(directory)
    wanted = Table(Keys.of(keys).unique())
    best: tuple[int, int, Recipe] | None = None
    for candidate in _other_recipes(directory, recipe):
        has_row = np.zeros(len(wanted.keys) + 1, bool)
        for entry in index.shards(candidate.id).values():
            has_row[wanted.find(entry.keys)] = True
        count = int(has_row[:-1].sum())  # the last counts keys that are not wanted (find returns -1)
        likeness = -len(recipe.differences(candidate))
        if count and (best is None or (count, likeness) > best[:2]):
            best = (count, likeness, candidate)
    if best is None:
        return ""
    count, _, nearest = best
    fields = recipe.differences(nearest)
    differing = "; ".join(
        f"{name} is {_short(theirs)} there, {_short(mine)} here" for name, (mine, theirs) in fields.items()
    )
    options = dict.fromkeys(_OPTIONS[name] for name in fields if name in _OPTIONS)
    where = f"cached under recipe {nearest.id[:12]}"
    if "transform.resize_mode" in fields and fields.keys() <= _RESIZE:
        options = {"--resize": None}
    elif all(name.startswith("transform.") for name in fields) and not {"transform.crop"} <= fields.keys() <= _SIZES:
        # --image-size may have done it where the size before the crop alone differs
        options = {f"--transform{' or --image-size' if fields.keys() <= _SIZES else ''}": None}
        where = f"cached with the transform of other weights, under recipe {nearest.id[:12]}"
    ask = f" To use those, change {' and '.join(options)}." if options else ""
    return f"{count} of them {are(count)} {where}, which makes other vectors: {differing}.{ask} "


def _other_recipes(directory: Path, recipe: Recipe) -> Iterator[Recipe]:
    with contextlib.suppress(OSError):  # a missing explanation must not hide the miss itself
        for folder in recipe_folders(directory):
            with contextlib.suppress(CorruptRecipe, OSError):  # fc7 cache verify reports it
                other = described(folder)
                if other != recipe and (other.backbone, other.layer) == (recipe.backbone, recipe.layer):
                    yield other


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:8]}.." if len(text) == 64 else text
