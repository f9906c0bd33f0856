"""Shell completion: what real shells offer, after a script that starts no Python."""

import os
import pty
import select
import shutil
import subprocess
import sys

import pytest
from waiting import LONG

from fc7 import cli
from fc7.classify.commands.completion import SHELLS, script
from fc7.classify.heads.table import HEADS
from fc7.extract.commands.cache import VERBS as CACHE_VERBS

HELP = "from fc7.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_fc7
printf '%s\\n' "${COMPREPLY[@]}"
"""
NO_PYTHON = {"PATH": "/nowhere"}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The script of each shell, in a file."""
    pytest.importorskip("shtab")
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        (folder / shell).write_text(script(cli.parser(), shell))
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Files to complete."""
    for name in ("ants.fc7", "ants.txt", "rows.h5", "new picture.jpg", "page.html"):
        (tmp_path / name).touch()
    (tmp_path / "my_pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(name):
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture
def in_bash(scripts, here):
    def ask(line):
        """Return what bash would offer at the end of the line. It finds no program to start."""
        words = [shell("bash"), "--norc", "-c", BASH, "bash", str(scripts / "bash"), *line.split(" ")]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=LONG, env=NO_PYTHON)
        assert done.stderr == ""
        return [word for word in done.stdout.splitlines() if word]

    return ask


@pytest.fixture
def in_fish(scripts, here):
    def ask(line):
        code = f"source {scripts / 'fish'}; complete -C '{line}'"
        env = os.environ | {"HOME": str(here)}
        words = [shell("fish"), "--no-config", "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=LONG, env=env)
        return [word.partition("\t")[0] for word in done.stdout.splitlines()]

    return ask


@pytest.fixture
def in_zsh(scripts, here):
    """Type into a zsh on a pseudo terminal, as completion works nowhere else, and return what it shows."""
    shutil.copy(scripts / "zsh", here / "_fc7")
    program = shell("zsh")
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="dumb", COLUMNS="250", HOME=str(here))
        os.execv(program, ["zsh", "-f", "-i"])

    def read(until):
        output = ""
        while until not in output:
            assert select.select([terminal], [], [], LONG)[0], output
            output += os.read(terminal, 65536).decode(errors="replace")
        return output

    def ask(line, until):
        os.write(terminal, f"{line}\t\t".encode())
        output = read(until)
        os.write(terminal, b"\x15echo cle''ared\n")
        read("cleared")
        return output

    setup = ["PS1='> '", "unset zle_bracketed_paste", "fpath=($PWD $fpath)", "autoload -Uz compinit", "compinit -u -D"]
    os.write(terminal, "; ".join([*setup, "echo rea''dy\n"]).encode())
    read("ready")
    yield ask
    os.close(terminal)
    os.waitpid(child, 0)


def test_bash_offers_verbs_options_and_values(in_bash):
    assert in_bash("fc7 ") == list(cli.VERBS)
    assert in_bash("fc7 cache ") == list(CACHE_VERBS)
    assert in_bash("fc7 fit --he") == ["--help", "--head"]
    assert in_bash("fc7 fit --head lo") == ["logreg"]
    assert in_bash("fc7 fit --head ") == list(HEADS)
    assert in_bash("fc7 compare my_pictures --heads l") == ["logreg", "linear-svm", "lda"]
    assert in_bash("fc7 cache gc --d") == ["--dry-run"]
    assert in_bash("fc7 extract my_pictures --backbone vgg16 --layer fc") == ["fc6", "fc7"]
    assert {"alexnet", "vgg16", "resnet50"} <= set(in_bash("fc7 extract --backbone "))
    assert in_bash("fc7 extract --decode s") == ["scaled"]
    assert set(in_bash("fc7 extract --transform IMAGENET1K_V")) == {"IMAGENET1K_V1", "IMAGENET1K_V2"}
    assert in_bash("fc7 finetune --transform D") == ["DEFAULT"]


def test_bash_offers_files_by_their_suffix_and_folders(in_bash):
    assert in_bash("fc7 predict ") == ["ants.fc7", "my_pictures"]
    assert in_bash("fc7 predict ants.fc7 new") == ["new picture.jpg"]
    assert in_bash("fc7 predict ants.fc7 one.jpg my") == ["my_pictures"]
    assert in_bash("fc7 cache import ") == ["rows.h5", "my_pictures"]
    assert in_bash("fc7 report ") == ["my_pictures"]
    assert in_bash("fc7 fit my") == ["my_pictures"]
    assert in_bash("fc7 extract my_pictures --cache ") == ["my_pictures"]


def test_fish_offers_the_same(in_fish):
    assert set(in_fish("fc7 ")) == set(cli.VERBS)
    assert set(in_fish("fc7 cache ")) == set(CACHE_VERBS)
    assert set(in_fish("fc7 fit --he")) == {"--help", "--head"}
    assert in_fish("fc7 fit --head lo") == ["logreg"]
    assert set(in_fish("fc7 predict ")) >= {"ants.fc7", "my_pictures/"}
    assert "ants.txt" not in in_fish("fc7 predict ")


def test_zsh_offers_the_same(in_zsh):
    verbs = in_zsh("fc7 ", "write a page")
    assert all(verb in verbs for verb in cli.VERBS)
    inner = in_zsh("fc7 cache ", "is as it was committed")
    assert all(verb in inner for verb in CACHE_VERBS)
    assert "--head" in in_zsh("fc7 fit --he", "--help")
    assert "--head logreg" in in_zsh("fc7 fit --head lo", "logreg")
    assert "ants.txt" not in in_zsh("fc7 predict a", "ants.fc7")
    assert "new\\ picture.jpg" in in_zsh("fc7 predict ants.fc7 n", "picture.jpg")
    assert "new\\ picture.jpg" in in_zsh("fc7 predict ants.fc7 one.jpg n", "picture.jpg")
    assert "rows.h5" in in_zsh("fc7 cache import r", "rows.h5")
    assert "penultimate" in in_zsh("fc7 extract my_pictures --layer p", "pool5")


def test_help_does_not_load_what_writes_the_script():
    unwanted = ("shtab", "fc7.classify.commands.completion")
    program = f"import sys\n{HELP}\nprint('LOADED', *[name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_without_the_extra_it_is_named(fc7, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, out, err = fc7("completion", "bash")
    assert (code, out) == (1, "")
    assert "pip install 'fc7[completion]'" in err


def test_the_script_is_what_is_printed(fc7, scripts):
    assert fc7("completion", "fish") == (0, (scripts / "fish").read_text() + "\n", "")


def test_json_has_the_script(fc7_json, scripts):
    found = fc7_json("completion", "bash")
    assert found == {"shell": "bash", "script": (scripts / "bash").read_text()}


def test_another_shell_is_2(fc7):
    code, _, err = fc7("completion", "bsh")
    assert code == 2
    assert "bash" in err
