"""Vectors that another program made."""

import csv

import numpy as np
import pytest

from fc7.cache import Embeddings, Recipe
from fc7.cache.recipe import ForeignRecipe, read_recipe
from fc7.errors import DataError, FC7Error, UsageError
from fc7.extract.manifest.table import VECTOR_FILES
from fc7.extract.vector_files.columns import from_columns, from_memory
from fc7.extract.vector_files.formats import VectorFile
from fc7.extract.vector_files.reading import read_vectors

X = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
LABELS = ["ants", "bees"] * 3


@pytest.mark.parametrize("suffix", VECTOR_FILES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_fc7_wrote_is_read_back(tmp_path, suffix, dtype):
    written = Embeddings(
        labels=np.array(LABELS),
        paths=np.array([f"{row}.jpg" for row in range(6)]),
        split=np.array(["train", "val"] * 3),
        group=np.array(["", "g"] * 3),
        sha256=np.random.default_rng(1).integers(0, 256, (6, 32), np.uint8),
        classes=("ants", "bees"),
        vectors=X.astype(dtype),
        recipe=Recipe("vgg16", "fc7", 3, "0" * 64, dtype=np.dtype(dtype).name),
        weights_source="random:0",
        seconds=2.5,
        name="insects",
    )
    VectorFile(tmp_path / f"v{suffix}").write(written)
    read = read_vectors(tmp_path / f"v{suffix}")
    for name in ("labels", "paths", "split", "group", "sha256", "vectors"):
        assert np.array_equal(getattr(read, name), getattr(written, name)), name
    for name in ("classes", "recipe", "weights_source", "seconds", "name"):
        assert getattr(read, name) == getattr(written, name), name
    assert read.vectors.dtype == (np.float32 if suffix == ".parquet" else dtype)


def test_usual_names_of_columns_are_found(tmp_path):
    np.savez(tmp_path / "v.npz", features=X, y=np.array([0, 1] * 3), filename=[f"{row}.jpg" for row in range(6)])
    read = read_vectors(tmp_path / "v.npz")
    assert (read.classes, read.paths[1], read.name) == (("0", "1"), "1.jpg", "v.npz")
    assert np.array_equal(read.vectors, X)
    assert isinstance(read.recipe, ForeignRecipe)
    assert (read.recipe.dim, read.recipe.backbone, read.recipe.layer) == (3, "v.npz", "made elsewhere")


def test_columns_are_named(tmp_path):
    np.savez(tmp_path / "v.npz", a=X, species=LABELS, set=["validation", "train"] * 3)
    read = read_vectors(tmp_path / "v.npz", {"label": "species"})
    assert read.labels.tolist() == LABELS
    assert read.split.tolist() == ["val", "train"] * 3
    with pytest.raises(DataError, match=r"no column 'kind'\. It has a, species, set"):
        read_vectors(tmp_path / "v.npz", {"label": "kind"})
    with pytest.raises(UsageError, match="no use for a column lable"):
        read_vectors(tmp_path / "v.npz", {"lable": "species"})


def test_a_matrix_with_a_csv_beside_it(tmp_path):
    np.save(tmp_path / "v.npy", X)
    with pytest.raises(DataError, match=r"v\.csv"):
        read_vectors(tmp_path / "v.npy")
    with (tmp_path / "v.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["filename", "class"], *zip("abcdef", LABELS, strict=True)])
    read = read_vectors(tmp_path / "v.npy")
    assert (read.paths.tolist(), read.labels.tolist()) == (list("abcdef"), LABELS)
    np.save(tmp_path / "v.npy", X[:5])
    with pytest.raises(DataError, match="5 vectors and 6 in the column label"):
        read_vectors(tmp_path / "v.npy")


def test_lists_of_a_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(
        pa.table({"vector": X.astype(float).tolist(), "label": [*LABELS[:5], None]}), tmp_path / "v.parquet"
    )
    read = read_vectors(tmp_path / "v.parquet")
    assert np.array_equal(read.vectors, X)
    assert read.labels.tolist() == [*LABELS[:5], ""]
    parquet.write_table(pa.table({"vector": [[1.0], [1.0, 2.0]]}), tmp_path / "v.parquet")
    with pytest.raises(DataError, match="not all of one length"):
        read_vectors(tmp_path / "v.parquet")
    parquet.write_table(pa.table({"vector": [[1.0], None]}), tmp_path / "v.parquet")
    with pytest.raises(DataError, match="not all of one length"):
        read_vectors(tmp_path / "v.parquet")


def test_equal_vectors_are_one_image():
    read = from_columns({"embedding": np.concatenate([X, X[:1]])}, "x")
    assert len(read.keys.unique()) == 6
    assert read.keys[0] == read.keys[6]


def test_the_recipe_follows_from_the_bytes():
    one, same, other = (from_columns({"embedding": matrix}, "x").recipe for matrix in (X, X.copy(), X + 1))
    assert one.id == same.id != other.id
    assert read_recipe(one.to_json()) == one


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"embedding": X[0]}, "needed is a matrix"),
        ({"embedding": X.astype(str)}, "needed is a matrix"),
        ({"embedding": X[:0]}, "needed is a matrix"),
        ({"embedding": np.where(X > 1, np.nan, X)}, "rows are not finite"),
        ({"embedding": X.astype(float) * 1e300}, "rows are not finite"),
        ({"embedding": X, "split": ["train", "holdout"] * 3}, "splits .*holdout"),
        ({"embedding": X, "label": LABELS[:2]}, "6 vectors and 2"),
        ({"embedding": X, "sha256": ["zz"] * 6}, "64 hexadecimal digits"),
    ],
)
def test_what_is_wrong_is_said(columns, message):
    with pytest.raises(DataError, match=message):
        from_columns(columns, "x")


@pytest.mark.parametrize("suffix", sorted({*VECTOR_FILES} - {".h5"}))
def test_damaged_files_are_refused(tmp_path, suffix):
    """Every cut of a file, and pickles in one."""
    path = tmp_path / f"v{suffix}"
    VectorFile(path).write(from_columns({"embedding": X, "label": LABELS}, "x"))
    data = path.read_bytes()
    for size in {0, 1, 7, 20, len(data) // 2, len(data) - 1}:
        path.write_bytes(data[:size])
        with pytest.raises(DataError):
            read_vectors(path)


@pytest.mark.parametrize(("name", "text"), [("seconds", "soon"), ("recipe", "none")])
def test_metadata_that_say_nothing_are_refused(tmp_path, name, text):
    recipe = Recipe("vgg16", "fc7", 3, "0" * 64, dtype="float32").to_json()
    np.savez(tmp_path / "v.npz", embedding=X, **({"recipe": recipe} | {name: text}))
    with pytest.raises(FC7Error):
        read_vectors(tmp_path / "v.npz")


def test_a_name_is_never_a_path(tmp_path):
    recipe = Recipe("vgg16", "fc7", 3, "0" * 64, dtype="float32").to_json()
    np.savez(tmp_path / "v.npz", embedding=X, recipe=recipe, name="/home/me/insects")
    assert read_vectors(tmp_path / "v.npz").name == "insects"


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "v.npz", embedding=np.array([{"a": 1}], object))
    with pytest.raises(DataError, match="not a readable file"):
        read_vectors(tmp_path / "v.npz")


def test_a_matrix_with_labels():
    read = from_memory((X.tolist(), np.array(LABELS)))
    assert np.array_equal(read.vectors, X)
    assert read.labels.tolist() == LABELS


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_tables(library):
    """With a column of vectors, and with a column for each of their numbers."""
    make = {"pandas": lambda: __import__("pandas").DataFrame, "pyarrow": lambda: __import__("pyarrow").table}
    pytest.importorskip(library)
    table = make[library]()
    for columns in ({"embedding": list(X)}, {f"e{number}": X[:, number] for number in range(3)}):
        read = from_memory(table({"class": LABELS, "path": list("abcdef")} | columns))
        assert np.array_equal(read.vectors, X)
        assert (read.labels.tolist(), read.paths.tolist()) == (LABELS, list("abcdef"))


def test_columns_without_names_are_found():
    pandas = pytest.importorskip("pandas")
    read = from_memory(pandas.DataFrame(X).assign(label=LABELS))
    assert np.array_equal(read.vectors, X)
    assert read.labels.tolist() == LABELS


def test_a_column_that_tells_the_label_or_the_row_is_no_feature():
    frame = pytest.importorskip("pandas").DataFrame(X).assign(label=LABELS)
    codes, tells = [LABELS.index(label) for label in LABELS], "has one number for all rows of a label"
    for name, values, said in (
        ("class_id", codes, tells),
        ("target", np.array(codes, float), tells),
        ("is ants", np.array(codes) == 0, tells),
        ("Unnamed: 0", range(6), "numbers the rows"),
        ("index", range(1, 7), "numbers the rows"),
    ):
        with pytest.raises(DataError, match=f"The column '{name}' {said}.* Leave it out: table.drop"):
            from_memory(frame.assign(**{name: values}))
    for name, values in (("constant", 1.0), ("index", [3, 1, 2, 6, 5, 4]), ("y", [1, 1, 2, 3, 3, 4])):
        assert from_memory(frame.assign(**{name: values})).vectors.shape == (6, 4)


def test_a_tensor_that_learns_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(DataError, match="not a matrix of numbers: Can't call numpy"):
        from_memory((torch.tensor(X, requires_grad=True), LABELS))


def test_tables_without_vectors_are_refused():
    frame = pytest.importorskip("pandas").DataFrame
    for columns in ({"label": LABELS}, {"label": LABELS, "x": LABELS}, {"embedding": [[1.0], [1.0, 2.0]]}, {}):
        with pytest.raises(DataError, match="vectors"):
            from_memory(frame(columns))


def test_other_things_are_refused():
    for data in ("x.npz", 3, X, (X, LABELS, LABELS)):
        with pytest.raises(UsageError, match=r"Vectors are embeddings, \(X, y\), or a table .*; this is of type"):
            from_memory(data)


@pytest.mark.parametrize("suffix", VECTOR_FILES)
def test_classes_without_a_vector_are_kept(tmp_path, suffix):
    """As those of the images are, and in every kind of file."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    recipe = Recipe("vgg16", "fc7", 3, "0" * 64, dtype="float32")
    columns = {"embedding": X, "label": ["ants", "", "bees"] * 2}
    written = from_columns(columns, "x", recipe=recipe, classes=("ants", "bees", "wasps"))
    VectorFile(tmp_path / f"v{suffix}").write(written)
    read = read_vectors(tmp_path / f"v{suffix}")
    assert (read.classes, read.labels.tolist()) == (("ants", "bees", "wasps"), columns["label"])


@pytest.mark.parametrize("classes", ['["ants"]', '["ants", "bees", "bees"]', '{"ants": 1}', "ants", "[1, 2]"])
def test_classes_that_cannot_be_are_refused(tmp_path, classes):
    recipe = Recipe("vgg16", "fc7", 3, "0" * 64, dtype="float32").to_json()
    np.savez(tmp_path / "v.npz", embedding=X, labels=LABELS, recipe=recipe, classes=classes)
    with pytest.raises(DataError, match=r"v\.npz|bees"):
        read_vectors(tmp_path / "v.npz")


def test_a_csv_beside_a_matrix_is_read_as_others_are(tmp_path):
    np.save(tmp_path / "v.npy", X)
    rows = [f"{name};{label}" for name, label in zip("abcdef", [" ants", "bees, red"] * 3, strict=True)]
    (tmp_path / "v.csv").write_text("\n".join(["File Name;Class", *rows, ""]), "utf-16")
    read = read_vectors(tmp_path / "v.npy")
    assert (read.paths.tolist(), read.labels.tolist()) == (list("abcdef"), [" ants", "bees, red"] * 3)
    (tmp_path / "v.csv").write_text("File Name;Class\na;b\nc\n")
    with pytest.raises(DataError, match="line 3 has 1 cell"):
        read_vectors(tmp_path / "v.npy")


SPARSE = "scipy.sparse"


@pytest.mark.parametrize(("data", "said"), [
    (lambda: (pytest.importorskip(SPARSE).csr_matrix(X), LABELS), "this is of type csr_"),
    (lambda: ((row for row in X), LABELS), "this is of type generator"),
    (lambda: (X[:, 0], LABELS), r"this is \(6,\) float32"),
    (lambda: (X[:, :, None], LABELS), r"this is \(6, 3, 1\) float32"),
    (lambda: (X.astype(object), LABELS), "object"),
    (lambda: (X > 0, LABELS), "bool"),
    (lambda: (np.ma.array(X, mask=X.mean() < X), LABELS), "rows are not finite"),
    (lambda: (X * np.float64(1e-60), LABELS), "6 of 6 rows have numbers too small for float32"),
    (lambda: (X, 5), "the column label is of type int, not a list of values"),
    (lambda: (X, set("abcdef")), "the column label is of type set"),
    (lambda: (X, np.eye(6)), "one value for each vector, this has several"),
    (lambda: (X, [["a", "b"], *LABELS[:5]]), "one value for each vector, this has several"),
])  # fmt: skip
def test_what_is_no_matrix_with_labels_is_refused(data, said):
    with pytest.raises(DataError, match=said) as raised:
        from_memory(data())
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("labels", [
    np.array(LABELS)[:, None], np.array(LABELS, "S"), [label.encode() for label in LABELS], (label for label in LABELS),
], ids=["column", "bytes", "objects", "generator"])  # fmt: skip
def test_labels_as_libraries_have_them(labels):
    assert from_memory((X, labels)).labels.tolist() == LABELS


def test_masked_labels_are_missing():
    masked = np.ma.masked_array([3, 3, 4, 4, 5, 5], mask=[1, 0, 0, 0, 0, 1])
    assert from_memory((X, masked)).labels.tolist() == ["", "3", "4", "4", "5", ""]


def test_what_is_wrong_with_a_table_is_said():
    frame = pytest.importorskip("pandas").DataFrame
    with pytest.raises(DataError, match=r"\(3,\) in its first row, \(2,\) in row 3\."):
        from_memory(frame({"embedding": [X[0], X[1], X[2, :2], *X[3:]]}))
    with pytest.raises(DataError, match="no column of vectors, and name, when hold no numbers"):
        from_memory(frame(X).assign(name="x", label=LABELS, when=["2020"] * 6))


@pytest.mark.parametrize("values", [["1,2"] * 6, [1.0] * 6], ids=["texts", "numbers"])
def test_a_parquet_without_lists_is_refused(tmp_path, values):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"embedding": values, "label": LABELS}), tmp_path / "v.parquet")
    with pytest.raises(DataError, match="its column of vectors holds no lists but"):
        read_vectors(tmp_path / "v.parquet")
