"""Parity: how far an exported network's answers are from its bundle's, on the same pixels."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...cache.recipe import DECODES, Recipe, Transform
from ...errors import DataError, ImageRejected
from ...extract.backbones.backbone import Backbone
from ...extract.decoding.decode import decode, read_image_bytes
from ...extract.decoding.views import centre_crop
from ...extract.new_images import expand
from ...extract.progress import Progress, silent

if TYPE_CHECKING:
    from .formats import Format

logger = logging.getLogger(__name__)

SYNTHETIC = 16  # pictures made up if none are given

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Parity:
    """Largest differences over several images.

    Attributes
    ----------
    images, origin
        Number of images, and where they are from.
    logits
        Against the bundle's head on the float32 backbone, with embeddings rounded as in the cache. A summand that all
        classes of an image share is left out, because softmax ignores it.
    probability
        The same for probabilities.
    predicted
        Of a probability against ``fc7 predict``, whose backbone computes in the recipe's precision and sums in another
        order.
    """

    images: int
    origin: str
    logits: float
    probability: float
    predicted: float


def measure(
    form: "Format", data: bytes, backbone: Backbone, pixels: Sequence[Pixels], origin: str, progress: Progress = silent
) -> Parity:
    """Run an exported network and its bundle on the same crops.

    Parameters
    ----------
    form, data
        The network, and its file.
    backbone
        The bundle's backbone.
    pixels, origin
        Crops, ``(crop, crop, 3)`` uint8 each, and where they are from.
    """
    import torch

    from .exported_module import embedding

    bundle, run, plain = form.network.bundle, form.open(data), backbone.plain()
    recipe, size = form.network.recipe, backbone.batch_size
    worst = np.zeros(3)
    for start in range(0, len(pixels), size):
        batch = np.stack(pixels[start : start + size])
        images = _normalised(batch, recipe.transform)
        with torch.inference_mode():
            vectors = embedding(plain, torch.from_numpy(images), mirror=recipe.mirror).numpy()
        expected = bundle.predict_proba(vectors.astype(recipe.dtype))
        predicted = bundle.predict_proba(_embedded(backbone, batch, recipe))
        logits, probability = run(batch if form.network.with_normalise else images)
        differences = (
            _distance(_centred(logits), _centred(np.log(expected))),
            _distance(probability, expected),
            _distance(probability, predicted),
        )
        worst = np.maximum(worst, differences)
        progress("check", min(start + size, len(pixels)), len(pixels))
    return Parity(len(pixels), origin, *map(float, worst))


def read_pixels(images: Sequence[Path | str], recipe: Recipe) -> list[Pixels]:
    """Return the crops of image files; a rejected file is left out with a warning.

    Raises DataError if none is an image.
    """
    side = recipe.transform.resize if recipe.decode == DECODES["scaled"] else None
    pixels, rejected = [], []
    for path, reason in expand(images):
        try:
            if reason:
                raise ImageRejected(reason)
            pixels.append(centre_crop(decode(read_image_bytes(path), side), recipe.transform))
        except ImageRejected as error:
            rejected.append(f"{path}: {error}")
        except OSError as error:
            rejected.append(f"{path}: not readable: {error.strerror}")
    if not pixels:
        first = f"; the first is {rejected[0]}" if rejected else ""
        raise DataError(f"There are no images in {', '.join(map(str, images))} to check the network on{first}.")
    for file in rejected:
        logger.warning("rejected %s", file)
    return pixels


def synthetic_pixels(transform: Transform) -> list[Pixels]:
    """Return made-up pictures, the same each time: random colours from coarse to fine."""
    rng, size = np.random.default_rng(0), (transform.crop, transform.crop)
    coarse = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in range(2, 2 + 3 * SYNTHETIC, 3)]
    return [np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)) for picture in coarse]


def _normalised(pixels: Pixels, transform: Transform) -> npt.NDArray[np.float32]:
    """Return ``(B, 3, crop, crop)`` as torchvision's transforms do."""
    mean, std = np.array(transform.mean, np.float32), np.array(transform.std, np.float32)
    images = (pixels.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _embedded(backbone: Backbone, pixels: Pixels, recipe: Recipe) -> npt.NDArray[Any]:
    """Return the vectors that the cache would hold."""
    # As extraction does it: sums depend on the size of a batch, so the last one is filled up.
    full = np.zeros((backbone.batch_size, *pixels.shape[1:]), np.uint8)
    full[: len(pixels)] = pixels
    return backbone.embed(full)[0][: len(pixels)].astype(recipe.dtype)


def _distance(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Return the largest difference; NaN counts as infinite."""
    return float(np.nan_to_num(np.abs(actual - expected), nan=np.inf).max())


def _centred(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    values = np.asarray(logits, np.float64)
    return np.asarray(values - values.mean(axis=1, keepdims=True))
