"""timm's networks, by ``timm:NAME`` (the extra ``fc7[timm]``); the functions are those for torchvision."""

import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ...cache.recipe import Transform
from ...errors import MissingExtra, UsageError
from .architectures import About

logger = logging.getLogger(__name__)

PREFIX = SOURCE = "timm"
FILE = "model.safetensors"  # of a repository on the Hugging Face hub


def names() -> list[str]:
    """Return the names of all of them, without the tags of their weights."""
    return [f"{PREFIX}:{name}" for name in _timm().list_models()]


def construct(name: str, **options: Any) -> Any:
    """Return the network with initialised parameters, in eval mode; `options` are its constructor's."""
    timm = _timm()
    try:
        return timm.create_model(name.removeprefix(f"{PREFIX}:"), pretrained=False, **options).eval()
    except RuntimeError as error:  # an unknown name, or an unknown tag of one
        raise UsageError(f"There is no backbone {name!r} in timm {timm.__version__}: {error}") from error


def skeleton(name: str, **options: Any) -> Any:
    """Return the network, with storage: many compute constants that no weights file has."""
    return construct(name, **options)


def about(name: str) -> About:
    """Return what belongs to the weights of that name, from the network's own description."""
    import torch

    with torch.device("meta"):
        network = construct(name)
    config = _timm("timm.data").resolve_model_data_config(network)
    _, height, crop = config["input_size"]
    if height != crop:
        raise UsageError(f"{name} takes images of {crop} x {height} pixels; fc7 cuts out squares.")
    if config["crop_mode"] != "center":
        logger.warning("timm prepares images for %s by %r; fc7 cuts out the centre.", name, config["crop_mode"])
    sizes = int(crop / config["crop_pct"]), crop
    mean, std = tuple(config["mean"]), tuple(config["std"])
    transform = Transform(*sizes, mean, std, interpolation=config["interpolation"])
    published = network.pretrained_cfg
    file = f"{published['hf_hub_id']}/{published.get('hf_hub_filename') or FILE}" if published.get("hf_hub_id") else ""
    return About(file, 0.0, 0.0, transform)


def tracer() -> Mapping[str, Any]:
    """Return what torch.fx needs to know to follow the forward passes."""
    layers = _timm("timm.layers")
    return {"leaf_modules": layers.get_notrace_modules(), "autowrap_functions": tuple(layers.get_notrace_functions())}


def _timm(module: str = "timm") -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra("timm", "timm") from error
