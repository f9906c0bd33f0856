"""timm's networks, by ``timm:NAME`` (the extra ``fc7[timm]``); the functions are those for torchvision."""

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from ...cache.recipe import Transform
from ...errors import MissingExtra, UsageError
from ..text import first_line
from ..weights.published import DEFAULT, Entry, digits_in
from .layers import BLOCK, FEATURES, LOGITS, MAP, PENULTIMATE

PREFIX = "timm:"
FILE = "model.safetensors"  # of a repository on the Hugging Face hub
_MODES = {"squash": "squash", "border": "pad"}  # of resizing, by what timm calls crop modes; all others cut the centre


def construct(name: str, **options: Any) -> Any:
    """Return the network with initialised parameters, in eval mode; `options` are its constructor's."""
    timm = _timm()
    try:
        return timm.create_model(name.removeprefix(PREFIX), pretrained=False, **options).eval()
    except RuntimeError as error:  # an unknown name, or an unknown tag of one
        raise UsageError(f"There is no backbone {name!r} in timm {timm.__version__}: {error}") from error


skeleton = construct  # with storage for parameters: many compute constants that no weights file has


def is_published(name: str) -> bool:
    """Return whether a network is timm's, and not of a program that has registered it there."""
    entrypoint = _timm("timm.models").model_entrypoint(name.removeprefix(PREFIX))
    return str(entrypoint.__module__).startswith("timm.")


def sized(name: str, crop: int) -> dict[str, int]:
    """Return the options of the constructor that depend on the images' size, where it is not that of the name."""
    config = _timm("timm.models").get_pretrained_cfg(name.removeprefix(PREFIX))
    fixed = config is not None and config.fixed_input_size and config.input_size[-1] != crop
    return {"img_size": crop} if fixed else {}


def fitted(name: str, options: Mapping[str, Any], state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return parameters for a network made with options for images of another size, as timm resamples them."""
    if not options:
        return state
    from .torch_runtime import global_generator

    options = {**options, "pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(state)}}
    try:
        with global_generator(), warnings.catch_warnings(action="ignore"):  # of timm's code, not of the weights
            resampled: Mapping[str, Any] = _timm().create_model(name.removeprefix(PREFIX), **options).state_dict()
    except Exception as error:  # the functions of its networks raise what they like where tensors are missing
        raise RuntimeError(first_line(error)) from error
    return resampled


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
    found = {own.get("tag") or DEFAULT: _entry(own)}
    for config in _timm("timm.models").get_arch_pretrained_cfgs(own.get("architecture", "")).values():
        data = _data_config(config.to_dict())
        if data["input_size"][1] == data["input_size"][2]:
            found.setdefault(config.tag or DEFAULT, _entry(config.to_dict()))
    return found


def _data_config(published: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = _timm("timm.data").resolve_data_config(pretrained_cfg=published)
    return config


def _entry(published: Mapping[str, Any]) -> Entry:
    config = _data_config(published)
    crop = config["input_size"][2]
    sizes, mean, std = (int(crop / config["crop_pct"]), crop), tuple(config["mean"]), tuple(config["std"])
    mode = _MODES.get(config["crop_mode"], "crop")
    transform = Transform(*sizes, mean, std, interpolation=config["interpolation"], resize_mode=mode)
    hub = published.get("hf_hub_id")
    file = f"{hub}/{published.get('hf_hub_filename') or FILE}" if hub else ""
    return Entry(file, 0.0, 0.0, transform, digits_in(str(published.get("url") or "")))


def tracer() -> Mapping[str, Any]:
    """Return how torch.fx follows the forward passes."""
    layers = _timm("timm.layers")
    return {"leaf_modules": layers.get_notrace_modules(), "autowrap_functions": tuple(layers.get_notrace_functions())}


def parts(network: Any) -> frozenset[str]:
    """Return the parts of a network that timm has functions for."""
    has = {MAP: getattr(network, "attn_pool", None) is not None, BLOCK: hasattr(network, "forward_intermediates")}
    return frozenset({FEATURES, PENULTIMATE, LOGITS, *(part for part in has if has[part])})


def run(network: Any, images: Any, nodes: Sequence[str]) -> dict[str, Any]:
    """Return what timm's functions compute, by the names of the parts, in one forward pass."""
    blocks = {int(node.removeprefix(BLOCK)) for node in nodes if node.startswith(BLOCK)}
    further = [node for node in nodes if not node.startswith(BLOCK)]
    found = {}
    if blocks:
        features, tokens = _intermediates(network, images, sorted(blocks), with_features=bool(further))
        found = {f"{BLOCK}{number}": each for number, each in zip(sorted(blocks), tokens, strict=True)}
    elif further:
        features = network.forward_features(images)
    for node in further:
        if node == FEATURES:
            found[node] = features
        elif node == MAP:
            found[node] = network.pool(features)
        else:
            found[node] = network.forward_head(features, **({"pre_logits": True} if node == PENULTIMATE else {}))
    return {node: found[node] for node in nodes}


def _intermediates(network: Any, images: Any, numbers: list[int], *, with_features: bool) -> tuple[Any, list[Any]]:
    """Return the features and, after the last norm, the tokens of blocks."""
    import torch

    options = {"return_prefix_tokens": True} if _gives_prefix(network) else {}
    if not with_features:
        options |= {"intermediates_only": True, "stop_early": True}
    found = network.forward_intermediates(images, indices=numbers, norm=True, output_fmt="NLC", **options)
    features, blocks = found if with_features else (None, found)
    # timm returns the tokens of patches and those before them as pairs.
    whole = [torch.cat([block[1], block[0]], 1) if isinstance(block, tuple) else block for block in blocks]
    return features, whole


def blocks(network: Any) -> int:
    """Return how many blocks a network has."""
    return len(network.feature_info)


def channels(network: Any) -> tuple[int, str]:
    """Return how many channels the features have, and the order of a map's axes; empty where timm does not say it."""
    return network.num_features, getattr(network, "output_fmt", "")


def prefix(network: Any, node: str) -> tuple[int, bool]:
    """Return how many tokens come before those of patches, and whether the first is a class token.

    Raises LookupError if timm does not say it.
    """
    if node != FEATURES and not _gives_prefix(network):
        return 0, False
    number = getattr(network, "num_prefix_tokens", None)
    if number is None:
        if any("cls_token" in name for name, _ in network.named_parameters()):
            raise LookupError("timm does not say which of its tokens are those of patches")
        return 0, False
    has_class = getattr(network, "has_class_token", getattr(network, "cls_token", None) is not None)
    return int(number), bool(number and has_class)


def _gives_prefix(network: Any) -> bool:
    """Return whether timm gives the tokens before those of patches of a block as well."""
    if not getattr(network, "num_prefix_tokens", 0):
        return False
    return "return_prefix_tokens" in signature(network.forward_intermediates).parameters


def _timm(module: str = "timm") -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra("timm", "timm") from error
