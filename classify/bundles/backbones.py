"""The backbones of a bundle: found by name, or given, and in any case those that its head was fitted on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from ...cache.recipe import AND, DECODES, JointRecipe, Recipe
from ...errors import BundleError
from ...extract.backbones.backbone import OWN, Backbone, load_backbone


def find_backbones(recipe: Recipe | JointRecipe, weights: str, views: int, **machine: Any) -> list[Backbone]:
    """Return the backbones that make the embeddings of a recipe, found by their names.

    Neighbouring layers of one network come from one pass.

    Parameters
    ----------
    weights
        Where the weights of each part are.
    views
        Random views beside the centre crop.
    machine
        As in :func:`fc7.extract.load_backbone`.

    Raises
    ------
    BundleError
        One cannot be found by its name.
    """
    if OWN in weights.split(AND):
        raise BundleError(
            f"The head was fitted on {recipe.backbone}, a module that fc7 cannot find by name. In Python, name "
            "it: backbone=Backbone(module, transform, layer)"
        )
    parts, sources = recipe.parts, weights.split(AND)
    sources = sources * len(parts) if len(sources) == 1 else sources
    networks = [(replace(part, layer="", dim=0), source) for part, source in zip(parts, sources, strict=True)]
    found = []
    for (network, source), layers in groupby(zip(networks, parts, strict=True), key=lambda pair: pair[0]):
        found.append(
            load_backbone(
                network.backbone,
                [part.layer for _, part in layers],
                weights=source,
                precision=network.precision,
                dtype=network.dtype,
                decode=next((name for name, rules in DECODES.items() if rules == network.decode), "exact"),
                image_size=(network.transform.crop, network.transform.resize),
                views=views,
                mirror=network.mirror,
                **machine,
            )
        )
    return found


def require_same(backbones: Sequence[Backbone], recipe: Recipe | JointRecipe) -> None:
    """Refuse backbones that do not make the embeddings of a recipe.

    Raises
    ------
    BundleError
        The message has what differs.
    """
    recipes = [made for backbone in backbones for made in backbone.recipes]
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
