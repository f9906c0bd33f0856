"""Help of every verb loads nothing heavy; benchmarks/help.py measures how long it takes."""

import subprocess
import sys

import pytest

from fc7.cli import VERBS
from fc7.extract.commands.cache import VERBS as CACHE_VERBS

HEAVY = ("torch", "torchvision", "sklearn", "numpy", "h5py", "PIL", "rich", "scipy", "jinja2", "pandas")
HELP = """
from fc7.cli import main
for verb in {verbs!r}:
    try:
        main([*verb.split(), "--help"])
    except SystemExit as stopped:
        assert stopped.code == 0
    print("LOADED", verb, *[name for name in {heavy!r} if name in sys.modules])
"""


def loaded(code, *verbs):
    """Return the heavy modules that a fresh interpreter has loaded after the help of each verb, one after the other."""
    program = "import sys\n" + code + HELP.format(verbs=verbs, heavy=HEAVY)
    reply = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [line for line in reply.stdout.splitlines() if line.startswith("usage: fc7")][-1]
    lines = [line.removeprefix("LOADED ") for line in reply.stdout.splitlines() if line.startswith("LOADED")]
    return [line.removeprefix(verb).split() for line, verb in zip(lines, verbs, strict=True)]


def test_help_loads_nothing_heavy():
    verbs = ["", *VERBS, *(f"cache {verb}" for verb in CACHE_VERBS)]
    assert dict(zip(verbs, loaded("", *verbs), strict=True)) == {verb: [] for verb in verbs}


@pytest.mark.parametrize("verb", ["", *VERBS, *(f"cache {verb}" for verb in CACHE_VERBS)])
def test_help_wraps_at_words_and_fits_80_columns(verb, fc7, monkeypatch):
    shown = {}
    for width in (80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        shown[width] = fc7(*verb.split(), "--help")[1]
    assert [line for line in shown[80].splitlines() if len(line) > 80] == []
    assert shown[80].split() == shown[100].split()


def test_twin_help_that_loads_numpy_is_seen():
    assert loaded("import numpy", "fit") == [["numpy"]]
