"""Help of every verb loads nothing heavy; benchmarks/help.py measures how long it takes."""

import subprocess
import sys

import pytest

from fc7.cli import VERBS
from fc7.extract.commands.cache import VERBS as CACHE_VERBS

HEAVY = ("torch", "torchvision", "sklearn", "numpy", "h5py", "PIL", "rich", "scipy", "jinja2", "pandas")
HELP = """
from fc7.cli import main
try:
    main([*sys.argv[1:], "--help"])
except SystemExit as stopped:
    assert stopped.code == 0
"""


def loaded(code, *words):
    """Return the heavy modules that a fresh interpreter has loaded after running the code."""
    program = f"import sys\n{code}\nprint('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    command = [sys.executable, "-c", program, *words]
    reply = subprocess.run(command, capture_output=True, text=True, check=True)
    assert reply.stdout.startswith(f"usage: {' '.join(['fc7', *words])}")
    return reply.stdout.rpartition("LOADED")[2].split()


@pytest.mark.parametrize("verb", ["", *VERBS, *(f"cache {verb}" for verb in CACHE_VERBS)])
def test_help_loads_nothing_heavy(verb):
    assert loaded(HELP, *verb.split()) == []


@pytest.mark.parametrize("verb", ["", *VERBS, *(f"cache {verb}" for verb in CACHE_VERBS)])
def test_help_wraps_at_words_and_fits_80_columns(verb, fc7, monkeypatch):
    shown = {}
    for width in (80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        shown[width] = fc7(*verb.split(), "--help")[1]
    assert [line for line in shown[80].splitlines() if len(line) > 80] == []
    assert shown[80].split() == shown[100].split()


def test_twin_help_that_loads_numpy_is_seen():
    assert loaded("import numpy" + HELP, "fit") == ["numpy"]
