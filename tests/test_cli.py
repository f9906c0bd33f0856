"""The command line: data on stdout, words on stderr, one line per error, and exit codes that mean something."""

import csv
import io
import json
import os
import signal
import subprocess
import sys

import pytest
from command_line import COLOURS, SQUEEZENET, draw_split, process
from fakes import noisy, one_line
from waiting import LONG, until

from fc7.cli import VERBS
from fc7.extract.manifest import manifest as manifest_module

pytestmark = pytest.mark.usefixtures("shared_cache")


# Help


def test_the_overview_names_every_verb_and_the_exit_codes(fc7):
    code, out, _ = fc7("--help")
    assert code == 0
    for verb, (text, _) in VERBS.items():
        assert verb in out
        assert text.split()[0] in out
    assert all(f"{number} " in out for number in (0, 1, 2, 3, 4, 130))


def test_the_version(fc7):
    from fc7 import __version__

    assert fc7("--version") == (0, f"fc7 {__version__}\n", "")


# Usage


@pytest.mark.parametrize(
    "words",
    [
        ["extrcat"],
        ["extract"],
        ["extract", ".", "--nonsense"],
        ["fit", "."],
        ["compare", "."],
        ["predict", "x.fc7"],
        ["export", "x.fc7"],
        ["fit", ".", "-o", "x.fc7", "--preparation", "l2"],
        ["cache", "inof"],
        ["extract", ".", "--batch-size", "many"],
        ["extract", ".", "--precision", "fp64"],
        ["extract", ".", "--quiet", "--verbose"],
    ],
)
def test_bad_usage_is_2_and_said_on_stderr(fc7, words):
    code, out, err = fc7(*words)
    assert (code, out) == (2, "")
    assert err.startswith("fc7: ")
    assert err.count("\n") == 1
    assert "--help" in err
    assert "Traceback" not in err
    assert len(err.splitlines()[-1].split()) > 3, "what is wrong with it"


@pytest.mark.parametrize("words", [[], ["cache"]])
def test_without_a_verb_the_help_is_on_stderr_and_it_is_2(fc7, words):
    code, out, err = fc7(*words)
    assert (code, out) == (2, "")
    assert err == fc7(*words, "--help")[1]


@pytest.mark.parametrize("words", [[], ["fit"], ["cache"], ["cache", "info"]])
def test_help_is_a_word_too(fc7, words):
    assert fc7("help", *words) == fc7(*words, "--help")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["extarct"], "extract"),
        (["cache", "verfy"], "verify"),
        (["help", "cache", "verfy"], "verify"),
        (["extract", ".", "--bakbone", "vgg16"], "--backbone"),
        (["extract", ".", "--bakbone=vgg16"], "--backbone"),
        (["fit", ".", "-o", "x.fc7", "--head", "logrge"], "logreg"),
        (["extract", ".", "--decode", "scald"], "scaled"),
    ],
)
def test_a_misspelt_word_is_guessed(fc7, words, meant):
    code, _, err = fc7(*words)
    assert code == 2
    assert f"(did you mean {meant}?)" in one_line(err)


def test_what_resembles_nothing_is_not_guessed(fc7):
    assert "did you mean" not in fc7("xyzzy")[2]
    assert "did you mean" not in fc7("extract", ".", "--xyzzy")[2]


@pytest.mark.parametrize("words", [["extract"], ["extract", ".", "--nonsense"], ["fit", "."]])
def test_bad_usage_with_json_is_one_object_too(fc7, words):
    code, out, _ = fc7(*words, "--json")
    assert code == 2
    answer = json.loads(out)
    assert answer.keys() == {"error", "exit_code"}
    assert answer["exit_code"] == 2


# Errors


@pytest.mark.parametrize(
    "words",
    [
        ["extract", "absent"],
        ["fit", "absent", "-o", "x.fc7"],
        ["compare", "absent", "-o", "x"],
        ["predict", "absent.fc7", "x.png"],
        ["cache", "info", "--cache", "absent"],
        ["cache", "export", "x.h5", "absent", *SQUEEZENET],
    ],
)
def test_errors_with_json_are_one_object(fc7, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = fc7(*words, "--json")
    answer = json.loads(out)
    assert code == 1
    assert answer == {"error": one_line(err).removeprefix("fc7: "), "exit_code": 1}
    assert "absent" in answer["error"]


@pytest.mark.parametrize("json_too", [False, True])
def test_ctrl_c_anywhere_is_130(fc7, data, monkeypatch, json_too):
    def interrupted(path, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest_module, "read_manifest", interrupted)
    code, out, err = fc7("extract", data, *SQUEEZENET, *(["--json"] if json_too else []))
    assert code == 130
    assert "Interrupted" in one_line(err)
    assert (json.loads(out)["exit_code"] == 130) if json_too else (out == "")


# What is printed


def test_quiet_says_nothing_on_stderr(fc7, tmp_path):
    clean = draw_split(tmp_path / "clean", 6, 2)
    cache = ["--cache", tmp_path / "cache", "--quiet"]
    assert fc7("extract", clean, *SQUEEZENET, *cache)[::2] == (0, "")
    words = ["fit", clean, "-o", tmp_path / "x.fc7", "--head", "torch-linear", "--epochs", "2", "--folds", "2"]
    assert fc7(*words, *SQUEEZENET, *cache)[::2] == (0, "")
    assert fc7("predict", tmp_path / "x.fc7", clean, *cache)[::2] == (0, "")
    assert len(fc7(*words, *SQUEEZENET, *cache[:2])[2].splitlines()) == 2, "the twin: without it there are two epochs"


def test_a_process_of_its_own(shared_home, bundle, data, tmp_path):
    env = os.environ | {"FC7_CACHE": str(shared_home / "cache")}
    done = process("extract", data, *SQUEEZENET, "--json", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert json.loads(done.stdout)["computed"] == 0
    failed = process("extract", "absent", cwd=tmp_path, env=env)
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert "There is no absent" in one_line(failed.stderr.decode())
    assert process("extract", cwd=tmp_path, env=env).returncode == 2


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    """As in ``fc7 ... | head``, when head has seen enough."""
    for words in (["backbones"], ["backbones", "--json"]):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "fc7", *words]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=LONG, check=False, cwd=tmp_path)
        os.close(writer)
        assert done.stderr == b""
        assert done.returncode != 0


def test_no_traceback_where_a_stream_is_closed_or_full(tmp_path):
    """`>&-`, `2>&-`, `<&-`, and a disk that is full; fd 1 stays taken, or a file of the cache would get it."""
    shell = f"{sys.executable} -m fc7"
    for words, code, said in [
        ("backbones >&-", 1, "The answer cannot be printed: Bad file descriptor."),
        ("backbones --json >/dev/full", 1, "The answer cannot be printed: No space left on device."),
        ("--help >/dev/full", 1, "The answer cannot be printed: No space left on device."),
        ("extract absent --json >/dev/full", 1, "There is no absent."),
        ("backbones 2>&- <&-", 0, ""),
        ("extract absent 2>/dev/full", 1, ""),
        ("predict absent.fc7 - <&-", 1, "absent.fc7"),
    ]:
        done = subprocess.run(["bash", "-c", f"{shell} {words}"], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == code, (words, done.stderr)
        assert len(done.stderr.splitlines()) == bool(said), (words, done.stderr)
        assert said in done.stderr


def test_a_folder_that_is_gone_and_a_user_without_home(tmp_path, monkeypatch, fc7):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, out, err = fc7("extract", "x", *SQUEEZENET)
    assert (code, out) == (1, "")
    assert "The working directory is not there any more" in one_line(err)
    monkeypatch.chdir(tmp_path)

    def homeless(*given, **options):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FC7_CACHE")
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", homeless)
    monkeypatch.setattr("pathlib.Path.expanduser", homeless)
    for words in (["cache", "info"], ["backbones"]):
        code, out, err = fc7(*words)
        assert (code, out) == (1, "")
        assert "There is no home folder" in one_line(err)


STUCK = """
import sys, threading
from fc7 import cli
from fc7.extract.commands import backbones

def run(arguments, progress):
    print(end=".", flush=True)
    try:
        threading.Event().wait()
    finally:
        if arguments.all:  # it does not end by itself
            threading.Event().wait()

backbones.run = run
sys.exit(cli.main())
"""


@pytest.mark.parametrize("more", [[], ["--all"]])
def test_ctrl_c_is_130_and_one_line_and_the_second_one_ends_at_once(tmp_path, more):
    words = [sys.executable, "-c", STUCK, "backbones", *more]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as started:
        assert started.stdout.read(1) == b"."
        started.send_signal(signal.SIGINT)
        if more:
            until(lambda: started.poll() is not None or started.send_signal(signal.SIGINT))
        assert started.wait(LONG) == 130
        assert started.stderr.read() == b"fc7: Interrupted.\n"


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "d", "-o", "x.fc7", "--n-jobs", "0"],
        ["fit", "d", "-o", "x.fc7", "--n-jobs", "-2"],
        ["compare", "d", "-o", "x", "--folds", "1"],
        ["compare", "d", "-o", "x", "--cross-validate", "1"],
        ["extract", "d", "--views", "-1"],
        ["extract", "d", "--workers", "99999"],
        ["extract", "d", "--batch-size", "99999999999999999999"],
        ["extract", "d", "--image-size", "0"],
        ["fit", "d", "-o", "x.fc7", "--max-ram", ""],
        ["fit", "d", "-o", "x.fc7", "--max-ram=-inf"],
        ["fit", "d", "-o", "x.fc7", "--max-ram", "nan"],
        ["finetune", "d", "-o", "x", "--learning-rate", "nan"],
        ["finetune", "d", "-o", "x", "--limit-seconds", "inf"],
        ["audit", "d", "--threshold", "0"],
        ["export", "x.fc7", "-o", "x.pt2", "--tolerance", "nan"],
    ],
)
def test_a_number_out_of_range_is_usage(fc7, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = fc7(*words)
    assert (code, out) == (2, "")
    assert f"argument {words[-2].partition('=')[0] if words[-2].startswith('--') else '--max-ram'}" in one_line(err)


def odd_csv(root, labels):
    """A data set whose class names no folder could have."""
    rows = ["path,label"]
    for place, label in enumerate(labels):
        for number in range(6):
            name = f"{place}-{number}.png"
            noisy(root / name, list(COLOURS.values())[place], 50 * place + number)
            rows.append(f'{name},"{label}"')
    (root / "odd.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root / "odd.csv"


def test_names_with_markup_and_control_characters_are_shown_as_text(fc7, fc7_json, tmp_path, monkeypatch):
    labels = ["[red]x[/red]", "a\x1b[31mb"]
    listing = odd_csv(tmp_path, labels)
    words = [*SQUEEZENET, "--cache", tmp_path / "cache", "--quiet"]
    code, out, err = fc7("compare", listing, "-o", tmp_path / "runs", "--heads", "centroid", *words)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert fc7("fit", listing, "-o", tmp_path / "x.fc7", "--head", "centroid", *words)[0] == 0
    predict = ["predict", tmp_path / "x.fc7", tmp_path / "0-0.png", tmp_path / "1-0.png", "--cache", tmp_path / "cache"]
    code, out, err = fc7(*predict)
    assert (code, err) == (0, "")
    assert [row["label"] for row in csv.DictReader(io.StringIO(out))] == labels, "a file has names exactly"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, err = fc7(*predict, "--quiet")
    assert "\x1b" not in out, "a name could command the terminal"
    assert [row["label"] for row in csv.DictReader(io.StringIO(out))] == ["[red]x[/red]", "a\\x1b[31mb"]
    monkeypatch.undo()
    answer = fc7_json("predict", tmp_path / "x.fc7", tmp_path / "1-0.png", "--cache", tmp_path / "cache")
    assert answer["predictions"][0]["label"] == labels[1], "JSON has its own escapes"


def test_a_message_is_one_line_whatever_a_folder_is_called(fc7, tmp_path):
    folder = tmp_path / "a\x1b[31m\nb"
    code, out, err = fc7("extract", folder, *SQUEEZENET)
    assert (code, out) == (1, "")
    assert "\\x1b[31m\\nb" in one_line(err)
    assert "\x1b" not in err


def test_no_output_replaces_a_file_with_images_of_the_data_set(fc7, tmp_path):
    """Whether it is one of the parquet files in a folder, or named by rows of a csv."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    files = [tmp_path / "data" / f"{number}.parquet" for number in range(2)]
    files[0].parent.mkdir()
    for number, file in enumerate(files):
        noisy(tmp_path / f"{number}.png", COLOURS["red"], number)
        parquet.write_table(pa.table({"image": [(tmp_path / f"{number}.png").read_bytes()]}), file)
    (tmp_path / "list.csv").write_text("path\ndata/0.parquet!/image/0\ndata/1.parquet!/image/0\n")
    before = files[1].read_bytes()
    for data in (files[0].parent, tmp_path / "list.csv"):
        for words in (["extract", data, "-o", files[1]], ["cache", "export", files[1], data]):
            code, _, err = fc7(*words, *SQUEEZENET)
            assert code == 1
            assert "is what is read, and would be replaced" in one_line(err)
    assert files[1].read_bytes() == before
    for _ in range(2):  # a file of vectors beside them is no part of the data set
        code, out, _ = fc7("extract", files[0].parent, *SQUEEZENET, "-o", files[0].with_name("vectors.parquet"))
        assert code == 0
        assert "2 files = 2 ok" in out


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("fit DATA -o DATA", "the suffix decides what is written"),
        ("audit DATA --csv DATA", "is what is read, and would be replaced"),
        ("audit DATA -o DATA", "the suffix decides what is written"),
        ("cache export DATA DATA", "is what is read, and would be replaced"),
        ("report . --csv DATA", "the suffix decides what is written"),
    ],
)
def test_no_output_replaces_what_is_read(fc7, tmp_path, monkeypatch, words, refused):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / ("data.json" if "report" in words else "data.csv")
    data.write_text("path,label\na.jpg,ants\n")
    code, _, err = fc7(*words.replace("DATA", data.name).split())
    assert code in (1, 2)
    assert refused in one_line(err)
    assert data.read_text() == "path,label\na.jpg,ants\n"
