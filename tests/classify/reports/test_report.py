"""The page, the Markdown and the csv: every figure comes from a record, and no name becomes anything but text."""

import builtins
import csv
import io
import json
import re

import numpy as np
import pytest
from html_page import Page

from fc7.classify.pages.text import duration, points, probability
from fc7.classify.records.contest import contest
from fc7.classify.records.pairs import compare_pairs
from fc7.classify.reports.report import csv_table, markdown, report
from fc7.classify.reports.verdict import findings
from fc7.errors import DataError, MissingExtra

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "{{ 7 * 7 }}",
    '=HYPERLINK("http://evil")',
    "line\nbreak\x00",
    "\u202egpj.exe",
    "שלום",
    "</script><!--",
)


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert report(study, path) == path
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def hostile(made_up):
    """Runs whose classes, files, notes, parameters and names try to be more than text."""
    n = 40
    names = [*HOSTILE, "ants", "bees"]
    generator = np.random.default_rng(0)
    paths = [f"{names[place % len(names)]}/{place}{HOSTILE[place % len(HOSTILE)]}.jpg" for place in range(n)]
    arguments = {
        "classes": names,
        "paths": paths,
        "notes": HOSTILE,
        "hyperparameters": dict.fromkeys(HOSTILE, HOSTILE[0]),
    }
    return [
        made_up(generator.random(n) < 0.6, head=head, backbone=HOSTILE[0], source=HOSTILE[1], **arguments)
        for head in ("logreg", HOSTILE[1], HOSTILE[5])
    ]


# Every figure traces to a record


def test_the_verdict_comes_first(page, study):
    said = findings(study)
    h1 = next(text for tag, text in page.texts if tag == "h1")
    assert h1 == said[0]
    assert all(sentence in page.text for sentence in said)


def test_every_figure_of_the_table_is_a_records(page, study):
    rows = page.rows(0)[1:]
    assert len(rows) == len(study)
    for row, run in zip(rows, study, strict=True):
        metrics, low_high = run.metrics, run.metrics["interval"]
        assert row[0].startswith(run.name)
        assert run.id[:16] in row[0]
        assert row[1] == f"{100 * metrics['accuracy']:.1f}"
        assert row[2] == f"{100 * low_high[0]:.1f} to {100 * low_high[1]:.1f}"
        assert row[3:5] == [f"{metrics['log_loss']:.3f}", f"{metrics['calibration_error']:.3f}"]
        assert row[5] == f"{100 * run.selection['accuracy']:.1f}"
        assert row[6] == f"{run.selection['log_loss']:.3f}"
        assert row[7] == duration(run.seconds["fit"] + run.seconds["predict"])
        assert row[8] == "; ".join(run.notes)


def test_every_paired_test_is_computed_from_predictions(page, study):
    planned, pairs = contest(study).comparisons, compare_pairs(study)
    own, others = page.rows(1)[1:], page.rows(2)[1:]
    assert len(own) == len(planned) == 3 + 1 + 1, "three arms, another backbone, the baseline"
    assert len(own) + len(others) == len(pairs)
    found = {tuple(row[:2]): row for row in own}
    for pair in [test.pair for test in planned]:
        row = found[pair.names]
        assert row[3:7] == [
            points(pair.difference),
            f"{points(pair.interval[0])} to {points(pair.interval[1])} ({pair.confidence})",
            str(pair.only_first),
            str(pair.only_second),
        ]
        assert row[8] == probability(pair.p_corrected)
    assert all(len(row) == 6 for row in others), "what was not asked has no test"


def test_confusion_counts_every_image_once(page, study):
    matrix = next(rows for rows in map(page.rows, range(len(page.tables))) if rows[0][0].startswith("true"))
    counts = np.array([[int(cell) for cell in row[1:3]] for row in matrix[1:]])
    chosen = contest(study).chosen
    assert counts.sum() == chosen.metrics["n"]
    assert np.trace(counts) == chosen.metrics["correct"]


def test_the_best_epoch_is_called_optimistic(page, study):
    run = next(run for run in study if run.trainable == "all")
    best = max(row["val_accuracy"] for row in run.curves)
    assert f"{100 * best:.1f}\xa0%" in page.text
    assert f"{100 * run.curves[-1]['val_accuracy']:.1f}\xa0%" in page.text
    assert page.text.count("optimistic") > 4


def test_random_weights_are_flagged(page):
    assert any("bad" in (attributes.get("class") or "") for _, attributes in page.tags)
    assert "random weights" in page.text


def test_the_machine_readable_copy_is_the_csv(page, study):
    data = json.loads(next(text for tag, text in page.texts if tag == "script"))
    lines = list(csv.DictReader(io.StringIO(csv_table(study))))
    assert [row["id"] for row in data] == [row["id"] for row in lines] == [run.id for run in study]
    assert [float(row["accuracy"]) for row in lines] == [run.metrics["accuracy"] for run in study]


def test_mistakes_come_first_and_the_surest_of_them_first(page, study):
    chosen = contest(study).chosen
    tiles = [
        attributes for tag, attributes in page.tags if tag == "li" and attributes.get("class") in {"wrong", "right"}
    ]
    wrong = [tile for tile in tiles if tile["class"] == "wrong"]
    assert len(wrong) == chosen.metrics["n"] - chosen.metrics["correct"]
    assert tiles[: len(wrong)] == wrong
    notes = [text for tag, text in page.texts if tag == "span" and re.fullmatch(r">?[\d.]+ %", text)]
    sureness = [float(text.strip(">% ")) for text in notes[: len(wrong)]]
    assert sureness == sorted(sureness, reverse=True)


# The page is self-contained, described, and the same every time


def test_the_page_loads_nothing(page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    policy = next(
        a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "unsafe-eval" not in policy


def test_only_the_packages_own_script_runs(page):
    import base64
    import hashlib

    scripts = [text for tag, text in page.texts if tag == "script"]
    types = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert types == ["application/json"] * (len(scripts) - 1) + [None]  # data, and the script
    digest = base64.b64encode(hashlib.sha256(scripts[-1].encode()).digest()).decode()
    assert any(f"'sha256-{digest}'" in (a.get("content") or "") for _, a in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_a_screen_reader_finds_its_way(page):
    tags = [tag for tag, _ in page.tags]
    assert [tags.count(tag) for tag in ("main", "header", "nav", "h1", "footer")] == [1] * 5
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for t, a in page.tags if t == "a"}
    assert targets <= set(ids)
    assert tags.count("caption") == tags.count("table")
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    plots = [a for t, a in page.tags if t == "svg" and a.get("class") == "plot"]
    assert plots
    assert all(plot["role"] == "img" and len(plot["aria-label"]) > 20 for plot in plots)


def test_the_same_records_make_the_same_bytes(study, tmp_path):
    first, second = (report(study, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_words_and_marks_have_contrast(page, number):
    style = next(text for tag, text in page.texts if tag == "style")
    block = style.split(":root {")[number + 1].split("}")[0]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for name in (
        "ink",
        "soft",
        "head",
        "tuned",
        "baseline",
        "random",
        "good",
        "bad",
        "s0",
        "s1",
        "s2",
        "s3",
        "s4",
        "s5",
    ):
        for ground in ("paper", "card", "wash"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


# Hostile names stay text


def test_hostile_names_stay_text(hostile, tmp_path):
    html = report(hostile, tmp_path / "report.html").read_bytes().decode("utf-8")
    page = Page(html)
    assert [a.get("type") for tag, a in page.tags if tag == "script"].count(None) == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all((a.get("src") or "data:").startswith("data:") for _, a in page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "line\\nbreak\\x00" in page.text
    assert "\\u202egpj.exe" in page.text
    assert "שלום" in page.text
    assert "\u202e" not in html
    assert "\x00" not in html


def test_hostile_names_stay_text_in_markdown(hostile):
    text = markdown(hostile)
    assert "<script" not in text
    assert "<img" not in text
    runs, classes = (part.splitlines() for part in text.split("\n\n") if part.startswith("|"))
    assert len(runs) == 2 + len(hostile)
    for lines in runs, classes:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_csv_is_a_formula(made_up, start):
    run = made_up([True, False], notes=[f"{start}cmd|' /C calc'!A0"], head=f"{start}1+1", source=f"{start}x")
    for row in csv.reader(io.StringIO(csv_table([run]))):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_a_lone_surrogate_in_a_file_name_is_written_out(made_up, tmp_path):
    run = made_up([False], paths=["ants/\udcff.jpg"])
    assert "ants/\\udcff.jpg" in report([run], tmp_path / "report.html").read_text(encoding="utf-8")


def test_no_absolute_path_gets_out(made_up, tmp_path):
    home = "/home/ann/secret place/data"
    run = made_up(
        [True, False],
        paths=[f"{home}/ants/1.jpg", "C:\\Users\\ann\\bees\\2.jpg"],
        source="file:/home/ann/w.pth",
        notes=["read from /home/ann/w.pth twice"],
        hyperparameters={"checkpoint": "/home/ann/c.pt"},
    )
    page = report([run], tmp_path / "report.html").read_text()
    for text in (page, markdown([run]), csv_table([run])):
        assert "ann" not in text.replace("annotation", "")
    assert "ants/1.jpg" in page
    assert "bees/2.jpg" in page
    assert "file:w.pth" in page


# Small and large


@pytest.mark.parametrize("trainable", ["", "all"])
def test_one_run(made_up, tmp_path, trainable):
    page = Page(report([made_up([True, True, False], trainable=trainable)], tmp_path / "report.html").read_text())
    assert "no other run" in page.text
    assert "Paired tests" not in page.text


def test_a_run_without_mistakes_or_selection_or_extraction(made_up, tmp_path):
    run = made_up([True] * 5, selection=None, seconds={"fit": 0.0})
    page = Page(report([run], tmp_path / "report.html").read_text())
    assert "No image was taken for another class" in page.text


def test_data_without_a_name(made_up, tmp_path):
    run = made_up([True, False])
    del run.data["name"]
    text = Page(report([run], tmp_path / "report.html").read_text()).text
    assert "None" not in text.split("{")[0]  # before the machine-readable copy


def test_two_runs_of_one_name_are_told_apart(made_up, tmp_path):
    runs = [made_up([True, False], seed=seed) for seed in (1, 2)]
    rows = Page(report(runs, tmp_path / "report.html").read_text()).rows(0)
    assert rows[1][0] != rows[2][0]


def test_runs_on_different_images_say_so(made_up, tmp_path):
    runs = [made_up([True] * 9), made_up([True] * 9, head="knn"), made_up([True] * 8, head="lda")]
    text = Page(report(runs, tmp_path / "report.html").read_text()).text
    assert "2 sets of images, which share images, each judged by itself" in text
    assert "made-up on val, 9 images" in text
    assert "made-up on val, 8 images" in text


def test_a_thousand_classes_do_not_explode(made_up, tmp_path):
    names = [f"class {place}" for place in range(1000)]
    run = made_up(np.arange(1000) % 3 > 0, classes=names)
    path = report([run], tmp_path / "report.html")
    assert path.stat().st_size < 600_000
    text = Page(path.read_text()).text
    assert "The class of least recall first, with 95 % intervals, 30 of 1000" in text
    assert "970 more classes" in text
    assert "Most confused pairs" in text


def test_curves_without_validation_or_with_one_epoch(made_up, tmp_path):
    curves = [{"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.7, "val_loss": None, "val_accuracy": None}]
    page = Page(report([made_up([True, False], trainable="all", curves=curves)], tmp_path / "report.html").read_text())
    assert "Training curves" in page.text


# Errors


def test_no_runs_name_the_next_command(tmp_path):
    with pytest.raises(DataError, match="fc7 compare DATA"):
        report([], tmp_path / "report.html")
    with pytest.raises(DataError, match="No run records"):
        report(tmp_path, tmp_path / "report.html")


def test_a_report_that_cannot_be_written_says_where(made_up, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        report([made_up([True])], tmp_path / "file" / "report.html")


def test_without_jinja_the_extra_is_named(made_up, tmp_path, monkeypatch):
    load = builtins.__import__

    def without(name, *rest):
        if name == "jinja2":
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'fc7\[report\]'"):
        report([made_up([True])], tmp_path / "report.html")
    assert markdown([made_up([True])])  # needs no extra
