"""Images in memory: embeddings without files and without the cache, bit-equal to those that the cache would hold."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import ImageRejected
from .backbones.backbone import Backbone
from .computing import computing
from .decoding.decode import decode, upright_rgb
from .decoding.views import needed, view
from .engines.local import MOST_THREADS, cores, cores_each
from .engines.malloc import keep_freed_memory

Picture = Image.Image | npt.NDArray[Any] | bytes

_SHAPES = "(height, width), (height, width, 3) or (height, width, 4)"


@computing()
def embed(pictures: Sequence[Picture], backbones: Sequence[Backbone]) -> tuple[list[npt.NDArray[Any]], dict[int, str]]:
    """Return the vectors of images in memory.

    Parameters
    ----------
    pictures
        Images of Pillow; arrays ``(height, width)``, ``(height, width, 3)`` or ``(height, width, 4)`` of uint8, RGB and
        alpha; or the bytes of image files.
    backbones
        Loaded if they are not yet.

    Returns
    -------
    vectors, rejected
        ``(n, dim)`` in the stored dtype for each recipe, in the order of backbones, views and layers, with zeros for
        rejected pictures; and the reasons, by place.
    """
    from .backbones.torch_runtime import each_with

    for backbone in backbones:
        backbone.load()
    size = max(backbone.batch_size for backbone in backbones)
    batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    with (
        keep_freed_memory(),
        each_with(cores_each()) as ready,
        ThreadPoolExecutor(min(cores(), MOST_THREADS), initializer=ready) as pool,
    ):
        results = list(pool.map(partial(_embed, backbones=backbones), batches))
    vectors = [np.concatenate(blocks) for blocks in zip(*(matrices for matrices, _ in results), strict=True)]
    rejected = {number * size + row: why for number, (_, failed) in enumerate(results) for row, why in failed.items()}
    return vectors, rejected


def _embed(pictures: Sequence[Picture], backbones: Sequence[Backbone]) -> tuple[list[npt.NDArray[Any]], dict[int, str]]:
    """Return the vectors of a few pictures, decoded once for all backbones and views."""
    sides = {needed(recipe.input) for backbone in backbones for recipe in backbone.recipes}
    images, rejected = [], {}
    for row, picture in enumerate(pictures):
        try:
            images.append((row, _key(picture), {side: _decoded(picture, side) for side in sides}))
        except ImageRejected as error:
            rejected[row] = str(error)
    vectors = []
    for backbone in backbones:
        for number in range(1 + backbone.views):
            recipes = backbone.recipes_of(number)
            wanted, batch = recipes[0].input, backbone.batch_size
            # Padded with zeros, because the size of a batch decides the last digits.
            pixels = np.zeros((-(-len(pictures) // batch) * batch, *[wanted.transform.crop] * 2, 3), np.uint8)
            for row, key, decoded in images:
                pixels[row] = view(decoded[needed(wanted)], wanted, key)
            layers = zip(*(backbone.embed(pixels[i : i + batch]) for i in range(0, len(pixels), batch)), strict=True)
            for recipe, layer in zip(recipes, layers, strict=True):
                vectors.append(np.concatenate(layer)[: len(pictures)].astype(recipe.dtype))
                vectors[-1][list(rejected)] = 0
    return vectors, rejected


def _decoded(picture: Picture, side: int | None) -> Image.Image:
    if isinstance(picture, bytes):
        return decode(picture, side)
    if isinstance(picture, Image.Image):
        return upright_rgb(picture)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,), (4,)):
        raise ImageRejected(f"an array of {picture.dtype} {picture.shape}; needed: uint8 {_SHAPES}")
    if not picture.size:
        raise ImageRejected(f"an array without pixels, {picture.shape}")
    return upright_rgb(Image.fromarray(np.ascontiguousarray(picture)))


def _key(picture: Picture) -> bytes:
    data = picture.tobytes() if isinstance(picture, np.ndarray | Image.Image) else picture
    return hashlib.sha256(data).digest()
