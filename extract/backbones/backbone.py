"""Backbones: a frozen network, of which one layer or several are read, that turns batches of pixels into vectors."""

import copy
import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ...cache.arguments import checked
from ...cache.format import UNIT_ROWS
from ...cache.processes import once
from ...cache.recipe import DECODES, Recipe
from ...errors import UsageError
from ..computing import computing
from ..settings import BackboneSettings
from .architectures import USUAL_BATCH
from .transforms import padded, read_transform

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from .network import Normalised, Tapped

logger = logging.getLogger(__name__)

OWN = "module"  # the weights' source of a network of the user's own

# Of vgg16 in float32 it takes 4 GB; four times as many take twice the memory and no less time (docs/extraction.md).
CUDA_BATCH = 32
_LASTING = ("recipes", "settings", "weights_source", "work", "_network")  # what a pickle has

# A unit should be at most about 20 seconds of work, so that a kill costs seconds; 60 GMAC/s is a slow two-core machine.
UNIT_GMACS = 20 * 60


class Backbone:
    """A frozen network in eval mode, of which one layer or several are read.

    Made of a module of your own; :func:`fc7.extract.load_backbone` finds published ones. The module is copied: later
    changes of it do not reach the backbone. Its recipe has the sha256 of all that its numbers come from: parameters,
    buffers, the attributes of all submodules, and the bytecode of their classes with what it names. So the rows of a
    module are computed again after a change of its code, or with another minor version of Python. Hooks are refused,
    and so is a module whose rows depend on chance or on the other images of a batch. What its code reads while it runs
    (files, the environment, variables that change afterwards, operators of ``torch.library``) is not known: keep it in
    attributes.

    Parameters
    ----------
    module
        From normalised ``(B, 3, crop, crop)`` float32 to what its layers return.
    transform
        A :class:`fc7.cache.recipe.Transform`, or what
        :func:`fc7.extract.backbones.transforms.read_transform` reads; or with `transform_name` any function from an
        RGB image of Pillow to normalised floats ``(3, side, side)``.
    layer
        ``output``: what the module returns, flattened. Or nodes of torchvision's feature extractor, or ``gap``,
        ``gmp``, ``gap+gmp`` of the last feature maps, where it is certain which of their axes are height and width.
        Several come from one pass.
    name
        In recipes and tables; default the name of the module's class.
    transform_name
        What you call a `transform` that is a function. It is part of the recipe, beside the hash of the function's
        code; where that cannot be known, a warning says so, and the name alone tells what it does.
    precision, dtype, decode, views, mirror, device, batch_size
        As for :func:`fc7.extract.load_backbone`.

    Raises
    ------
    UsageError
        An unknown value, a layer that is not there, a transform that fc7 cannot read, a module that has hooks or an
        attribute without a lasting description, or whose rows depend on more than their image.
    """

    @checked
    @computing()
    def __init__(
        self,
        module: "torch.nn.Module",
        transform: Any,
        layer: str | Sequence[str] = "output",
        *,
        name: str = "",
        transform_name: str = "",
        precision: str = "fp32",
        dtype: str = "float16",
        decode: str = "exact",
        views: int = 0,
        mirror: bool = False,
        device: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        from .custom import custom_network, own_transform

        settings = BackboneSettings(
            precision=precision, decode=decode, views=views, mirror=mirror, dtype=dtype, device=device,
            batch_size=batch_size,
        )  # fmt: skip
        if transform_name:
            if views or decode != "exact":
                raise UsageError(f"{transform_name} gets whole images: leave out views={views} and decode={decode!r}.")
            transform = own_transform(transform, transform_name)
        else:
            transform = padded(read_transform(transform))
        layers = [layer] if isinstance(layer, str) else list(layer)
        network = custom_network(module, layers, transform.crop)
        name = name or type(module).__name__
        recipes = [
            Recipe(name, tapped, dim, network.sha256, transform=transform, **settings.of_recipe)
            for tapped, dim in zip(layers, network.dims, strict=True)
        ]
        self._prepare(recipes, functools.partial(copy.deepcopy, network.tapped), OWN, settings, gmacs=network.gmacs)

    @classmethod
    def published(
        cls,
        recipes: Sequence[Recipe],
        network: "Callable[[], Tapped]",
        weights_source: str,
        settings: BackboneSettings,
        **work: Any,
    ) -> Self:
        """Return a backbone whose parameters are loaded when the first batch comes; for the parameters see below."""
        backbone = cls.__new__(cls)
        backbone._prepare(recipes, network, weights_source, settings, **work)
        return backbone

    def _prepare(
        self,
        recipes: Sequence[Recipe],
        network: "Callable[[], Tapped]",
        weights_source: str,
        settings: BackboneSettings,
        *,
        usual_batch: int = USUAL_BATCH,
        gmacs: float = 1.0,
    ) -> None:
        """Set what every backbone has.

        Parameters
        ----------
        recipes
            One per layer; they differ in ``layer`` and ``dim`` only.
        network
            Makes the module: from normalised ``(B, 3, crop, crop)`` float32 to one tensor per recipe.
        weights_source
            How to find the weights again.
        usual_batch
            The default batch size on a processor; on CUDA it is 32.
        gmacs
            Billions of multiply-adds for one image.
        """
        self.recipes = tuple(recipes)
        self.settings = settings
        self.weights_source = weights_source
        self.work: dict[str, float] = {"usual_batch": usual_batch, "gmacs": gmacs}
        self._network = network

    def __repr__(self) -> str:
        taps = ", ".join(f"{recipe.layer} {recipe.dim}-d" for recipe in self.recipes)
        views = f", {self.views} more views" if self.views else ""
        mode = self.recipes[0].transform.resize_mode
        resize = f", resize {mode!r}" if mode != "crop" else ""
        return f"Backbone({self.name!r}, {taps}{views}{resize}, weights {self.weights_source!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it loads the network by itself."""
        return {name: value for name, value in vars(self).items() if name in _LASTING}

    def __deepcopy__(self, _: Any) -> Self:
        """Return itself: it is frozen, and scikit-learn's ``clone`` must not copy a network."""
        return self

    @property
    def name(self) -> str:
        """The network's name."""
        return self.recipes[0].backbone

    @property
    def views(self) -> int:
        """Random views of each image, beside its centre crop."""
        return self.settings.views

    @property
    def machine(self) -> dict[str, Any]:
        """Device and batch size as they were asked for, before this machine decided what was not."""
        return {"device": self.settings.device, "batch_size": self.settings.batch_size}

    @property
    def recipes_of_views(self) -> list[Recipe]:
        """The recipes of all views, in the order of views and layers."""
        return [recipe for view in range(1 + self.views) for recipe in self.recipes_of(view)]

    def on(self, **machine: Any) -> Self:
        """Return it on another `device` or with another `batch_size`; its network must not be loaded yet."""
        self.settings = replace(self.settings, **machine)
        return self

    def recipes_of(self, view: int) -> tuple[Recipe, ...]:
        """Return the recipes of one view; view 0, the centre crop, is :attr:`recipes`."""
        return tuple(replace(recipe, view=view) for recipe in self.recipes)

    @property
    def batch_size(self) -> int:
        """Images in one forward pass."""
        return self.settings.batch_size or self.batch_on(self.device.type)

    def batch_on(self, kind: str) -> int:
        """Return the images in one forward pass on another machine's ``cuda``, ``cpu`` or other device."""
        return self.settings.batch_size or (int(self.work["usual_batch"]) if kind == "cpu" else CUDA_BATCH)

    @property
    def unit_rows(self) -> int:
        """Rows committed together: about 20 seconds of work on a processor, 1,024 at most."""
        if self.device.type != "cpu":
            return UNIT_ROWS
        gmacs = max(self.work["gmacs"], 1e-6) * (1 + self.views)  # a module of one's own may have nothing to multiply
        batches = math.floor(UNIT_GMACS / gmacs / (1 + self.recipes[0].mirror) / self.batch_size)
        return min(max(batches, 1) * self.batch_size, max(UNIT_ROWS, self.batch_size))

    @functools.cached_property
    def device(self) -> "torch.device":
        """Where the network runs in this process, of several devices the first.

        Raises
        ------
        UsageError
            torch does not know or does not have this device.
        """
        import torch

        from .torch_runtime import agrees, device_names, find_device

        name = device_names(self.settings.device)[0]
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
            if name == "mps" and not agrees(self._plain_on, self.recipes[0], name):
                name = "cpu"
        return find_device(name)

    @computing()
    def plain(self) -> "Tapped":
        """Return a new network as it was published, in float32, from normalised images to one tensor per recipe."""
        network = self._network()
        network.eval().requires_grad_(False)
        return network

    @once
    @computing()
    def network(self) -> "torch.nn.Module":
        """Return the module, on its device, channels last, from pixels to vectors; it is loaded once."""
        from .torch_runtime import warn_of_slow_bfloat16

        if self.recipes[0].precision == "bf16":
            warn_of_slow_bfloat16(self.device)
        module = self._plain_on(self.device)
        if self.device.type == "cpu" and not module.pack(self.batch_size):
            logger.warning(
                "The packed layers of %s compute other vectors, so its plain layers run, which are slower.", self.name
            )
            return self._plain_on(self.device)
        return module

    def _plain_on(self, device: "torch.device") -> "Normalised":
        """Return a new module on a device, channels last, from pixels to vectors, in layers of torch's own."""
        import torch

        from .network import Normalised

        dtype = torch.bfloat16 if self.recipes[0].precision == "bf16" else torch.float32
        module = Normalised(self._network(), self.recipes[0].transform, dtype).eval().requires_grad_(False)
        module = module.to(device)
        for kernel in (parameter for parameter in module.parameters() if parameter.dim() == 4):
            kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
        return module

    def load(self) -> None:
        """Read the parameters now instead of at the first batch.

        Raises
        ------
        UsageError
            The recipe's decoding needs another device.
        """
        if self.recipes[0].decode == DECODES["hardware"] and self.device.type != "cuda":
            raise UsageError(
                f"--decode hardware needs a CUDA device, this is {self.device}; --decode exact runs anywhere."
            )
        _ = self.network

    @computing(threads=False)
    def embed(self, batch: "npt.NDArray[np.uint8] | torch.Tensor") -> "list[npt.NDArray[np.float32]]":
        """Embed one batch as the recipes say: as it is, or in the mean with its mirror image; see :meth:`forward`."""
        vectors = self.forward(batch)
        if not self.recipes[0].mirror:
            return vectors
        import numpy as np

        mirrored = np.ascontiguousarray(batch[:, :, ::-1]) if isinstance(batch, np.ndarray) else batch.flip(2)
        return [
            np.asarray((plain + flipped) / 2, np.float32)
            for plain, flipped in zip(vectors, self.forward(mirrored), strict=True)
        ]

    @computing()
    def forward(self, batch: "npt.NDArray[np.uint8] | torch.Tensor") -> "list[npt.NDArray[np.float32]]":
        """Run the network on one batch.

        Parameters
        ----------
        batch
            ``(B, crop, crop, 3)`` uint8 RGB, in memory or on the device.

        Returns
        -------
        list of numpy.ndarray
            ``(B, dim)`` float32 for each recipe.

        Raises
        ------
        FC7Error
            The device's memory is too small for it, or there are hooks for all modules.
        """
        import torch

        from .torch_runtime import alone_on, memory_of, to_device
        from .tracing import require_no_hooks_for_all

        require_no_hooks_for_all()
        with torch.inference_mode(), memory_of(self.device, self._advice(len(batch))):
            pixels = to_device(batch, self.device)
            with alone_on(self.device):
                return [output.float().cpu().numpy() for output in self.network(pixels)]

    def _advice(self, images: int) -> str:
        smaller = f"--batch-size {images // 2}" if images > 1 else "--device cpu"
        return f"{self.name} computes {images} images at a time: take {smaller}. What was committed is kept."
