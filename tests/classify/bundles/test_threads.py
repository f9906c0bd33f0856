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
from waiting import LONG

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
import logging, os, sys
import numpy as np
import fc7.extract.computing
from fc7.classify import Bundle, fit
from fc7.errors import FC7Error
from fc7.extract import extract, load_backbone, read_manifest

logging.basicConfig(format="%(message)s", stream=sys.stdout)
bundle, picture = Bundle.load(sys.argv[1]), np.zeros((64, 64, 3), np.uint8)

def answer(cache, heads):
    try:
        print(bundle.predict([picture])[0], flush=True)
        if heads:  # autograd, scikit-learn's OpenMP, LAPACK
            embeddings = extract(read_manifest(sys.argv[2]), bundle.backbones()[0], cache=cache)
            for head in ("torch-linear", "hist-gb", "lda"):
                estimator = fit(embeddings, head, folds=2, epochs=2).estimator
                print(head, estimator.predict_proba(embeddings.vectors).round(4).tolist(), flush=True)
    except FC7Error as error:
        print(error, flush=True)
    print(flush=True)

def answer_in_a_child(heads=False):
    pid = os.fork()
    if not pid:
        answer("child", heads)
        os._exit(0)
    os.waitpid(pid, 0)

answer_in_a_child()
answer("parent", heads=True)
answer_in_a_child(heads=True)
with fc7.extract.computing.computing():
    answer_in_a_child()
"""


@pytest.fixture(scope="module")
def said_after_forks(home):
    """What a child that was forked before use says, its parent, one forked after it, and one while it computed."""
    command = [sys.executable, "-c", FORKED, home / "squeezenet1_1.fc7", home / "data"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LONG, cwd=home)
    return [block.splitlines() for block in done.stdout.split("\n\n")[:-1]]


def test_a_child_that_was_forked_before_use_answers(said_after_forks):
    before, parent, _, _ = said_after_forks
    assert before == parent[:1]


def test_a_child_that_was_forked_after_use_answers_on_one_thread(said_after_forks):
    _, parent, (warning, *after), _ = said_after_forks
    assert "computes on one thread" in warning
    assert "spawn" in warning
    assert after == parent
    assert len(parent) == 4


def test_a_child_that_was_forked_while_its_parent_computed_is_refused_in_one_line(said_after_forks):
    (refused,) = said_after_forks[-1]
    assert "was forked from" in refused
    assert "while fc7 was computing there" in refused
    assert "spawn" in refused
