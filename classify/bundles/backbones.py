"""The backbones of a bundle: found by name, or given, and in any case those that its head was fitted on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar

from ...cache.recipe import AND, DECODES, Recipe
from ...errors import BundleError
from ...extract.backbones.backbone import OWN, Backbone, load_backbone
from .bundle import Bundle

T = TypeVar("T")


def find_backbones(
    bundle: Bundle, backbone: Backbone | None = None, weights: str | None = None, **machine: Any
) -> list[Backbone]:
    """Return the backbones that a bundle's head was fitted on, or the given one if it is the same.

    Neighbouring layers of one network come from one pass.

    Raises
    ------
    BundleError
        It is another one, or cannot be found by its name.
    """
    found = [backbone] if backbone else _by_name(bundle, weights or bundle.weights_source, machine)
    _require_same(bundle, [recipe for one in found for recipe in one.recipes])
    return found


def _by_name(bundle: Bundle, weights: str, machine: dict[str, Any]) -> list[Backbone]:
    if OWN in weights.split(AND):
        raise BundleError(
            f"The head was fitted on {bundle.recipe.backbone}, a module that fc7 cannot find by name. In Python, name "
            "it: backbone=Backbone(module, transform, layer)"
        )
    parts, sources = bundle.recipe.parts, weights.split(AND)
    sources = sources * len(parts) if len(sources) == 1 else sources
    networks = [(replace(part, layer="", dim=0), source) for part, source in zip(parts, sources, strict=True)]
    found = []
    for (recipe, source), layers in groupby(zip(networks, parts, strict=True), key=lambda pair: pair[0]):
        found.append(
            load_backbone(
                recipe.backbone,
                [part.layer for _, part in layers],
                weights=source,
                precision=recipe.precision,
                dtype=recipe.dtype,
                decode=next((name for name, rules in DECODES.items() if rules == recipe.decode), "exact"),
                image_size=(recipe.transform.crop, recipe.transform.resize),
                views=bundle.views,
                mirror=recipe.mirror,
                **machine,
            )
        )
    return found


def by_view(backbones: Sequence[Backbone], parts: Sequence[T]) -> list[list[T]]:
    """Return what there is for each recipe of each view, view by view, in the order of the bundle's recipe."""
    rest = iter(parts)
    found = [[[next(rest) for _ in one.recipes] for _ in range(1 + one.views)] for one in backbones]
    return [[part for view in views for part in view] for views in zip(*found, strict=True)]


def _require_same(bundle: Bundle, recipes: Sequence[Recipe]) -> None:
    pairs = zip(recipes, bundle.recipe.parts, strict=True)
    differences = [(name, *values) for one, other in pairs for name, values in one.differences(other).items()]
    if differences:
        found = "; ".join(f"{name}: here {here}, in the bundle {there}" for name, here, there in differences)
        raise BundleError(
            f"The backbone found here is not the one the head was fitted on: {found}. "
            "Name the same weights with --weights."
        )
