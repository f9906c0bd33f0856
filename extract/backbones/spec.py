"""A backbone as plain values, from which a process on another machine makes the same one."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...cache.recipe import DECODES, Recipe
from .architectures import architecture
from .backbone import OWN, Backbone, load_backbone

if TYPE_CHECKING:
    from .network import Tapped


class BackboneSpec(NamedTuple):
    """What makes a backbone.

    Attributes
    ----------
    recipes
        Of view 0, one per layer; the backbone that :meth:`load` makes must have the same.
    source
        Of the weights.
    options
        Views, device and batch size as they were given.
    network
        The network itself if it is the user's own, which no name leads to.
    """

    recipes: tuple[Recipe, ...]
    source: str
    options: dict[str, Any]
    network: "Tapped | None" = None

    @classmethod
    def of(cls, backbone: Backbone) -> "BackboneSpec":
        """Describe a backbone."""
        options = {"views": backbone.views, **backbone.machine}
        if backbone.weights_source == OWN:
            return cls(backbone.recipes, OWN, options | backbone.work, backbone.plain())
        return cls(backbone.recipes, _absolute(backbone.weights_source), options)

    def load(self, device: str, cache: Path) -> Backbone:
        """Make the backbone, on a device of this machine.

        Parameters
        ----------
        cache
            Where hashes of weights are remembered.

        Raises
        ------
        FC7Error
            The weights are not here, or what :func:`fc7.extract.load_backbone` raises.
        """
        options = self.options | {"device": device}
        first = self.recipes[0]
        if self.network is not None:
            network = self.network
            return Backbone.published(self.recipes, lambda: copy.deepcopy(network), OWN, **options)
        usual = architecture(first.backbone).transform
        return load_backbone(
            first.backbone,
            [recipe.layer for recipe in self.recipes],
            weights=self.source,
            precision=first.precision,
            dtype=first.dtype,
            decode=next(name for name, rules in DECODES.items() if rules == first.decode),
            image_size=None if first.transform == usual else (first.transform.crop, first.transform.resize),
            mirror=first.mirror,
            cache=cache,
            **options,
        )


def _absolute(source: str) -> str:
    """Return a source of weights that does not depend on the working directory."""
    kind, colon, path = source.partition(":")
    return f"{kind}:{Path(path).expanduser().absolute()}" if kind == "file" and colon else source
