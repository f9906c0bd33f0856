"""DATA of the verbs that fit: what cannot be used is said in one line, an exported file stands for a folder."""

import json
import shutil

import h5py
import numpy as np
import pytest
from command_line import COLOURS, FAST, SQUEEZENET, draw_split
from fakes import noisy, one_line

pytestmark = pytest.mark.usefixtures("shared_cache")


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


def flat(root):
    for number in range(2):
        noisy(root / "d" / f"{number}.png", (255, 0, 0), number)


def unclear(root):
    for top in "AB":
        for label, colour in COLOURS.items():
            noisy(root / "d" / top / label / "0.png", colour, ord(top))


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
    "flat": (flat, "of 2 images none has a label. Label them: fc7 review "),
    "unclear": (unclear, "hold the same folders (blue and red), as splits do"),
}
TO_FIT = {"one class", "empty class", "no train", "stranger", "flat", "unclear"}  # labels are nothing to extract


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.parametrize("verb", ["extract", "fit", "compare"])
def test_data_that_cannot_be_used_are_1_in_one_line(fc7, tmp_path, verb, case):
    make, said = BAD_DATA[case]
    make(tmp_path)
    words = [] if verb == "extract" else ["-o", tmp_path / "out"]
    if verb == "extract" and case in TO_FIT:
        code, _, err = fc7(verb, tmp_path / "d", *words, *SQUEEZENET)
        assert code == 0
        assert ("Splits are called train, val and test" in err) == (case == "unclear")
        return
    code, out, err = fc7(verb, tmp_path / "d", *words, *SQUEEZENET)
    assert (code, out) == (1, "")
    assert said in one_line(err)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def damaged(tmp_path):
    """Data with empty files: one file under two names, in two classes and in two splits."""
    root = draw_split(tmp_path / "d")
    for name in ("train/red/empty.png", "train/blue/void.png", "val/red/none.png"):
        (root / name).write_bytes(b"")
    return root


def csv_of(root):
    """Write a csv of the same images, in which all empty files are one group; return it."""
    lines = ["path,label,split,group"]
    for path in sorted(root.rglob("*.png")):
        split, label, _ = path.relative_to(root).parts
        lines.append(f"{path.relative_to(root)},{label},{split},{'walk' if not path.stat().st_size else ''}")
    (root / "data.csv").write_text("\n".join([*lines, ""]))
    return root / "data.csv"


def test_vectors_without_labels_are_told_where_labels_are(fc7, tmp_path):
    """A review needs pictures, which a file of vectors has not."""
    np.savez(tmp_path / "x.npz", embeddings=np.eye(4, dtype=np.float32))
    code, _, err = fc7("fit", tmp_path / "x.npz", "-o", tmp_path / "x.fc7")
    assert code == 1
    assert "of 4 images none has a label. A column of labels has a usual name, or is named: --columns" in one_line(err)


@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_what_is_no_image_conflicts_with_nothing(fc7, damaged, tmp_path, kind):
    data = damaged if kind == "folder" else csv_of(damaged)
    for verb, words in {"fit": ["--head", "ridge"], "compare": ["--heads", "ridge"], "audit": []}.items():
        output = [] if verb == "audit" else ["-o", tmp_path / ("x.fc7" if verb == "fit" else "runs")]
        code, _, err = fc7(verb, data, *output, *words, *SQUEEZENET)
        assert code == 0, err
        assert "optimistic" not in err
        assert err.count("rejected") == 3


def test_an_image_conflicts_beside_files_that_are_none(fc7, damaged, tmp_path):
    copy = (damaged / "train" / "red").glob("0*.png")
    (damaged / "val" / "red" / "leaked.png").write_bytes(next(copy).read_bytes())
    code, out, err = fc7("fit", damaged, "-o", tmp_path / "x.fc7", *SQUEEZENET)
    assert (code, out) == (4, "")
    assert "1 image is on both sides" in one_line(err)
    assert "empty" not in err


@pytest.fixture
def partly(tmp_path):
    """Data of which three of the images in no class folder have no label."""
    root = draw_split(tmp_path / "d")
    for number in range(3):
        noisy(root / "test" / f"{number}.png", (255, 0, 0), 100 + number)
    return root


def test_what_has_no_label_is_not_fitted_and_the_command_that_predicts_it_is_said(fc7, partly, tmp_path):
    bundle = tmp_path / "x.fc7"
    code, out, err = fc7("fit", partly, "-o", bundle, "--head", "ridge", *SQUEEZENET)
    assert code == 0, err
    assert "fc7: 3 of 27 images have no label. They are neither fitted nor evaluated." in err
    command = out.splitlines()[-1].partition("with: ")[2]
    assert {"predict", str(bundle), "--unlabelled", str(partly)} < set(command.split())
    code, out, err = fc7(*command.split()[1:], "--quiet")
    assert code == 0, err
    assert [line.partition(",")[0] for line in out.splitlines()[1:]] == [f"{partly}/test/{n}.png" for n in range(3)]


def test_what_has_no_label_changes_no_run(fc7_json, partly, tmp_path, forwards):
    words = ["--heads", "ridge", *SQUEEZENET]
    with_rest = fc7_json("compare", partly, "-o", tmp_path / "a", *words)
    assert with_rest["unlabelled"] == 3
    shutil.rmtree(partly / "test")
    without = fc7_json("compare", partly, "-o", tmp_path / "b", *words)
    assert without["unlabelled"] == 0
    assert [run["id"] for run in with_rest["runs"]] == [run["id"] for run in without["runs"]]
    assert sum(forwards) in (0, 24), "what has no label is not computed"


def test_vectors_without_a_label_are_not_fitted(fc7_json, partly, tmp_path):
    fc7_json("extract", partly, *SQUEEZENET)
    fc7_json("cache", "export", tmp_path / "x.h5", partly, *SQUEEZENET)
    assert fc7_json("fit", tmp_path / "x.h5", "-o", tmp_path / "x.fc7", "--head", "ridge")["unlabelled"] == 3


def test_vectors_under_a_name_of_their_own_are_no_images_to_predict(fc7, fc7_json, partly, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (the extra fc7[tables])")
    file = tmp_path / "x.parquet"
    fc7_json("extract", partly, "-o", file, *SQUEEZENET)
    table = parquet.read_table(file)
    names = [{"embedding": "numbers"}.get(name, name) for name in table.column_names]
    parquet.write_table(table.rename_columns(names), file)
    words = ["--columns", "embedding=numbers", "--head", "ridge", "-o", tmp_path / "x.fc7"]
    code, out, err = fc7("fit", file, *words)
    assert code == 0, err
    assert "3 of 27 images have no label" in err
    assert "--unlabelled" not in out


def test_audit_judges_data_with_a_class_outside_of_train(fc7_json, tmp_path):
    stranger(tmp_path)
    answer = fc7_json("audit", tmp_path / "d", *SQUEEZENET)
    assert answer["classes"]["green"] == 1
    assert "fewer than 5 images: blue, green, red" in answer["notes"][0]


def test_export_then_fit_and_compare_from_the_file(fc7, fc7_json, bundle, data, tmp_path, forwards):
    path = tmp_path / "flat.h5"
    answer = fc7_json("cache", "export", path, data, *SQUEEZENET)
    assert (answer["file"], answer["rows"], answer["dim"]) == (str(path), 25, 512)
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


def test_a_foreign_h5_is_refused(fc7, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["embeddings"] = np.zeros((3, 4), np.float32)
        file["labels"] = h5py.ExternalLink("/etc/passwd", "/x")
    code, out, err = fc7("fit", tmp_path / "x.h5", "-o", tmp_path / "x.fc7")
    assert (code, out) == (1, "")
    assert "link to elsewhere" in one_line(err)
