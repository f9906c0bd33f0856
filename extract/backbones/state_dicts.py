"""State dicts of older versions: their names, and the networks that they fit."""

import re
from collections.abc import Collection, Mapping

import torch
from torchvision.models import MNASNet

from .torch_runtime import global_generator

# Names in published files, as torchvision's own loaders rename them: DenseNet had dots in the names of its modules, and
# the layers of ViT's MLP had names instead of numbers.
_RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
_COUNTER = ".num_batches_tracked"  # of batch norm, since torch 0.4.1; a frozen network does not use it


def adapt(network: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict under the network's names, whatever version of its library wrote it.

    Parameters
    ----------
    network
        It is changed where the state dict is of another structure that its class can have: MNASNet's first version.
    """
    names = network.state_dict().keys()
    adapted = {_current(name, names): tensor for name, tensor in state.items()}
    norms = (name.removesuffix(_COUNTER) for name in names if name.endswith(_COUNTER))
    for norm in norms:
        if f"{norm}.running_mean" in adapted:
            adapted.setdefault(norm + _COUNTER, torch.tensor(0))
    if isinstance(network, MNASNet):
        _fit_stem(network, adapted)
    return adapted


def _current(name: str, names: Collection[str]) -> str:
    for pattern, replacement in _RENAMED:
        current = pattern.sub(replacement, name)
        if name not in names and current in names:
            return current
    return name


def _fit_stem(network: MNASNet, state: Mapping[str, torch.Tensor]) -> None:
    """Give MNASNet the stem of its first version if the state dict has that: 32 channels at any width.

    The number of the version is in the metadata of a file of torch only, and the numbers of channels are in every file.
    """
    kernel = state.get("layers.0.weight")
    if kernel is None or len(kernel) != 32 or len(network.layers[0].weight) == 32:
        return
    with global_generator():
        # MNASNet's own hook changes its layers. There is nothing to load.
        network._load_from_state_dict({}, "", {"version": 1}, False, [], [], [])
