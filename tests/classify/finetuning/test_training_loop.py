"""The training loop, on a problem of one layer."""

import numpy as np
import pytest
import torch

from fc7.classify.finetuning.training_loop import logits, train
from fc7.classify.finetuning.training_task import Inputs, State, TrainingTask
from fc7.classify.heads.calibration import find_temperature
from fc7.classify.settings import Training
from fc7.errors import FC7Error


class Points(Inputs):
    def __init__(self, rows):
        self.rows = rows

    def batches(self, rows, epoch):
        for group in rows:
            yield torch.from_numpy(self.rows[group])


def task(**options):
    rng = np.random.default_rng(1)
    y = np.arange(60) % 2
    rows = (rng.normal(size=(60, 5)) + y[:, None]).astype(np.float32)
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 2)
    part = np.arange(60)
    training = Training(**{"epochs": 5, "batch_size": 8} | options)
    parts = part[:36], part[36:48], part[48:]
    return TrainingTask(
        layer, [layer], frozenset({"weight", "bias"}), Points(rows), y, *parts, training, torch.device("cpu")
    )


def test_the_result_is_the_epoch_with_the_least_held_out_loss_at_its_temperature():
    one = task(epochs=12, learning_rate=3.0, schedule="constant")
    state = train(one)
    calibrated = [line["held_calibrated_loss"] for line in state.curves]
    assert state.best_epoch == int(np.argmin(calibrated)) + 1
    assert find_temperature(logits(one, one.held), one.y[one.held])[1] == pytest.approx(min(calibrated))
    assert int(np.argmin(calibrated)) != int(np.argmin([line["held_loss"] for line in state.curves]))


def test_patience_stops_early():
    state = train(task(epochs=60, learning_rate=5.0, schedule="constant", patience=2))
    assert state.epoch < 60
    assert state.epoch == state.best_epoch + 2


def test_limit_seconds_stops_before_an_epoch_that_would_end_later():
    state = train(task(epochs=50, limit_seconds=0.0))
    assert isinstance(state, State)
    assert state.epoch == 1


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_it_learns(optimiser, schedule):
    state = train(task(epochs=15, optimiser=optimiser, schedule=schedule, learning_rate=0.1))
    assert state.curves[-1]["train_loss"] < state.curves[0]["train_loss"]
    assert state.curves[-1]["held_accuracy"] >= 0.75


def test_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    one = task()
    torch.manual_seed(3)
    train(one)
    assert torch.equal(torch.rand(1), expected)


def test_a_loss_that_is_not_finite_is_a_clear_error():
    with pytest.raises(FC7Error, match="Lower learning_rate"):
        train(task(learning_rate=1e38, epochs=4))
