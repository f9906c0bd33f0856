import json

import pytest
from fakes import draw

from fc7.classify import load_runs
from fc7.cli import main

OPTIONS = [
    "--backbone",
    "squeezenet1_1",
    "--weights",
    "random:0",
    "--no-augment",
    "--device",
    "cpu",
    "--train-batch",
    "8",
]


@pytest.fixture
def data(tmp_path):
    for number in range(18):
        shade = 40 + 9 * number
        colour = (shade, 0, 0) if number % 2 else (0, 0, shade)
        split = "train" if number < 12 else "val"
        draw(tmp_path / "data" / split / ("red" if number % 2 else "blue") / f"{number}.png", colour)
    return str(tmp_path / "data")


def test_finetune_writes_a_record_and_weights_and_does_not_do_it_twice(data, tmp_path, capsys):
    command = ["finetune", data, "-o", str(tmp_path / "runs"), "--epochs", "1", "--json", *OPTIONS]
    assert main(command) == 0
    captured = capsys.readouterr()
    run = json.loads(captured.out)["runs"][0]
    assert (run["trainable"], run["n"]) == ("head", 6)
    assert "epoch 1/1 train loss" in captured.err
    assert len(list((tmp_path / "runs").glob("*.safetensors"))) == 1
    assert main(command) == 0
    again = capsys.readouterr()
    assert json.loads(again.out)["runs"][0]["id"] == run["id"]
    assert "epoch" not in again.err


def test_after_cross_validation_the_weights_are_of_all_images_and_the_line_says_so(data, tmp_path, capsys):
    command = ["finetune", data, "-o", str(tmp_path / "runs"), "--epochs", "1"]
    assert main([*command, "--cross-validate", "2", "--limit-seconds", "600", *OPTIONS]) == 0
    captured = capsys.readouterr()
    assert ".safetensors, trained on all images; the record's figures are those of the folds" in captured.err
    assert "fold 2 of 2, epoch 1/1 train loss" in captured.err
    assert "note: refitted on all 18 images: 1 of 1 epochs, the folds' median" in captured.out
    assert [fold["evaluated"] for fold in load_runs(tmp_path / "runs")[0].folds] == [9, 9]


def test_compare_puts_heads_and_arms_under_one_protocol(data, tmp_path, capsys):
    command = ["compare", data, "-o", str(tmp_path / "runs"), "--heads", "ridge", "--finetune", "head", "--epochs", "1"]
    assert main([*command, "--json", *OPTIONS]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [run.get("head", run.get("trainable")) for run in answer["runs"]] == ["ridge", "baseline", "head"]
    assert len(answer["pairs"]) == 3
    assert answer["best"] == answer["runs"][0]["id"]
    assert {run.name for run in load_runs(tmp_path / "runs")} == {
        "squeezenet1_1 gap ridge", "squeezenet1_1 gap baseline", "squeezenet1_1 finetune head",
    }  # fmt: skip
    assert main(["report", str(tmp_path / "runs"), "-o", str(tmp_path / "report.html")]) == 0
    assert "finetune head" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--trainable", "body"], 2, "'body' is not one of"),
        (["--trainable", "classifier", "--backbone", "resnet18", "--weights", "random:0"], 2, "no classifier stack"),
        (["--learning-rate", "1e30", "--epochs", "2"], 1, "Lower --learning-rate"),
        (["--epochs", "0"], 2, "0 is less than 1"),
    ],
)
def test_what_cannot_be_tuned_is_one_clear_line(data, tmp_path, capsys, words, code, message):
    options = words if "--backbone" in words else [*OPTIONS, *words]
    try:
        exit_code = main(["finetune", data, "-o", str(tmp_path / "runs"), "--quiet", *options])
    except SystemExit as stop:
        exit_code = stop.code
    captured = capsys.readouterr()
    assert exit_code == code
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_an_exported_file_has_no_pixels(data, tmp_path, capsys):
    (tmp_path / "x.h5").touch()
    assert main(["finetune", str(tmp_path / "x.h5"), "-o", str(tmp_path), *OPTIONS]) == 2
    assert "needs the images" in capsys.readouterr().err
