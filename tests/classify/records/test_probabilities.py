"""The probabilities beside a record: the most probable classes, bounded, and refused if they are not those written."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.classify import Run
from fc7.classify.records.probabilities import KEPT, Probabilities
from fc7.errors import DataError


def random_rows(n, classes, seed=0):
    generator = np.random.default_rng(seed)
    scores = np.exp(3 * generator.normal(size=(n, classes)))
    return scores / scores.sum(axis=1, keepdims=True), generator.integers(0, classes, n)


@given(st.integers(1, 9), st.sampled_from([1, 2, 3, 49, 50, 51, 300]), st.integers(0, 4), st.integers(0, 9))
def test_the_most_probable_classes_are_kept_the_predicted_one_first(n, classes, digits, seed):
    probability, y = random_rows(n, classes, seed)
    probability = probability.round(digits)  # with ties
    kept = Probabilities.of(probability, y)
    k = min(classes, KEPT)
    assert kept.arrays["classes"].shape == kept.arrays["probability"].shape == (n, k)
    assert kept.arrays["classes"][:, 0].tolist() == probability.argmax(axis=1).tolist()
    assert np.array_equal(kept.confidence, probability.max(axis=1).astype(np.float32))
    assert np.array_equal(kept.arrays["label_probability"], probability[np.arange(n), y].astype(np.float32))
    assert np.array_equal(kept.arrays["probability"], -np.sort(-probability.astype(np.float32), axis=1)[:, :k])
    if classes <= KEPT:
        assert np.array_equal(kept.matrix(), probability.astype(np.float32))


def test_the_file_is_numpys_and_the_same_every_time():
    probability, y = random_rows(20, 3)
    first, second = (Probabilities.of(probability, y) for _ in range(2))
    assert first == second
    assert first.data == second.data
    with np.load(io.BytesIO(first.data), allow_pickle=False) as arrays:
        assert set(arrays.files) == {"classes", "probability", "label_probability"}
        assert arrays["classes"].dtype == np.uint16


def test_a_record_of_a_thousand_classes_stays_small(made_up, tmp_path):
    """Five of 4,000 images are to stay under 20 MB, so one of 200 images under 0.2 MB; they were 109 MB."""
    n, classes = 200, tuple(f"class number {place}" for place in range(1000))
    probability, y = random_rows(n, len(classes))
    run = made_up(probability.argmax(axis=1) == y, labels=y, classes=classes)
    replace(run, probabilities=Probabilities.of(probability, y)).save(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 20e6 / 5 / 4000 * n


def test_they_are_read_when_they_are_needed(made_up, tmp_path):
    run = made_up([True, False, True])
    path = run.save(tmp_path)
    path.with_suffix(".npz").unlink()
    lost = Run.load(path)
    assert lost == run
    assert lost.right.tolist() == [True, False, True]
    with pytest.raises(DataError, match=rf"{path.stem}\.npz cannot be read: No such file"):
        _ = lost.probabilities.arrays


def test_what_was_altered_is_refused(made_up, tmp_path):
    path = made_up([True, False, True]).save(tmp_path)
    beside = path.with_suffix(".npz")
    beside.write_bytes(beside.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=rf"{path.stem}\.npz is not the file that its record was written with"):
        _ = Run.load(path).probabilities.arrays


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


GOOD = {
    "classes": np.zeros((3, 2), np.uint16),
    "probability": np.full((3, 2), 0.5, np.float32),
    "label_probability": np.full(3, 0.5, np.float32),
}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        archive(**GOOD)[:200],
        archive(**{name: GOOD[name] for name in ("classes", "probability")}),
        archive(**GOOD | {"classes": np.full((3, 2), 2, np.uint16)}),
        archive(**GOOD | {"classes": np.zeros((3, 2), object)}),
        archive(**GOOD | {"classes": np.zeros((2, 2), np.uint16)}),
        archive(**GOOD | {"probability": np.full((3, 2), 0.5)}),
        archive(**GOOD | {"probability": np.full((3, 2), np.nan, np.float32)}),
        archive(**GOOD | {"probability": np.full((3, 2), 2, np.float32)}),
        archive(**GOOD | {"probability": np.zeros((1000, 1000), np.float32)}),
        archive(**GOOD | {"label_probability": np.zeros((3, 1), np.float32)}),
    ],
)
def test_a_hostile_file_is_one_line(made_up, tmp_path, data):
    """Its sha256 is in its record, as somebody wrote both."""
    path = made_up([True, False, True]).save(tmp_path)
    path.with_suffix(".npz").write_bytes(data)
    values = json.loads(path.read_text())
    values["probabilities"]["sha256"] = hashlib.sha256(data).hexdigest()
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=rf"{path.stem}\.npz does not hold the probabilities") as caught:
        _ = Run.load(path).probabilities.arrays
    assert len(str(caught.value).replace(str(path), "")) < 400
    assert "\n" not in str(caught.value)


def test_a_header_that_asks_for_much_memory_gets_none(made_up, tmp_path):
    data = archive(**GOOD)
    with np.load(io.BytesIO(data)) as arrays:
        small = {name: arrays[name] for name in arrays.files}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, array in small.items():
            header = io.BytesIO()
            shape = (10**9, 2) if name == "classes" else array.shape
            described = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, described)
            zipped.writestr(f"{name}.npy", header.getvalue() + array.tobytes())
    stored = Probabilities(hashlib.sha256(buffer.getvalue()).hexdigest(), buffer.getvalue(), 3, 2)
    with pytest.raises(DataError, match=r"classes is \(1000000000, 2\)"):
        _ = stored.arrays


def test_a_larger_file_is_not_read_whole(made_up, tmp_path):
    path = made_up([True, False, True]).save(tmp_path)
    with path.with_suffix(".npz").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="is not the file"):
        _ = Run.load(path).probabilities.arrays
