"""Predict from threads, and in a process that was forked: right answers, or one line."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from fakes import coloured
from PIL import Image

from fc7.classify import Bundle, fit
from fc7.extract import extract, load_backbone, read_manifest


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Bundles of a backbone that is in fc7's table, and of one that is traced."""
    root = tmp_path_factory.mktemp("threads")
    coloured(root / "data", 6)
    for name, layer in (("squeezenet1_1", "gap"), ("mobilenet_v3_small", "gap")):
        options = {"weights": "random:0", "dtype": "float32", "image_size": (64, 64), "cache": root / "cache"}
        embeddings = extract(read_manifest(root / "data"), load_backbone(name, layer, **options), cache=root / "cache")
        Bundle.of(fit(embeddings, "ridge", folds=2)).save(root / f"{name}.fc7")
    return root


def at_once(works):
    """Run each work in a thread of its own, all at the same moment."""
    gate = threading.Barrier(len(works))

    def run(work):
        gate.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_threads_that_share_bundles_get_the_answers_of_one_thread(home):
    paths = sorted((home / "data").glob("*/*.png"))
    pictures = [np.asarray(Image.open(path)) for path in paths]
    names = ["squeezenet1_1", "mobilenet_v3_small"]

    def ask(bundle, number):
        files = bundle.predict([paths[number]], cache=home / "cache")
        return [answer.probabilities for answer in [*bundle.predict(pictures[number:]), *files]]

    alone = {name: Bundle.load(home / f"{name}.fc7") for name in names}
    right = {(name, number): ask(bundle, number) for name, bundle in alone.items() for number in range(3)}
    for _ in range(2):
        fresh = {name: Bundle.load(home / f"{name}.fc7") for name in names}  # so that each is loaded beside the others
        answers = at_once([partial(ask, fresh[name], number) for name, number in right])
        assert answers == list(right.values())


def test_extractions_at_once_into_one_cache_give_the_rows_of_one(home, tmp_path):
    manifest = read_manifest(home / "data")

    def rows(cache):
        backbone = load_backbone("squeezenet1_1", "gap", weights="random:0", dtype="float32", image_size=(64, 64))
        return extract(manifest, backbone, cache=cache).vectors

    expected = rows(tmp_path / "alone")
    for found in at_once([lambda: rows(tmp_path / "shared") for _ in range(4)]):
        np.testing.assert_array_equal(found, expected)


def test_a_bundle_loads_its_backbone_once(home, forwards):
    bundle = Bundle.load(home / "squeezenet1_1.fc7")
    picture = np.zeros((64, 64, 3), np.uint8)
    assert bundle.backbones()[0].network is bundle.backbones()[0].network
    assert bundle.predict([picture]) == bundle.predict([picture], max_error=None)


FORKED = """
import os, sys
import numpy as np
from fc7.classify import Bundle
from fc7.errors import FC7Error

bundle, picture = Bundle.load(sys.argv[1]), np.zeros((64, 64, 3), np.uint8)
if sys.argv[2] == "warm":
    bundle.predict([picture])
pid = os.fork()
if not pid:
    try:
        print(bundle.predict([picture])[0].label, flush=True)
    except FC7Error as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("warm", ["warm", "cold"])
def test_a_forked_child_is_refused_after_a_warm_up_and_answers_without_one(home, warm):
    command = [sys.executable, "-c", FORKED, home / "squeezenet1_1.fc7", warm]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert said.count("\n") == 1
    assert ("was forked from" in said) == (warm == "warm")
    assert ("red" in said or "blue" in said) == (warm == "cold")
