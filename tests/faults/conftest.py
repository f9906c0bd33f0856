"""The fault tests: two sizes, and a figure from each.

``make test`` runs them small (minutes); ``make faults`` runs them at full size and writes the table of
``docs/reliability.md`` from what they measured.
"""

import json
import os
from pathlib import Path

import pytest

FULL = os.environ.get("FC7_FAULTS") == "full"
FIGURES = pytest.StashKey[list[dict[str, str]]]()


@pytest.fixture(scope="session")
def size():
    """Choose between the number for every day and the one for ``make faults``."""
    return lambda small, large: large if FULL else small


@pytest.fixture
def figure(request):
    """Record what a test did and found: ``figure("Killed at any time", "200 kills", "0 rows lost")``."""

    def record(fault, done, found):
        request.config.stash.setdefault(FIGURES, []).append({"fault": fault, "done": done, "found": found})

    return record


def pytest_collection_modifyitems(items):
    """Let the time limit count for tests alone: the fixture of a module does what its tests look at."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(func_only=True))


def pytest_terminal_summary(terminalreporter, config):
    figures = config.stash.get(FIGURES, [])
    if not figures:
        return
    terminalreporter.section("fault tests, full size" if FULL else "fault tests, small")
    for one in figures:
        terminalreporter.write_line(f"{one['fault']}: {one['done']} -> {one['found']}")
    if target := os.environ.get("FC7_FIGURES"):
        Path(target).write_text(json.dumps({"full": FULL, "figures": figures}, indent=1) + "\n", encoding="utf-8")
