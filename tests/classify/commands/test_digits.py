"""The digits of the demo: written once, and seen as digits."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from fc7.classify.commands.digits import CLASSES, write_digits


def test_the_digits_are_written_once_and_stay(tmp_path, monkeypatch):
    digits = load_digits()
    digits.images, digits.target = digits.images[:160], digits.target[:160]
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: digits)
    folder = write_digits(tmp_path / "digits")
    files = sorted(folder.rglob("*.png"))
    assert len(files) == 160
    assert {path.parent.name for path in files} == set(CLASSES)
    assert {path.parent.parent.name for path in files} == {"train", "val"}
    before = {path: path.stat().st_mtime_ns for path in files}
    write_digits(tmp_path / "digits")
    assert {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.png"))} == before
    with Image.open(next(path for path in files if path.name == "0000.png")) as image:
        assert image.size == (64, 64)
        small = np.asarray(image.resize((8, 8), Image.Resampling.BOX), float)
    assert np.corrcoef(small.ravel(), digits.images[0].ravel())[0, 1] > 0.95
    assert digits.target[0] == 0
    assert next(path for path in files if path.name == "0000.png").parent.name == "zero"
