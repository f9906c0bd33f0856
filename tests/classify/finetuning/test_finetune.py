import hashlib
import json
from dataclasses import replace

import fake_cuda
import numpy as np
import pytest
import torch
import torchvision
from tuning import tune

from fc7.classify.finetuning import finetune as finetune_module
from fc7.classify.finetuning import inputs
from fc7.classify.finetuning import training_loop as module
from fc7.classify.finetuning.inputs import Pixels
from fc7.classify.records.runs import Run
from fc7.classify.settings import Training
from fc7.errors import DataError, Interrupted, UsageError
from fc7.extract import load_backbone, read_manifest
from fc7.extract.backbones.architectures import KNOWN
from fc7.extract.manifest.hashing import Hashed


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
    assert run.hyperparameters["best_epoch"] in (1, 2)
    (fold,) = run.folds
    assert (fold["fitted"] + fold["held_out"], fold["evaluated"]) == (14, 6)
    assert fold["held_out"] >= 2
    assert (run.protocol["augment"], run.protocol["device"]) == (False, "cpu")
    assert {"epoch", "train_loss", "train_accuracy", "held_loss", "val_loss", "val_accuracy"} <= run.curves[0].keys()
    assert any("random weights" in note for note in run.notes)
    assert json.loads(json.dumps(run.selection)) == run.selection
    assert tune(photos).run.id == run.id
    assert tune(photos, augment=True).run.id != run.id


def test_the_device_tells_runs_apart(photos, monkeypatch):
    decided, run_id = [], finetune_module.run_id
    monkeypatch.setattr(finetune_module, "run_id", lambda decides: decided.append(decides) or run_id(decides))
    assert tune(photos).run.protocol["device"] == decided[0]["device"] == "cpu"


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
    training = Training(epochs=1, batch_size=8)
    kept, plain = (tune(photos / "train", training=training, cross_validate=3, refit=refit) for refit in (True, False))
    for run in kept.run, plain.run:
        assert (run.metrics["n"], run.data["evaluated"], len(run.folds)) == (14, "3-fold cross-validation", 3)
        assert [line["fold"] for line in run.curves] == [1, 2, 3]
    assert kept.run.predictions == plain.run.predictions
    assert plain.state == {}
    assert kept.run.notes[-1] == "refitted on all 14 images: 1 of 1 epochs, the folds' median"
    assert KNOWN["squeezenet1_1"].initialise(0).keys() == kept.state.keys()


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
    assert (resumed.predictions, resumed.probabilities) == (whole.predictions, whole.probabilities)
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
    with pytest.raises(UsageError, match=r"leaves classifier.1.weight.*trainable all"):
        tune(photos, "head", backbone="alexnet", weights=f"file:{tmp_path / 'conv.pth'}")


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


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_mnasnet_starts_from_torchvisions_parameters(photos, trainable):
    """Its class refuses to load a state dict without the number of a version, as best epochs and .safetensors are."""
    training = Training(epochs=1, batch_size=8, learning_rate=1e-9)
    tuned = tune(photos, trainable, training, backbone="mnasnet0_5")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        right = torchvision.models.mnasnet0_5(weights=None).state_dict()
    assert tuned.state.keys() == right.keys()
    for name, value in tuned.state.items():
        if not name.startswith("classifier.1.") and "running" not in name and "tracked" not in name:
            torch.testing.assert_close(value, right[name], rtol=0, atol=0 if trainable == "head" else 1e-6)


def test_mnasnet_goes_on_from_a_checkpoint_and_from_a_saved_file(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    training = Training(epochs=2, batch_size=8)
    whole = tune(photos, training=training, backbone="mnasnet0_5")

    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        tune(photos, training=training, backbone="mnasnet0_5", folder=tmp_path, on_epoch=stop)
    resumed = tune(photos, training=training, backbone="mnasnet0_5", folder=tmp_path)
    assert resumed.run.predictions == whole.run.predictions
    assert resumed.run.probabilities == whole.run.probabilities
    path = resumed.save(tmp_path)
    backbone = load_backbone(
        "mnasnet0_5", weights=f"file:{path}", transform="DEFAULT", device="cpu", batch_size=1, dtype="float32"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    net = torchvision.models.mnasnet0_5(weights=None).eval()
    net.classifier = torch.nn.Identity()
    state = net.state_dict()
    for name in state:
        state[name] = resumed.state[name]
    net.load_state_dict(state)
    transform = backbone.recipes[0].transform
    images = (torch.from_numpy(pixels) / 255 - torch.tensor(transform.mean)) / torch.tensor(transform.std)
    with torch.inference_mode():
        right = net(images.permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(backbone.forward(pixels)[0], right, atol=1e-4 * np.abs(right).max())


def test_images_are_prepared_for_the_weights_that_are_trained(photos, monkeypatch):
    """Of a size that the network must be made for, as well."""
    seen = []

    class Seen(Pixels):
        def __init__(self, root, images, recipe, **options):
            seen.append(recipe.transform)
            super().__init__(root, images, recipe, **options)

    monkeypatch.setattr(finetune_module, "Pixels", Seen)
    transform = replace(KNOWN["squeezenet1_1"].transform, crop=96, resize=96, std=(1 / 255,) * 3)
    run = tune(photos, training=Training(epochs=1, batch_size=8), transform=transform).run
    assert seen == [transform]
    assert run.recipe["transform"]["crop"] == 96
    assert run.id != tune(photos, training=Training(epochs=1, batch_size=8)).run.id


# Files that change


def exchange(photos):
    first, second = photos / "train" / "dark" / "0.png", photos / "train" / "light" / "1.png"
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def remove(photos):
    (photos / "val" / "dark" / "14.png").unlink()


def break_one(photos):
    (photos / "train" / "dark" / "0.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (exchange, r"/train/(dark/0|light/1)\.png: not readable: changed while"),
        (remove, r"/val/dark/14\.png: not readable: No such file"),
        (break_one, r"/train/dark/0\.png: not readable: changed while"),
    ],
)
@pytest.mark.parametrize("augment", [False, True])
def test_files_that_change_while_it_runs_are_named_and_never_trained_on(photos, change, said, augment, tmp_path):
    lines = []

    def after_the_first_epoch(line):
        lines.append(line)
        change(photos)

    with pytest.raises(DataError, match=said) as raised:
        tune(photos, augment=augment, on_epoch=after_the_first_epoch, folder=tmp_path / "runs")
    assert "\n" not in str(raised.value)
    assert len(lines) == 1
    assert not list((tmp_path / "runs").glob("*.json"))


def test_a_file_that_changed_since_it_was_hashed_is_left_out_with_the_reason(photos, caplog):
    hashed = Hashed.of(read_manifest(photos))
    break_one(photos)
    left = inputs.usable(hashed, None)
    assert len(left) == 19
    assert "rejected train/dark/0.png: not readable: changed while it was being read" in caplog.text


def test_what_cannot_be_decoded_now_ends_it_in_one_line(photos, monkeypatch):
    def short(*_, **__):
        monkeypatch.setattr("fc7.extract.decoding.pillow.Image.Image.load", failing)

    def failing(self):
        raise MemoryError

    with pytest.raises(DataError, match="not enough memory to decode it"):
        tune(photos, on_epoch=short)


# Names and order


def named(photos, folder, order):
    """Write the photos under other names, and a csv of them in another order; return the csv."""
    images = sorted(path for path in photos.rglob("*.png"))
    folder.mkdir()
    lines = []
    for place in order:
        split, label = images[place].parts[-3:-1]
        copy = folder / f"{hash_of(folder.name, place)}.png"
        copy.write_bytes(images[place].read_bytes())
        lines.append(f"{copy.name},{label},{split}")
    table = folder / "images.csv"
    table.write_text("\n".join(["path,label,split", *lines]), encoding="utf-8")
    return table


def hash_of(*words):
    return hashlib.sha256(repr(words).encode()).hexdigest()[:12]


def by_image(run):
    """Return the probabilities of a run by the key of the image, and what else must not follow names."""
    predictions = dict(zip(run.predictions["key"], run.probabilities.matrix().tolist(), strict=True))
    return predictions, run.curves, run.folds, run.id


def test_names_paths_and_order_decide_nothing(photos, tmp_path):
    """Three namings of the same images, bit for bit; the folds, the epochs' order and the crops follow the bytes."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(20), rng.permutation(20)]
    tables = [named(photos, tmp_path / f"naming-{number}", order) for number, order in enumerate(orders)]
    for options in {}, {"cross_validate": 3, "training": Training(epochs=1, batch_size=6)}:
        first, *others = [tune(table, augment=True, **options) for table in (photos, *tables)]
        for other in others:
            assert by_image(other.run) == by_image(first.run)
            assert all(torch.equal(value, other.state[name]) for name, value in first.state.items())


def test_a_run_goes_on_with_the_same_images_after_its_csv_was_reordered(photos, tmp_path, monkeypatch):
    """No image that was trained on before is held out afterwards, to choose the epoch on."""
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    rng = np.random.default_rng(1)
    before, after = (named(photos, tmp_path / name, rng.permutation(20)) for name in ("before", "after"))
    whole = tune(before)

    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="1 of 2 epochs are kept"):
        tune(before, folder=tmp_path / "runs", on_epoch=stop)
    lines = []
    resumed = tune(after, folder=tmp_path / "runs", on_epoch=lines.append)
    assert len(lines) == 1
    assert by_image(resumed.run) == by_image(whole.run)
    assert all(torch.equal(value, resumed.state[name]) for name, value in whole.state.items())


@pytest.mark.parametrize("augment", [False, True])
def test_processes_decode_the_same_pixels_as_threads(photos, augment):
    hashed = Hashed.of(read_manifest(photos))
    recipe = load_backbone("squeezenet1_1", weights="random:0").recipes[0]
    settings = {"augment": augment, "seed": 3, "workers": 2}
    groups = [np.array([2, 0, 5]), np.array([1])]
    found = []
    for processes in (False, True):
        with Pixels(hashed.manifest.root, hashed.rows, recipe, processes=processes, **settings) as pixels:
            found.append([batch.numpy().copy() for epoch in (0, 1, None) for batch in pixels.batches(groups, epoch)])
    for here, there in zip(*found, strict=True):
        np.testing.assert_array_equal(there, here)
    assert len(found[0]) == 6
    assert (found[0][0] != found[0][2]).any() == augment


def test_a_file_that_is_gone_is_said_by_processes_too(photos):
    hashed = Hashed.of(read_manifest(photos))
    recipe = load_backbone("squeezenet1_1", weights="random:0").recipes[0]
    with Pixels(photos, hashed.rows, recipe, augment=True, seed=0, workers=1, processes=True) as pixels:
        (photos / hashed.rows.paths[1]).unlink()
        with pytest.raises(DataError, match=r"not readable: No such file.*Put it back"):
            list(pixels.batches([np.array([0, 1])], 0))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_beside_cuda_processes_decode_and_the_losses_are_those_of_the_processor(photos, monkeypatch, precision):
    here = tune(photos, "all", augment=True, precision="fp32").run
    fake_cuda.install(monkeypatch, marked=False)
    there = tune(photos, "all", augment=True, precision=precision, device="cuda", workers=2).run
    assert there.protocol["device"] == "cuda"
    losses = [[line["train_loss"] for line in run.curves] for run in (here, there)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
