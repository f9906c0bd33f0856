"""The verb extract: every file is accounted for, weights come from where they should, Ctrl-C keeps the work."""

import json
import shlex

import numpy as np
import pytest
from command_line import COLOURS, SQUEEZENET, draw_split
from fakes import noisy, one_line

from fc7.extract import Backbone
from fc7.extract.weights import sources

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\nnowhere/a.png,red\nnowhere/b.png,blue\n", "Not one of 2 files"),
        ("name,age\na.png,red\n", "path"),
        ("path,label,split\na.png,red,train\nb.png,blue,vallidation\n", "'vallidation'"),
        ("path,label\na.png,red\nb.png,blue,3\n", "line 3"),
        ("", "is empty"),
    ],
)
def test_a_csv_that_cannot_be_used_is_1_in_one_line(fc7, tmp_path, text, said):
    for name in ("a.png", "b.png"):
        noisy(tmp_path / name, COLOURS["red"], ord(name[0]))
    (tmp_path / "data.csv").write_text(text)
    code, out, err = fc7("extract", tmp_path / "data.csv", *SQUEEZENET)
    assert (code, out) == (1, "")
    assert said in one_line(err)


def test_a_file_of_a_csv_that_is_not_there_is_a_reject(fc7_json, tmp_path):
    noisy(tmp_path / "a.png", COLOURS["red"], 1)
    (tmp_path / "data.csv").write_text("path\na.png\nabsent.png\n")
    done = fc7_json("extract", tmp_path / "data.csv", *SQUEEZENET)
    assert (done["ok"], done["rejects"]) == (1, [{"path": "absent.png", "reason": "no such file"}])


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


def test_of_very_many_rejects_a_few_are_said_and_all_are_in_the_json(fc7, fc7_json, tmp_path):
    noisy(tmp_path / "d" / "a.png", COLOURS["red"], 1)
    for number in range(100):
        (tmp_path / "d" / f"{number}.txt").touch()
    _, out, _ = fc7("extract", tmp_path / "d", *SQUEEZENET)
    assert out.count("rejected  ") == 11
    assert "\nrejected  90 more: 90 suffix '.txt' is not one of" in out
    assert len(fc7_json("extract", tmp_path / "d", *SQUEEZENET)["rejects"]) == 100


def test_rejected_images_are_looked_at_again_on_request(fc7, tmp_path):
    root = draw_split(tmp_path / "d", 2)
    (root / "train" / "red" / "text.png").write_text("no image")
    words = ["extract", root, *SQUEEZENET, "--cache", tmp_path / "cache"]
    assert "rejected in an earlier run" not in fc7(*words)[1]
    code, out, _ = fc7(*words)
    assert code == 0
    assert "\nrejected in an earlier run: 1; --retry-rejected looks at them again\n" in out
    code, out, _ = fc7(*words, "--retry-rejected")
    assert code == 0
    assert "\nrejected in an earlier run and looked at again: 1\n" in out
    answers = [json.loads(fc7(*words, "--json", *more)[1]) for more in ([], ["--retry-rejected"])]
    assert [(answer["rejected_before"], answer["retried"]) for answer in answers] == [(1, 0), (0, 1)]


def test_a_type_that_cannot_hold_the_rows_is_1_in_one_line(fc7, tmp_path):
    root = draw_split(tmp_path / "d", 2)
    words = [
        "extract",
        root,
        "--backbone",
        "mobilenet_v3_small",
        "--weights",
        "random:0",
        "--cache",
        tmp_path / "cache",
    ]
    code, out, err = fc7(*words)
    assert (code, out) == (1, "")
    assert "float16 cannot hold mobilenet_v3_small " in one_line(err)
    assert "--dtype float32" in err
    assert fc7(*words, "--dtype", "float32")[0] == 0


# Weights


@pytest.mark.parametrize(
    ("name", "file", "prefix"),
    [("alexnet", "alexnet-owt-7be5be79.pth", "7be5be79"), ("vgg16", "vgg16-397923af.pth", "397923af")],
)
def test_without_network_and_weights_the_three_ways_on_are_said(fc7, data, tmp_path, monkeypatch, name, file, prefix):
    def never(*given):
        pytest.fail("random weights were made up")

    monkeypatch.setattr(sources.RandomWeights, "state_dict", never)
    monkeypatch.setattr(sources.RandomWeights, "sha256", never)
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


# Accounts

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
    answer = fc7_json("extract", clean, *words)
    assert [(entry["layer"], entry["dim"], entry["computed"]) for entry in answer["backbones"]] == [
        ("gap", 512, 8),
        ("logits", 1000, 8),
    ]
    assert len(forwards) == 2


def test_two_backbones_are_two_entries(fc7_json, tmp_path):
    small = draw_split(tmp_path / "small", 2, 1)
    words = ["--backbone", "squeezenet1_1", "--backbone", "shufflenet_v2_x0_5", "--layer", "squeezenet1_1=gap"]
    words += ["--weights", "squeezenet1_1=random:0", "--weights", "shufflenet_v2_x0_5=random:5", "--batch-size", "4"]
    words += ["--dtype", "float32"]  # of random weights, whose embeddings are small
    answer = fc7_json("extract", small, *words, "--cache", tmp_path / "cache")["backbones"]
    assert [(entry["backbone"], entry["layer"], entry["dim"]) for entry in answer] == [
        ("squeezenet1_1", "gap", 512),
        ("shufflenet_v2_x0_5", "penultimate", 1024),
    ]
    assert all(entry["seen"] == entry["ok"] == entry["computed"] == 6 for entry in answer)


def test_a_network_without_a_linear_layer_is_tapped_at_a_named_node(fc7, fc7_json, tmp_path):
    small = draw_split(tmp_path / "small", 1, 1)
    words = ["--backbone", "squeezenet1_0", "--weights", "random:0", "--batch-size", "4", "--cache", tmp_path / "cache"]
    code, _, err = fc7("extract", small, *words)
    assert code == 2
    assert "a node" in one_line(err)
    answer = fc7_json("extract", small, *words, "--layer", "classifier.1")
    assert (answer["ok"], answer["layer"]) == (4, "classifier.1"), "what the message says to do"
    answer = fc7_json("extract", small, *words, "--layer", "gap")
    assert (answer["ok"], answer["dim"]) == (4, 512), "the map before the classes"


# Files of vectors


@pytest.fixture
def small(tmp_path):
    """Six pictures, and one file that is no image."""
    root = draw_split(tmp_path / "small", 2, 1)
    (root / "train" / "red" / "text.png").write_text("no image")
    return root


def test_a_file_has_a_row_for_each_image(fc7, fc7_json, small, tmp_path):
    path = tmp_path / "v.npz"
    words = ["extract", small, *SQUEEZENET, "--cache", tmp_path / "cache", "-o", path]
    first = fc7_json(*words)
    assert (first["computed"], first["rejected"], first["rows"]) == (6, 1, 6)
    assert (first["file"], first["files"]) == (str(path), [str(path)])
    with np.load(path) as arrays:
        assert arrays["embeddings"].shape == (6, 512)
        assert arrays["paths"][0] == "train/blue/00.png"
    before = path.read_bytes()
    code, out, _ = fc7(*words)
    assert (code, out.splitlines()[-1]) == (0, f"Wrote 6 x 512 embeddings to {path}")
    assert "; 0 computed, 6 from the cache" in out
    assert path.read_bytes() == before
    exported = tmp_path / "e.npz"
    assert fc7("cache", "export", exported, small, *SQUEEZENET, "--cache", tmp_path / "cache")[0] == 0
    assert exported.read_bytes() == before


def test_what_is_written_is_checked_before_anything_is_computed(fc7, small, tmp_path):
    words = ["extract", small, *SQUEEZENET, "--cache", tmp_path / "cache", "-o"]
    code, out, err = fc7(*words, tmp_path / "v.xlsx")
    assert (code, out) == (2, "")
    assert ".parquet" in one_line(err)
    (tmp_path / "d.csv").mkdir()
    assert fc7(*words, tmp_path / "d.csv")[0] == 1
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("more", "files"),
    [
        (["--layer", "gap", "--layer", "gmp"], ["v-gap.csv", "v-gmp.csv"]),
        (["--layer", "gap", "--views", "1"], ["v.csv"]),
    ],
)
def test_a_file_for_each_of_several_recipes_is_written_by_the_commands_that_are_named(
    fc7, small, tmp_path, monkeypatch, more, files
):
    monkeypatch.chdir(tmp_path)
    code, out, err = fc7("extract", "small", *SQUEEZENET, "--cache", "cache", *more, "-o", "v.csv")
    assert (code, out, (tmp_path / "cache").exists()) == (2, "", False)
    commands = one_line(err).split(": ", 2)[2].split(" && ")
    for command in commands:
        assert fc7(*shlex.split(command)[1:])[0] == 0
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == files


def test_nothing_but_rejects_makes_no_file(fc7, tmp_path):
    for label in COLOURS:
        (tmp_path / "d" / label).mkdir(parents=True)
        (tmp_path / "d" / label / "a.png").write_text(f"no image {label}")
    code, _, _ = fc7("extract", tmp_path / "d", *SQUEEZENET, "--cache", tmp_path / "cache", "-o", tmp_path / "v.csv")
    assert (code, (tmp_path / "v.csv").exists()) == (1, False)


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
