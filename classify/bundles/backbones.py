"""The backbones of a bundle: loaded by name or given by the caller, and always those its head was fitted on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from ...cache.recipe import AND, AnyRecipe, ForeignRecipe
from ...errors import BundleError
from ...extract.backbones.backbone import OWN, Backbone
from ...extract.backbones.spec import find_backbone


def find_backbones(recipe: AnyRecipe, weights: str, views: int, **machine: Any) -> list[Backbone]:
    """Load the backbones of a recipe by their names.

    Neighbouring layers of one network share a forward pass.

    Parameters
    ----------
    weights
        Source of the weights of each part.
    views
        Number of random views, besides the centre crop.
    machine
        As in :func:`fc7.extract.load_backbone`.

    Raises
    ------
    BundleError
        A backbone cannot be found by its name.
    """
    if isinstance(recipe, ForeignRecipe):
        raise BundleError(
            f"The head was fitted on vectors of {recipe.name}, made elsewhere: fc7 cannot make them of new images. "
            "In Python: Bundle.load(FILE).predict_proba(vectors)"
        )
    if OWN in weights.split(AND):
        raise BundleError(
            f"The head was fitted on {recipe.backbone}, a module that fc7 cannot find by name. In Python, name "
            "it: backbone=Backbone(module, transform, layer)"
        )
    sources = weights.split(AND)
    sources = sources * len(recipe.parts) if len(sources) == 1 else sources
    networks = [replace(part, layer="", dim=0) for part in recipe.parts]
    rows = zip(networks, sources, recipe.parts, strict=True)
    return [
        find_backbone([part for *_, part in group], source, views=views, **machine)
        for (_, source), group in groupby(rows, key=lambda row: row[:2])
    ]


def require_same(backbones: Sequence[Backbone], recipe: AnyRecipe) -> None:
    """Refuse backbones whose recipes differ from the one given.

    Raises
    ------
    BundleError
        The message lists the differences.
    """
    recipes = [actual for backbone in backbones for actual in backbone.recipes]
    differences = [
        f"{name}: here {here}, in the bundle {there}"
        for ours, theirs in zip(recipes, recipe.parts, strict=False)
        for name, (here, there) in ours.differences(theirs).items()
    ]
    if len(recipes) != len(recipe.parts):
        differences.append(f"layers: here {len(recipes)}, in the bundle {len(recipe.parts)}")
    if differences:
        raise BundleError(
            f"The backbone found here is not the one the head was fitted on: {'; '.join(differences)}. "
            "Name the same weights with --weights."
        )
