"""What tests of verbs share: a small backbone, pictures to embed, and a process of its own."""

import subprocess
import sys

from fakes import noisy
from waiting import LONG

SQUEEZENET = ["--backbone", "squeezenet1_1", "--weights", "random:0", "--batch-size", "4"]
COLOURS = {"blue": (20, 20, 220), "red": (220, 20, 20)}
FAST = "ridge,centroid"


def draw_split(root, train=8, val=4, labels=COLOURS):
    for place, (label, colour) in enumerate(labels.items()):
        for number in range(train + val):
            split = "train" if number < train else "val"
            noisy(root / split / label / f"{number:02d}.png", colour, 1000 * place + number)
    return root


def process(*words, **options):
    """Run ``python -m fc7`` in a process of its own."""
    command = [sys.executable, "-m", "fc7", *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=LONG, check=False, **options)
