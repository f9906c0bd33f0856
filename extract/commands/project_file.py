"""The project file ``fc7.toml``: options that would be repeated on every call, and where each value came from."""

import argparse
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from ...cache.urls import is_url, locate
from ...errors import FC7Error, UsageError
from ..readers import is_python_function, python_function
from .parser import Parser, similar

NAME = "fc7.toml"

# A folder from elsewhere must not decide whom this machine talks to.
REFUSED = {"address", "allow-private-hosts", "allow-redirects"}

_COMMAND_LINE, _DEFAULT = "command line", "default"
_SAID_ELSEWHERE = {"help", "version", "json", "quiet", "verbose"}


class _Value(NamedTuple):
    """A value that no command line gave, as a parser's default; and the words that would have given it there."""

    value: Any
    origin: str
    words: Sequence[str] = ()

    def __copy__(self) -> list[Any]:
        """Return where argparse collects repeated options: those of the command line replace those of the file."""
        return []


class ProjectFile:
    """A file of options: at the top for every verb, in a table for one, as ``[fit]`` or ``["cache export"]``.

    Keys are the long options, and ``data``. Paths are relative to the file.

    Raises
    ------
    UsageError
        It is no TOML, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        import tomllib  # most folders have no such file

        self.path = path
        try:
            self._values = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors write a mark
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """Return the file of a folder, else that of the nearest one above that has one.

        Raises FC7Error if a folder cannot be looked into now.
        """
        for path in (above / NAME for above in (folder, *folder.parents)):
            try:
                if path.is_file():
                    return cls(path)
            except PermissionError:  # what may not be looked into is not this user's project
                continue
            except OSError as error:
                raise FC7Error(f"{path} cannot be looked for: {error.strerror}.") from error
        return None

    def fill(self, parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
        """Make the values the defaults of the verb that is called.

        Parameters
        ----------
        parser
            With the options of all verbs.
        words
            Of the call.

        Raises
        ------
        UsageError
            No verb has an option of that name, or it does not take the value, or it is only for the command line.
        """
        verbs = verbs_of(parser)
        tables = {name: values for name, values in self._values.items() if name in verbs and isinstance(values, dict)}
        common = {key: value for key, value in self._values.items() if key not in tables}
        self._require_known(common, {key for verb in verbs.values() for key in options_of(verb)}, "")
        for name, verb in verbs.items():
            own, options = tables.get(name, {}), options_of(verb)
            self._require_known(own, options, f"[{name}] ")
            if name.split() == list(words[: len(name.split())]):
                for key, value in (common | own).items():
                    if key in options:
                        self._give(options[key], key, value, f"{NAME} [{name}]" if key in own else NAME)

    def _require_known(self, values: Mapping[str, Any], known: Collection[str], table: str) -> None:
        for key in values:
            if key in REFUSED:
                raise UsageError(f"{self.path}: {table}{key} is for the command line alone.")
            if key not in known:
                raise UsageError(f"{self.path}: {table}{key} is not an option{similar(key, known)}.")

    def _give(self, action: argparse.Action, key: str, value: Any, origin: str) -> None:
        several = value if isinstance(value, list) and isinstance(action, argparse._AppendAction) else [value]
        try:
            texts = [] if action.nargs == 0 else [self._text(action, item) for item in several]
            converted = _switched(action, value) if action.nargs == 0 else [_converted(action, text) for text in texts]
        except (argparse.ArgumentTypeError, ValueError, TypeError) as error:
            raise UsageError(f"{self.path}: {key} = {value!r}: {error}.") from error
        if action.nargs != 0 and not isinstance(action, argparse._AppendAction):
            converted = converted[0]
        action.default, action.required = _Value(converted, origin, texts), False
        if not action.option_strings:
            action.nargs = argparse.OPTIONAL

    def _text(self, action: argparse.Action, value: Any) -> str:
        """Return what would be typed: paths are relative to the file."""
        if isinstance(value, bool | list | dict):
            raise TypeError("one text or number")
        text = str(value)
        if action.dest == "backbone" and is_python_function(text):
            raise ValueError("a Python file is named on the command line alone")
        if action.type in (Path, locate):
            return self._located(text)
        if action.dest in {"weights", "add"}:
            return re.sub(r"(?<=file:).+$" if action.dest == "weights" else r"(?<==).+$", self._found, text)
        return text

    def _found(self, match: re.Match[str]) -> str:
        return self._located(match[0])

    def _located(self, path: str) -> str:
        return path if is_url(path) else str(self.path.parent / path)


def _switched(action: argparse.Action, value: Any) -> Any:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return action.const if value else action.default


def _converted(action: argparse.Action, text: str) -> Any:
    try:
        converted = action.type(text) if callable(action.type) else text
    except ValueError as error:  # in the words of int() and float(); our own errors are others
        raise ValueError("not a value that it takes") from error
    if action.choices is not None and converted not in action.choices:
        raise ValueError(f"not one of {', '.join(map(str, action.choices))}")
    return converted


def mark_defaults(parser: Parser) -> None:
    """Mark the defaults that no file has given, so that :func:`settle` knows them."""
    for verb in verbs_of(parser).values():
        options = options_of(verb)
        verb.set_defaults(options=options, typed=verb.typed)
        for action in options.values():
            if not isinstance(action.default, _Value):
                action.default = _Value(action.default, _DEFAULT)


def settle(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Put values in the place of marked ones; return each option's value and where it came from.

    What the file gave is in ``arguments.of_file``: a verb that cannot use it does not refuse it. The words that another
    verb would have to be given, too, are in ``arguments.given`` by variable: those of the command line and of the
    verb's own table.
    """
    origins, arguments.of_file, arguments.given = {}, set(), {}
    for name, action in arguments.options.items():
        variable, value = action.dest, getattr(arguments, action.dest)
        marked = value if isinstance(value, _Value) else _Value(value, _COMMAND_LINE, arguments.typed.get(variable, ()))
        setattr(arguments, variable, marked.value)
        if marked.origin.startswith(NAME):
            arguments.of_file.add(variable)
        if marked.origin not in (NAME, _DEFAULT) and marked.value not in (None, False):
            arguments.given[variable] = marked.words
        if marked.value is not None:
            origins[name] = {"value": _plain(marked.value), "from": marked.origin}
    return origins


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the verbs that have options of their own, by name, ``cache export`` included."""
    return dict(_verbs(parser))


def _verbs(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, Any]]:
    inner = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    if not inner and name:
        yield name, parser
    for choices in inner:
        for verb, command in choices.items():
            yield from _verbs(command, f"{name} {verb}".strip())


def options_of(verb: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return what a verb takes, by long option; and ``data``."""
    options = {text[2:]: action for action in verb._actions for text in action.option_strings if text[:2] == "--"}
    options |= {action.dest: action for action in verb._actions if action.dest == "data"}
    own = {name for name, action in options.items() if action.type is python_function}  # the command line's alone
    return {name: action for name, action in options.items() if name not in _SAID_ELSEWHERE | own}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else str(value)
