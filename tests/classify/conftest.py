"""Made-up run records whose numbers can be checked by eye."""

import hashlib
import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import chromium
import numpy as np
import pytest
from fakes import noisy
from waiting import LONG

from fc7.cache import Embeddings, Recipe
from fc7.classify.evaluation.metrics import measure
from fc7.classify.records.probabilities import Probabilities
from fc7.classify.records.runs import Run
from fc7.extract.manifest.columns import ImageEntry
from fc7.extract.manifest.manifest import Manifest


def made_up(
    right,
    *,
    head="logreg",
    trainable="",
    backbone="vgg16",
    layer="fc7",
    classes=("ants", "bees"),
    labels=None,
    paths=None,
    selection=0.9,
    seconds=None,
    source="torchvision",
    curves=(),
    learning_curve=(),
    notes=(),
    spread=0.4,
    hyperparameters=None,
    seed=0,
    data=(),
    done=(),
    folds=None,
) -> Run:
    """Return a record that got right exactly the images that `right`, ``(n,)`` bool, says.

    `data` and `done` are what its data and its protocol say besides.
    """
    right = np.asarray(right, dtype=bool)
    n, wide = len(right), len(classes)
    labels = np.arange(n) % wide if labels is None else np.asarray(labels)
    paths = [f"{classes[label]}/{place:04d}.jpg" for place, label in enumerate(labels)] if paths is None else paths
    generator = np.random.default_rng(seed)
    predicted = np.where(right, labels, (labels + 1 + generator.integers(0, max(wide - 1, 1), n)) % wide)
    predicted = np.where(~right & (predicted == labels), (labels + 1) % wide, predicted)
    # Surer where right, so that the calibration plot has something to show.
    top = 1 - spread * generator.random(n) * np.where(right, generator.random(n), 1.0)
    top = np.maximum(top, 1.02 / wide)
    probability = np.repeat(((1 - top) / max(wide - 1, 1))[:, None], wide, axis=1)
    probability[np.arange(n), predicted] = top
    decides = f"{backbone} {layer} {head} {trainable} {seed} {right.tobytes()!r} {data} {done} {folds}"
    identity = hashlib.sha256(decides.encode()).hexdigest()
    return Run(
        id=identity,
        head="" if trainable else head,
        trainable=trainable,
        recipe={
            "id": hashlib.sha256(f"{backbone} {layer}".encode()).hexdigest(),
            "backbone": backbone,
            "layer": layer,
            "dim": 4096,
            "weights": hashlib.sha256(source.encode()).hexdigest(),
            "dtype": "float16",
            "precision": "fp32",
        },
        weights_source=source,
        data={
            "name": "made-up",
            "fingerprint": "f" * 64,
            "classes": list(classes),
            "n_eval": n,
            "evaluated": "val",
            **dict(data),
        },
        selection={}
        if selection is None
        else {"grid": {"C": [0.1, 1.0, 10.0]}, "folds": 5, "accuracy": selection, "log_loss": 1 - selection},
        hyperparameters={"C": 1.0} if hyperparameters is None else hyperparameters,
        metrics=measure(labels, probability).to_dict(),
        seconds=seconds or {"extract": 12.0, "fit": 0.8, "predict": 0.01},
        predictions={
            "path": list(paths),
            "key": [hashlib.sha256(str(path).encode("utf-8", "replace")).hexdigest()[:16] for path in paths],
            "label": [int(label) for label in labels],
            "predicted": probability.argmax(axis=1).tolist(),
        },
        probabilities=Probabilities.of(probability, labels),
        protocol={
            "evaluated": "val",
            "random_state": 0,
            "leaked": 0,
            "class_weight": None,
            "preparation": "unit",
            "device": "cpu",
            **dict(done),
        },
        folds=[fold(n, selection or 0.9)] if folds is None else folds,
        curves=list(curves),
        learning_curve=list(learning_curve),
        notes=list(notes),
        versions={"fc7": "0.1.0", "torch": "2.10.0"},
        machine={"system": "Linux", "machine": "x86_64", "cores": 2},
    )


def fold(n, selection=0.9, hyperparameters=None, **others):
    """Return one fit of a record as it is written."""
    values = {"fitted": 244, "evaluated": n, "log_loss": 1 - selection, "accuracy": selection, "temperature": 1.0}
    return values | {"hyperparameters": hyperparameters or {}, "inner_folds": 5, "unconverged": 0} | others


def old(run):
    """Return the record as fc7 wrote it before it had numbers for what was done."""
    lacking = {"probabilities": None, "protocol": {}, "folds": [], "record": 1}
    columns = {name: run.predictions[name] for name in ("path", "key", "label")}
    return replace(run, id=run.id[::-1], predictions=columns, **lacking)


def write_old(run, folder):
    """Write the record as fc7 wrote it then, and return its path."""
    values = old(run).to_dict() | {"selection": run.selection | {"class_weight": None, "preparation": "unit"}}
    values["predictions"] |= {"probability": run.probabilities.matrix().round(6).tolist()}
    values["data"] = run.data | {"n_train": 244}
    absent = {"probabilities", "protocol", "folds"}
    path = folder / f"{values['id'][:16]}.json"
    path.write_text(json.dumps({name: value for name, value in values.items() if name not in absent}))
    return path


def curves_of(epochs, top=0.94, seed=0):
    """Return curves that look like fine-tuning: the training loss falls, the validation loss turns."""
    generator = np.random.default_rng(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        done = 1 - np.exp(-epoch / 3)
        rows.append(
            {
                "epoch": epoch,
                "train_loss": float(0.69 - 0.6 * done + 0.02 * generator.random()),
                "train_accuracy": float(min(1.0, 0.55 + (top - 0.5) * done + 0.02 * generator.random())),
                "val_loss": float(0.66 - 0.45 * done + 0.012 * epoch + 0.03 * generator.random()),
                "val_accuracy": float(min(1.0, 0.55 + (top - 0.57) * done + 0.03 * generator.random())),
            }
        )
    return rows


@pytest.fixture(name="made_up", scope="session")
def made_up_fixture():
    return made_up


@pytest.fixture(name="fold", scope="session")
def fold_fixture():
    return fold


@pytest.fixture(name="old", scope="session")
def old_fixture():
    return old


@pytest.fixture(name="write_old", scope="session")
def write_old_fixture():
    return write_old


@pytest.fixture(name="study", scope="session")
def study_fixture():
    """A study like the published one: 13 heads, the baseline, three fine-tuning arms, 153 images."""
    return study()


def study(n=153):
    generator = np.random.default_rng(7)
    hard = generator.random(n)
    names = ["logreg", "linear-svm", "ridge", "lda", "knn", "centroid", "torch-linear", "mlp", "naive-bayes", "qda"]
    names += ["rbf-svm", "forest", "classifier"]
    runs = []
    for place, name in enumerate(names):
        skill = 0.945 - 0.007 * place
        right = hard + 0.05 * generator.standard_normal(n) < skill
        seconds = {"extract": 41.3, "fit": 0.05 * 1.6**place, "predict": 0.004}
        runs.append(
            made_up(right, head=name, layer="fc7" if place % 2 else "gap", selection=skill - 0.01, seconds=seconds,
                    hyperparameters={"C": 10.0**place} if place < 4 else {"n_neighbors": 5, "weights": "distance"},
                    notes=["did not converge"] if name == "mlp" else [], spread=0.25 + 0.02 * place,
                    curves=curves_of(20, 0.95, 3) if name == "torch-linear" else (),
                    learning_curve=_growth() if name == "logreg" else (), seed=place)
        )  # fmt: skip
    labels = np.arange(n) % 2
    runs.append(made_up(labels == 0, head="baseline", layer="gap", selection=0.5, spread=0.98,
                        seconds={"extract": 41.3, "fit": 0.001, "predict": 0.001}, hyperparameters={}))  # fmt: skip
    for place, (arm, skill) in enumerate({"head": 0.93, "classifier": 0.95, "all": 0.96}.items()):
        right = hard + 0.05 * generator.standard_normal(n) < skill
        runs.append(
            made_up(right, trainable=arm, selection=skill - 0.02, curves=curves_of(12, skill, place), spread=0.3,
                    seconds={"fit": 310.0 + 140 * place, "predict": 6.2}, seed=20 + place,
                    hyperparameters={"learning_rate": 0.001, "momentum": 0.9, "epochs": 12})
        )  # fmt: skip
    random = made_up(hard < 0.61, backbone="alexnet", source="random:0", selection=0.62, seed=40,
                     notes=["random weights: a lower bound, not a result"])  # fmt: skip
    return [*runs, random]


def _growth():
    sizes = (1, 2, 5, 10, 20, 50, 100)
    means = (0.71, 0.79, 0.86, 0.89, 0.915, 0.93, 0.94)
    return [
        {
            "per_class": size,
            "accuracy": mean,
            "low": mean - 0.12 / size**0.4,
            "high": mean + 0.04 / size**0.4,
            "repeats": 10,
        }
        for size, mean in zip(sizes, means, strict=True)
    ]


# Made-up embeddings: blobs, one per class.


def table(
    counts=(20, 20),
    *,
    dim=8,
    val=0,
    spread=1.0,
    group=None,
    keys=None,
    labels=None,
    split=None,
    seed=0,
    dtype="float16",
    layer="gap",
    source="ndf",
):
    """Return embeddings of ``counts[c]`` images of class ``c``; the last `val` of every class are val, if any.

    `keys` are any values: equal ones stand for copies of one image.
    """
    generator = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    centres = 2 * generator.standard_normal((len(counts), dim))
    vectors = (centres[codes] + spread * generator.standard_normal((len(codes), dim))).astype(dtype)
    classes = tuple(f"c{code}" for code in range(len(counts)))
    place = np.concatenate([np.arange(count) for count in counts])
    if split is None:
        last = place >= np.asarray(counts)[codes] - val
        split = np.where(last, "val", "train") if val else np.full(len(codes), "")
    named = range(len(codes)) if keys is None else keys
    return Embeddings(
        vectors=vectors,
        labels=np.array([classes[code] for code in codes]) if labels is None else np.asarray(labels, np.str_),
        paths=np.array([f"{classes[code]}/{number:03d}.png" for number, code in enumerate(codes)]),
        split=np.asarray(split, np.str_),
        group=np.full(len(codes), "") if group is None else np.asarray(group, np.str_),
        sha256=np.array([list(hashlib.sha256(str(name).encode()).digest()) for name in named], np.uint8),
        classes=classes,
        recipe=Recipe("made-up", layer, dim, "0" * 64, dtype=dtype),
        weights_source=source,
        seconds=1.5,
    )


@pytest.fixture(name="table", scope="session")
def table_fixture():
    return table


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


# A review that is served, of pictures that are there.


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return what serves a review in a thread: the server, the review, and the csv. Pictures are blue and red noise."""
    from reviewed import labels_of

    from fc7.classify.reviews.review import Review
    from fc7.classify.reviews.server import Server

    running = []

    def start(counts=(14, 14), flipped=(3, 20), names=None, classes=None, findings=None):
        folder = tmp_path_factory.mktemp("review")
        rows = table(counts, val=min(counts) // 4, spread=0.7, seed=3)
        names = names or rows.paths.tolist()
        codes = rows.y
        colours = [(30, 60, 200) if code == 0 else (200, 60 + 20 * code, 30) for code in codes]
        codes[list(flipped)] = (codes[list(flipped)] + 1) % len(counts)
        for place, (name, colour) in enumerate(zip(names, colours, strict=True)):
            noisy(folder / "pictures" / name, colour, place)
        keys = [hashlib.sha256((folder / "pictures" / name).read_bytes()).digest() for name in names]
        rows = replace(
            rows,
            paths=np.array(names),
            labels=np.array(classes or rows.classes)[codes],
            classes=classes or rows.classes,
            sha256=np.array([list(key) for key in keys], np.uint8),
            name="pictures",
        )
        columns = zip(names, rows.labels.tolist(), rows.split.tolist(), strict=True)
        manifest = Manifest(
            folder / "pictures", tuple(ImageEntry(*row) for row in columns), rows.classes, (), "pictures"
        )
        review = Review(rows, labels_of(rows, manifest, folder / "labels.csv"))
        server = Server(review, folder / "pictures", findings=findings)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        return SimpleNamespace(server=server, review=review, file=folder / "labels.csv", folder=folder / "pictures")

    yield start
    for server, thread in running:
        server.stop()
        thread.join(timeout=LONG)
        assert not thread.is_alive()
