"""The map of a comparison: kept beside its records, drawn in its report, and left out where it cannot be read."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fc7.classify.fitting.compare import compare
from fc7.classify.maps import image_map
from fc7.classify.maps.image_map import ImageMap
from fc7.classify.reports.report import report, write_reports
from fc7.classify.solvers.nearest import nearest

RECIPE, DATA = "a" * 64, "b" * 64


@pytest.fixture
def chart(table):
    rows = table((8, 8))
    return ImageMap.of(rows, np.array([2, 9]), np.arange(4, 16))


def data_of(page):
    """Return what the maps of a page have."""
    found = []
    for part in page.read_text().split("data-map")[1:]:
        if part.startswith(" hidden"):
            script = part.split('<script type="application/json">')[1].split("</script>")[0]
            found.append(json.loads(script))
    return found


def test_points_and_nearest_are_those_of_the_rows(table, chart):
    rows = table((8, 8))
    assert chart.paths == rows.paths.tolist()
    assert chart.labels == rows.labels.tolist()
    expected = nearest(rows.vectors[4:], 7, queries=rows.vectors[[2, 9]])
    two, nine = chart.near.values()
    assert [path for _, path, *_ in two] == rows.paths[4 + expected.places[0][:6]].tolist()
    assert [path for _, path, *_ in nine] == rows.paths[4 + expected.places[1][1:]].tolist(), "it is not near itself"
    assert len(nine) == 6


def test_it_comes_back_from_the_disk(chart, tmp_path):
    chart.save(tmp_path, RECIPE, DATA)
    assert json.loads(json.dumps(vars(ImageMap.load(tmp_path, RECIPE, DATA)))) == json.loads(json.dumps(vars(chart)))
    assert ImageMap.load(tmp_path, DATA, DATA) is None
    assert ImageMap.load(tmp_path, "../" * 6, DATA) is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"x": [float("nan")] * 16},
        {"x": [1.0]},
        {"x": ["<b>"] * 16},
        {"labels": [1] * 16},
        {"near": {"a": [["k", "p", 3, 0.5]]}},
        {"near": {"a": [["k", "p", "l", None]]}},
        {"near": []},
        {"words": 7},
        {"more": 1},
        [],
    ],
)
def test_what_is_no_map_is_left_out(chart, tmp_path, change):
    chart.save(tmp_path, RECIPE, DATA)
    (path,) = tmp_path.rglob("*.json")
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | change if isinstance(change, dict) else change))
    assert ImageMap.load(tmp_path, RECIPE, DATA) is None
    path.write_text("{")
    assert ImageMap.load(tmp_path, RECIPE, DATA) is None


def test_of_many_images_some_are_drawn(table, monkeypatch):
    monkeypatch.setattr(image_map, "MOST", 5)
    rows = table((8, 8))
    chart = ImageMap.of(rows, np.array([3]), np.arange(16))
    assert sorted(chart.keys) == sorted(key.hex()[:16] for key in rows.keys)[:5]
    assert "5 of 16 images" in chart.words


@pytest.mark.parametrize("rule", [{"val": 4}, {"val": 0}])
def test_a_comparison_draws_one_for_its_report(table, tmp_path, rule):
    rows = table((12, 12), spread=2.0, **rule)
    runs = compare(rows, "centroid", folder=tmp_path / "runs")
    write_reports(tmp_path / "runs", html=tmp_path / "report.html")
    (data,) = data_of(tmp_path / "report.html")
    assert (len(data["paths"]), data["classes"]) == (24, ["c0", "c1"])
    evaluated = runs[0].predictions["path"]
    assert sorted(one[0] for one in data["near"]) == sorted(evaluated)
    if rule["val"]:
        assert not {path for _, _, _, near in data["near"] for path, *_ in near} & set(evaluated), "only fitted ones"
    (file,) = (tmp_path / "runs" / "maps").iterdir()
    before = file.stat().st_mtime_ns
    compare(rows, "centroid", folder=tmp_path / "runs")
    assert file.stat().st_mtime_ns == before
    compare(rows, "centroid", folder=tmp_path / "runs", map_method="tsne")
    assert "t-SNE" in file.read_text()
    report(tmp_path / "runs", tmp_path / "again.html")
    assert data_of(tmp_path / "again.html")[0]["paths"] == data["paths"]


def test_hostile_names_and_a_thousand_classes_stay_text(table, tmp_path):
    names = ["</script><script>alert(1)</script>", "a\nb", "'\"", "\u202egpj.exe"]
    rows = table((6,) * 4, spread=2.0, val=2)
    classes = tuple(sorted(f"{name}{n}" for n, name in enumerate(names)))
    rows = replace(rows, paths=np.array([f"{names[n % 4]}{n}" for n in range(24)]),
                   labels=np.array(classes)[rows.y], classes=classes)  # fmt: skip
    compare(rows, "centroid", folder=tmp_path / "runs")
    page = report(tmp_path / "runs", tmp_path / "report.html")
    assert "<script>alert" not in page.read_text()
    assert len(data_of(page)[0]["paths"]) == 24


def test_without_records_of_a_map_there_is_none(study, tmp_path):
    assert data_of(report(study, tmp_path / "report.html")) == []
