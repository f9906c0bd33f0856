"""torchvision's classification networks: their names, construction, and published weights."""

from collections.abc import Mapping
from typing import Any

from ...cache.recipe import Transform
from ...errors import UsageError
from ..text import first_line
from ..weights.published import Entry, entry_of
from .architectures import KNOWN

# Options that torchvision sets with pretrained weights; without them the parameters get another input.
_CONSTRUCTED = {
    "googlenet": {"transform_input": True, "init_weights": False, "aux_logits": False},
    "inception_v3": {"transform_input": True, "init_weights": False, "aux_logits": False},
}


def names() -> list[str]:
    """Return the names of all of them."""
    import torchvision.models

    return list(torchvision.models.list_models(torchvision.models))


def construct(name: str, **options: Any) -> Any:
    """Return the network with initialised parameters, in eval mode; `options` are its constructor's."""
    import torchvision.models

    _require(name)
    options |= _CONSTRUCTED.get(name, {})
    try:
        return torchvision.models.get_model(name, weights=None, **options).eval()
    except (AssertionError, ValueError) as error:  # the side of an image is no multiple of a patch's or window's
        raise UsageError(f"{name} cannot be made for images of this size, {options}: {first_line(error)}") from error


def sized(name: str, crop: int) -> dict[str, Any]:
    """Return the options of the constructor that depend on the images' size, where it is not 224 pixels."""
    if crop == Transform().crop:
        return {}
    if name.startswith("vit_"):
        return {"image_size": crop}
    return {"input_size": (crop, crop)} if name.startswith("maxvit_") else {}


def skeleton(name: str, **options: Any) -> Any:
    """Return the network without storage for its parameters where its constructor allows that."""
    import torch

    if name.startswith("maxvit_"):  # tracing computes constants from its buffers
        return construct(name, **options)
    try:
        with torch.device("meta"):
            return construct(name, **options)
    except NotImplementedError:  # a constructor that computes with its parameters (RegNet)
        return construct(name, **options)


def entries(name: str) -> dict[str, Entry]:
    """Return the published weights by name, the default ones first."""
    import torchvision.models

    _require(name)
    enum = torchvision.models.get_model_weights(name)
    return {weights.name: _entry(weights) for weights in sorted(enum, key=lambda weights: weights is not enum.DEFAULT)}


def _entry(weights: Any) -> Entry:
    preset, meta = weights.transforms(), weights.meta
    mean, std = tuple(preset.mean), tuple(preset.std)
    interpolation = preset.interpolation.value
    transform = Transform(preset.resize_size[0], preset.crop_size[0], mean, std, interpolation=interpolation)
    return entry_of(weights.url, meta["_file_size"], meta["_ops"], transform)


def tracing() -> Mapping[str, Any]:
    """Return nothing: torch.fx follows the forward passes, and torchvision has no functions for a network's ends."""
    return {}


def _require(name: str) -> None:
    if name not in names():
        raise UsageError(
            f"There is no backbone {name!r}. Known: {', '.join(KNOWN)}; all others: fc7 backbones --all, or timm:NAME"
        )
