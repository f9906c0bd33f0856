"""timm's networks, by ``timm:NAME`` (the extra ``fc7[timm]``); the functions are those for torchvision."""

import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ...cache.recipe import Transform
from ...errors import MissingExtra, UsageError
from ..weights.published import DEFAULT, Entry, digits_in

logger = logging.getLogger(__name__)

PREFIX = "timm:"
FILE = "model.safetensors"  # of a repository on the Hugging Face hub


def construct(name: str, **options: Any) -> Any:
    """Return the network with initialised parameters, in eval mode; `options` are its constructor's."""
    timm = _timm()
    try:
        return timm.create_model(name.removeprefix(PREFIX), pretrained=False, **options).eval()
    except RuntimeError as error:  # an unknown name, or an unknown tag of one
        raise UsageError(f"There is no backbone {name!r} in timm {timm.__version__}: {error}") from error


skeleton = construct  # with storage for parameters: many compute constants that no weights file has


def sized(name: str, crop: int) -> dict[str, int]:
    """Return no options: networks are made for the images of their own configuration."""
    return {}


def entries(name: str) -> dict[str, Entry]:
    """Return the weights by the tags of the network's configurations, first that of the name, or timm's default.

    Others are left out where fc7 cannot prepare images as their configuration says.
    """
    import torch

    with torch.device("meta"):
        own: Mapping[str, Any] = construct(name).pretrained_cfg
    _, height, crop = _data_config(own)["input_size"]
    if height != crop:
        raise UsageError(f"{name} takes images of {crop} x {height} pixels; fc7 cuts out squares.")
    if (mode := _data_config(own)["crop_mode"]) != "center":
        logger.warning("timm prepares images for %s by %r; fc7 cuts out the centre.", name, mode)
    found = {own.get("tag") or DEFAULT: _entry(own)}
    for config in _timm("timm.models").get_arch_pretrained_cfgs(own.get("architecture", "")).values():
        data = _data_config(config.to_dict())
        if data["crop_mode"] == "center" and data["input_size"][1] == data["input_size"][2]:
            found.setdefault(config.tag or DEFAULT, _entry(config.to_dict()))
    return found


def _data_config(published: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = _timm("timm.data").resolve_data_config(pretrained_cfg=published)
    return config


def _entry(published: Mapping[str, Any]) -> Entry:
    config = _data_config(published)
    crop = config["input_size"][2]
    sizes, mean, std = (int(crop / config["crop_pct"]), crop), tuple(config["mean"]), tuple(config["std"])
    transform = Transform(*sizes, mean, std, interpolation=config["interpolation"])
    hub = published.get("hf_hub_id")
    file = f"{hub}/{published.get('hf_hub_filename') or FILE}" if hub else ""
    return Entry(file, 0.0, 0.0, transform, digits_in(str(published.get("url") or "")))


def tracing() -> Mapping[str, Any]:
    """Return how torch.fx follows the forward passes, and what timm calls features and the vector before classes."""
    layers = _timm("timm.layers")
    leaves = {"leaf_modules": layers.get_notrace_modules(), "autowrap_functions": tuple(layers.get_notrace_functions())}
    ends = {
        "features": lambda network, images: network.forward_features(images),
        "penultimate": lambda network, images: network.forward_head(network.forward_features(images), pre_logits=True),
    }
    return {"tracer": leaves, "ends": ends}


def _timm(module: str = "timm") -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra("timm", "timm") from error
