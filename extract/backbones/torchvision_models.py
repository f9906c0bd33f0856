"""torchvision's classification networks: their names, construction, and published weights."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...cache.recipe import Transform
from ...errors import UsageError
from ..text import first_line
from ..weights.published import Entry, entry_of
from .architectures import KNOWN
from .layers import BLOCK, FEATURES

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


def is_published(name: str) -> bool:
    """Return whether a network is torchvision's: all of them are."""
    return True


def fitted(name: str, options: Mapping[str, Any], state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return parameters as they are: torchvision resamples none for images of another size."""
    return state


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


def tracer() -> Mapping[str, Any]:
    """Return nothing: torch.fx follows the forward passes."""
    return {}


def parts(network: Any) -> frozenset[str]:
    """Return the parts of a network that are computed here: of transformers, which have tokens."""
    from torchvision.models import SwinTransformer, VisionTransformer

    if isinstance(network, VisionTransformer):
        return frozenset({FEATURES, BLOCK})
    return frozenset({FEATURES} if isinstance(network, SwinTransformer) else ())


def run(network: Any, images: Any, nodes: Sequence[str]) -> dict[str, Any]:
    """Return the parts of a network by their names, in one forward pass."""
    import torch

    if not hasattr(network, "encoder"):
        return {FEATURES: network.norm(network.features(images))}
    # As the forward pass of torchvision's class, which ends with the class token.
    patches = network._process_input(images)
    tokens = torch.cat([network.class_token.expand(patches.shape[0], -1, -1), patches], dim=1)
    tokens = network.encoder.dropout(tokens + network.encoder.pos_embedding)
    found = {}
    for number, block in enumerate(network.encoder.layers):
        tokens = block(tokens)
        if f"{BLOCK}{number}" in nodes:
            found[f"{BLOCK}{number}"] = network.encoder.ln(tokens)
    if FEATURES in nodes:
        found[FEATURES] = network.encoder.ln(tokens)
    return found


def blocks(network: Any) -> int:
    """Return how many blocks a network has."""
    return len(network.encoder.layers)


def channels(network: Any) -> tuple[int, str]:
    """Return how many channels the features of a transformer have, and the order of a map's axes."""
    return (network.hidden_dim, "") if hasattr(network, "encoder") else (network.head.in_features, "NHWC")


def prefix(network: Any, node: str) -> tuple[int, bool]:
    """Return how many tokens come before those of patches, and whether the first is a class token."""
    return 1, True


def _require(name: str) -> None:
    if name not in names():
        raise UsageError(
            f"There is no backbone {name!r}. Known: {', '.join(KNOWN)}; all others: fc7 backbones --all, or timm:NAME"
        )
