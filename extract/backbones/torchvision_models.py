"""torchvision's classification networks: their names, construction, and default weights."""

from collections.abc import Mapping
from typing import Any

from ...cache.recipe import Transform
from ...errors import UsageError
from .architectures import DOWNLOADS, KNOWN, About

SOURCE = "torchvision"

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
    return torchvision.models.get_model(name, weights=None, **_CONSTRUCTED.get(name, {}), **options).eval()


def skeleton(name: str, **options: Any) -> Any:
    """Return the network without storage for its parameters where its constructor allows that."""
    import torch

    try:
        with torch.device("meta"):
            return construct(name, **options)
    except NotImplementedError:  # a constructor that computes with its parameters (RegNet)
        return construct(name, **options)


def about(name: str) -> About:
    """Return what belongs to the default weights."""
    _require(name)
    weights = published(name).DEFAULT
    preset = weights.transforms()
    sizes, mean, std = (preset.resize_size[0], preset.crop_size[0]), tuple(preset.mean), tuple(preset.std)
    transform = Transform(*sizes, mean, std, interpolation=preset.interpolation.value)
    return About(weights.url.removeprefix(DOWNLOADS), weights.meta["_file_size"], weights.meta["_ops"], transform)


def published(name: str) -> Any:
    """Return torchvision's enum of a network's weights."""
    import torchvision.models

    return torchvision.models.get_model_weights(name)


def tracer() -> Mapping[str, Any]:
    """Return what torch.fx needs to know to follow the forward passes."""
    return {}


def _require(name: str) -> None:
    if name not in names():
        raise UsageError(
            f"There is no backbone {name!r}. Known: {', '.join(KNOWN)}; all others: fc7 backbones --all, or timm:NAME"
        )
