"""Alignment: copies have the same details however they were made, other pictures have not."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scenes import scene

from fc7.classify.audits.alignment import SIDE, outlines, same_details, squeezed


def details(one, other):
    pictures = [squeezed(image)[None] for image in (one, other)]
    ratios = [np.array([image.width / image.height], np.float32) for image in (one, other)]
    return float(same_details(*pictures, *ratios)[0])


COPIES = {
    "itself": lambda image: image,
    "smaller": lambda image: image.resize((90, 68)),
    "mirrored": ImageOps.mirror,
    "grey": ImageOps.grayscale,
    "brighter": ImageEnhance.Brightness,
    "cropped": lambda image: image.crop((20, 30, 20 + 168, 30 + 126)),
    "cropped to a square": lambda image: image.crop((40, 0, 220, 180)),
    "mirrored, cropped, grey": lambda image: ImageOps.grayscale(ImageOps.mirror(image.crop((0, 20, 200, 170)))),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_copy_has_the_details_of_its_original_in_either_order(kind, seed):
    original, change = scene(seed), COPIES[kind]
    copy = change(original).enhance(1.2) if kind == "brighter" else change(original)
    assert details(original, copy) > 0.9
    assert details(copy, original) > 0.9


def test_other_pictures_have_not():
    scenes = [scene(seed) for seed in range(12)]
    pairs = [(a, b) for a in range(12) for b in range(a)]
    pictures = np.stack([squeezed(image) for image in scenes])
    one, other = np.array(pairs).T
    ratios = np.full(len(pairs), 4 / 3, np.float32)
    assert same_details(pictures[one], pictures[other], ratios, ratios).max() < 0.5


def test_the_same_however_many_are_compared_at_once(monkeypatch):
    from fc7.classify.audits import alignment

    pictures = np.stack([squeezed(scene(seed)) for seed in range(6)])
    ratios = np.ones(6, np.float32)
    together = same_details(pictures, pictures[::-1].copy(), ratios, ratios)
    monkeypatch.setattr(alignment, "PAIRS", 1)
    assert same_details(pictures, pictures[::-1].copy(), ratios, ratios) == pytest.approx(together, abs=1e-4)


def test_flat_pictures_are_the_same_only_in_the_same_grey():
    flat = {grey: Image.new("L", (40, 40), grey) for grey in (0, 2, 200)}
    assert details(flat[0], flat[2]) == 1
    assert details(flat[0], flat[200]) == -1
    assert details(flat[0], scene(0)) < 0.5


def test_nothing_to_compare_is_nothing():
    nothing = np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.float32)
    assert same_details(nothing[0], nothing[0], nothing[1], nothing[1]).shape == (0,)


def test_outlines_do_not_see_mirror_colour_and_light():
    original = scene(3)
    copies = [ImageOps.mirror(original), ImageOps.grayscale(original), ImageEnhance.Brightness(original).enhance(0.7)]
    rows = outlines(np.stack([squeezed(image) for image in [original, *copies, scene(4)]]))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows[1:] @ rows[0]
    assert cosines[:3].min() > 0.98
    assert cosines[3] < 0.5
