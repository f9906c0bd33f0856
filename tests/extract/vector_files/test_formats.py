"""Files of vectors: every kind holds the same rows, bit for bit, and is refused before anything is computed."""

import csv
import json

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fc7.cache import Embeddings, Recipe
from fc7.errors import DataError, FC7Error, UsageError
from fc7.extract.coordinates import coordinates
from fc7.extract.text import unguarded
from fc7.extract.vector_files.formats import FORMATS, VectorFile
from fc7.extract.vector_files.reading import read_vectors

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


def embeddings(vectors, paths=None, labels=None):
    """Return embeddings with given vectors."""
    rows, dim = vectors.shape
    paths = paths or [f"ants/{row}.jpg" for row in range(rows)]
    labels = labels or ["ants", "bees"] * rows
    return Embeddings(
        labels=np.array(labels[:rows], np.str_),
        paths=np.array(paths, np.str_),
        split=np.array((["train", "val", ""] * rows)[:rows]),
        group=np.array((["", "g 1"] * rows)[:rows]),
        sha256=np.random.default_rng(0).integers(0, 256, (rows, 32), np.uint8),
        classes=tuple(sorted(set(labels[:rows]))),
        vectors=vectors,
        recipe=Recipe("vgg16", "fc7", dim, "0" * 64, dtype=str(vectors.dtype)),
        weights_source="random:0",
        seconds=1.5,
        name="insects",
    )


def read_parquet(path):
    """Return what a parquet has: columns, vectors, metadata."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    metadata = {name.decode(): text.decode() for name, text in table.schema.metadata.items()}
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    return {name: table[name].to_pylist() for name in table.column_names[:-1]}, vectors, metadata


def read_csv(path):
    """Return what a csv has."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
    texts = {name: [unguarded(cell) for cell in columns[name]] for name in ("path", "label", "split", "group")}
    numbers = [name for name in columns if name[0] == "e"]
    assert numbers == [f"e{number}" for number in range(len(numbers))]
    vectors = np.array([columns[name] for name in numbers], np.float32).T if numbers else None
    return texts | {"sha256": list(columns["sha256"])}, vectors, {}


def read_npz(path):
    """Return what an npz has."""
    arrays = dict(np.load(path))
    metadata = {name: str(arrays[name]) for name in ("recipe", "classes", "name", "weights_source", "seconds")}
    return columns_of(arrays), arrays["embeddings"], metadata


def read_npy(path):
    """Return what an npy and the files beside it have."""
    metadata = json.loads(path.with_suffix(".json").read_text())
    return read_csv(path.with_suffix(".csv"))[0], np.load(path), metadata | {"recipe": json.dumps(metadata["recipe"])}


def read_safetensors(path):
    """Return what a safetensors file has."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        columns = {name: json.loads(metadata[name]) for name in ("paths", "labels", "split", "group")}
        columns["sha256"] = file.get_tensor("sha256")
        return columns_of(columns), file.get_tensor("embeddings"), metadata


def read_h5(path):
    """Return what an h5 has."""
    read = Embeddings.from_h5(path)
    columns = {name: getattr(read, name) for name in ("paths", "labels", "split", "group", "sha256")}
    with h5py.File(path) as file:
        metadata = {name: str(value) for name, value in file.attrs.items()}
    return columns_of(columns), read.vectors, metadata


def columns_of(arrays):
    """Return columns by their names in a table."""
    columns = {name: list(arrays[plural]) for name, plural in {"path": "paths", "label": "labels"}.items()}
    columns |= {name: list(arrays[name]) for name in ("split", "group")}
    return columns | {"sha256": [key.tobytes().hex() for key in arrays["sha256"]]}


READERS = {
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".npz": read_npz,
    ".npy": read_npy,
    ".safetensors": read_safetensors,
    ".h5": read_h5,
}


def check(written, suffix, folder):
    """Write embeddings, read them back, and compare every bit."""
    path = folder / f"vectors{suffix}"
    assert path in VectorFile(path).write(written)
    columns, vectors, metadata = READERS[suffix](path)
    assert columns == {
        "path": written.paths.tolist(),
        "label": written.labels.tolist(),
        "split": written.split.tolist(),
        "group": written.group.tolist(),
        "sha256": [key.hex() for key in written.keys],
    }
    assert np.array_equal(vectors.astype(written.vectors.dtype), written.vectors)
    if suffix not in {".csv", ".parquet"}:
        assert vectors.dtype == written.vectors.dtype
    if metadata:
        assert Recipe.from_json(metadata["recipe"]) == written.recipe
        assert (metadata["name"], metadata["weights_source"]) == ("insects", "random:0")
        assert float(metadata["seconds"]) == 1.5


def test_every_kind_is_read_here():
    assert FORMATS.keys() == READERS.keys()


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_kind_is_read_back_bit_for_bit(tmp_path, suffix, data):
    dtype = data.draw(st.sampled_from([np.float16, np.float32]))
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 4)))
    numbers = st.floats(width=np.dtype(dtype).itemsize * 8, allow_nan=False, allow_infinity=False)
    vectors = data.draw(arrays(dtype, shape, elements=numbers))
    words = [data.draw(st.lists(NAMES, min_size=shape[0], max_size=shape[0], unique=True)) for _ in range(2)]
    check(embeddings(vectors, *words), suffix, tmp_path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_are_written_in_blocks(tmp_path, suffix, monkeypatch):
    """The blocks are of three rows, the last one of one."""
    monkeypatch.setattr("fc7.cache.embeddings._BLOCK_BYTES", 3 * 4 * 5)
    monkeypatch.setattr("fc7.extract.vector_files.numpy_files._PORTION", 100)
    check(embeddings(np.random.default_rng(1).standard_normal((10, 5)).astype(np.float16)), suffix, tmp_path)


def test_pandas_reads_paths_and_vectors(tmp_path):
    pandas = pytest.importorskip("pandas")
    written = embeddings(np.arange(12, dtype=np.float32).reshape(4, 3))
    VectorFile(tmp_path / "v.parquet").write(written)
    frame = pandas.read_parquet(tmp_path / "v.parquet")
    assert frame["path"].tolist() == written.paths.tolist()
    assert np.array_equal(np.stack(frame["embedding"]), written.vectors)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"v\.xlsx.*one of \.parquet, \.csv"):
        VectorFile(tmp_path / "v.xlsx")


def test_a_library_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(FC7Error, match=r"fc7\[tables\]"):
        VectorFile(tmp_path / "v.parquet")


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_fails_leaves_the_file_as_it_was(tmp_path, suffix):
    class Broken:
        shape, dtype = (2, 3), np.dtype(np.float32)

        def __getitem__(self, rows):
            raise OSError(5, "Input/output error")

    path = tmp_path / f"v{suffix}"
    VectorFile(path).write(embeddings(np.ones((2, 3), np.float32)))
    before = path.read_bytes()
    written = embeddings(np.zeros((2, 3), np.float32))
    object.__setattr__(written, "vectors", Broken())
    with pytest.raises(DataError, match="Input/output error"):
        VectorFile(path).write(written)
    assert path.read_bytes() == before
    assert [file.suffix for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_names_that_are_no_unicode_are_escaped(tmp_path):
    written = embeddings(np.ones((1, 2), np.float32), ["a\udcff.jpg"])
    for suffix in FORMATS:
        path = tmp_path / f"{suffix[1:]}{suffix}"
        VectorFile(path).write(written)
        columns, *_ = READERS[suffix](path)
        assert columns["path"] == ["a\\udcff.jpg"]


def test_texts_that_no_header_holds_are_refused(tmp_path, monkeypatch):
    written = embeddings(np.ones((3, 2), np.float32))
    monkeypatch.setattr("fc7.extract.vector_files.safetensors_file._MOST", 100)
    with pytest.raises(DataError, match=r"those of 3 images are more. Write a \.parquet"):
        VectorFile(tmp_path / "v.safetensors").write(written)
    assert list(tmp_path.iterdir()) == []


def test_the_library_reads_a_header_of_that_size_and_no_larger_one(tmp_path):
    from safetensors import SafetensorError, safe_open

    from fc7.extract.vector_files.safetensors_file import _MOST

    for size, readable in ((_MOST, True), (_MOST + 8, False)):
        with (tmp_path / "v.safetensors").open("wb") as file:
            file.write(size.to_bytes(8, "little") + b"{}")
            file.write(b" " * (size - 2))
        if readable:
            with safe_open(tmp_path / "v.safetensors", "numpy") as file:
                assert list(file.keys()) == []
        else:
            with pytest.raises(SafetensorError):
                safe_open(tmp_path / "v.safetensors", "numpy")


def test_a_table_that_was_not_written_with_vectors_stays(tmp_path):
    """``fc7 extract photos -o photos.npy`` beside photos.csv, which may have labels."""
    (tmp_path / "photos.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"photos\.csv is there, and .*photos\.npy is not: it would be replaced"):
        VectorFile(tmp_path / "photos.npy")
    rows = embeddings(np.zeros((2, 3), np.float32))
    for _ in range(2):  # its own are replaced
        VectorFile(tmp_path / "other.npy").write(rows)


def test_numbers_below_zero_are_no_formulas(tmp_path):
    labels = ["-1", "-2.5", "-1+1", "'-1", "=1", "-"]
    rows = embeddings(np.zeros((6, 1), np.float32), labels=labels)
    VectorFile(tmp_path / "x.csv").write(rows)
    with (tmp_path / "x.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["-1", "-2.5", "'-1+1", "''-1", "'=1", "'-"]
    assert read_csv(tmp_path / "x.csv")[0]["label"] == labels


def test_parquet_has_a_point_for_each_image_if_asked(tmp_path):
    written = embeddings(np.random.default_rng(0).standard_normal((30, 8)).astype(np.float16))
    VectorFile(tmp_path / "vectors.parquet", "pca").write(written)
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(tmp_path / "vectors.parquet")
    expected = coordinates(written.vectors).points
    np.testing.assert_array_equal(np.column_stack([table["x"], table["y"]]), expected)
    assert len(read_vectors(tmp_path / "vectors.parquet")) == 30
    with pytest.raises(UsageError, match=r"\.parquet"):
        VectorFile(tmp_path / "vectors.csv", "pca")
