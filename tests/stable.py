"""What programs that use fc7 rely on: verbs and options, names and parameters, numbers of formats.

Usage: PYTHONPATH=tests python tests/stable.py tests/stable.json writes it anew. tests/test_stability.py compares: what
is in the file must be there; what is new may be.
"""

import inspect
import json
import sys
from pathlib import Path

import fc7.cache
import fc7.classify
import fc7.classify.heads
import fc7.errors
import fc7.extract
from fc7 import cli
from fc7.cache.format import VERSION
from fc7.classify.bundles.members import FORMAT
from fc7.classify.records.runs import RECORD

DOORS = (fc7.extract, fc7.classify, fc7.classify.heads, fc7.cache)


def options(parser, name=""):
    """Return the options of each verb, and of the verbs of a verb."""
    found = {}
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for verb, inner in action.choices.items():
                found |= options(inner, f"{name} {verb}".strip())
    if name:
        words = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        found[name] = sorted(words)
    return found


def parameters(value):
    """Return the parameters of a function or class, in their order; those by name alone after a star, sorted."""
    try:
        given = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return []
    by_place = [one.name for one in given if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return [*by_place, "*", *sorted(one.name for one in given if one.kind is one.KEYWORD_ONLY)]


def promised():
    """Return all of it."""
    errors = [value for value in vars(fc7.errors).values() if isinstance(value, type)]
    schema = json.loads((Path(fc7.__file__).parent / "classify" / "records" / "run.schema.json").read_text("utf-8"))
    return {
        "command line": options(cli.parser()),
        "python": {
            door.__name__: {name: parameters(getattr(door, name)) for name in sorted(door.__all__)} for door in DOORS
        },
        "errors": {error.__name__: error.exit_code for error in errors if issubclass(error, fc7.errors.FC7Error)},
        "formats": {"cache": VERSION, "bundle": FORMAT, "record": RECORD},
        "record": sorted(schema["properties"]),
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(promised(), indent=1) + "\n", encoding="utf-8")
