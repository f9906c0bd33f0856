"""Run all tests on the installed fc7 with every call taken away at once; then, with each away, those that ask for it.

What a test that never asks for a call does is the same without it, so it need not run again. A test asks for a call
itself or in a process that it starts; what a fixture asks for counts for all tests of its file. Tests that are skipped
with all calls away because one is not promised run again, too.

    python tests/without/each.py [CALL ...] -- [OPTIONS OF PYTEST ...]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from calls import CALLS

HERE = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calls", nargs="*", metavar="CALL", help=f"of {', '.join(CALLS)}; default: all")
    parser.add_argument("--asked", type=Path, help="what a first run wrote, which is not repeated then")
    words = sys.argv[1:]
    place = words.index("--") if "--" in words else len(words)
    arguments, options = parser.parse_args(words[:place]), words[place + 1 :]
    if unknown := set(arguments.calls).difference(CALLS):
        parser.error(f"unknown: {' '.join(sorted(unknown))}")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        asked = arguments.asked or Path(folder) / "asked"
        if not asked.exists():
            say(f"without any of them but kill: {again('all')}")
            asked.touch()
            failed += ["any"] * run("all", options, FC7_ASKED=asked.resolve())
        wanted = {}
        for line in asked.read_text("utf-8").splitlines():
            call, test = line.split("\t")
            wanted.setdefault(call, set()).add(test)
        for call in arguments.calls or CALLS:
            tests = wanted.get(call, set())
            files = {test for test in tests if "::" not in test}
            tests = files | {test for test in tests if test.partition("::")[0] not in files}
            say(f"without {call}, which {len(files)} files and {len(tests) - len(files)} tests ask for: {again(call)}")
            if tests:
                (Path(folder) / "tests").write_text("\n".join(sorted(tests)), "utf-8")
                failed += [call] * run(call, [*options, f"@{folder}/tests"])
    return f"Tests fail without {', '.join(failed)}." if failed else 0


def say(line):
    print(line, flush=True)  # noqa: T201


def run(call, options, **variables):
    paths = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"FC7_WITHOUT": call, "PYTHONPATH": paths} | {k: str(v) for k, v in variables.items()}
    return subprocess.run([sys.executable, "-m", "pytest", *options], env=environment, check=False).returncode != 0


def again(call):
    return f"FC7_WITHOUT={call} PYTHONPATH={HERE} {sys.executable} -m pytest"


if __name__ == "__main__":
    sys.exit(main())
