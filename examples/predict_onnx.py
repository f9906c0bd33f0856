"""Predict an image with a network that `fc7 export FILE.fc7 -o FILE.onnx` wrote, without fc7.

    python examples/predict_onnx.py ants.onnx picture.jpg

The file says how an image becomes its input, as data and, under `preparation`, in words. This is that as a program.
What is rare is refused: grey TIFFs of more than 8 bits whose tags state another range, pictures in LAB, and PNGs of 16
bits a colour with a transparent one.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


def predict(model_path: str, image_path: str) -> tuple[str, dict[str, float]]:
    """Return the answer, a class or `not sure`, and the probability of each class."""
    session = onnxruntime.InferenceSession(model_path)
    rules = session.get_modelmeta().custom_metadata_map
    (model_input,) = session.get_inputs()
    with Image.open(image_path) as image:
        pixels = prepare(image, rules)
    if model_input.name == "images":  # `pixels` are normalised by the network itself
        mean, std = (np.array(json.loads(rules[name]), np.float32) for name in ("mean", "std"))
        pixels = ((pixels / np.float32(255) - mean) / std).transpose(2, 0, 1)
    _, probabilities = session.run(["logits", "probabilities"], {model_input.name: pixels[None]})
    by_class = dict(zip(json.loads(rules["classes"]), probabilities[0].tolist(), strict=True))
    best = max(by_class, key=by_class.__getitem__)
    return best if by_class[best] >= float(rules["threshold"]) else "not sure", by_class


def prepare(image: Image.Image, rules: dict[str, str]) -> np.ndarray:
    """Return an opened image as upright RGB pixels, `(crop, crop, 3)` uint8."""
    resize, crop, longest = (int(rules[name]) for name in ("resize", "crop", "longest"))
    if rules["decode"] == "scaled-1":
        image.draft(None, tuple(-(-side * resize // min(image.size)) for side in image.size))
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    if image.mode == "F" or (image.mode[0] == "I" and tags and (image.mode == "I" or tags[262] == 0 or 341 in tags)):
        raise ValueError("grey of a range that this example does not know")
    layouts, clear = [tile[3] for tile in getattr(image, "tile", ())], image.info.get("transparency")
    if "RGB;16B" in layouts and clear:
        raise ValueError("a transparent colour of which Pillow keeps 8 of 16 bits")
    if isinstance(clear, int):  # Pillow scales the pixels of grey PNGs of 2 and 4 bits, and not this number
        image.info["transparency"] = clear * (85 if "L;2" in layouts else 17 if "L;4" in layouts else 1)
    image.load()  # of an animation, the first frame
    turn = json.loads(rules["orientation"]).get(str(image.getexif().get(274)))
    image = image.transpose(Image.Transpose[turn]) if turn else image
    if image.mode.startswith("I"):  # grey of 16 bits, which Pillow would clip
        _, white = json.loads(rules["grey_16_bit"])
        values = np.asarray(image).astype(np.int64)
        grey = (2 * 255 * values + white) // (2 * white)
        image = Image.fromarray(np.where(values == image.info.get("transparency"), 255, grey).astype(np.uint8))
    elif image.has_transparency_data:
        background = Image.new("RGBA", image.size, tuple(json.loads(rules["alpha"])))
        image = Image.alpha_composite(background, image.convert("RGBA"))
    image = image.convert("RGB")
    resample = Image.Resampling[rules["interpolation"].upper()]
    if rules["resize_mode"] == "squash":
        image = image.resize((image.width, min(image.height, longest * max(image.width, resize))), resample)
        size = [resize, resize]
    elif rules["resize_mode"] == "pad":
        size = [max(round(side / (max(image.size) / resize)), 1) for side in image.size]
    else:
        keep = longest * min(image.size)
        left, top = (max(side - keep, 0) // 2 for side in image.size)
        image = image.crop((left, top, left + min(image.width, keep), top + min(image.height, keep)))
        size = [int(resize * side / min(image.size)) for side in image.size]
    image = image.resize(size, resample)
    left, top = (round((side - crop) / 2) if side >= crop else -((crop - side) // 2) for side in image.size)
    square = Image.new("RGB", (crop, crop), tuple(json.loads(rules["padding"])))
    square.paste(image, (-left, -top))
    return np.asarray(square)


if __name__ == "__main__":
    answer, by_class = predict(*sys.argv[1:])
    print(answer, by_class)
