"""How an image file becomes the input of an exported network: as data and in words, to be programmed without fc7."""

import json

from ...cache.recipe import DECODES, Recipe
from ...extract.decoding.decode import TURNS
from ...extract.decoding.views import LONGEST

_DECODED = {
    DECODES["exact"]: "",
    DECODES["scaled"]: (
        "Let a JPEG be decoded to 1/8, 1/4 or 1/2 of its size if its shorter side stays at least `resize` (Pillow's "
        "Image.draft). "
    ),
    DECODES["hardware"]: (
        "Ordinary JPEGs were decoded by the JPEG engine of a GPU: other decoders differ by a grey level. "
    ),
    "nvjpeg-1": "Upright JPEGs in RGB or grey were decoded by nvJPEG: other decoders differ by a grey level. ",
}

_RESIZED = {
    "crop": (
        "If the longer side is more than {longest} times the shorter one, keep the middle {longest} times of it, from "
        "floor((long - {longest} * short) / 2). Resize the shorter side to {resize} and the longer one to "
        "floor({resize} * long / short)"
    ),
    "squash": (
        "If the height is more than {longest} times the larger of the width and {resize}, resize it to that first, and "
        "keep the width. Resize both sides to {resize}, whatever the proportions"
    ),
    "pad": (
        "Resize the longer side to {resize} and the shorter one to short / (long / {resize}), where halves are rounded "
        "to the even number, to 1 at the least"
    ),
}


def as_data(recipe: Recipe) -> dict[str, str]:
    """Return the rules by name. Values are JSON, but for names and formulas."""
    transform = recipe.transform
    return {
        "decode": recipe.decode,
        "frame": "0",
        "orientation": json.dumps({str(value): turn.name for value, turn in TURNS.items()}),
        "grey_16_bit": json.dumps([0, 2**16 - 1]),
        "alpha": json.dumps([255, 255, 255]),
        "cmyk": "(255 - C) * (255 - K) / 255, (255 - M) * (255 - K) / 255, (255 - Y) * (255 - K) / 255",
        "profiles": "ignored",
        "longest": str(LONGEST),
        "resize_mode": transform.resize_mode,
        "resize": str(transform.resize),
        "crop": str(transform.crop),
        "interpolation": transform.interpolation,
        "antialias": "true",
        "padding": json.dumps(transform.background),
        "mean": json.dumps(transform.mean),
        "std": json.dumps(transform.std),
    }


def in_words(recipe: Recipe, *, with_normalise: bool) -> str:
    """Return the rules as a paragraph.

    Parameters
    ----------
    with_normalise
        Whether the network normalises pixels itself.
    """
    resize, crop = recipe.transform.resize, recipe.transform.crop
    normalise = (
        f"Give the network these pixels as uint8, (batch, {crop}, {crop}, 3): it normalises them itself."
        if with_normalise
        else f"Divide by 255, subtract `mean` and divide by `std`, each for R, G, B, in float32, and put the channels "
        f"first: (batch, 3, {crop}, {crop})."
    )
    return (
        "Read the first frame of the file, with Pillow or as Pillow does. "
        f"{_DECODED[recipe.decode]}"
        "If its EXIF has an orientation (tag 274) of 2 to 8, turn it as `orientation` names it, in the words of "
        "Pillow's Image.Transpose. Make it RGB with 8 bits: grey of more than 8 bits is scaled, not clipped, the value "
        "v to floor((2 * 255 * v + 65535) / (2 * 65535)), and its transparent value, if there is one, is white; in a "
        "TIFF whose tags state another largest value, that stands for 65535, and where they say that 0 is white, the "
        "result is subtracted from 255. Of colours with 16 bits, the upper 8 are taken. What has an alpha channel, a "
        "transparent colour or a palette with transparency is put on white: alpha / 255 * colour + (1 - alpha / 255) * "
        "255; of grey with 2 or 4 bits Pillow scales the pixels, not the transparent value: multiply it by 85 or 17. "
        "CMYK becomes R, G, B as `cmyk` says, after an inversion by Adobe is undone. Other grey is repeated for R, G "
        "and B, and palettes are looked up. Colour profiles are ignored. "
        f"{_RESIZED[recipe.transform.resize_mode].format(longest=LONGEST, resize=resize)}, "
        f"{recipe.transform.interpolation} with antialiasing, as Pillow's Image.resize does. Cut out the middle, "
        f"{crop} x {crop}, from round((side - {crop}) / 2) on the left and at the top, where halves are rounded to the "
        f"even number; a side that is smaller than {crop} begins at "
        f"floor(({crop} - side) / 2) on the colour `padding`. {normalise}"
    )
