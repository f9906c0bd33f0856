"""Tables whose cells are images or paths, in parquet and in memory: the same images as those of the files."""

import io
import json
import types

import numpy as np
import pytest
from fakes import FakeBackbone, draw
from PIL import Image

from fc7.errors import DataError, UsageError
from fc7.extract import Manifest, extract, read_manifest
from fc7.extract.decoding.decode import decode, upright_rgb
from fc7.extract.manifest.table import is_vectors
from fc7.extract.manifest.tables import _file_of, read_parquet, read_table
from fc7.extract.new_images import expand

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)]
LABELS = ["ant", "bee", "ant", "bee"]
NAMES = [f"{number}.png" for number in range(4)]


@pytest.fixture
def pictures(tmp_path):
    for name, colour in zip(NAMES, COLOURS, strict=True):
        draw(tmp_path / name, colour)
    return tmp_path


@pytest.fixture
def keys(pictures, monkeypatch):
    """Return the keys of a data set, after checking that none of its vectors had to be computed."""
    monkeypatch.chdir(pictures)
    (pictures / "x.csv").write_text("".join(["path,label\n", *map("{},{}\n".format, NAMES, LABELS)]))
    first = extract(read_manifest("x.csv"), FakeBackbone(), cache=pictures / "cache")

    def of(data, **options):
        backbone = FakeBackbone()
        rows = extract(read_manifest(data, **options), backbone, cache=pictures / "cache")
        assert backbone.batches == 0
        assert np.array_equal(rows.vectors, first.vectors)
        assert np.array_equal(rows.sha256, first.sha256)
        return rows

    return of


def cells(folder, kind):
    data = [(folder / name).read_bytes() for name in NAMES]
    return {
        "path": NAMES,
        "absolute": [str(folder / name) for name in NAMES],
        "Path": [folder / name for name in NAMES],
        "bytes": data,
        "both": [{"bytes": blob, "path": name} for blob, name in zip(data, NAMES, strict=True)],
        "path alone": [{"bytes": None, "path": name} for name in NAMES],
    }[kind]


KINDS = ["path", "absolute", "bytes", "both", "path alone"]


@pytest.mark.parametrize("kind", KINDS)
def test_parquet(keys, pictures, kind):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table(
        {"label": LABELS, "image": cells(pictures, kind), "split": ["train", "train", "validation", "test"]}
    )
    parquet.write_table(table, "x.parquet", row_group_size=3)
    assert not is_vectors(pictures / "x.parquet")
    rows = keys("x.parquet")
    inside = kind in ("bytes", "both")
    assert rows.paths.tolist() == (
        [f"image/{row}" for row in range(4)] if inside else cells(pictures, "path" if kind == "path alone" else kind)
    )
    assert (rows.labels.tolist(), rows.split.tolist()) == (LABELS, ["train", "train", "val", "test"])


@pytest.mark.parametrize("kind", [*KINDS, "Path"])
@pytest.mark.parametrize("library", ["pandas", "pyarrow", "datasets"])
def test_tables_in_memory(keys, pictures, library, kind):
    if library == "pyarrow" and kind == "Path":
        pytest.skip("pyarrow holds no Path")
    columns = {"image": cells(pictures, kind), "class": LABELS, "number": list(range(4))}
    table = {"pandas": pandas_table, "pyarrow": pyarrow_table, "datasets": FakeDataset}[library](columns)
    rows = keys(table)
    assert rows.labels.tolist() == LABELS
    assert rows.name == "table"
    if kind in ("bytes", "both"):
        assert rows.paths.tolist() == [f"image/{row}" for row in range(4)]


def pandas_table(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def pyarrow_table(columns):
    return pytest.importorskip("pyarrow").table(columns)


class FakeDataset:
    """What of a ``datasets.Dataset`` is asked for: an image is decoded unless its column says otherwise."""

    def __init__(self, columns, features=None):
        self._columns, self.column_names = columns, list(columns)
        self.features = features or {}

    def __getitem__(self, name):
        feature = self.features.get(name)
        if isinstance(feature, ImageFeature) and feature.decode:
            raise AssertionError("pixels are not asked for")
        return iter(self._columns[name])

    def cast_column(self, name, feature):
        return FakeDataset(self._columns, self.features | {name: feature})


class ImageFeature:
    def __init__(self, decode=True):
        self.decode = decode


ImageFeature.__name__ = "Image"


def test_hugging_face_features(keys, pictures):
    features = {"img": ImageFeature(), "label": types.SimpleNamespace(names=["ant", "bee"])}
    halves = [
        FakeDataset({"img": cells(pictures, "both")[part], "label": [0, 1]}, features)
        for part in (slice(2), slice(2, 4))
    ]
    rows = keys({"train": halves[0], "validation": halves[1]})
    assert rows.labels.tolist() == LABELS
    assert rows.split.tolist() == ["train", "train", "val", "val"]
    assert rows.paths.tolist() == ["train/img/0", "train/img/1", "validation/img/0", "validation/img/1"]


def test_names_of_classes_in_parquet(keys, pictures):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    features = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ant", "bee"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"img": cells(pictures, "both"), "label": [0, 1, 0, 1]}).replace_schema_metadata(metadata)
    parquet.write_table(table, "x.parquet")
    assert keys("x.parquet").labels.tolist() == LABELS
    assert keys(table).labels.tolist() == LABELS
    for label, said in (([0, 1, 2, 0], "row 2: the label is 2, and 2 classes"), ([0, 1, -1, None], "")):
        table = table.set_column(1, "label", pa.array(label))
        parquet.write_table(table, "x.parquet")
        if said:
            with pytest.raises(DataError, match=said):
                read_manifest("x.parquet")
        else:
            found, _ = read_parquet(pictures / "x.parquet", with_bad=False, columns=None)
            assert list(found.images.labels) == ["ant", "bee", "", ""]


@pytest.mark.parametrize(
    "metadata", [b"", b"[]", b"{}", b'{"info": 3}', b'{"info": {"features": {"label": 3}}}', b"\xff"]
)
def test_other_metadata_name_no_classes(pictures, metadata):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"path": [str(pictures / name) for name in NAMES], "label": [0, 1, 0, 1]})
    table = table.replace_schema_metadata({b"huggingface": metadata})
    assert list(read_table(table, with_bad=False, columns=None)[0].images.labels) == ["0", "1", "0", "1"]


def test_labels_are_what_the_table_says(pictures):
    pandas = pytest.importorskip("pandas")
    labels = [" NA", "01", "=1", "'=1", "", None, float("nan"), pandas.NA, 7, True, 1.5, "a\nb"]
    frame = pandas.DataFrame({"path": [str(pictures / "0.png")] * len(labels), "label": labels}, dtype=object)
    images = read_table(frame, with_bad=False, columns=None)[0].images
    assert list(images.labels) == [" NA", "01", "=1", "'=1", "", "", "", "", "7", "True", "1.5", "a\nb"]


def test_columns_of_a_table_are_named(keys, pictures):
    frame = pandas_table({"where": NAMES, "what": LABELS, "label": ["x"] * 4})
    assert keys(frame, columns={"path": "where", "label": "what"}).labels.tolist() == LABELS
    with pytest.raises(DataError, match="Which one has the paths"):
        read_manifest(frame)


def test_pictures_of_pillow(pictures):
    names = [pictures / name for name in NAMES]
    frame = pandas_table({"image": [Image.open(name) for name in names], "label": LABELS})
    rows = extract(read_manifest(frame), FakeBackbone(), cache=pictures / "cache")
    (pictures / "x.csv").write_text("".join(["path,label\n", *map("{},{}\n".format, NAMES, LABELS)]))
    assert np.array_equal(
        rows.vectors, extract(read_manifest(pictures / "x.csv"), FakeBackbone(), cache=pictures / "other").vectors
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_file_of_a_picture_is_decoded_as_the_picture(mode, turned):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "P":
        image = Image.fromarray(pixels[..., :3]).quantize(9)
        image.info["transparency"] = 3
    else:
        image = Image.fromarray(pixels).convert(mode)
    if turned:
        image.getexif()[0x0112] = 6
    data = _file_of(image)
    assert data == _file_of(image)
    assert np.array_equal(np.asarray(decode(data)), np.asarray(upright_rgb(image)))


def test_cells_that_hold_no_image(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 99).save(buffer, "PNG")
    broken = Image.open(io.BytesIO(buffer.getvalue()[:2000]))
    blob = (pictures / "1.png").read_bytes()
    table = {"image": [blob, None, broken, str(pictures / "2.png"), "3.png", "gone.png", blob]}
    found, root = read_table(pandas_table(table), with_bad=False, columns=None)
    assert list(found.images.paths) == ["image/0", str(pictures / "2.png"), str(pictures / "3.png"), "image/6"]
    reasons = {reject.path: reject.reason for reject in found.rejects}
    assert reasons.pop("image/2").startswith("not readable: ")
    assert reasons == {"image/1": "the cell is empty", str(pictures / "gone.png"): "no such file"}
    assert root.name == "images.tar!"
    with pytest.raises(UsageError, match="has a int at image/1, and no path"):
        read_table(pandas_table({"image": ["0.png", 3]}), with_bad=False, columns=None)
    with pytest.raises(DataError, match="an image at image/1, and paths before it"):
        read_table(pandas_table({"image": ["0.png", blob]}), with_bad=False, columns=None)
    with pytest.raises(DataError, match=r"Not one of 2 files that The table names is there.*looked for in /"):
        read_table(pandas_table({"image": ["a.png", "b.png"]}), with_bad=False, columns=None)


def test_a_column_that_is_there_twice_is_refused():
    frame = pytest.importorskip("pandas").DataFrame([["a.png", "b.png"]], columns=["path", "path"])
    with pytest.raises(DataError, match="the column 'path' twice"):
        read_table(frame, with_bad=False, columns=None)


def test_bad_rows(pictures):
    for bad in (["yes", "", "no", None], [True, False, False, None]):
        frame = pandas_table({"path": [str(pictures / name) for name in NAMES], "bad": bad})
        assert len(read_table(frame, with_bad=False, columns=None)[0].images) == 3
        assert list(read_table(frame, with_bad=True, columns=None)[0].images.bad) == [1, 0, 0, 0]
    frame["bad"] = "perhaps"
    with pytest.raises(DataError, match="row 0: bad is not yes, no or empty"):
        read_table(frame, with_bad=True, columns=None)


def test_what_is_no_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and so on")
    for read in (read_manifest, is_vectors):
        with pytest.raises(DataError, match="not a readable parquet file"):
            read(tmp_path / "x.parquet")


def test_a_parquet_with_vectors_is_no_table_of_images(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for name, holds in (("embedding", True), ("Vectors", True), ("X", True), ("x", False), ("image", False)):
        parquet.write_table(pa.table({"path": ["1.jpg"], name: [[1.0]]}), tmp_path / "x.parquet")
        assert is_vectors(tmp_path / "x.parquet") == holds
        assert is_vectors(tmp_path / "x.parquet", {"embedding": name})


def test_a_million_rows_are_not_a_million_objects(tmp_path):
    """Only what is asked for is read: neither the images nor columns that nobody needs."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"image": [b"x"] * 5000, "label": ["a", "b"] * 2500}), tmp_path / "x.parquet")
    manifest = read_manifest(tmp_path / "x.parquet")
    assert (len(manifest), manifest.images[4999]) == (5000, ("image/4999", "b", "", "", False))
    assert manifest.files[7] == f"{tmp_path}/x.parquet!/image/7"


def test_a_row_is_one_image(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    for number, kind in enumerate([pa.list_(pa.binary()), pa.list_(pa.string())]):
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(pa.table({"image": pa.array([[b"x", b"y"]], kind), "label": ["ant"]}), path)
        with pytest.raises(DataError, match=r"the column 'image' has list<.*> in its cells: write one image in each"):
            read_manifest(path)


def test_two_columns_of_one_name_and_columns_that_are_no_mapping():
    import pandas as pd

    with pytest.raises(DataError, match="has the column 'label' twice"):
        read_manifest(pd.DataFrame([["a.jpg", "ant", "bee"]], columns=["path", "label", "label"]))
    with pytest.raises(UsageError, match="columns is 'path=a', not a mapping such as"):
        read_manifest(pd.DataFrame({"a": ["a.jpg"]}), columns="path=a")


def test_images_to_predict_may_be_cells_of_a_table():
    assert list(Manifest.of_files(["x.parquet!/image/3", "x.tar!/image/3"]).images.paths) == ["x.parquet!/image/3"]


# Folders of parquet files, as data sets of Hugging Face are stored


def write(path, images, **columns):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"image": images} | columns), path)


@pytest.mark.parametrize("kind", ["path", "absolute", "bytes", "both"])
@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"), ("train", "val")),
        (("default/train/0000", "default/train/0001", "default/test/0000"), ("train", "test")),
        (("train-00000-of-00003", "train-00001-of-00003", "train-00002-of-00003"), ("", "")),
        (("0000", "0001", "0002"), ("", "")),
    ],
)
def test_a_folder_of_parquet_files_is_one_data_set(keys, pictures, kind, files, splits, log):
    images, folder = cells(pictures, kind), pictures / "data"
    for name, rows in zip(files, (slice(0, 1), slice(1, 3), slice(3, 4)), strict=True):
        path = folder / f"{name}.parquet"
        mine = images[rows]
        if kind == "path":
            path.parent.mkdir(parents=True, exist_ok=True)
            for image in mine:
                (path.parent / image).write_bytes((pictures / image).read_bytes())
            mine = [{"bytes": None, "path": image} for image in mine]
        write(path, mine, label=LABELS[rows])
    (folder / "README.md").touch()
    (folder / ".cache").mkdir()
    if kind == "path":  # images lie beside them, so the folder is one of images
        assert all(path.endswith(".png") for path in read_manifest(folder).images.paths)
        assert "To read a table, name it" in log.text
        return
    order = sorted(files)
    rows = extract(read_manifest(folder), FakeBackbone(), cache=pictures / "cache")
    first = files.index(order[0])
    assert rows.labels.tolist()[0] == LABELS[(0, 1, 3)[first]]
    assert set(rows.split.tolist()) == set(splits)
    assert sorted(map(bytes, rows.sha256)) == sorted(map(bytes, keys("x.csv").sha256))
    assert list(expand([folder])) == [(file, "") for file in read_manifest(folder).files]
    assert "not read" not in log.text
    if kind != "absolute":
        assert rows.paths.tolist()[0] == f"{order[0]}.parquet!/image/0"


def test_files_of_vectors_among_them_are_none_of_the_data_set(pictures):
    images = cells(pictures, "bytes")
    write(pictures / "d" / "a.parquet", images[:2])
    write(pictures / "d" / "vectors.parquet", ["a.parquet!/image/0"], embedding=[[1.0, 2.0]])
    assert list(read_manifest(pictures / "d").images.paths) == ["a.parquet!/image/0", "a.parquet!/image/1"]
    (pictures / "d" / "a.parquet").unlink()
    with pytest.raises(DataError, match=r"No images in .*d, but tables: vectors.parquet. Name .*d/vectors.parquet"):
        read_manifest(pictures / "d")


def test_parquet_files_in_several_folders_may_be_several_data_sets(pictures, log):
    images = cells(pictures, "bytes")
    for name in ("en/train-0.parquet", "de/a.parquet"):
        write(pictures / "d" / name, images[:1])
    with pytest.raises(
        DataError, match=r"in several folders, de, en, which may be several data sets\. Name one of them: "
    ):
        read_manifest(pictures / "d")
    write(pictures / "d/en/other.parquet", images[1:2])
    assert set(read_manifest(pictures / "d/en").images.splits) == {""}
    assert "train-0.parquet is called like a split and other.parquet is not" in log.text


def test_columns_of_a_folder_of_parquet_files_can_be_named(pictures):
    images = cells(pictures, "bytes")
    for number in range(2):
        write(pictures / "d" / f"{number}.parquet", images[number : number + 1], species=[f"s{number}"])
    manifest = read_manifest(pictures / "d", columns={"label": "species"})
    assert manifest.classes == ("s0", "s1")
    with pytest.raises(UsageError, match="is not a table"):
        read_manifest(pictures, columns={"label": "species"})
