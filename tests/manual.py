"""Write docs/cli.md, the manual of the commands, and the keys in docs/project_file.md from the parser: ``make docs``.

Usage: python tests/manual.py docs/cli.md writes both.

It is made from the parser's own lists, not from what argparse prints: that depends on the terminal and on the Python.
"""

import re
import sys
import textwrap
from pathlib import Path

from fc7 import cli
from fc7.extract.commands.parser import synopsis
from fc7.extract.commands.project_file import REFUSED, options_of, verbs_of

HEAD = """# The command line

<!-- Written by `make docs` from the parser; tests/test_manual.py compares. -->
"""
BEGIN, END = "<!-- keys: written by `make docs` from the parser -->", "<!-- end of keys -->"
EVERY = ("help", "json", "quiet", "verbose")  # options of every verb


def page():
    """Return the whole manual as Markdown."""
    top = cli.parser()
    parts = [HEAD, prose(top.text), examples(top), "| verb | does |\n|---|---|"]
    parts[-1] += "".join(f"\n| [`{name}`](#fc7-{name}) | {text} |" for name, (text, _) in cli.VERBS.items())
    for title, entries in top.lists.items():
        parts += [f"## {title.capitalize()}", table(entries)]
    (output,) = (group for group in verbs(top)["extract"]._action_groups if group.title == "output")
    entries = [top._actions[0], *output._group_actions]
    parts += ["## Options of every verb", "\n".join(map(entry, entries))]
    seen = {}
    for parser in verbs(top).values():
        parts += verb(parser, seen)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def verbs(parser):
    """Return the parsers of the verbs of a command, by name."""
    return next((action.choices for action in parser._actions if isinstance(action.choices, dict)), {})


def verb(parser, seen, level="##"):
    """Return the parts of a verb: synopsis, description, options by group and examples, then those of its own verbs."""
    parts = [f"{level} {parser.prog}", f"```\n{synopsis(parser)}\n```", prose(parser.text)]
    shared = {}
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest not in EVERY]
        if not actions or isinstance(actions[0].choices, dict):
            continue
        title = {"positional arguments": "arguments"}.get(group.title, group.title)
        items = "\n".join(map(entry, actions))
        first = seen.setdefault((title, items), parser.prog)
        if first == parser.prog:
            about = f" ({prose(group.description)})" if group.description else ""
            parts += [f"**{title.capitalize()}**{about}", items]
        else:
            shared.setdefault(first, []).append(f"**{title.capitalize()}**")
    for first, titles in shared.items():
        parts += [f"{', '.join(titles)}: as for [`{first}`](#{first.replace(' ', '-')})"]
    parts += [examples(parser)]
    for title, entries in parser.lists.items():
        parts += [f"**{title[0].upper()}{title[1:]}**", table(entries)]
    for inner in verbs(parser).values():
        parts += verb(inner, seen, level + "#")
    return parts


def entry(action):
    """Return one argument as an item of a list."""
    value = "" if action.nargs == 0 else action.metavar or "|".join(map(str, action.choices))
    value += "..." if action.nargs == "+" else ""
    names = [f"`{f'{option} {value}'.strip()}`" for option in action.option_strings] or [f"`{value}`"]
    required = " (required)" if action.option_strings and action.required else ""
    return fill(f"- {', '.join(names)}{required}: {escaped(action.help % vars(action))}", "  ")


def examples(parser):
    """Return the examples of a command."""
    return f"```sh\n{parser.examples.strip()}\n```"


def table(entries):
    """Return a list of the help as a table."""
    rows = [f"| `{name}` | {escaped(text)} |" for name, text in entries.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def prose(text):
    """Return paragraphs, filled."""
    return "\n\n".join(fill(escaped(paragraph)) for paragraph in text.strip().split("\n\n"))


def fill(text, indent=""):
    """Return lines of 120 columns, none of them broken inside a word."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def escaped(text):
    """Return text that Markdown shows as it is, apart from what stands in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<>~*$|])", r"\\\1", part) for part in parts)


def keys():
    """Return the keys of a project file as a table: what each takes, and the commands that read it."""
    taken = {}
    for name, parser in verbs_of(cli.parser()).items():
        for key, action in options_of(parser).items():
            if key not in REFUSED:
                taken.setdefault(key, {}).setdefault(value_of(action), []).append(name)
    every = len(verbs_of(cli.parser()))
    rows = ["| key | value | of |", "|---|---|---|"]
    for key, values in sorted(taken.items()):
        for value, names in values.items():
            rows += [f"| `{key}` | `{value}` | {'all' if len(names) == every else ', '.join(names)} |"]
    return "\n".join(rows)


def value_of(action):
    """Return what an option takes, as the help says it."""
    if action.nargs == 0:
        return "true"
    return (action.metavar or "|".join(map(str, action.choices))).replace("|", "\\|")


def with_keys(text):
    """Return the page on the project file with the keys of today."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{keys()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    manual = Path(sys.argv[1])
    manual.write_text(page(), encoding="utf-8")
    project_file = manual.with_name("project_file.md")
    project_file.write_text(with_keys(project_file.read_text(encoding="utf-8")), encoding="utf-8")
