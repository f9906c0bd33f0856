"""A csv, whoever wrote it: every cell is where it belongs, or the file is refused with the line and the cure."""

import csv
import io
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.errors import DataError
from fc7.extract import read_manifest
from fc7.extract.manifest.csv_rows import rows_of

NEEDED, FORM = ("path", "label"), "needed: path,label"


def read(text, needed=NEEDED):
    data = text if isinstance(text, bytes) else text.encode()
    return list(rows_of(io.BytesIO(data), "x.csv", needed, FORM))


@pytest.fixture
def table(tmp_path):
    """Return the manifest of a csv of that text; 1.jpg to 4.jpg are there."""
    for number in range(1, 5):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")

    def made(text):
        path = tmp_path / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_manifest(path)

    return made


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), min_size=1)] * 3),
        min_size=1,
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_a_csv_writer_writes_is_read_back(cells, end, quoting):
    rows = [[cell.lstrip(" ") or "x" for cell in row] for row in cells]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator=end, quoting=quoting).writerows([["path", "label", "group"], *rows])
    assert [row for _, row in read(buffer.getvalue())][1:] == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\n1.jpg,oak\n2.jpg,maple, red\n", r"line 3 has 3 cells.*'maple'.*2 columns.*quotation marks"),
        ("path,label\n1.jpg,maple, red\n2.jpg,maple, white\n", "line 2 has 3 cells"),
        ("label,path\nmaple, red,1.jpg\n", "line 2 has 3 cells"),
        ("path,label,group\n1.jpg,maple, red,\n", "line 2 has 4 cells"),  # the empty group would be the third
        ("path,label,group\n1.jpg,oak\n2.jpg,maple, red\n", "line 2 has 2 cells"),
        ("path,label,\n1.jpg,maple, red\n", "line 2: 'red' stands in a column without a name"),
        ("path,,label\n1.jpg,x,oak\n", "line 2: 'x' stands in a column without a name"),
        ("path,label\n1.jpg\n", "line 2 has 1 cell"),
        ("path,label,label\n1.jpg,oak,1\n", "'label' twice"),
        ("path,label, label\n1.jpg,oak,1\n", "'label' twice"),
        ("path,path,label,label\n1.jpg,2.jpg,oak,1\n", "'path' and 'label' twice"),
        (
            "path,label,Label\n1.jpg,oak,1\n",
            "label, Label, of which one can be the label. Say which: columns={.label.: .l",
        ),
        ("path,filename,image\n", "no rows"),
        ("filename,image\n1.jpg,1.jpg\n", "filename, image, of which one can be the path"),
        (
            "where,what\n1.jpg,oak\n",
            r"columns \['where', 'what'\]\. Which one has the paths.*columns={.path.: .NAME",
        ),
        ("where;what\n1.jpg;oak\n", r"columns \['where', 'what'\]"),
        ("path;label\n1.jpg;maple; red\n", "line 2 has 3 cells.*has a semicolon"),
        ('path;label\n1.jpg;"oak\n2.jpg;ash"\n', "line 2: .*semicolons.*swallowed"),
        ('path\tlabel\n1.jpg\t"oak\n2.jpg\tash\n', "line 2, .*not closed"),
        ("sep=;\npath,label\n1.jpg,oak\n", r"columns \['path,label'\]"),
        ("path,label,split\n1.jpg,oak,train\n2.jpg,oak,\n", "line 3: the split is empty, but not in line 2"),
        ("path,label,split\n1.jpg,oak,holdout\n", "line 2: the split is 'holdout'"),
        ("path,label\n1.jpg,oak\n,oak\n", "line 3: the path is empty"),
        ("path,label\n", "no rows"),
        ("path,label\n\n , \n", "no rows"),
        ("", "is empty; the first line names the columns"),
        ("\n\n", "is empty"),
        ("sep=;\n", "is empty"),
        ('path,label\n1.jpg,"oak\n2.jpg,oak\n', "line 2, .*not closed"),
        ('path,label\n1.jpg,oak\n2.jpg,"oak\n3.jpg,ash\n4.jpg,"elm"\n', "line 3, .*not closed"),
        ('path,label\n1.jpg,"oak\n2.jpg,ash\n3.jpg,elm"\n4.jpg,oak\n', "line 2: .*swallowed"),
        ('path,label,group\n1.jpg,"oak,a\n2.jpg,ash",b\n', "line 2: .*swallowed"),
        ('path,label,notes\n1.jpg,oak,"tall\n2.jpg,ash,thin"\n', "line 2: .*swallowed"),
        ('path,label\n1.jpg,5"" nail"\n2.jpg,"5" nail"\n', "line 3, .*twice"),
        ("path,label\n1.jpg,o\0k\n", "line 2 has a null byte"),
        ("path,label\n1.jpg,łąka\n".encode("cp1250"), r"line 2 is not UTF-8 \(byte 0xb3\)"),
        ("path,label\n1.jpg,дуб\n".encode("cp1251"), "line 2 is not UTF-8"),
        ("path,label\n1.jpg,蚂\n".encode("gbk"), "line 2 is not UTF-8"),
        ("path,label\n1.jpg,été\n".encode("cp850"), "line 2 is not UTF-8"),
        ("path,label\n1.jpg,été\n".encode("mac_roman"), "line 2 is not UTF-8"),
        ("path,label\n1.jpg,hêtre\n".encode() + "2.jpg,hêtre\n".encode("cp1252"), "line 3 is not UTF-8.*0xea"),
        ("path,label\n1.jpg,hêtre\n".encode("cp1252") + "2.jpg,hêtre\n".encode(), "line 3 is not UTF-8.*0xc3"),
        ("path,label\n1.jpg,oak\n".encode("utf-16")[:-1], "begins as UTF-16, but is damaged"),
        ("path,label\n1.jpg,oak\n".encode("utf-16-le"), "line 1 has a null byte.*UTF-16LE"),
        ("path,label\nfile:///x/1.jpg,oak\nfile:///x/2.jpg,ash\n", "Not one of 2.*is there.*Leave out file://"),
        ("1.jpg,oak\n2.jpg,ash\n", "no names of columns in its first line. Write one before it: path,label"),
        ("path,label\n~/1.jpg,oak\n", "Not one of 1 file .*is there.*~ is not a folder"),
        ("path,label\nx\\1.jpg,oak\nx\\2.jpg,ash\n", r"Not one of 2.*is there.*Write / in paths"),
    ],
)
def test_no_cell_is_lost_without_a_word(table, text, said):
    with pytest.raises(DataError, match=said) as error:
        table(text)
    assert "labels.csv" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        'path,label\n1.jpg,"maple, red"\n2.jpg,oak\n',
        'path, label\n1.jpg, "maple, red"\n2.jpg, oak\n',
        'path,label\n1.jpg,"maple, red",,\n2.jpg,oak,\n',
        'path,label,,\n1.jpg,"maple, red",,\n2.jpg,oak,,\n',
        '\n\npath,label\n\n1.jpg,"maple, red"\n  \n,\n2.jpg,oak\n\n',
        '\ufeffpath,label\r\n1.jpg,"maple, red"\r\n2.jpg,oak\r\n',
        'path,label\r1.jpg,"maple, red"\r2.jpg,oak\r',
        ',path,label\n0,1.jpg,"maple, red"\n1,2.jpg,oak\n',
        'path,label,notes\n1.jpg,"maple, red","tall,\nthin, too"\n2.jpg,oak,"a ""b"""\n',
        "path;label\n1.jpg;maple, red\n2.jpg;oak\n",
        '"path";"label"\n"1.jpg";"maple, red"\n"2.jpg";"oak"\n',
        "\ufeffpath;label\r\n1.jpg;maple, red\r\n2.jpg;oak\r\n",
        "path\tlabel\n1.jpg\tmaple, red\n2.jpg\toak\n",
        "path|label\n1.jpg|maple, red\n2.jpg|oak\n",
        "sep=;\npath;label\n1.jpg;maple, red\n2.jpg;oak\n",
        '"sep=\t"\n\npath\tlabel\n1.jpg\tmaple, red\n2.jpg\toak\n',
        'Label,File Name\n"maple, red",1.jpg\noak,2.jpg\n',
        "class-name;image;size (a,b,c)\nmaple, red;1.jpg;3\noak;2.jpg;4\n",
        *('path,label\n1.jpg,"maple, red"\n2.jpg,oak\n'.encode(encoding) for encoding in ("utf-16", "utf-32")),
    ],
)
def test_what_is_right_is_read(table, text):
    assert [(image.path, image.label) for image in table(text).images] == [("1.jpg", "maple, red"), ("2.jpg", "oak")]


def test_a_name_may_have_a_line_break(tmp_path):
    names = ["new\nline.jpg", "two.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label"], [names[0], "a\nb"], [names[1], "c"]])
    assert [image[:2] for image in read_manifest(tmp_path / "x.csv").images] == [(names[0], "a\nb"), (names[1], "c")]


def test_lines_are_those_of_the_file():
    assert read('\npath,label\n1.jpg,"a\nb"\n\n2.jpg,c\n') == [
        (2, ["path", "label"]),
        (3, ["1.jpg", "a\nb"]),
        (6, ["2.jpg", "c"]),
    ]


@pytest.mark.parametrize("label", ["hêtre", "Größe", "créée", "à la", "Æ"])
def test_what_can_only_be_windows_1252_is_read_and_said(table, caplog, label):
    assert table(f"path,label\n1.jpg,oak\n2.jpg,{label}\n3.jpg,é\n".encode("cp1252")).images[1].label == label
    assert [record.getMessage().partition("labels.csv")[2] for record in caplog.records] == [
        f" is not UTF-8 and was read as Windows-1252: line 3 has {label.split()[0]}. "
        "If that is wrong, save it as UTF-8."
    ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "cp1252"])
def test_the_command_in_the_message_cures(tmp_path, monkeypatch, encoding):
    monkeypatch.chdir(tmp_path)
    for name in ("1.jpg", "“é”.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "my labels.csv").write_bytes("path,label\n1.jpg,a\n“é”.jpg,b\n".encode(encoding))
    with pytest.raises(DataError) as error:
        read_manifest("my labels.csv")
    subprocess.run(str(error.value).partition("or: ")[2], shell=True, check=True)
    assert list(read_manifest("my labels-utf-8.csv").images.paths) == ["1.jpg", "“é”.jpg"]


def test_columns_that_nobody_asks_for_may_be_called_alike_by_case():
    assert read("path,Ants,ants\nx,0.5,0.5\n", ["path"])[0] == (1, ["path", "Ants", "ants"])


@pytest.mark.parametrize("first", [["path", "label"], ["image", "class"]])
def test_of_a_thousand_columns_a_message_names_a_few(first):
    names = [*first, *(f"column number {place}" for place in range(998))]
    with pytest.raises(DataError, match="995 more") as caught:
        read(f"{','.join(names)}\n0,0\n")
    assert len(str(caught.value)) < 500
