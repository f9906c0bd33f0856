"""How a verb is called: a parser whose help has examples, and whose errors are one line that guesses what was meant."""

import argparse
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ...errors import UsageError
from ..text import few
from .terminal import columns


class Parser(argparse.ArgumentParser):
    """A parser of one command.

    What is wrong raises :class:`fc7.errors.UsageError`. A command that only has verbs, called without any, prints its
    help on stderr and exits 2.

    Attributes
    ----------
    text
        Paragraphs that say what the command does.
    examples
        A few of its uses, in the order in which a user meets them.
    lists
        What follows the examples: titles, and under each a text by name.
    typed
        The words that were given for an option or argument, by its variable.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, formatter_class=_Formatter, **options)
        self.text, self.examples = "", ""
        self.lists: dict[str, Mapping[str, str]] = {}
        self.typed: dict[str, list[str]] = {}

    def format_help(self) -> str:
        """Return usage, text and options, then examples and lists."""
        self.usage, self.description = synopsis(self), self.text
        lists = [_listed(title, entries) for title, entries in self.lists.items()]
        self.epilog = "".join([_indented("examples", self.examples), *lists])
        return super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return what is known and an empty list: what is not known is an error of the verb that got it."""
        words = sys.argv[1:] if args is None else list(args)
        if not words and self._subparsers is not None:
            self.print_help(sys.stderr)
            self.exit(UsageError.exit_code)
        namespace, unknown = super().parse_known_args(words, namespace)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            if hasattr(namespace, "data") and not any(word.startswith("-") for word in unknown):  # of a shell's pattern
                self.error(
                    f"One DATA is needed, and {few(unknown, 2)} came after {namespace.data}. Name the folder that they "
                    "are in, a table of them, or - for a list on standard input"
                )
            self.error(f"unknown: {' '.join(unknown)}{similar(unknown[0].partition('=')[0], options)}")
        return namespace, unknown

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        self.typed.setdefault(action.dest, []).extend(arg_strings)
        return super()._get_values(action, arg_strings)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            if not isinstance(reason := error.__context__, ValueError):
                raise
            kind = "a whole number" if "int()" in str(reason) else "a number"
            raise argparse.ArgumentError(action, f"{arg_string!r} is not {kind}") from reason

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            message = f"{value!r} is not one of {', '.join(names)}{similar(str(value), names)}"
            raise argparse.ArgumentError(action, message)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, with the command that says what would be right."""
        raise UsageError(f"{message}. See: {self.prog} --help")


def synopsis(parser: argparse.ArgumentParser) -> str:
    """Return a command with what it needs; what it can take besides is ``[options]``."""
    words = [parser.prog, *(_argument(action) for action in parser._actions if not action.option_strings)]
    words += [f"{action.option_strings[0]} {action.metavar}" for action in parser._actions if _is_required(action)]
    optional = any(action.option_strings and not _is_required(action) for action in parser._actions)
    return " ".join([*words, "[options]"] if optional and parser._subparsers is None else words)


def _is_required(action: argparse.Action) -> bool:
    return bool(action.option_strings) and action.required


def _argument(action: argparse.Action) -> str:
    name = str(action.metavar or "|".join(map(str, action.choices or [action.dest])))
    if action.nargs == argparse.OPTIONAL:
        return f"[{name}]"
    return name + ("..." if action.nargs == "+" else " ..." if action.nargs == argparse.PARSER else "")


def similar(word: str, names: Iterable[str]) -> str:
    """Return a question with the name that is most like a word, if there is one."""
    import difflib

    close = difflib.get_close_matches(word, list(names), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _indented(title: str, text: str) -> str:
    return f"{title}:\n{textwrap.indent(text.strip(), '  ')}\n\n"


def _listed(title: str, entries: Mapping[str, str]) -> str:
    indent = max(map(len, entries)) + 2
    margin = "\n" + " " * indent
    filled = {name: textwrap.wrap(text, 76 - indent, break_on_hyphens=False) for name, text in entries.items()}
    return _indented(title, "\n".join(name.ljust(indent) + margin.join(lines) for name, lines in filled.items()))


class _Formatter(argparse.HelpFormatter):
    """Paragraphs are filled, but not those with an indented line: examples and lists are shown as they are written."""

    def __init__(self, prog: str, **options: Any) -> None:
        width = columns() - 2
        super().__init__(prog, max_help_position=30, width=width, **options)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        filler = textwrap.TextWrapper(width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        return "\n\n".join(text if "\n  " in text else filler.fill(text) for text in paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action.choices, dict):  # the verbs, without a line for all of them
            return "".join(map(self._format_action, action._get_subactions()))  # type: ignore[attr-defined]
        return super()._format_action(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Show ``-o, --output FILE``, as Python does itself from 3.13 on."""
        if not action.option_strings or action.nargs == 0 or sys.version_info >= (3, 13):
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, action.dest.upper())}"
