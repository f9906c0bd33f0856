"""Training under a protocol: every fold is recorded, the limit of time holds, and the kept network is of all rows."""

import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tuning import trainable_layers

from fc7.classify.data.splits import protocol
from fc7.classify.finetuning import pace, training_loop
from fc7.classify.finetuning import study as module
from fc7.classify.finetuning.study import TrainingStudy
from fc7.classify.finetuning.training_task import Inputs
from fc7.classify.heads.calibration import find_temperature
from fc7.classify.records.outcome import Evaluated
from fc7.classify.records.runs import Run
from fc7.classify.settings import FitSettings, ProtocolSettings, Training
from fc7.errors import Interrupted

QUICK = Training(epochs=20, patience=2, learning_rate=0.3, batch_size=16)


class Vectors(Inputs):
    """Rows of an array; `per_batch` is called with the number of rows before each batch."""

    def __init__(self, vectors, per_batch=len):
        self.vectors, self.per_batch = np.asarray(vectors, np.float32), per_batch

    def batches(self, rows, epoch):
        for group in rows:
            self.per_batch(group)
            yield torch.from_numpy(self.vectors[group])


@pytest.fixture
def trained(monkeypatch):
    """The tasks and states of all trainings, as they were made."""
    made, real = [], module.train

    def spy(task, **options):
        state = real(task, **options)
        made.append((task, state, {name: value.clone() for name, value in task.module.state_dict().items()}))
        return state

    monkeypatch.setattr(module, "train", spy)
    return made


def train(rows, plan=None, training=QUICK, *, folder=None, class_weight=None, inputs=None, **options):
    plan = plan or protocol(rows)
    evaluated, settings = Evaluated.of(rows, plan), FitSettings(class_weight=class_weight)
    done = {"trainable": "all", "augment": False, "folder": folder}
    study = TrainingStudy(rows, plan, evaluated, settings, training, rows.recipe, "ndf", "0" * 64, **done)
    inputs = inputs or Vectors(rows.vectors)
    sizes = rows.vectors.shape[1], len(rows.classes)
    trained = study.run(lambda: trainable_layers(*sizes), inputs, torch.device("cpu"), **options)
    return trained, trained.run


def test_every_fold_is_in_the_record(table, trained, tmp_path):
    rows = table((30, 25, 20), spread=3.0)
    plan = protocol(rows, ProtocolSettings(cross_validate=4))
    outcome, run = train(rows, plan)
    states = [state for _, state, _ in trained]
    assert len({state.epoch for state in states}) > 1, "the folds stop at different epochs"
    assert [fold["best_epoch"] for fold in run.folds] == [state.best_epoch for state in states]
    assert [fold["epochs"] for fold in run.folds] == [state.epoch for state in states]
    for fold, (fitted, predicted), (task, _, _) in zip(run.folds, plan.pairs, trained, strict=True):
        assert (fold["fitted"], fold["held_out"]) == (len(task.fitted), len(task.held))
        assert (fold["fitted"] + fold["held_out"], fold["evaluated"]) == (len(fitted), len(predicted))
    for number, state in enumerate(states, 1):
        curve = [{k: v for k, v in line.items() if k != "fold"} for line in run.curves if line["fold"] == number]
        assert curve == state.curves
    assert len(run.curves) == sum(state.epoch for state in states)
    best = [state.best_epoch for state in states]
    assert run.hyperparameters["best_epoch"] == f"{min(best)} to {max(best)}"
    stopped = [state.epoch for state in states if state.epoch < 20]
    where = f"in {len(stopped)} of 4 folds"
    assert run.notes == [f"stopped after {min(stopped)} to {max(stopped)} of 20 epochs {where}"]
    assert run.selection["log_loss"] == pytest.approx(np.mean([fold["log_loss"] for fold in run.folds]))
    assert outcome.state_dict == {}, "no fold's network is passed off as that of all images"
    run.save(tmp_path)
    assert Run.load(next(tmp_path.glob("*.json"))).folds == run.folds


def test_how_it_was_done_is_in_the_record(table):
    rows = table((20, 20), val=5)
    protocol_of = train(rows, training=replace(QUICK, epochs=1), class_weight={"c0": 1.0, "c1": 5.0})[1].protocol
    assert protocol_of | {"class_weight": {"c0": 1.0, "c1": 5.0}} == protocol_of
    assert protocol_of | {"preparation": None, "views": 0, "average_views": False} == protocol_of
    assert protocol_of | {"device": "cpu", "augment": False} == protocol_of


def test_a_split_keeps_its_network_and_its_figures_are_plain(table, trained):
    rows = table((20, 20), val=5)
    outcome, run = train(rows, refit=True)
    ((_, state, kept),) = trained
    assert run.hyperparameters["best_epoch"] == state.best_epoch
    assert all("fold" not in line for line in run.curves)
    assert all(torch.equal(value, outcome.state_dict[name]) for name, value in kept.items())
    assert outcome.temperature == run.folds[0]["temperature"]


def test_after_cross_validation_the_network_is_trained_again_on_all_rows(table, trained):
    rows = table((16, 14), spread=2.5)
    outcome, run = train(rows, refit=True)
    *folds, (task, state, kept) = trained
    median = statistics.median_low([state.best_epoch for _, state, _ in folds])
    assert sorted(task.fitted) == list(range(30))
    assert (len(task.held), len(task.watched), state.epoch) == (0, 0, median)
    assert all(torch.equal(value, outcome.state_dict[name]) for name, value in kept.items())
    assert f"refitted on all 30 images: {median} of {median} epochs, the folds' median" in run.notes
    assert np.isfinite(outcome.scores).all()
    assert outcome.temperature == find_temperature(outcome.scores, rows.y)[0]
    assert len(run.curves) == sum(state.epoch for _, state, _ in folds)
    # With the rates of 20 epochs: its first epoch has those of every training of 20 epochs.
    assert task.options.epochs == 20


def test_probabilities_are_averaged_over_views(table):
    rows = table((20, 20), val=5)
    views = [Vectors(rows.vectors + shift) for shift in (0.5, -1.0)]
    plain, averaged = (train(rows, averaged=given)[0] for given in ([], views))
    assert not np.allclose(plain.run.probabilities.matrix(), averaged.run.probabilities.matrix(), atol=1e-3)
    network = trainable_layers(8, 2).module.eval()
    network.load_state_dict(plain.state_dict)
    with torch.inference_mode():
        shifted = [rows.vectors[rows.split == "val"] + shift for shift in (0, 0.5, -1.0)]
        outputs = [network(torch.from_numpy(view.astype(np.float32))).double().numpy() for view in shifted]
    right = np.mean([softmax(output / plain.temperature, axis=1) for output in outputs], axis=0)
    np.testing.assert_allclose(averaged.run.probabilities.matrix(), right, atol=1e-6)


# Time


@pytest.fixture
def clock(monkeypatch):
    """A clock that only batches move: a second for 16 rows."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

        def tick(self, rows):
            self.now += len(rows) / 16

    clock = Clock()
    for timed in (training_loop, pace, module):
        monkeypatch.setattr(timed, "time", clock)
    return clock


def test_an_epoch_ends_in_time_and_its_share_is_recorded(table, clock, trained):
    rows = table((100, 100), val=20)  # 137 images are fitted on, 23 held out, 40 evaluated
    started = clock.now
    training = replace(QUICK, limit_seconds=15.0)
    _, run = train(rows, training=training, inputs=Vectors(rows.vectors, clock.tick))
    assert clock.now - started <= 15
    ((_, state, _),) = trained
    assert state.curves[0]["share"] == run.curves[0]["share"] < 1
    assert state.epochs == state.curves[0]["share"] >= 4 * 16 / 137
    assert run.notes == [f"stopped after {state.epochs:.3g} of 20 epochs by the limit of 15 s"]
    assert run.metrics["n"] == 40, "all evaluated images are predicted by what stands"
    assert sum(run.seconds[stage] for stage in ("fit", "predict")) <= 15


def test_no_epoch_begins_that_would_end_later(table, clock):
    rows = table((100, 100), val=20)
    training = replace(QUICK, patience=None, limit_seconds=50.0)
    _, run = train(rows, training=training, inputs=Vectors(rows.vectors, clock.tick))
    assert [line["epoch"] for line in run.curves] == [1, 2, 3]
    assert "share" not in run.curves[-1]
    assert run.notes == ["stopped after 3 of 20 epochs by the limit of 50 s"]


def test_the_limit_is_that_of_all_folds_together(table, clock):
    rows = table((60, 60))
    started = clock.now
    inputs = Vectors(rows.vectors, clock.tick)
    _, run = train(rows, training=replace(QUICK, limit_seconds=120.0), inputs=inputs, refit=True)
    assert clock.now - started <= 120
    assert any("by the limit of 120 s in 5 of 5 folds" in note for note in run.notes)
    assert len(run.folds) == 5


def test_what_takes_minutes_says_so_beforehand(table, clock, caplog):
    rows = table((60, 60))
    inputs = Vectors(rows.vectors, clock.tick)

    def stop(line):
        assert line.startswith("fold 1 of 5, epoch 1/20 ")
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"fold 1 of 5, 0 of 20 epochs are kept\. The same command begins anew"):
        train(rows, inputs=inputs, on_epoch=stop)
    (line,) = [record.message for record in caplog.records if "about" in record.message]
    # 120 images an epoch, 82 of them to fit on, in 7.5 s; 20 epochs and 5 folds.
    assert "about 12 min 30 s for 20 epochs of 82 images, 5 times" in line
    assert "fc7 compare DATA --heads ridge" in line
    caplog.clear()
    train(rows, training=replace(QUICK, epochs=2), inputs=inputs)
    assert caplog.text == ""


# Interrupted


@pytest.mark.parametrize("within", [False, True], ids=["between epochs", "within an epoch"])
def test_a_fold_that_is_interrupted_goes_on_to_the_same_numbers(table, tmp_path, monkeypatch, within):
    """What a checkpoint calls the state after an epoch holds no step of the next one."""
    monkeypatch.setattr(training_loop, "CHECKPOINT_SECONDS", 0.0)
    rows, training = table((30, 25), spread=3.0), replace(QUICK, epochs=4, patience=None)
    plan = protocol(rows, ProtocolSettings(cross_validate=3))
    outcome, whole = train(rows, plan, training, refit=True)

    def stop(*words):
        seen.append(words)
        if len(seen) == at:
            raise KeyboardInterrupt

    # 30 images in steps of 16; the second fold's third epoch ends with step 14 of all, its second one with line 6.
    seen, at, calls = ([], 14, {"progress": stop}) if within else ([], 6, {"on_epoch": stop})
    with pytest.raises(Interrupted, match=r"fold 2 of 3, 2 of 4 epochs are kept. The same command goes on from there"):
        train(rows, plan, training, folder=tmp_path, refit=True, **calls)
    lines = []
    again, resumed = train(rows, plan, training, folder=tmp_path, refit=True, on_epoch=lines.append)
    assert lines[0].startswith("fold 2 of 3, epoch 3/4 ")
    assert resumed.curves == whole.curves
    assert resumed.predictions == whole.predictions
    assert resumed.folds == whole.folds
    assert all(torch.equal(value, again.state_dict[name]) for name, value in outcome.state_dict.items())
