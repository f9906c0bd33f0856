"""The commands of a shell block, run in this process: fc7, and what stands beside it in a line."""

import contextlib
import io
import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path
from unittest import mock

from fc7 import cli

ROOT = Path(__file__).resolve().parents[1]
DOWNLOADED = ("alexnet", "resnet50", "squeezenet1_1", "vgg16")
SMALL = {"--backbone": "squeezenet1_1", "--weights": "squeezenet1_1=random:0", "--layer": "squeezenet1_1=gap"}
TOKENS = {"--backbone": "timm:test_vit", "--weights": "random:0"}
EMBEDS = ("extract", "fit", "compare", "screen", "audit", "similar", "review")


def commands(language, code):
    """Return the lines of a block that are commands: of a console those behind a prompt."""
    lines = re.sub(r"\\\n *", "", code).splitlines()
    if language == "console":
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line]


def pipeline(line):
    """Return the programs of a line, each as a list of words, and the file that the output goes to, or None."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>")
    lexer.whitespace_split = True
    words, programs = list(lexer), [[]]
    for word in words:
        programs[-1].append(word) if word != "|" else programs.append([])
    *programs, last = programs
    output = last[last.index(">") + 1] if ">" in last else None
    return [*programs, last[: last.index(">")] if output else last], output


def parsed(line):
    """Return whether the command line understands each call of fc7 in a line; one with --help ends there."""
    understood = []
    for words in pipeline(line.replace("$LOCAL_RANK", "0"))[0]:
        words = [part for word in words for part in (shlex.split(word) if word.startswith("fc7 ") else [word])]
        if "fc7" in words and "--help" not in words:
            understood.append(cli.parser().parse_args(words[words.index("fc7") + 1 :]).run)
    return all(understood)


def run(line):
    """Run a line, with a small network in place of those that are downloaded."""
    programs, output = pipeline(line)
    text = ""
    for name, *words in programs:
        text = {"fc7": _fc7, "find": _find, "pip": _pip, "python": _python}[name](words, text)
    if output:
        Path(output).write_text(text, encoding="utf-8")


def small(words):
    """Return the words of a command with a small network of seeded weights in place of one that is downloaded."""
    words, joined = list(words), " ".join(words)
    if words[0] not in EMBEDS or Path("fc7.toml").exists():
        return words
    if words[0] in ("compare", "screen") and "--heads" not in words:
        words += ["--heads", "ridge"]
    given = words[words.index("--backbone") + 1] if "--backbone" in words else None
    instead = TOKENS if given and given.startswith("timm:vit") else SMALL
    if given is None:
        words += ["--backbone", "vgg16"]
    for place, word in enumerate(words):
        if word == "--backbone" and (words[place + 1] in DOWNLOADED or instead is TOKENS) and "--weights" not in joined:
            words[place + 1] = instead["--backbone"]
            words += [part for name, value in instead.items() if name not in words for part in (name, value)]
            if "--image-size" not in words and ".py:" not in joined and instead is SMALL:
                words += ["--image-size", "32"]
    return words


def _fc7(words, given):
    said, log = io.StringIO(), io.StringIO()
    standard_input = io.TextIOWrapper(io.BytesIO(given.encode()))
    with (
        mock.patch.object(sys, "stdin", standard_input),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(log),
    ):
        code = cli.main(small(words))
    if code:
        raise RuntimeError(f"fc7 {shlex.join(small(words))} ends with {code}: {log.getvalue()}")
    return said.getvalue()


def _find(words, _):
    """As find does: FOLDER -name PATTERN [-print0]."""
    end = "\0" if "-print0" in words else "\n"
    paths = Path(words[0]).rglob(words[words.index("-name") + 1])
    return "".join(f"{path}{end}" for path in sorted(paths))


def _pip(words, _):
    """Nothing is installed: the extras that are asked for must be those of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"(?:fc7|\.)\[([\w,]+)\]", " ".join(words)):
        unknown = set(extras.split(",")) - project["optional-dependencies"].keys()
        if unknown:
            raise RuntimeError(f"There is no extra {sorted(unknown)}.")
    return ""


def _python(words, _):
    said = io.StringIO()
    with mock.patch.object(sys, "argv", words), contextlib.redirect_stdout(said):
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    return said.getvalue()
