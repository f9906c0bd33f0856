"""Pictures that a network can tell apart."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    """Twenty small pictures of two classes that a network can tell apart, in train and val."""
    rng = np.random.default_rng(0)
    for number in range(20):
        label = ("dark", "light")[number % 2]
        pixels = rng.integers(0, 90, (40, 50, 3), dtype=np.uint8) + (150 if label == "light" else 0)
        path = tmp_path / "photos" / ("train" if number < 14 else "val") / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "photos"
