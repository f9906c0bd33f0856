"""Scikit-learn's handwritten digits as pictures."""

from pathlib import Path

import numpy as np

SIDE = 64  # pixels; the digits have 8 x 8, enlarged so that a person sees something
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_digits(folder: Path) -> Path:
    """Write 1,797 digits (Alpaydin and Kaynak 1998) as PNG to ``train|val/<class>/`` and return the folder.

    Files that are there are left alone, so that nothing is new the second time.
    """
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    fitted = set(train_test_split(np.arange(len(pixels)), test_size=0.3, random_state=0, stratify=digits.target)[0])
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        path = folder / ("train" if number in fitted else "val") / CLASSES[label] / f"{number:04d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    return folder
