"""A network and a transform of the user's own: like published ones, known by all that their numbers come from."""

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ...cache.recipe import FunctionTransform
from ...errors import UsageError
from ..text import first_line
from .fingerprint import fingerprint, uncompiled
from .graph import TracedNetwork
from .layers import POOLED, Layer
from .network import Tapped, pool
from .torch_runtime import global_generator
from .tracing import has_hooks, require_no_hooks_for_all

logger = logging.getLogger(__name__)

OUTPUT = "output"  # the layer that is what the module returns

# Of a row's largest number: how much it may change with the other rows of its batch. Rounding stays below, far below
# what batch norm over a batch or dropout do.
ROUNDING = 1e-4

_TRIED = ((90, 60), (60, 90))  # width and height of made-up pictures


class CustomNetwork(NamedTuple):
    """A frozen copy of a module, ready to be a backbone."""

    tapped: Tapped  # from images to the vectors of the layers
    dims: tuple[int, ...]  # their lengths
    sha256: str  # the fingerprint of the module, hex
    gmacs: float  # billions of multiply-adds for one image


def custom_network(module: torch.nn.Module, layers: Sequence[str], crop: int) -> CustomNetwork:
    """Copy a module, freeze the copy and tap it.

    Raises
    ------
    UsageError
        It has hooks, cannot be copied or described, cannot take such images, or computes rows that depend on chance or
        on the other rows of a batch; or a layer is not there.
    """
    module = uncompiled(module)
    _require_no_hooks(module)
    kind = type(module).__name__
    try:
        with torch.no_grad():  # the copies of a TorchScript module's parameters would know where they come from
            frozen = copy.deepcopy(module).to("cpu", torch.float32).eval()
            for parameter in frozen.parameters():  # TorchScript has no Module.requires_grad_
                parameter.requires_grad_(False)
    except Exception as error:  # an unknown module can raise anything when it is copied, or run
        raise UsageError(f"{kind} cannot be copied: {first_line(error)}") from error
    sha256 = fingerprint(frozen)
    images = torch.randn(2, 3, crop, crop, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), global_generator():
        try:
            returned = frozen(images)
        except Exception as error:
            raise UsageError(f"{kind} cannot take images of {crop} x {crop} pixels: {first_line(error)}") from error
        _require_rows_of_their_own(frozen, images, returned)
        tapped = _tap(frozen, layers, images, returned)
        with FlopCounterMode(display=False) as counter:
            vectors = tapped(images)
    if any(vector.is_complex() for vector in vectors):
        raise UsageError(f"{kind} returns complex numbers: let it return their parts, or magnitudes, side by side.")
    dims = tuple(math.prod(vector.shape[1:]) for vector in vectors)
    return CustomNetwork(tapped, dims, sha256, counter.get_total_flops() / 2e9 / len(images))


def _require_no_hooks(module: torch.nn.Module) -> None:
    require_no_hooks_for_all()
    for name, inner in module.named_modules():
        if has_hooks(inner):
            place = ".".join(filter(None, (type(module).__name__, name)))
            raise UsageError(
                f"{place} has a forward hook, and fc7 cannot know what it does: remove it, or do its work in a forward "
                "pass. weight_norm and spectral_norm of torch.nn.utils are hooks; those of "
                "torch.nn.utils.parametrizations are none."
            )


def _require_rows_of_their_own(frozen: torch.nn.Module, images: torch.Tensor, returned: Any) -> None:
    """Run the images again, together and one by one: no row may change."""
    kind = type(frozen).__name__
    if not _agree(frozen(images), returned):
        raise UsageError(
            f"{kind} returns other numbers when it sees the same images again, in eval mode: something in it draws at "
            "random, such as dropout with training=True, or counts. Turn it off."
        )
    for place, image in enumerate(images):
        try:
            alone = frozen(image[None])
        except Exception as error:
            raise UsageError(f"{kind} takes two images and not one: {first_line(error)}") from error
        rows = [
            leaf[place : place + 1] if leaf.dim() and len(leaf) == len(images) else leaf for leaf in _leaves(returned)
        ]
        if not _agree(alone, rows):
            raise UsageError(
                f"{kind} returns other numbers for an image when other images are beside it: something in it computes "
                "over the batch, such as batch norm without running statistics. A row may depend on its image only."
            )


def _agree(found: Any, expected: Any) -> bool:
    """Return whether the tensors of two results are equal but for rounding."""
    pairs = list(zip(_leaves(found), _leaves(expected), strict=False))
    return len(_leaves(found)) == len(_leaves(expected)) and all(
        one.shape == other.shape
        and torch.allclose(one, other, rtol=0, atol=ROUNDING * float(other.nan_to_num().abs().max()), equal_nan=True)
        for one, other in ((one.double(), other.double()) for one, other in pairs if other.numel())
    )


def _leaves(returned: Any) -> list[torch.Tensor]:
    leaves = [leaf for leaf in tree_leaves(returned) if isinstance(leaf, torch.Tensor)]
    return [torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf for leaf in leaves]


def _tap(frozen: torch.nn.Module, layers: Sequence[str], images: torch.Tensor, returned: Any) -> Tapped:
    """Return the module cut by torch.fx; the layer ``output`` needs no torch.fx."""
    only_output = list(layers) == [OUTPUT]
    if only_output and (not isinstance(returned, torch.Tensor) or returned.dim() < 2 or len(returned) != len(images)):
        raise UsageError(
            f"{type(frozen).__name__} returns a {type(returned).__name__}{_inside(returned)}; one row per image is "
            "needed. Let a module of your own return it."
        )
    try:
        traced = TracedNetwork(copy.deepcopy(frozen), images.shape[-1])
        taps = [_layer(traced, name) for name in layers]
        values = traced.values((tap.node for tap in taps), images)
        tapped = Tapped(traced.cut(tap.node for tap in taps), taps)
        rows = [pool(value, tap) for value, tap in zip(values, taps, strict=True)]
        if not (_agree(traced.cut()(images), returned) and _agree(tapped(images), rows)):
            raise UsageError(
                f"torch.fx sees another forward pass than {type(frozen).__name__} computes: no layer of it can be "
                "named, only what it returns."
            )
    except UsageError:
        if only_output:
            return Tapped(_Untraced(frozen), [Layer(OUTPUT, 0)])
        raise
    return tapped


def _inside(returned: Any) -> str:
    """Return which tensors a result has by name, as those of Hugging Face do."""
    if not isinstance(returned, Mapping):
        return ""
    shapes = [f"{name} {tuple(value.shape)}" for name, value in returned.items() if isinstance(value, torch.Tensor)]
    return f" with {', '.join(shapes)}" if shapes else ""


def _layer(traced: TracedNetwork, name: str) -> Layer:
    why = ""
    try:
        layer = traced.ends().get("logits") if name == OUTPUT else traced.layer(name)
    except LookupError as error:
        layer, why = None, str(error)
    if layer is None:
        layers = [OUTPUT] if why else [OUTPUT, *POOLED]
        raise UsageError(
            f"{type(traced.network).__name__} has no layer {name!r}{why and ': '}{why}. "
            f"Layers: {', '.join(layers)}, or a node: {', '.join(traced.nodes[-5:])}."
        )
    return layer


class _Untraced(torch.nn.Module):
    """A module that torch.fx cannot follow, with the interface of one that it has cut."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {OUTPUT: self.module(images)}


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
        logger.warning("fc7 knows %s by its name only: give it another name when it changes. %s", name, error)
        return ""
