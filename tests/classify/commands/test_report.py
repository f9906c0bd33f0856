"""The report verb, and what compare leaves for it: thumbnails, a learning curve, results from elsewhere."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from fc7.extract import read_manifest

SQUEEZENET = ["--backbone", "squeezenet1_1", "--weights", "random:0", "--quiet"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("home")
    generator = np.random.default_rng(0)
    for place, label in enumerate(("blue", "red")):
        for number in range(12):
            pixels = generator.integers(0, 90, (16, 24, 3), dtype=np.uint8)
            pixels[..., 2 - 2 * place] += 120
            path = root / "colours" / ("train" if number < 8 else "val") / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(autouse=True)
def environment(home, monkeypatch):
    monkeypatch.setenv("FC7_CACHE", str(home / "cache"))


@pytest.fixture
def runs(home, fc7):
    fc7("compare", home / "colours", "-o", home / "my runs", "--heads", "ridge,centroid", *SQUEEZENET)
    return home / "my runs"


def test_compare_ends_with_the_next_command(home, fc7, runs):
    code, out, _ = fc7("compare", home / "colours", "-o", runs, "--heads", "ridge,centroid", *SQUEEZENET)
    assert code == 0
    assert out.splitlines()[-1].endswith(f"fc7 report '{runs}' -o report.html")


def test_what_compare_leaves(home, runs):
    values = [json.loads(path.read_text()) for path in runs.glob("*.json")]
    assert {record["data"]["name"] for record in values} == {"colours"}
    assert sum(bool(record["learning_curve"]) for record in values) == 1
    keys = {key for record in values for key in record["predictions"]["key"]}
    thumbnails = {path.stem for path in (runs / "thumbnails").glob("*.jpg")}
    assert keys < thumbnails, "also those of the fitted images that are nearest to them"
    assert (len(keys), len(thumbnails)) == (8, 23)
    assert str(home) not in json.dumps(values)


def test_the_report_says_what_it_wrote_and_how_large(fc7, runs, tmp_path):
    files = [tmp_path / "new" / name for name in ("r.html", "r.md", "r.csv")]
    code, out, err = fc7("report", runs, "-o", files[0], "--markdown", files[1], "--csv", files[2])
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split(": ")[0] for line in lines[1:]] == [f"Wrote {file}" for file in files]
    assert all(line.endswith(("kB", "MB")) for line in lines[1:])
    page = files[0].read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2 * 23  # small, and larger ones to open
    assert "Learning curve" in page
    assert lines[0] in page
    assert files[1].read_text().startswith(f"**{lines[0]}**".replace("_", "\\_"))
    assert len(list(csv.DictReader(io.StringIO(files[2].read_text())))) == 3


def test_one_json_object(fc7, runs, tmp_path):
    code, out, _ = fc7("report", runs, "--csv", tmp_path / "r.csv", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["runs"] == 3
    assert answer["written"] == [{"file": str(tmp_path / "r.csv"), "bytes": (tmp_path / "r.csv").stat().st_size}]
    assert len(answer["verdict"]) > 2


def test_nothing_to_write_is_usage(fc7, runs):
    code, out, err = fc7("report", runs)
    assert (code, out) == (2, "")
    assert "-o FILE.html" in err


@pytest.mark.parametrize("where", ["absent", ""])
def test_no_records_is_1_with_the_command_that_makes_some(fc7, tmp_path, where):
    code, out, err = fc7("report", tmp_path / where, "-o", tmp_path / "r.html")
    assert (code, out) == (1, "")
    assert "fc7 compare DATA" in err
    assert not (tmp_path / "r.html").exists()


def test_a_file_that_cannot_be_written_is_1_and_leaves_nothing(fc7, runs, tmp_path):
    (tmp_path / "r.html").mkdir()
    code, out, err = fc7("report", runs, "-o", tmp_path / "r.html")
    assert (code, out) == (1, "")
    assert "cannot be written" in err
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def results(runs, path):
    values = json.loads(next(runs.glob("*.json")).read_text())
    classes = values["data"]["classes"]
    rows = zip(values["predictions"]["path"], values["predictions"]["label"], strict=True)
    path.write_text("path,predicted\n" + "".join(f"{image},{classes[label]}\n" for image, label in rows))
    return path


def test_results_from_elsewhere_are_in_the_table_and_the_tests(home, fc7, runs, tmp_path):
    path = results(runs, tmp_path / "keras.csv")
    words = [
        "compare",
        home / "colours",
        "-o",
        tmp_path / "runs",
        "--heads",
        "ridge",
        *SQUEEZENET,
        "--add",
        f"keras={path}",
    ]
    code, out, _ = fc7(*words)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("elsewhere"))
    assert "keras" in line
    assert "predictions without probabilities" in line
    answer = json.loads(fc7(*words, "--json")[1])
    assert [run["name"] for run in answer["runs"]][-1] == "elsewhere keras"
    assert len(answer["pairs"]) == 3
    assert answer["best"] == answer["runs"][0]["id"]
    code, out, _ = fc7("report", tmp_path / "runs", "-o", tmp_path / "r.html")
    assert code == 0
    assert "“keras” (from elsewhere)" in out


@pytest.mark.parametrize(
    ("word", "expected", "said"),
    [("keras", 2, "NAME=FILE.csv"), ("ridge=x.csv", 2, "ridge"), ("keras=absent.csv", 1, "absent.csv")],
)
def test_results_that_cannot_be_added(home, fc7, tmp_path, word, expected, said):
    code, out, err = fc7("compare", home / "colours", "-o", tmp_path / "runs", *SQUEEZENET, "--add", word)
    assert (code, out) == (expected, "")
    assert said in err
    assert not (tmp_path / "runs").exists()


def test_the_learning_curve_can_be_left_out(home, fc7, tmp_path):
    words = ["compare", home / "colours", "-o", tmp_path, "--heads", "ridge", *SQUEEZENET, "--no-learning-curve"]
    assert fc7(*words)[0] == 0
    assert not any(json.loads(path.read_text())["learning_curve"] for path in tmp_path.glob("*.json"))


def test_an_exported_file_has_no_images_but_its_name(home, fc7, runs, tmp_path):
    assert fc7("cache", "export", tmp_path / "flat.h5", home / "colours", *SQUEEZENET)[0] == 0
    assert fc7("compare", tmp_path / "flat.h5", "-o", tmp_path / "runs", "--heads", "ridge", "--quiet")[0] == 0
    values = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*.json")]
    assert {record["data"]["name"] for record in values} == {"colours"}
    assert not (tmp_path / "runs" / "thumbnails").exists()


def test_a_csv_gives_its_name_and_its_images(home, fc7, tmp_path):
    table = home / "listing.csv"
    images = read_manifest(home / "colours").images
    table.write_text("path,label,split\n" + "".join(f"colours/{i.path},{i.label},{i.split}\n" for i in images))
    assert fc7("compare", table, "-o", tmp_path / "runs", "--heads", "ridge", *SQUEEZENET)[0] == 0
    values = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*.json")]
    assert {record["data"]["name"] for record in values} == {"listing.csv"}
    assert len(list((tmp_path / "runs" / "thumbnails").glob("*.jpg"))) == 23


@pytest.mark.parametrize("where", [".", "../colours"])
def test_a_name_is_never_a_path(home, monkeypatch, where):
    monkeypatch.chdir(home / "colours")
    assert read_manifest(where).name == "colours"


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (["report", "runs", "-o", "x.pdf"], ".html, .htm"),
        (["report", "runs", "--markdown", "x.html"], ".md, .markdown, .txt"),
        (["report", "runs", "--csv", "x.xlsx"], ".csv"),
        (["audit", "data", "-o", "x.csv"], ".html, .htm"),
        (["audit", "data", "--csv", "x.html"], ".csv"),
        (["similar", "data", "-o", "x.json"], ".html, .htm"),
        (["review", "data", "-o", "x.html"], ".csv"),
        (["fit", "data", "-o", "x.onnx"], ".fc7"),
        (["predict", "a.fc7", "a.jpg", "-o", "x.pdf"], ".csv, .json, .parquet, .html"),
        (["compare", "data", "-o", "x.html"], "without suffix"),
        (["screen", "data", "-o", "x.csv"], "without suffix"),
    ],
)
def test_an_output_of_another_suffix_is_one_line_that_names_those_that_are_written(
    fc7, tmp_path, monkeypatch, words, kinds
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    code, out, err = fc7(*words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert kinds in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
