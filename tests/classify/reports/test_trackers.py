"""Run records in MLflow and TensorBoard: read back by their own readers, figures are equal."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from fc7.classify import compare
from fc7.classify.records.runs import Run
from fc7.classify.reports.event_files import write_events
from fc7.classify.reports.figures import epochs, figures
from fc7.classify.reports.mlflow_runs import log_runs
from fc7.errors import DataError, MissingExtra


@pytest.fixture(scope="module")
def records(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    compare(table((12, 12, 12), val=4), heads=["ridge", "centroid"], folder=folder)
    return folder


@pytest.fixture(scope="module")
def runs(records):
    return [Run.load(path) for path in sorted(records.glob("*.json"))]


CURVES = [
    {
        "epoch": epoch,
        "fold": fold,
        "train_loss": 1 / epoch,
        "train_accuracy": 0.5,
        "val_loss": 2.0,
        "val_accuracy": 0.25,
    }
    for fold in (1, 2)
    for epoch in (1, 2, 3)
]


def with_curves(run, curves=CURVES):
    return replace(run, curves=curves)


def test_mlflow_reads_the_runs_back_with_equal_figures(runs, tmp_path):
    client_of = pytest.importorskip("mlflow.tracking", reason="needs the extra fc7[mlflow]").MlflowClient
    written = [with_curves(runs[0]), *runs[1:]]
    place = tmp_path / "ml runs"
    assert log_runs(written, str(place)) == len(written)
    client = client_of(tracking_uri=str(place))
    found = client.search_runs([client.get_experiment_by_name("fc7").experiment_id])
    by_id = {run.data.tags["fc7.run"]: run for run in found}
    assert by_id.keys() == {run.id for run in written}
    for run in written:
        read = by_id[run.id]
        assert read.info.run_name == run.name
        assert read.info.status == "FINISHED"
        assert read.data.metrics["accuracy"] == run.metrics["accuracy"]
        assert read.data.metrics["accuracy_low"] == run.metrics["interval"][0]
        assert read.data.metrics["seconds_fit"] == run.seconds["fit"]
        assert read.data.params["backbone"] == "made-up"
        for name, value in run.hyperparameters.items():
            assert read.data.params[f"hyperparameters.{name}"] == str(value)
        latest = {one.name: one.value for one in figures(run)}
        assert {name: read.data.metrics[name] for name in latest} == latest
        artifact = client.download_artifacts(read.info.run_id, "record.json", str(tmp_path))
        assert json.loads(Path(artifact).read_text())["id"] == run.id
    history = client.get_metric_history(by_id[written[0].id].info.run_id, "fold_2/train_loss")
    assert [(one.step, one.value) for one in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert log_runs(written, str(place)) == 0  # what is there is left


def test_a_place_that_refuses_is_one_line(runs, tmp_path):
    pytest.importorskip("mlflow", reason="needs the extra fc7[mlflow]")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"does not take the runs: .* Name a folder") as refused:
        log_runs(runs, str(tmp_path / "file" / "x"))
    assert "\n" not in str(refused.value)
    for uri in ("nonsense://me:secret@host/x", f"file://me:secret@{'x' * 300}"):
        with pytest.raises(DataError) as refused:
            log_runs(runs, uri)
        assert "secret" not in str(refused.value)
    with pytest.raises(DataError, match="none is named"):
        log_runs(runs, "")


def test_a_database_needs_all_of_mlflow(runs, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs the extra fc7[mlflow]")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"sqlite:///x\.db is one\. .*: pip install mlflow$"):
        log_runs(runs, "sqlite:///x.db")
    with pytest.raises(DataError, match=r"mysql\+pymysql://host/x is one"):
        log_runs(runs, "mysql+pymysql://me:secret@host/x")
    assert log_runs(runs, str(tmp_path / "sqlite-runs")) == len(runs)


def test_names_that_are_no_unicode_are_kept_as_text(runs, tmp_path):
    client_of = pytest.importorskip("mlflow.tracking", reason="needs the extra fc7[mlflow]").MlflowClient
    run = replace(runs[0], data={**runs[0].data, "name": "a\udcff\n🐜"}, notes=["\udcfe" * 600])
    assert log_runs([run], str(tmp_path)) == 1
    client = client_of(tracking_uri=str(tmp_path))
    (read,) = client.search_runs([client.get_experiment_by_name("fc7").experiment_id])
    assert read.data.tags["fc7.data"] == r"a\udcff\n🐜"
    artifact = client.download_artifacts(read.info.run_id, "record.json", str(tmp_path))
    assert json.loads(Path(artifact).read_text())["data"]["name"] == run.data["name"]


def test_event_files_have_the_curves(runs, tmp_path, semaphores):
    pytest.importorskip("tensorboardX", reason="needs the extra fc7[tensorboard]")
    from tensorboardX.proto.event_pb2 import Event

    trained = with_curves(runs[0])
    (folder,) = write_events([trained, *runs[1:]], tmp_path / "curves")
    (file,) = folder.glob("events.out.tfevents.*")
    data, start, found = file.read_bytes(), 0, {}
    while start < len(data):  # records: length, its checksum, bytes, their checksum
        size = int.from_bytes(data[start : start + 8], "little")
        event = Event.FromString(data[start + 12 : start + 12 + size])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        start += 16 + size
    assert found.keys() == {(one.name, one.step) for one in epochs(trained)}
    assert found["fold_2/loss/train", 3] == pytest.approx(1 / 3)
    assert found["fold_1/accuracy/val", 1] == 0.25
    assert write_events([trained], tmp_path / "curves") == []  # what is there is left


@pytest.fixture
def interrupted(monkeypatch, semaphores):
    """Writing event files that Ctrl-C ends."""
    tensorboard = pytest.importorskip("tensorboardX", reason="needs the extra fc7[tensorboard]")

    def write(runs, folder):
        with monkeypatch.context() as patch:
            patch.setattr(tensorboard.SummaryWriter, "add_scalar", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                write_events(runs, folder)

    return write


def test_event_files_that_were_interrupted_are_written_whole_the_next_time(runs, tmp_path, interrupted):
    trained = with_curves(runs[0])
    interrupted([trained], tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(write_events([trained], tmp_path)) == 1


def test_what_is_beside_interrupted_event_files_stays(runs, tmp_path, interrupted):
    trained = with_curves(runs[0])
    (place,) = write_events([trained], tmp_path)
    for written in place.iterdir():
        written.rename(place / f"old.{written.name}")
    before = list(place.iterdir())
    interrupted([trained], tmp_path)
    assert list(place.iterdir()) == before


def test_no_curves_is_one_line(runs, tmp_path):
    pytest.importorskip("tensorboardX", reason="needs the extra fc7[tensorboard]")
    with pytest.raises(DataError, match="No run has epochs"):
        write_events(runs, tmp_path)


def test_what_is_not_known_is_no_figure(runs):
    run = with_curves(runs[0], [{"epoch": 1, "train_loss": math.nan, "val_loss": 1.0}])
    names = [one.name for one in figures(run)]
    assert "train_loss" not in names
    assert "val_loss" in names
    assert all(isinstance(one.value, int | float) and math.isfinite(one.value) for one in figures(run))


@pytest.mark.parametrize(("option", "package"), [("--mlflow", "mlflow"), ("--tensorboard", "tensorboardX")])
def test_without_the_extra_it_is_named(fc7, records, tmp_path, monkeypatch, option, package):
    import sys

    for name in (package, f"{package}.tracking"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = fc7("report", records, option, tmp_path / "x")
    assert code == MissingExtra.exit_code
    assert "pip install 'fc7[" in err


def test_the_verb_hands_runs_on_and_says_so(fc7, fc7_json, records, tmp_path):
    pytest.importorskip("mlflow", reason="needs the extra fc7[mlflow]")
    code, out, err = fc7("report", records, "--mlflow", tmp_path / "ml", "--csv", tmp_path / "runs.csv")
    assert (code, err) == (0, "")
    assert "of them new" in out
    assert (tmp_path / "runs.csv").exists()
    assert fc7_json("report", records, "--mlflow", tmp_path / "ml")["runs"]
