"""--resize on the command line: it decides vectors, and all that is made of them keeps to it."""

import numpy as np
import pytest
from PIL import Image

from fc7.classify import Bundle, load_runs
from fc7.classify.exports.parity import read_pixels
from fc7.classify.finetuning.inputs import Pixels
from fc7.classify.records.description import protocol
from fc7.extract import load_backbone, read_manifest
from fc7.extract.decoding.views import centre_crop
from fc7.extract.manifest.hashing import Hashed

BACKBONE = ["--backbone", "squeezenet1_1", "--layer", "gap", "--weights", "random:0", "--batch-size", "4"]
SMALL = ["--image-size", "64"]


@pytest.fixture
def wide(tmp_path):
    """Pictures whose halves are all that tells their classes apart; a centre crop sees neither end."""
    for number in range(12):
        path = tmp_path / "wide" / ("train" if number < 8 else "val") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 60, (20, 100, 3), dtype=np.uint8)
        pixels[:, :30] += 160 * np.uint8(number % 2)
        Image.fromarray(pixels).save(path)
    return tmp_path / "wide"


def test_modes_are_rows_of_their_own(fc7_json, wide, cache_dir):
    ids = []
    for words in ([], ["--resize", "crop"], ["--resize", "squash"], ["--resize", "pad"]):
        answer = fc7_json("extract", wide, *BACKBONE, *SMALL, *words)
        ids.append((answer["recipe_id"], answer["computed"]))
    assert ids[0][0] == ids[1][0]
    assert [computed for _, computed in ids] == [12, 0, 12, 12]
    assert len({identity for identity, _ in ids}) == 3


def test_a_bundle_keeps_to_it(fc7, wide, cache_dir, tmp_path):
    made = fc7("fit", wide, *BACKBONE, *SMALL, "--resize", "squash", "--head", "ridge", "-o", tmp_path / "a.fc7")
    assert made[0] == 0, made[2]
    recipe = Bundle.load(tmp_path / "a.fc7").recipe
    assert recipe.transform.resize_mode == "squash"
    code, out, err = fc7("predict", tmp_path / "a.fc7", wide / "val", "--batch-size", "4")
    assert code == 0, err
    assert [line.split(",")[1] for line in sorted(out.splitlines()[1:])] == ["a", "a", "b", "b"]
    with Image.open(wide / "val" / "a" / "8.png") as image:
        expected = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(read_pixels([wide / "val" / "a" / "8.png"], recipe)[0], expected)


def test_fine_tuning_sees_what_embeddings_see(fc7_json, wide, cache_dir, tmp_path):
    words = ["--backbone", "squeezenet1_1", "--weights", "random:0", "--epochs", "1", "--resize", "pad"]
    fc7_json("finetune", wide, *words, "-o", tmp_path / "runs")
    (run,) = load_runs(tmp_path / "runs")
    assert run.recipe["transform"]["resize_mode"] == "pad"
    assert "resize pad" in protocol([run])


def test_pixels_of_training_are_those_of_the_mode(wide, cache_dir):
    recipe = load_backbone("squeezenet1_1", weights="random:0", image_size=(64, None), resize="pad").recipes[0]
    hashed = Hashed.of(read_manifest(wide))
    pixels = Pixels(wide, hashed.rows, recipe, augment=False, seed=0, workers=1)
    (batch,) = pixels.batches([np.arange(2)], None)
    for row in range(2):
        with Image.open(wide / hashed.rows.paths[row]) as image:
            expected = centre_crop(image, recipe.transform)
        np.testing.assert_array_equal(batch[row].numpy(), expected)
        assert (expected[0] == (124, 116, 104)).all()
