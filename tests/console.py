"""The console blocks of a page: their commands run, and what they print stands below them.

Usage: python tests/console.py PAGE ... writes below each command what it prints today. The commands of a page run in a
folder of their own, one after the other, after the page's Python and TOML.
"""

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from unittest import mock

from fc7 import cli
from fc7.classify.reviews.server import Server

BLOCK = re.compile(r"```(python|toml|console)\n(.*?)```\n", re.DOTALL)
COMMAND = re.compile(r"^\$ fc7 (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
WIDTH = "100"  # characters of a line


def printed(arguments):
    """Return what a command prints, on both streams, in this process."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        code = cli.main(shlex.split(arguments, comments=True))
    if code:
        raise RuntimeError(f"fc7 {arguments} ends with {code}: {stream.getvalue()}")
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def cut(text, before):
    """Return a text, cut after as many lines as were shown before, if those end in an ellipsis."""
    lines = before.splitlines(keepends=True)
    return text if lines[-1:] != ["...\n"] else "".join([*text.splitlines(keepends=True)[: len(lines) - 1], "...\n"])


def ended(server):
    """Stand for a review that ends at once, as by Ctrl-C."""
    server._socket.close()


def rewritten(text):
    """Run a page in the working directory, and return it with what its commands print today."""
    names = {}

    def run(block):
        language, code = block.groups()
        if language == "python":
            exec(compile(code, "page", "exec"), names)
        elif language == "toml":
            Path("fc7.toml").write_text(code, encoding="utf-8")
        else:
            code = COMMAND.sub(lambda found: f"$ fc7 {found[1]}\n{cut(printed(found[1]), found[2])}", code)
        return f"```{language}\n{code}```\n"

    with mock.patch.dict(os.environ, {"COLUMNS": WIDTH}), mock.patch.object(Server, "run", ended):
        return BLOCK.sub(run, text)


def without_numbers(text):
    """Return a text in which numbers, units of time and the room that they take in a table do not count.

    Which parts of the time are worth a word depends on the machine, too.
    """
    text = re.sub(r"; the rest: .*", "", text)
    text = re.sub(r"(\d+(\.\d+)? (ms|s|min|h)\b ?)+", "0 s ", text)
    return re.sub(r"[ -]+", " ", re.sub(r"\d+(\.\d+)?", "0", text)).replace("0 s ", "0 s")


def main(*pages):
    """Write the pages anew; the README's runs on what the demo makes."""
    for page in map(Path, pages):
        text, before = page.read_text(encoding="utf-8"), Path.cwd()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            os.environ["FC7_CACHE"] = f"{folder}/cache"
            if page.name == "README.md":
                printed("demo")
            text = rewritten(text)
        (before / page).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
