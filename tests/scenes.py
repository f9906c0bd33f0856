"""Pictures that have details, as photographs have."""

import numpy as np
from PIL import Image


def scene(seed, size=(240, 180)):
    """Return a picture of structures of all sizes."""
    generator, picture = np.random.default_rng(seed), np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24, 48):
        noise = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), np.uint8))
        picture += np.asarray(noise.resize(size, Image.Resampling.BICUBIC), float)
    return Image.fromarray((picture / 5).astype(np.uint8))
