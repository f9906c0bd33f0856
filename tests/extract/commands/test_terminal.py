"""What a terminal and a pipe show: whole figures, text as text, colours where they are wanted."""

import io
import os
import pty
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command_line import FAST, SQUEEZENET, process
from waiting import LONG, until

pytestmark = pytest.mark.usefixtures("shared_cache")

COLOUR_CODES = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)(?:;\d+)*m")


def test_what_is_piped_is_not_cut_short(tmp_path):
    done = process("backbones", env=os.environ | {"COLUMNS": "40"}, cwd=tmp_path)
    assert done.returncode == 0
    output = done.stdout.decode()
    assert "\N{HORIZONTAL ELLIPSIS}" not in output
    assert "timm:vit_base_patch14_dinov2.lvd142m" in output
    assert "alexnet" in output
    assert "\x1b" not in output


@pytest.mark.parametrize("name", ["[red]cache", "x[", "[bold"])
def test_brackets_in_a_folder_are_no_markup(fc7, fc7_json, shared_home, bundle, tmp_path, name):
    cache = tmp_path / name / "red]"
    shutil.copytree(shared_home / "cache", cache)
    code, out, err = fc7("cache", "info", "--cache", cache)
    assert (code, err) == (0, "")
    assert f"{name}/red]" in "".join(out.split())


def on_a_terminal(words, env):
    """Run with stdout and stderr on a pseudo terminal and return what it shows."""
    leader, follower = pty.openpty()
    output = b""
    try:
        started = subprocess.Popen(
            [sys.executable, "-m", "fc7", *map(str, words)], stdout=follower, stderr=follower, stdin=follower, env=env
        )
        os.close(follower)
        while True:
            try:
                block = os.read(leader, 65536)
            except OSError:  # the other end was closed
                break
            if not block:
                break
            output += block
        assert started.wait(LONG) == 0
    finally:
        os.close(leader)
    return output.decode()


def terminal(**extra):
    quiet = ("NO_COLOR", "FORCE_COLOR", "CI", "COLORTERM")
    return {name: value for name, value in os.environ.items() if name not in quiet} | {
        "TERM": "xterm-256color",
        **extra,
    }


def test_a_table_on_a_terminal_of_80_columns_keeps_its_figures(shared_home, data, tmp_path, fc7):
    vectors = tmp_path / "vectors.npz"  # a process that has them need not import torch
    assert fc7("extract", data, "-o", vectors, *SQUEEZENET, "--quiet")[0] == 0
    words = ["compare", vectors, "-o", tmp_path / "runs", "--heads", FAST, "--quiet"]
    fc7(*words)
    env = terminal(COLUMNS="80", FC7_CACHE=str(shared_home / "cache"))
    output = on_a_terminal(words, env)
    assert re.search(r"[01]\.\d{3}-[01]\.\d{3}", output), "the interval is readable"
    assert "baseline" in output
    assert "\N{HORIZONTAL ELLIPSIS}" not in output, "no figure is cut short"


def test_no_color_is_respected(monkeypatch):
    """The progress bar is the only thing that has colours."""
    from fc7.extract import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def draw_a_bar():
        clock = iter(np.arange(0, 1000, 0.7))
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", screen)
            patch.setattr(progress.time, "monotonic", lambda: next(clock))
            patch.setenv("TERM", "xterm-256color")
            with progress.bars() as show:
                for done in range(5):
                    show("extract", done, 5)
        return screen.getvalue()

    assert COLOUR_CODES.search(draw_a_bar()), "the twin: there are colours"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = draw_a_bar()
    assert "extract" in plain
    assert not COLOUR_CODES.search(plain)


def test_a_bar_is_drawn_between_two_calls(monkeypatch):
    """A fit that takes minutes calls nobody: its bar is there a second after it began."""
    from fc7.extract import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress.bars() as show:
        show("fit forest", 0, 6)
        until(lambda: "fit forest" in screen.getvalue())


def test_where_no_bar_can_be_drawn_long_work_logs_lines(monkeypatch, log):
    from fc7.extract import progress

    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.bars() as show:
        for done in range(5):
            show("fit forest", done, 5)
    assert [message.partition(",")[0] for message in log.messages][:1] == ["fit forest: 1 of 5"]
    said = len(log.messages)
    with progress.bars(quiet=True) as show:
        for done in range(5):
            show("fit forest", done, 5)
    assert len(log.messages) == said


def test_progress_is_silent_where_stderr_is_no_terminal(fc7, data, tmp_path):
    assert fc7("extract", data, *SQUEEZENET, "--cache", tmp_path / "cache")[2] == ""
