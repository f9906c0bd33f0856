import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fc7.cache.recipe import Transform
from fc7.classify.finetuning import training_loop as module
from fc7.classify.finetuning.finetune import finetune
from fc7.classify.finetuning.stack import fit_stack
from fc7.classify.finetuning.training_loop import Inputs, State, Training, TrainingTask, logits, train
from fc7.classify.fitting.fit import Experiment, fit
from fc7.classify.records.runs import Run
from fc7.errors import FC7Error, Interrupted, UsageError
from fc7.extract import extract, load_backbone, read_manifest
from fc7.extract.backbones.architectures import KNOWN
from fc7.extract.decoding.views import augmented


@pytest.fixture
def photos(tmp_path):
    """Twenty small pictures of two classes that a network can tell apart, in train and val."""
    rng = np.random.default_rng(0)
    for number in range(20):
        label = ("dark", "light")[number % 2]
        pixels = rng.integers(0, 90, (40, 50, 3), dtype=np.uint8) + (150 if label == "light" else 0)
        path = tmp_path / "photos" / ("train" if number < 14 else "val") / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "photos"


QUICK = Training(epochs=2, batch_size=6, learning_rate=0.01)


def tune(photos, trainable="head", training=QUICK, **options):
    backbone = options.pop("backbone", "squeezenet1_1")
    options = {"weights": "random:0", "augment": False, "device": "cpu"} | options
    return finetune(read_manifest(photos), backbone, trainable, training=training, **options)


def fitted_stack(table, training, class_weight=None):
    """Return the pipeline and the record of the stack on cached rows."""
    experiment = Experiment(table, class_weight=class_weight)
    return fit_stack(table, experiment.protocol, "0" * 64, training=training, class_weight=experiment.weights)


def test_the_cached_stack_and_the_pixels_agree(photos):
    """The published recipe with and without recomputing the convolutions: same order, same dropout, same losses."""
    training = Training(epochs=3, batch_size=6, learning_rate=0.002)
    from_pixels = tune(photos, "classifier", training, backbone="alexnet")
    backbone = load_backbone("alexnet", "pool5", weights="random:0", dtype="float32", device="cpu")
    _, cached = fitted_stack(extract(read_manifest(photos), backbone), training)
    assert len(from_pixels.run.curves) == len(cached.curves) == 3
    for pixels, rows in zip(from_pixels.run.curves, cached.curves, strict=True):
        for name in ("train_loss", "held_loss", "val_loss"):
            assert pixels[name] == pytest.approx(rows[name], abs=1e-3)
    np.testing.assert_allclose(from_pixels.run.predictions["probability"], cached.predictions["probability"], atol=2e-3)
    losses = [line["train_loss"] for line in cached.curves]
    assert len(set(losses)) == 3, "something was learned"


@pytest.mark.parametrize(("trainable", "changed"), [("head", {"classifier.1"}), ("classifier", {"classifier.1"})])
def test_only_the_arm_is_trained(photos, trainable, changed):
    tuned = tune(photos, trainable)
    before = KNOWN["squeezenet1_1"].initialise(0)
    different = {name.rpartition(".")[0] for name, value in tuned.state.items()
                 if value.shape != before[name].shape or not torch.equal(value, before[name])}  # fmt: skip
    assert different == changed


def test_all_trains_everything_and_pretrained_layers_at_the_smaller_rate(photos):
    tuned = tune(photos, "all", Training(epochs=1, batch_size=7, learning_rate=0.01, weight_decay=0.0))
    before = KNOWN["squeezenet1_1"].initialise(0)
    moved = [
        name for name, value in tuned.state.items() if "classifier" not in name and not torch.equal(value, before[name])
    ]
    assert len(moved) > 40


def test_the_record_is_complete_and_honest(photos):
    run = tune(photos).run
    assert (run.trainable, run.head, run.recipe["layer"]) == ("head", "", "logits")
    assert run.metrics["n"] == 6
    assert len(run.predictions["path"]) == 6
    assert run.selection["best_epoch"] in (1, 2)
    assert run.selection["held_out"] >= 2
    assert {"epoch", "train_loss", "train_accuracy", "held_loss", "val_loss", "val_accuracy"} <= run.curves[0].keys()
    assert any("random weights" in note for note in run.notes)
    assert json.loads(json.dumps(run.selection)) == run.selection
    assert tune(photos).run.id == run.id
    assert tune(photos, augment=True).run.id != run.id


def test_the_evaluated_labels_decide_nothing(photos, tmp_path):
    """The best epoch is chosen on a part of train: exchanging the labels of val leaves the network as it is."""
    tuned = tune(photos)
    dark, light = photos / "val" / "dark", photos / "val" / "light"
    dark.rename(photos / "val" / "x"), light.rename(dark), (photos / "val" / "x").rename(light)
    other = tune(photos)
    assert other.run.selection == tuned.run.selection
    assert all(torch.equal(value, other.state[name]) for name, value in tuned.state.items())
    assert other.run.metrics["accuracy"] == pytest.approx(1 - tuned.run.metrics["accuracy"])


def test_epoch_lines(photos):
    lines = []
    tune(photos, on_epoch=lines.append)
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2 train loss ")
    assert " acc " in lines[0]
    assert " val loss " in lines[0]


def test_data_without_a_split_is_predicted_in_folds(photos):
    run = finetune(
        read_manifest(photos / "train"), "squeezenet1_1", "head", weights="random:0", augment=False, device="cpu",
        training=Training(epochs=1, batch_size=8),
    ).run  # fmt: skip
    assert run.metrics["n"] == 14
    assert run.data["evaluated"] == "5-fold cross-validation"


def test_a_killed_run_goes_on_to_the_same_numbers(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    training = Training(epochs=4, batch_size=6)
    whole = tune(photos, training=training).run

    def stop(line):
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="2 of 4 epochs"):
        tune(photos, training=training, folder=tmp_path / "runs", on_epoch=stop)
    lines = []
    resumed = tune(photos, training=training, folder=tmp_path / "runs", on_epoch=lines.append).run
    assert [line.split()[1] for line in lines] == ["3/4", "4/4"]
    assert resumed.curves == whole.curves
    assert resumed.predictions == whole.predictions
    assert list((tmp_path / "runs" / "checkpoints").iterdir()) == []
    assert Run.load(next((tmp_path / "runs").glob("*.json"))).id == whole.id


def test_a_damaged_checkpoint_is_done_without(photos, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Interrupted):
        tune(photos, folder=tmp_path, on_epoch=lambda line: (_ for _ in ()).throw(KeyboardInterrupt))
    path = next((tmp_path / "checkpoints").iterdir())
    path.write_bytes(path.read_bytes()[:1000])
    assert len(tune(photos, folder=tmp_path).run.curves) == 2
    assert "cannot be used" in caplog.text


def test_weights_that_lack_what_is_not_trained_are_refused(photos, tmp_path):
    state = {k: v for k, v in KNOWN["alexnet"].initialise(0).items() if k.startswith("features.")}
    torch.save(state, tmp_path / "conv.pth")
    with pytest.raises(UsageError, match=r"leaves classifier.1.weight.*--trainable all"):
        tune(photos, "head", backbone="alexnet", weights=f"file:{tmp_path / 'conv.pth'}")


def test_a_stack_started_from_a_seed_says_so(photos, tmp_path):
    state = {k: v for k, v in KNOWN["alexnet"].initialise(0).items() if k.startswith("features.")}
    torch.save(state, tmp_path / "conv.pth")
    backbone = load_backbone("alexnet", "pool5", weights=f"file:{tmp_path / 'conv.pth'}", device="cpu")
    _, run = fitted_stack(extract(read_manifest(photos), backbone), Training(epochs=1))
    assert run.notes == ["started from a seed, not from pretrained values: classifier.1, classifier.4"]


def test_the_stack_takes_class_weights(photos):
    backbone = load_backbone("alexnet", "pool5", weights="random:0", device="cpu")
    table, training = extract(read_manifest(photos), backbone), Training(epochs=2, batch_size=6, learning_rate=0.02)
    (plain, _), (heavy, _) = (fitted_stack(table, training, kind) for kind in (None, {"light": 50.0}))
    light = [pipeline["head"].estimator.decision_function(table.vectors).mean() for pipeline in (plain, heavy)]
    assert light[1] > light[0] + 0.05


def test_class_weights_of_the_stack_are_in_its_record(photos):
    backbone = load_backbone("alexnet", "pool5", weights="random:0", device="cpu")
    table = extract(read_manifest(photos), backbone)
    plain, heavy = (fit(table, "classifier", class_weight=kind, epochs=1).run for kind in (None, {"light": 50.0}))
    assert (plain.selection["class_weight"], heavy.selection["class_weight"]) == (None, {"light": 50.0})
    assert plain.id != heavy.id


@pytest.mark.parametrize(
    ("trainable", "options", "message"),
    [
        ("body", {}, "no fine-tuning arm 'body'"),
        ("head", {"epochs": 0}, "epochs 0"),
        ("head", {"optimiser": "magic"}, "magic"),
        ("head", {"schedule": "magic"}, "magic"),
    ],
)
def test_unknown_options(photos, trainable, options, message):
    with pytest.raises(UsageError, match=message):
        tune(photos, trainable, Training(**options))


def test_the_stack_needs_pool5(photos):
    table = extract(read_manifest(photos), load_backbone("squeezenet1_1", weights="random:0"))
    with pytest.raises(UsageError, match="--layer pool5"):
        fitted_stack(table, Training())


# ------------------------------------------------------------------------------- the loop, on a problem of one layer


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


def test_the_result_is_the_epoch_with_the_least_held_out_loss():
    one = task(epochs=12, learning_rate=3.0, schedule="constant")
    state = train(one)
    held = [line["held_loss"] for line in state.curves]
    assert state.best_epoch == int(np.argmin(held)) + 1
    found = logits(one, one.held)
    y = torch.from_numpy(one.y[one.held])
    assert float(torch.nn.functional.cross_entropy(torch.from_numpy(found), y)) == pytest.approx(min(held))


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
    with pytest.raises(FC7Error, match="Lower --learning-rate"):
        train(task(learning_rate=1e38, epochs=4))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32))
def test_crops_stay_inside_the_picture(width, height, seed):
    image = Image.new("RGB", (width, height), "red")
    found = augmented(image, Transform(resize=18, crop=16), np.random.default_rng(seed))
    assert found.shape == (16, 16, 3)
    assert (found == (255, 0, 0)).all()


def test_augmentation_follows_from_its_seed():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    image, transform = Image.fromarray(pixels), Transform(resize=36, crop=32)
    first, again, other = (augmented(image, transform, np.random.default_rng([1, epoch, 5])) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
