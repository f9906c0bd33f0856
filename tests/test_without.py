"""fc7 on systems that lack a call: a cache is filled, read and tidied with one of them, and with all, taken away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS / "without"))
from calls import CALLS  # noqa: E402

sys.path.remove(str(TESTS / "without"))


@pytest.fixture
def run(tmp_path):
    def run(call):
        environment = os.environ | {
            "FC7_WITHOUT": call,
            "PYTHONPATH": os.pathsep.join([str(TESTS / "without"), str(TESTS)]),
            "PYTHONSAFEPATH": "1",
        }
        words = [sys.executable, str(TESTS / "without" / "all_of_a_cache.py"), str(tmp_path)]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)

    return run


@pytest.mark.parametrize("call", [*CALLS, "all"])
def test_a_cache_keeps_its_promises_without(call, run):
    done = run(call)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["process" if call in ("O_DIRECTORY", "all") else "power"]
