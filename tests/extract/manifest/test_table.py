"""Which column of a table holds what, and what becomes of its rows."""

import csv
import io

import pytest
from fakes import touch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fc7.cache.urls import locate
from fc7.errors import DataError, UsageError
from fc7.extract import read_manifest
from fc7.extract.manifest.csv_table import read_csv
from fc7.extract.manifest.paths import named_split
from fc7.extract.manifest.table import OF_IMAGES, OF_VECTORS, Columns, choose, is_vectors
from fc7.extract.text import unguarded


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["path", "label"], {"path": "path", "label": "label"}),
        (["File Name", "CLASS"], {"path": "File Name", "label": "CLASS"}),
        (["file-path", "Category", "Subset"], {"path": "file-path", "label": "Category", "split": "Subset"}),
        (["image", "id", "labels"], {"path": "image", "label": "labels"}),
        (["id", "label"], {"path": "id", "label": "label"}),
        (["path", "image", "label", "class"], {"path": "path", "label": "label"}),
        (["Path", "x", "y"], {"path": "Path", "label": "y"}),
        (["where", "what"], {}),
    ],
)
def test_columns_are_found_by_usual_names(names, chosen):
    assert choose(names, OF_IMAGES, "x") == chosen


def test_columns_are_named():
    names = ["where", "label", "kind"]
    assert choose(names, OF_IMAGES, "x", {"path": "where", "label": "kind"}) == {"path": "where", "label": "kind"}
    assert choose(["path"], OF_IMAGES, "x", {"label": "path"}) == {"label": "path"}
    with pytest.raises(DataError, match=r"x has no column 'species'\. It has where, label, kind"):
        choose(names, OF_IMAGES, "x", {"label": "species"})
    with pytest.raises(UsageError, match="no use for a column embedding: name one of path, label"):
        choose(names, OF_IMAGES, "x", {"embedding": "where"})
    with pytest.raises(UsageError, match="path=kind,label=kind names a column twice"):
        choose(names, OF_VECTORS, "x", {"path": "kind", "label": "kind"})


def test_columns_are_written_as_they_are_read():
    assert str(Columns.parse("path=file name, label=species")) == "path=file name,label=species"
    for text in ("", "path", "path=", "path=a,path=b", "lable=x", "path=a,,label=b"):
        with pytest.raises(ValueError, match=f"^{text}$"):
            Columns.parse(text)


def test_words_for_splits():
    words = ["Train", "training", "validation", "valid", "dev", "VAL", "test", "holdout", ""]
    assert [named_split(word) for word in words] == ["train", "train", *["val"] * 4, "test", "holdout", ""]


@pytest.fixture
def table(tmp_path):
    """Return what is read of a csv of that text; 1.jpg to 4.jpg are there."""
    touch(tmp_path, *(f"{number}.jpg" for number in range(1, 5)))

    def made(text, **options):
        (tmp_path / "x.csv").write_text(text)
        return read_csv(tmp_path / "x.csv", with_bad=False, **options)

    return made


def test_a_file_that_is_not_there_is_a_reject(table):
    images, rejects, *_ = table("path,label\n1.jpg,oak\ngone.jpg,oak\nno/2.jpg,ash\n2.gif,ash\n4.jpg/x.jpg,elm\n")
    assert list(images.paths) == ["1.jpg"]
    assert [tuple(reject) for reject in rejects] == [
        (path, "no such file") for path in ("gone.jpg", "no/2.jpg", "2.gif", "4.jpg/x.jpg")
    ]


def test_labels_may_be_missing(table, caplog):
    assert list(table("path,label\n1.jpg,\n2.jpg,oak\n").images.labels) == ["", "oak"]
    assert list(table("path\n1.jpg\n2.jpg\n").images.labels) == ["", ""]
    assert list(table("path,embedding,sha256,reviewed\n1.jpg,[0 1],,\n").images.labels) == [""]
    assert not caplog.records
    assert list(table("path,kind\n1.jpg,oak\n").images.labels) == [""]
    assert "x.csv has no labels. If 'kind' has them: columns={'label': 'kind'}" in caplog.text
    assert list(table("path,kind\n1.jpg,oak\n", columns={"label": "kind"}).images.labels) == ["oak"]


def test_splits_under_other_names(table):
    found = table("path,label,set\n1.jpg,oak,Training\n2.jpg,oak,dev\n3.jpg,oak,validation\n4.jpg,oak,test\n")
    assert list(found.images.splits) == ["train", "val", "val", "test"]
    assert list(table("path,label,split\n1.jpg,oak,\n2.jpg,ash,\n").images.splits) == ["", ""]


def test_a_tsv_is_a_table(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "x.tsv").write_text("image\tclass\n1.jpg\toak, red\n2.jpg\tash\n")
    assert [image[:2] for image in read_manifest(tmp_path / "x.tsv").images] == [
        ("1.jpg", "oak, red"),
        ("2.jpg", "ash"),
    ]


def test_columns_of_what_is_no_table_are_refused(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    with pytest.raises(UsageError, match="is not a table, and has no columns to name"):
        read_manifest(tmp_path, columns={"path": "x"})


LABELS = st.one_of(
    st.sampled_from(
        ["NA", "NaN", "None", "null", "01", "1", "1.0", "True", "1e3", "-0", "🐝", "a;b", "a,b", "a\tb", "=1"]
    ),
    st.sampled_from(
        ["a\nb", "a,b\nc,d", 'say "no"', "'", '"', " ", "", "a\rb", "a|b", "x.jpg\ny.jpg", "ant\u2028", "\ufeff"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from([["path", "label", "group"], ["Notes", "class", "filename"], ["label", "image", "extra, more"]]),
    st.booleans(),
)
def test_what_pandas_writes_is_read_back_or_refused(tmp_path, rows, separator, encoding, quoting, names, index):
    """Labels are the same, but for spaces at their ends and the apostrophe before a formula; or a line says no."""
    pandas = pytest.importorskip("pandas")
    touch(tmp_path, *(f"{number}.jpg" for number in range(len(rows))))
    holds = {name: what for what, name in choose(names, OF_IMAGES, "x").items()}
    cells = {
        "path": [f"{number}.jpg" for number in range(len(rows))],
        "label": [label for label, _ in rows],
        "": [other for _, other in rows],
    }
    frame = pandas.DataFrame({name: cells.get(holds.get(name, ""), cells[""]) for name in names})
    frame.to_csv(tmp_path / "x.csv", index=index, sep=separator, encoding=encoding, quoting=quoting)
    try:
        images = read_csv(tmp_path / "x.csv", with_bad=False).images
    except DataError as error:
        assert " line " in str(error)
        return
    assert list(images.paths) == cells["path"]
    assert list(images.labels) == [unguarded(label.strip()) for label in cells["label"]]


@given(st.lists(st.tuples(LABELS, LABELS, LABELS), min_size=1, max_size=5), st.sampled_from([",", ";", "\t", "|"]))
def test_a_row_is_never_lost(rows, separator):
    """Where quotation marks and separators are as they come, each line is a row, or the file is refused."""
    from fc7.extract.manifest.csv_rows import rows_of

    text = "\n".join([separator.join(["path", "label", "group"]), *(separator.join(row) for row in rows)])
    try:
        read = list(rows_of(io.BytesIO(text.encode()), "x.csv", ["path"]))[1:]
    except DataError:
        return
    assert all(len(row) == 3 for _, row in read)


def test_hints_can_be_pasted(tmp_path, monkeypatch, caplog):
    touch(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("path,its kind,more\na.png,ant,1\n")
    read_manifest("x.csv")
    assert "If 'its kind', 'more' has them: columns={'label': 'its kind'}" in caplog.text
    with pytest.raises(DataError, match=r"Say which: columns=\{'path': 'file name'\}"):
        choose(["file name", "image path"], OF_IMAGES, "x")
    (tmp_path / "x.csv").write_text("path,label\nb\\c.png,ant\n")
    with pytest.raises(DataError, match=r"looked for in the working directory\. Write / in paths, not \\\."):
        read_manifest("x.csv")


def test_a_csv_of_vectors_is_said_to_be_none(tmp_path, caplog):
    touch(tmp_path, "a.png")
    (tmp_path / "x.csv").write_text("path,label,sha256,e0,e1\na.png,ant,00,0.5,1\n")
    assert len(read_manifest(tmp_path / "x.csv")) == 1
    assert "has vectors, which are not read from a csv" in caplog.text


def test_an_h5_is_a_file_of_this_machine(tmp_path):
    file, folder = tmp_path / "rows.h5", tmp_path / "folder.h5"
    file.touch()
    folder.mkdir()
    assert [is_vectors(locate(path)) for path in (file, folder, tmp_path / "none.h5", "s3://bucket/rows.h5")] == [
        True,
        False,
        False,
        False,
    ]
