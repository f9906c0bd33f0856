"""The backbones of a bundle: loaded by name or given by the caller, and always those its head was fitted on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...cache.processes import Lock
from ...cache.recipe import AND, AnyRecipe, ForeignRecipe, FunctionTransform, Recipe
from ...cache.tables import counted
from ...errors import BundleError
from ...extract.backbones.backbone import OWN, Backbone
from ...extract.backbones.spec import find_backbone
from ...extract.settings import options_of

if TYPE_CHECKING:
    import torch


class LoadedBackbones:
    """The backbones that were loaded for a bundle, once for each way of asking; another process loads its own."""

    def __init__(self) -> None:
        self._by_question: dict[tuple[Any, ...], list[Backbone]] = {}
        self._loading = Lock()

    def __reduce__(self) -> tuple[type["LoadedBackbones"], tuple[()]]:
        return LoadedBackbones, ()

    def of(self, recipe: AnyRecipe, weights: str, views: int, **machine: Any) -> list[Backbone]:
        """Return those of :func:`find_backbones`.

        Raises BundleError if they make other vectors than the recipe says.
        """
        asked = (weights, *(machine.get(name) for name in ("device", "batch_size", "cache")))
        with self._loading:
            if asked not in self._by_question:
                backbones = find_backbones(recipe, weights, views, **machine)
                require_same(backbones, recipe, views)
                self._by_question[asked] = backbones
            return self._by_question[asked]


def find_backbones(recipe: AnyRecipe, weights: str, views: int, **machine: Any) -> list[Backbone]:
    """Load the backbones of a recipe by their names; the layers of one network share a forward pass.

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
    sources = weights.split(AND)
    if OWN in sources:
        raise BundleError(
            f"The head was fitted on {recipe.backbone}, a module that fc7 cannot find by name. Name the function that "
            "makes it: --backbone FILE.py:FUNCTION; in Python: backbone=module"
        )
    sources = sources * len(recipe.parts) if len(sources) == 1 else sources
    networks: dict[tuple[Recipe, str], list[Recipe]] = {}
    for part, source in zip(recipe.parts, sources, strict=True):
        networks.setdefault((replace(part, layer="", dim=0), source), []).append(part)
    return [find_backbone(parts, source, views=views, **machine) for (_, source), parts in networks.items()]


def own_backbone(module: "torch.nn.Module", recipe: AnyRecipe, views: int, **machine: Any) -> Backbone:
    """Return a module of one's own as the backbone of a recipe.

    Raises
    ------
    BundleError
        It has no such part, or a function of the user's own prepared the images.
    UsageError
        The module cannot take the recipe's images, or lacks its layer.
    """
    if not recipe.parts:
        raise BundleError(f"The head was fitted on vectors of {recipe.backbone}, made elsewhere, not on a module.")
    first = recipe.parts[0]
    if isinstance(first.transform, FunctionTransform):
        raise BundleError(
            f"Your function {first.transform.name} prepared the images: give it again, with the module, as "
            f"Backbone(module, function, layer, transform_name={first.transform.name!r})."
        )
    return Backbone(
        module,
        first.transform,
        [part.layer for part in recipe.parts],
        name=first.backbone,
        views=views,
        **options_of(first),
        **machine,
    )


def require_same(backbones: Sequence[Backbone], recipe: AnyRecipe, views: int = 0) -> None:
    """Refuse backbones that make other vectors than the recipe says, or fewer random views of an image.

    Raises BundleError with the differences.
    """
    here = {actual for backbone in backbones for actual in backbone.recipes}
    there = set(recipe.parts)
    if here == there:
        fewest = min(backbone.views for backbone in backbones)
        if fewest < views:
            raise BundleError(
                f"The head averages over {counted(views, 'random view')}, and the backbone gives {fewest}. Load it "
                f"with views={views}."
            )
        return
    differences = [
        f"{name}: here {ours}, in the bundle {theirs}"
        for mine, other in zip(sorted(here - there, key=_name), sorted(there - here, key=_name), strict=False)
        for name, (ours, theirs) in mine.differences(other).items()
    ]
    if len(here) != len(there):
        differences.append(f"layers: here {len(here)}, in the bundle {len(there)}")
    own = any(backbone.weights_source == OWN for backbone in backbones)
    cure = "Give the backbone it was fitted on." if own else "Name the same weights with --weights."
    raise BundleError(
        f"The backbone found here is not the one the head was fitted on: {'; '.join(differences)}. {cure}"
    )


def _name(recipe: Recipe) -> tuple[str, str]:
    return recipe.backbone, recipe.layer
