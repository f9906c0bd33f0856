"""Hints: commands that can be pasted as they stand, with the options that were given."""

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

from ...cache.urls import locate
from .options import Arguments
from .project_file import verbs_of

# A command that a message names stands after a colon; elsewhere "fc7 review" is the name of a program in a sentence.
_NAMED = re.compile(r"(?<=: )fc7 (cache [a-z]+|[a-z]+ DATA)\b")

_OF_BACKBONE = frozenset({"weights", "layer", "transform", "image_size"})


def command(arguments: Arguments, verb: str, **changed: Any) -> str:
    """Return the command of a verb with the options that were given to this one and that it takes, too.

    Two verbs take the same option if it has the same help; DATA is the same everywhere. What ``fc7.toml`` has for every
    verb is left out.

    Parameters
    ----------
    verb
        As it is typed: ``fit``, or ``cache export``.
    changed
        Values in the place of those given, by the option's variable, a list for several; None leaves one out.
    """
    mine = {action.dest: action for action in arguments.options.values()}
    words, theirs = [], verbs_of(arguments.parser())[verb]._actions
    # Weights and the like are those of the backbones that were given, of which another verb may not take as many.
    taken = {action.help for action in theirs if action.dest == "backbone"}
    nameless = _OF_BACKBONE if "backbone" in arguments.given and mine["backbone"].help not in taken else frozenset()
    for action in sorted(theirs, key=lambda action: bool(action.option_strings)):
        name = action.dest
        if name in changed:
            words += [] if changed[name] is None else _words(action, changed[name])
        elif name in arguments.given and name not in nameless and (name == "data" or action.help == mine[name].help):
            words += _words(action, arguments.given[name])
    return shlex.join(["fc7", *verb.split(), *words])


def complete(message: str, arguments: Arguments) -> str:
    """Return a message whose commands, ``fc7 VERB DATA`` and ``fc7 cache VERB``, have the options that were given.

    ``DATA`` stands for the data set; of a verb that has none it stays.
    """

    def completed(match: re.Match[str]) -> str:
        verb, data = match[1].removesuffix(" DATA"), match[1].endswith(" DATA")
        if verb not in verbs_of(arguments.parser()) or (data and not hasattr(arguments, "data")):
            return match[0]
        return command(arguments, verb) if data else command(arguments, verb, data=None)

    return _NAMED.sub(completed, message)


def _words(action: argparse.Action, values: Any) -> list[str]:
    """Return what is typed to give an option one or several values, each a word."""
    words = [str(value) for value in (values if isinstance(values, list) else [values])]
    flag = max(action.option_strings, key=len, default="")
    if not flag or action.type in (Path, locate):  # a path that begins with - would be an option
        words = [f"./{word}" if word.startswith("-") and word != "-" else word for word in words]
    if not flag:
        return words
    if action.nargs == 0:
        return [flag]
    return [flag, *words] if action.nargs == "+" else [part for word in words for part in (flag, word)]
