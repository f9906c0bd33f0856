"""Augmentation as the published recipes use it: random resized crops and mirror images, seeded."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..cache.recipe import Transform

AREA = (0.08, 1.0)  # share of the image that the crop covers
RATIO = (3 / 4, 4 / 3)  # width over height
ATTEMPTS = 10


def augmented(image: Image.Image, transform: Transform, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a random crop, resized to ``(crop, crop, 3)`` uint8, mirrored half of the time.

    The distribution is that of torchvision's ``RandomResizedCrop`` (Szegedy et al. 2015) and ``RandomHorizontalFlip``;
    the generator is numpy's, so that an epoch does not depend on the order in which threads decode.
    """
    box = _box(image.width, image.height, rng)
    pixels = np.asarray(image.resize((transform.crop, transform.crop), Image.Resampling.BILINEAR, box=box))
    return np.ascontiguousarray(pixels[:, ::-1]) if rng.random() < 0.5 else pixels


def _box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    # No crop fits a very long image: the centre, with the nearest ratio allowed.
    w = min(width, round(height * RATIO[1]))
    h = min(height, round(width / RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
