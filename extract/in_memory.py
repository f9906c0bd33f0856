"""Images in memory: embeddings without files and without the cache, bit-equal to those that the cache would hold."""

import hashlib
import io
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from ..cache.arguments import checked
from ..cache.recipe import Input, Recipe
from ..errors import FC7Error, ImageRejected, UsageError
from .backbones.backbone import Backbone
from .computing import computing
from .decoding.damage import one_line
from .decoding.decode import FORMATS, MAX_PIXELS, decode, upright_rgb
from .decoding.views import view, views_of
from .engines.local import MOST_THREADS, cores_each
from .engines.malloc import keep_freed_memory
from .engines.precision import MAX_ERROR, NOT_FINITE, imprecise, in_stored_type
from .machine import cores
from .manifest.given import many

Picture = Image.Image | npt.NDArray[Any] | bytes | bytearray | memoryview | io.BytesIO
VectorsByRecipe = dict[Recipe, npt.NDArray[Any]]  # (images, dim) in the stored dtype, of every layer and view

_NEEDED = (
    "an image of Pillow, the bytes of an image file, or an array of uint8 (height, width), (height, width, 3) or "
    "(height, width, 4)"
)


@checked
@computing()
def embed(pictures: Iterable[Picture], backbones: Sequence[Backbone]) -> tuple[VectorsByRecipe, dict[int, str]]:
    """Return the vectors of images in memory.

    Parameters
    ----------
    pictures
        Images of Pillow; arrays ``(height, width)``, ``(height, width, 3)`` or ``(height, width, 4)`` of uint8, RGB and
        alpha; or the bytes of image files, also as a bytearray, a memoryview or a BytesIO. Anything else, and what
        cannot be decoded, is rejected with the reason.
    backbones
        Loaded if they are not yet.

    Returns
    -------
    vectors, rejected
        ``(n, dim)`` in the stored dtype by recipe, with zeros for rejected pictures; and the reasons, by place.

    Raises
    ------
    UsageError
        One picture instead of many, see :func:`fc7.extract.manifest.given.many`; or no pictures, or no backbones.
    """
    from .backbones.torch_runtime import each_with

    pictures = many(pictures)
    if not pictures or not backbones:
        raise UsageError(f"There are no {'pictures' if backbones else 'backbones'}: the list is empty.")
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
    recipes = [recipe for backbone in backbones for recipe in backbone.recipes_of_views]
    vectors = {recipe: np.concatenate([block[recipe] for block, _ in results]) for recipe in recipes}
    rejected = {number * size + row: why for number, (_, failed) in enumerate(results) for row, why in failed.items()}
    return vectors, rejected


def _embed(pictures: Sequence[Picture], backbones: Sequence[Backbone]) -> tuple[VectorsByRecipe, dict[int, str]]:
    """Return the vectors of a few pictures, decoded once for all backbones and views."""
    inputs = [backbone.recipes_of(number)[0].input for backbone in backbones for number in range(1 + backbone.views)]
    crops, rejected = {}, {}
    for row, picture in enumerate(pictures):
        try:
            crops[row] = _views(picture, set(inputs))
        except Exception as error:  # whatever is wrong with one picture costs that picture
            rejected[row] = str(error) if isinstance(error, FC7Error) else f"not readable: {one_line(error)}"
    vectors: VectorsByRecipe = {}
    for backbone in backbones:
        for number in range(1 + backbone.views):
            recipes = backbone.recipes_of(number)
            wanted, batch = recipes[0].input, backbone.batch_size
            # Padded with zeros, because the size of a batch decides the last digits.
            shape = (-(-len(pictures) // batch) * batch, *[wanted.transform.crop] * 2, 3)
            pixels = np.zeros(shape, wanted.transform.dtype)
            for row, views in crops.items():
                pixels[row] = views[wanted]
            layers = zip(*(backbone.embed(pixels[i : i + batch]) for i in range(0, len(pixels), batch)), strict=True)
            for recipe, layer in zip(recipes, layers, strict=True):
                stored, errors = in_stored_type(np.concatenate(layer)[: len(pictures)], recipe.dtype)
                for row in np.flatnonzero(~(errors <= MAX_ERROR)).tolist():
                    reason = NOT_FINITE if np.isnan(errors[row]) else imprecise(errors[row], recipe.dtype)
                    rejected.setdefault(row, reason)
                vectors[recipe] = stored
    for matrix in vectors.values():
        matrix[list(rejected)] = 0
    return vectors, rejected


def _views(picture: Any, inputs: Collection[Input]) -> dict[Input, npt.NDArray[Any]]:
    """Return all views of a picture, each ``(crop, crop, 3)``."""
    if isinstance(picture, io.BytesIO):
        picture = picture.getvalue()
    if isinstance(picture, bytes | bytearray) or (isinstance(picture, memoryview) and picture.ndim == 1):
        data = bytes(picture)
        return views_of(data, hashlib.sha256(data).digest(), inputs)
    if isinstance(picture, ImageFile.ImageFile) and ImageFile.LOAD_TRUNCATED_IMAGES:
        _require_whole(picture)
    image = upright_rgb(picture if isinstance(picture, Image.Image) else _of_array(picture))
    key = hashlib.sha256(picture.tobytes()).digest()
    return {wanted: view(image, wanted, key) for wanted in inputs}


def _require_whole(picture: ImageFile.ImageFile) -> None:
    """Refuse a damaged file that was not read yet, and that Pillow was told to fill up with grey."""
    if picture.tile and picture.fp and picture.format in FORMATS:
        place = picture.fp.tell()
        picture.fp.seek(0)
        data = picture.fp.read()
        picture.fp.seek(place)
        decode(data)


def _of_array(picture: Any) -> Image.Image:
    if not isinstance(picture, np.ndarray) or isinstance(picture, np.ma.MaskedArray):
        kind = f"{type(picture).__module__}.{type(picture).__qualname__}".removeprefix("builtins.")
        raise ImageRejected(f"an object of class {kind}; needed: {_NEEDED}")
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,), (4,)):
        raise ImageRejected(f"an array of {picture.dtype} {picture.shape}; needed: {_NEEDED}")
    if not picture.size:
        raise ImageRejected(f"an array without pixels, {picture.shape}")
    height, width = picture.shape[:2]
    if height * width > MAX_PIXELS:
        raise ImageRejected(f"{width} x {height} pixels, more than {MAX_PIXELS}")
    return Image.fromarray(np.ascontiguousarray(picture))
