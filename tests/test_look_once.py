"""A verb looks at each image of its data once: what is cached is asked for its size and times, and not opened."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from command_line import draw_split
from waiting import LONG

from fc7.cache import Store
from fc7.cache.shard import Shard
from fc7.extract import load_backbone

LAYERS = ["gap", "gmp"]

# Counts what verbs ask the system about images and their folders, whatever the code goes through.
COUNTING = """
import json, os, sys
from collections import Counter

data, verbs = os.path.realpath(sys.argv[1]), json.loads(sys.argv[2])
asked = Counter()


def note(what, path):
    if isinstance(path, (str, bytes, os.PathLike)):
        path = os.path.abspath(os.fsdecode(path))
        if path == data or path.startswith(data + os.sep):
            asked[what, path] += 1


def counted(function):
    def called(path, *more, **options):
        note("stat", path)
        return function(path, *more, **options)

    return called


class Entry:
    def __init__(self, entry):
        self.entry = entry

    def __getattr__(self, name):
        return getattr(self.entry, name)

    def __fspath__(self):
        return self.entry.path

    def stat(self, **options):
        note("stat", self.entry.path)
        return self.entry.stat(**options)


class Scan:
    def __init__(self, *path):
        self.entries = real_scandir(*path)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.entries.close()

    def __iter__(self):
        return map(Entry, self.entries)


from fc7.cli import main

real_scandir = os.scandir
os.stat, os.lstat, os.scandir = counted(os.stat), counted(os.lstat), Scan
events = {"open": "open", "os.scandir": "list", "os.listdir": "list"}
sys.addaudithook(lambda event, given: note(events[event], given[0]) if event in events else None)
for words in verbs:
    asked.clear()
    code = main(words)
    images = Counter()
    for (what, path), times in asked.items():
        images[what] += times if path.endswith(".png") else 0
    lists = [times for (what, _), times in asked.items() if what == "list"]
    print(json.dumps({"code": code, "stats": images["stat"], "opens": images["open"], "lists": lists}))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Twelve pictures of each of two classes, in two splits, and a cache with a row of each under two recipes."""
    root = tmp_path_factory.mktemp("once")
    pictures = sorted(draw_split(root / "data").rglob("*.png"))
    keys = [hashlib.sha256(path.read_bytes()).digest() for path in pictures]
    (root / "weights.pth").write_bytes(b"read by nobody, because no row is missing")
    weights = f"file:{root / 'weights.pth'}"
    for recipe in load_backbone("squeezenet1_1", LAYERS, weights=weights, cache=root / "cache").recipes:
        rows = np.random.default_rng(0).random((len(keys), recipe.dim)).astype(recipe.dtype)
        rows[:, 0] += ["red" in path.parts for path in pictures]
        Store(recipe, root / "cache").append(Shard(keys, rows, {}, {"seconds": "0"}))
    return root


@pytest.fixture(scope="module")
def asked(home):
    """What each verb asks for, by its name."""
    data, bundle, backbone = home / "data", home / "x.fc7", ["--backbone", "squeezenet1_1"]
    backbone += ["--weights", f"file:{home / 'weights.pth'}"]
    layers = [word for layer in LAYERS for word in ("--layer", layer)]
    compare = ["compare", data, "-o", home / "runs", "--no-learning-curve", *backbone, *layers, "--heads"]
    verbs = {
        # The first two are not counted: the index gets to know the files, and the folder its thumbnails.
        "fit at first": ["fit", data, "-o", bundle, "--head", "centroid", *backbone, "--layer", "gap"],
        "compare at first": [*compare, "centroid"],
        "fit": ["fit", data, "-o", bundle, "--head", "ridge", *backbone, "--layer", "gap"],
        "compare": [*compare, "ridge"],
        "audit": ["audit", data, *backbone, "--layer", "gap"],
        "predict": ["predict", bundle, data],
    }
    calls = [[*map(str, words), "--quiet", "--cache", str(home / "cache")] for words in verbs.values()]
    command = [sys.executable, "-c", COUNTING, str(data), json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"code"')]
    return dict(zip(verbs, lines, strict=True))


@pytest.mark.parametrize("verb", ["fit", "compare", "audit", "predict"])
def test_a_verb_looks_at_each_cached_image_once(asked, verb):
    opens = 24 if verb == "audit" else 0  # whose pixels tell near-duplicates from look-alikes
    assert asked[verb] == {"code": 0, "stats": 24 + opens, "opens": opens, "lists": [1] * 7}
