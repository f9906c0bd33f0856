"""A backbone as plain values, from which a process on another machine makes the same one."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...cache.recipe import Recipe
from ..settings import BackboneSettings, options_of
from .backbone import OWN, Backbone
from .published import load_backbone

if TYPE_CHECKING:
    from .network import Tapped


class BackboneSpec(NamedTuple):
    """What makes a backbone."""

    recipes: tuple[Recipe, ...]  # of view 0, one per layer; the backbone that `load` makes must have the same
    source: str  # of the weights
    options: dict[str, Any]  # views, device and batch size as they were given
    # If it is the user's own, which no name leads to: the network, and what its work is.
    network: "Tapped | None" = None
    work: dict[str, float] | None = None

    @classmethod
    def of(cls, backbone: Backbone) -> "BackboneSpec":
        """Describe a backbone."""
        options = {"views": backbone.views, **backbone.machine}
        if backbone.weights_source == OWN:
            return cls(backbone.recipes, OWN, options, backbone.plain(), backbone.work)
        return cls(backbone.recipes, _absolute(backbone.weights_source), options)

    def load(self, cache: Path) -> Backbone:
        """Make the backbone; hashes of weights are remembered in the cache."""
        if self.network is None:
            return find_backbone(self.recipes, self.source, cache=cache, **self.options)
        network, settings = self.network, BackboneSettings(**self.options)
        return Backbone.published(self.recipes, lambda: copy.deepcopy(network), OWN, settings, **(self.work or {}))


def find_backbone(recipes: Sequence[Recipe], source: str, **options: Any) -> Backbone:
    """Return the backbone that makes some recipes, which differ in their layers only, found by its name.

    Parameters
    ----------
    source
        Of the weights.
    options
        Those of :func:`fc7.extract.load_backbone` that belong to no recipe.
    """
    first = recipes[0]
    return load_backbone(
        first.backbone,
        [recipe.layer for recipe in recipes],
        weights=source,
        transform=first.transform,
        **options_of(first),
        **options,
    )


def _absolute(source: str) -> str:
    """Return a source of weights that does not depend on the working directory."""
    kind, colon, path = source.partition(":")
    return f"{kind}:{Path(path).expanduser().absolute()}" if kind == "file" and colon else source
