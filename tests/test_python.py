"""fc7 from Python: what the doors list, how objects show themselves, and what is said of a wrong argument."""

import copy
import importlib
import inspect
import pickle
import pydoc
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import FakeBackbone, coloured

import fc7
from fc7.cache import Embeddings, Recipe, Store
from fc7.cache.recipe import ForeignRecipe, JointRecipe
from fc7.classify import (
    Bundle,
    EmbeddingTransformer,
    Exported,
    Run,
    audit,
    choose,
    compare,
    export,
    fit,
    load_runs,
    report,
    similar,
)
from fc7.classify.exports.parity import Parity
from fc7.classify.heads import HEADS
from fc7.errors import FC7Error
from fc7.extract import Backbone, RayEngine, extract, fill, load_backbone, read_manifest
from fc7.extract.in_memory import embed
from fc7.extract.manifest.hashing import Hashed

ROOMS = ("fc7.cache", "fc7.classify", "fc7.classify.heads", "fc7.extract")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One of each object, from a folder of coloured pictures."""
    home = tmp_path_factory.mktemp("python")
    data, cache = coloured(home / "data", 12, fitted=8), home / "cache"
    (data / "train" / "red" / "broken.png").write_bytes(b"\x89PNG but no more")
    fake, manifest = FakeBackbone(), read_manifest(data)
    extractions = fill(manifest, [fake], cache=cache)
    embeddings = extract(manifest, fake, cache=cache)
    fitted = fit(embeddings, "ridge", folds=2)
    runs = compare(embeddings, ["ridge", "knn"], folder=home / "runs", folds=2, learning_curve=False)
    bundle = Bundle.of(fitted)
    return SimpleNamespace(
        home=home,
        backbone=fake,
        manifest=manifest,
        hashed=Hashed.of(manifest, cache),
        extraction=extractions[0],
        extractions=extractions,
        embeddings=embeddings,
        rows=Hashed.of(manifest, cache).rows,
        row=embeddings[0],
        recipe=embeddings.recipe,
        joint=JointRecipe((embeddings.recipe, embeddings.recipe)),
        foreign=ForeignRecipe("vectors", 12, "0" * 64),
        transform=embeddings.recipe.transform,
        store=Store(embeddings.recipe, cache),
        fitted=fitted,
        abstention=fitted.abstention,
        run=fitted.run,
        comparison=runs,
        runs=load_runs(home / "runs"),
        bundle=bundle,
        predictions=bundle.predict([data / "train"], backbone=fake, cache=cache),
        prediction=bundle.predict([data / "train"], backbone=fake, cache=cache)[0],
        audit=audit(embeddings, folds=2),
        findings=audit(embeddings, folds=2, threshold=0.5).findings,
        similar=similar(embeddings, k=2),
        similar_images=similar(embeddings, k=2)[0],
        head=HEADS["ridge"],
        heads=HEADS,
        transformer=EmbeddingTransformer(fake),
        exported=Exported(
            home / "x.onnx", 2**22, "ONNX", "images", Parity(8, "made up", 1e-6, 1e-7, 2e-7), ("a note",)
        ),
    )


@pytest.mark.parametrize("name", [
    "backbone", "manifest", "hashed", "extraction", "extractions", "embeddings", "rows", "row", "recipe", "joint",
    "foreign", "transform", "store", "fitted", "abstention", "run", "comparison", "runs", "bundle", "predictions",
    "prediction", "audit", "similar", "similar_images", "head", "heads", "transformer", "exported",
])  # fmt: skip
def test_every_object_fits_a_terminal(made, name):
    text = repr(getattr(made, name))
    assert " object at 0x" not in text
    assert sum(-(-len(line) // 80) for line in text.split("\n")) <= 10, text


def test_an_engine_shows_where_it_runs():
    pytest.importorskip("ray")
    assert repr(RayEngine(actors=2)) == "RayEngine(None, actors=2, stall=None)"


def test_every_finding_fits_two_lines(made):
    assert made.findings
    assert max(len(repr(finding)) for finding in made.findings) <= 160


def test_what_a_person_wants_to_know_of_a_run_is_in_it(made):
    assert repr(made.fitted) == "Fitted('fake tiles ridge', accuracy 1.000, 0.628 to 1.000, of 8 images)"
    assert repr(made.comparison).splitlines()[0] == "Comparison(3)"
    assert repr(made.predictions).splitlines()[1].split() == ["path", "answer", "probability", "unlike", "rejected"]
    assert "'blue', 'red'" in repr(made.bundle)


def test_lists_are_tables_for_pandas(made):
    pytest.importorskip("pandas")
    runs = made.runs.to_pandas()
    assert runs["head"].tolist() == [run.head for run in made.runs]
    assert runs["accuracy"].dtype == runs["log_loss"].dtype == float
    predictions = made.predictions.to_pandas()
    assert predictions["path"].tolist() == [prediction.path for prediction in made.predictions]
    assert predictions.loc[predictions["rejected"] != "", "probability"].isna().tolist() == [True]
    shares = predictions[["probability_blue", "probability_red"]].dropna()
    assert len(shares) == len(predictions) - 1
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    findings = made.audit.to_pandas()
    assert findings["finding"].tolist() == [finding.to_dict()["finding"] for finding in made.audit.findings]


def test_pandas_has_what_the_parquet_of_the_same_embeddings_has(made, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    from fc7.extract.vector_files import parquet

    parquet.write(made.embeddings, tmp_path / "x.parquet")
    pandas.testing.assert_frame_equal(
        made.embeddings.to_pandas(), pandas.read_parquet(tmp_path / "x.parquet"), check_dtype=False
    )


@pytest.mark.parametrize("name", ["embeddings", "row", "comparison", "runs", "predictions", "audit", "similar"])
def test_notebooks_get_a_small_table_that_needs_nothing_else(made, name):
    page = getattr(made, name)._repr_html_()
    assert page.startswith("<table>")
    assert len(page) < 5000
    assert [word for word in ("http", "<script", "src=", "href=") if word in page] == []


def test_a_slice_of_a_table_is_one(made):
    for table in (made.predictions, made.runs, made.comparison):
        part = table[:2]
        assert type(part) is type(table)
        assert list(part) == list(table)[:2]
        assert table[-1] == list(table)[-1]


@pytest.mark.parametrize("rows", [None, True, [[0, 1]]], ids=str)
def test_rows_have_one_axis(made, rows):
    with pytest.raises(IndexError, match=r"Rows have one axis, and .* has 2\."):
        made.embeddings[rows]


@pytest.mark.parametrize("name", [
    "manifest", "extraction", "embeddings", "recipe", "foreign", "store", "fitted", "run", "comparison", "bundle",
    "predictions", "audit", "exported",
])  # fmt: skip
def test_what_is_pickled_shows_itself_as_before(made, name):
    thing = getattr(made, name)
    assert repr(pickle.loads(pickle.dumps(thing))) == repr(thing)


@pytest.mark.parametrize("name", [
    "manifest", "extraction", "embeddings", "rows", "recipe", "abstention", "run", "comparison", "predictions", "audit",
])  # fmt: skip
def test_what_is_the_same_is_equal(made, name):
    thing = getattr(made, name)
    assert thing == copy.copy(thing) == copy.deepcopy(thing) == pickle.loads(pickle.dumps(thing))
    assert thing != 5
    assert thing in [5, copy.deepcopy(thing)]


def test_embeddings_with_other_rows_or_numbers_are_others(made):
    embeddings = made.embeddings
    assert embeddings != embeddings[:3]
    assert embeddings != replace(embeddings, vectors=embeddings.vectors + 1)
    assert embeddings != replace(embeddings, name="other")
    assert embeddings != replace(embeddings, views=(embeddings.vectors,))


def test_a_backbone_is_pickled_without_its_network(tmp_path):
    backbone = load_backbone("squeezenet1_1", ["gap", "gmp"], weights="random:0", image_size=(64, 72), cache=tmp_path)
    own = Backbone(torch.nn.Flatten(), backbone.recipes[0].transform, device="cpu")
    picture = np.random.default_rng(0).integers(0, 255, (70, 70, 3), np.uint8)
    for made in (backbone, own):
        before, _ = embed([picture], [made])
        sent = pickle.dumps(made)
        assert len(sent) < 10_000
        again = pickle.loads(sent)
        assert (again.recipes, repr(again), again.batch_size) == (made.recipes, repr(made), made.batch_size)
        after, _ = embed([picture], [again])
        assert all(np.array_equal(after[recipe], before[recipe]) for recipe in made.recipes)


def test_a_bundle_that_has_predicted_is_pickled_without_its_backbone(tmp_path):
    backbone = load_backbone("squeezenet1_1", "gap", weights="random:0", cache=tmp_path, device="cpu")
    data = coloured(tmp_path / "data", 8)
    bundle = Bundle.of(fit(extract(data, backbone, cache=tmp_path), "ridge", folds=2))
    answers = bundle.predict([data], cache=tmp_path)
    again = pickle.loads(pickle.dumps(bundle))
    assert again.predict([data], cache=tmp_path) == answers


def test_a_backbone_says_how_it_resizes(tmp_path):
    backbone = load_backbone("squeezenet1_1", "gap", weights="random:0", resize="pad", cache=tmp_path)
    assert repr(backbone) == "Backbone('squeezenet1_1', gap 512-d, resize 'pad', weights 'random:0')"


def test_python_names_the_function_that_has_no_such_parameter(made):
    with pytest.raises(TypeError, match=r"fit\(\) got an unexpected keyword argument 'heads'"):
        fit(made.embeddings, heads="ridge")


# Paths are str or Path


def test_a_str_is_a_path_wherever_there_is_one(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made.home)
    runs = load_runs("runs")
    assert runs == made.runs
    assert Run.load(str(runs[0].save(str(tmp_path)))) == runs[0]
    assert extract("data", made.backbone, cache="cache").paths.tolist() == made.embeddings.paths.tolist()
    assert fill("data", [made.backbone], cache="cache")[0].computed == 0
    assert Bundle.load(str(made.bundle.save(str(tmp_path / "x.fc7")))).classes == ("blue", "red")
    assert len(Embeddings.from_h5(made.embeddings.to_h5(str(tmp_path / "x.h5")))) == len(made.embeddings)
    pytest.importorskip("jinja2")
    page = report("runs", str(tmp_path / "r.html"), thumbnails="data")
    assert "fake tiles ridge" in page.read_text(encoding="utf-8")


# Wrong arguments

PIXELS = np.zeros((4, 4, 3), np.uint8)
WRONG = {
    "read_manifest number": lambda made: read_manifest(5),
    "read_manifest None": lambda made: read_manifest(None),
    "read_manifest nothing": lambda made: read_manifest(""),
    "read_manifest list": lambda made: read_manifest(["a.png", "b.png"]),
    "read_manifest array": lambda made: read_manifest(np.eye(9)),
    "extract cache of lines": lambda made: extract(made.manifest, made.backbone, cache=np.eye(9)),
    "load_backbone number": lambda made: load_backbone(5),
    "load_backbone layer": lambda made: load_backbone("squeezenet1_1", 5, weights="random:0"),
    "load_backbone weights": lambda made: load_backbone("squeezenet1_1", weights=5),
    "load_backbone image_size": lambda made: load_backbone("squeezenet1_1", "gap", weights="random:0", image_size=64),
    "load_backbone image_size of one": lambda made: load_backbone("squeezenet1_1", "gap", image_size=(64,)),
    "load_backbone views": lambda made: load_backbone("squeezenet1_1", "gap", weights="random:0", views="2"),
    "load_backbone batch_size": lambda made: load_backbone("squeezenet1_1", "gap", weights="random:0", batch_size=1.5),
    "load_backbone device": lambda made: load_backbone("squeezenet1_1", "gap", weights="random:0", device=3),
    "load_backbone mirror": lambda made: load_backbone("squeezenet1_1", "gap", weights="random:0", mirror="yes"),
    "load_backbone transform": lambda made: load_backbone("squeezenet1_1", "gap", weights="random:0", transform=5),
    "load_backbone cache": lambda made: load_backbone("squeezenet1_1", "gap", weights="random:0", cache=5),
    "Backbone no module": lambda made: Backbone(5, made.transform),
    "extract number": lambda made: extract(5, made.backbone),
    "extract name": lambda made: extract(made.manifest, "vgg16"),
    "extract list": lambda made: extract(made.manifest, [made.backbone]),
    "extract workers": lambda made: extract(made.manifest, made.backbone, workers="2"),
    "extract engine": lambda made: extract(made.manifest, made.backbone, engine="ray"),
    "extract progress": lambda made: extract(made.manifest, made.backbone, progress=True),
    "extract cache": lambda made: extract(made.manifest, made.backbone, cache=5),
    "fill one": lambda made: fill(made.manifest, made.backbone),
    "fill none": lambda made: fill(made.manifest, []),
    "fill names": lambda made: fill(made.manifest, ["vgg16"]),
    "fit text": lambda made: fit("x"),
    "fit None": lambda made: fit(None),
    "fit matrix": lambda made: fit(np.eye(4)),
    "fit unlabelled": lambda made: fit((np.eye(4), [""] * 4)),
    "fit ragged": lambda made: fit(([[1.0], [1.0, 2.0]], ["a", "b"])),
    "transform pictures": lambda made: made.transformer.transform(np.zeros((2, 3, 9, 9))),
    "fit head": lambda made: fit(made.embeddings, 5),
    "fit on": lambda made: fit(made.embeddings, on=5),
    "fit on train": lambda made: fit(made.embeddings, on="train"),
    "fit cross_validate": lambda made: fit(made.embeddings, cross_validate="5"),
    "fit cross_validate bool": lambda made: fit(made.embeddings, cross_validate=True),
    "fit folds": lambda made: fit(made.embeddings, folds=2.5),
    "fit epochs": lambda made: fit(made.embeddings, epochs="1"),
    "fit class_weight": lambda made: fit(made.embeddings, class_weight=[1, 2]),
    "fit class_weight of text": lambda made: fit(made.embeddings, class_weight={"red": "2"}),
    "fit preparation": lambda made: fit(made.embeddings, preparation=None),
    "fit random_state": lambda made: fit(made.embeddings, random_state=None),
    "fit random_state negative": lambda made: fit(made.embeddings, random_state=-1),
    "fit n_jobs": lambda made: fit(made.embeddings, n_jobs=0),
    "fit engine": lambda made: fit(made.embeddings, engine="ray"),
    "compare matrix": lambda made: compare(np.eye(4)),
    "compare none": lambda made: compare([]),
    "compare text": lambda made: compare("x"),
    "compare heads": lambda made: compare(made.embeddings, 5),
    "compare heads of numbers": lambda made: compare(made.embeddings, [5]),
    "compare folder": lambda made: compare(made.embeddings, ["ridge"], folder=5),
    "compare add": lambda made: compare(made.embeddings, ["ridge"], add="x.csv"),
    "compare n_jobs": lambda made: compare(made.embeddings, ["ridge"], n_jobs=0),
    "compare random_state": lambda made: compare(made.embeddings, ["ridge"], random_state=None),
    "audit matrix": lambda made: audit(np.eye(4)),
    "audit head": lambda made: audit(made.embeddings, head=5),
    "audit threshold": lambda made: audit(made.embeddings, threshold="0.9"),
    "audit neighbours": lambda made: audit(made.embeddings, neighbours=1.5),
    "Bundle.of": lambda made: Bundle.of(made.embeddings),
    "Bundle.load": lambda made: Bundle.load(5),
    "Bundle.save": lambda made: made.bundle.save(5),
    "Bundle.abstaining": lambda made: made.bundle.abstaining("0.1"),
    "predict_proba": lambda made: made.bundle.predict_proba([[1.0]]),
    "predict number": lambda made: made.bundle.predict(5),
    "predict text": lambda made: made.bundle.predict("data"),
    "predict none": lambda made: made.bundle.predict([]),
    "predict max_error": lambda made: made.bundle.predict(["a.png"], max_error="0.1"),
    "predict backbone": lambda made: made.bundle.predict(["a.png"], backbone="vgg16"),
    "export bundle": lambda made: export("x.fc7", "x.onnx"),
    "export path": lambda made: export(made.bundle, 5),
    "export tolerance": lambda made: export(made.bundle, "x.onnx", tolerance="1"),
    "load_runs": lambda made: load_runs(5),
    "report number": lambda made: report(5, "r.html"),
    "report none": lambda made: report([], "r.html"),
    "report texts": lambda made: report(["a"], "r.html"),
    "report path": lambda made: report(made.runs, 5),
    "choose number": lambda made: choose(5),
    "choose none": lambda made: choose([]),
    "Run.load": lambda made: Run.load(5),
    "from_h5": lambda made: Embeddings.from_h5(5),
    "to_h5": lambda made: made.embeddings.to_h5(None),
    "Recipe.from_json": lambda made: Recipe.from_json(5),
    "Store": lambda made: Store("vgg16"),
    "RayEngine": lambda made: RayEngine(actors="2"),
    "embed none": lambda made: embed([], [made.backbone]),
    "embed one": lambda made: embed(PIXELS, [made.backbone]),
    "embed no backbone": lambda made: embed([PIXELS], []),
    "embed text": lambda made: embed([PIXELS], ["vgg16"]),
}  # fmt: skip


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_one_line_of_fc7(made, call):
    with pytest.raises(FC7Error) as raised:
        call(made)
    text = str(raised.value)
    assert len(text) > 20
    assert text.isprintable()
    assert len(text) < 400


# The doors


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_lists_what_is_public_and_nothing_else(room):
    module = importlib.import_module(room)
    assert dir(module) == sorted(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        assert inspect.getdoc(thing), name


def test_help_has_a_tour_and_names_the_rooms():
    text = pydoc.plain(pydoc.render_doc(fc7))
    for word in ("load_backbone", "read_manifest", "compare", "to_pandas", "extract", "classify", "cache", "errors"):
        assert word in text
    assert {"cache", "classify", "errors", "extract"} <= set(dir(fc7))


def test_rooms_are_there_after_importing_the_package_alone():
    code = (
        "import sys, fc7; assert 'fc7.extract' not in sys.modules; "
        "print(fc7.extract.read_manifest.__name__, fc7.errors.DataError.__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["read_manifest", "DataError", "False"]
    with pytest.raises(AttributeError, match="'fc7' has no attribute 'nothing'"):
        _ = fc7.nothing
