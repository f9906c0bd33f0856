"""What docs/stability.md promises: nothing that a program could use is gone or has another order."""

import json
from functools import cache
from pathlib import Path

import pytest
import stable

import fc7
from fc7 import cli

promised = cache(stable.promised)
SAID = json.loads((Path(__file__).parent / "stable.json").read_text(encoding="utf-8"))
NEXT = "Add a line to CHANGELOG.md, then: PYTHONPATH=tests python tests/stable.py tests/stable.json"


def gone(before, now):
    """Return what programs relied on and is no longer there."""
    if isinstance(before, dict):
        inner = [f"{key}: {line}" for key in before if key in now for line in gone(before[key], now[key])]
        return [f"{key} is gone" for key in before if key not in now] + inner
    if isinstance(before, list) and "*" in before:  # parameters: those by place keep their order
        place, star = before[: before.index("*")], before.index("*")
        moved = [f"({', '.join(now[:star])}) was ({', '.join(place)})"] if now[:star] != place else []
        return moved + [f"{name} is gone" for name in before[star:] if name not in now]
    if isinstance(before, list):
        return [f"{name} is gone" for name in before if name not in now]
    return [] if before == now else [f"{now} was {before}"]


@pytest.mark.parametrize("part", sorted(SAID))
def test_what_programs_rely_on_is_there(part):
    assert gone(SAID[part], promised()[part]) == [], NEXT


def test_the_answer_of_every_verb_is_held():
    assert {name.split()[0] for name in SAID["answers"]} == cli.VERBS.keys() - {"completion"}  # it prints a script


CITED = (Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8")


def test_the_version_is_one():
    assert f"\nversion: {fc7.__version__}\n" in CITED


def test_what_is_gone_is_found():
    before = {"fit": ["a", "b", "*", "c"], "options": ["--x"], "number": 1}
    assert gone(before, {"fit": ["a", "b", "new", "*", "c"], "options": ["--x", "--y"], "number": 1, "new": 2}) == []
    assert gone(before, {"fit": ["b", "a", "*"], "number": 2}) == [
        "options is gone", "fit: (b, a) was (a, b)", "fit: c is gone", "number: 2 was 1",
    ]  # fmt: skip
