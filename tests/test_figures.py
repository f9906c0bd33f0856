"""Every figure of the pages comes from a script: it is named in the section in which the figure stands."""

import re
from pathlib import Path

import numpy as np
import pytest

from fc7.classify.evaluation.class_means import balanced_accuracy
from fc7.classify.evaluation.effective_size import agresti_coull
from fc7.classify.evaluation.metrics import measure

ROOT = Path(__file__).resolve().parents[1]
UNITS = r"s|ms|µs|seconds?|minutes?|min|hours?|microseconds|milliseconds|[kMG]B|images/s|times|points|%|GFLOP/s"
FIGURE = re.compile(rf"(?<![\w.-])\d[\d,.]*(e-?\d+)? ?({UNITS}|\w+ a second)(?!\w)|(?<!-)\b0\.\d{{2,}}\b")
SCRIPT = re.compile(r"(?:benchmarks|examples|tests)/[\w/]+\.py|`make (?:faults|zoo|bench)`")
PAGES = [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "cli.md")]
NOT_MEASURED = {  # page and section: what its numbers are
    ("README.md", "Three jobs"): "an option of an example",
    ("ants_bees.md", "What the published figures can carry"): "published; a test below computes their intervals",
    ("audit.md", "Outliers"): "a rule",
    ("data.md", "Archives"): "a limit",
    ("engines.md", "Memory"): "a limit",
    ("extraction.md", "Several GPUs, and Apple's"): "a rule",
    ("heads.md", "Time and memory"): "a rule",
    ("predict.md", "Costs"): "the level of an interval",
    ("predict.md", "Sets of classes"): "an option of an example",
    ("records.md", "What was done"): "an example",
    ("reliability.md", "Shared caches"): "a rule",
    ("reliability.md", "How"): "a rule",
    ("reliability.md", "Not promised"): "an example",
    ("remote.md", "Web addresses"): "limits",
    ("remote.md", "A cache in an object store"): "a limit of stores",
    ("stability.md", "Deprecation"): "a version",
    ("statistics.md", "What chance could have done"): "levels and rules",
    ("statistics.md", "Classes"): "rules, and an example that a test below computes",
    ("vector_files.md", "In other programs"): "a version",
}


def sections(text):
    """Return the sections of a page by their headings, without code."""
    parts = re.split(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return zip(parts[1::2], parts[2::2], strict=True)


def unfounded(text):
    """Return the headings of sections that have figures and name no script."""
    return [title for title, inner in sections(text) if FIGURE.search(inner) and not SCRIPT.search(inner)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_figures_stand_beside_the_script_that_measured_them(page):
    expected = [title for name, title in NOT_MEASURED if name == page.name]
    assert unfounded(page.read_text(encoding="utf-8")) == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_scripts_that_pages_name_are_there(page):
    named = re.findall(r"(?:benchmarks|examples|tests)/[\w/]+\.py", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_marked_blocks_are_written_by_a_script_that_knows_the_mark():
    for page in PAGES:
        for mark, script in re.findall(r"<!-- (\w+: written by ([\w/.]+\.py)) -->", page.read_text(encoding="utf-8")):
            assert mark in (ROOT / script).read_text(encoding="utf-8"), page.name


@pytest.mark.parametrize("words", ["It takes 3 s.", "| 0.941 |", "5 images a second", "1,043 MB", "52 times", "0.5 %"])
def test_twin_a_figure_is_seen(words):
    assert unfounded(f"# Title\n\n{words}\n") == ["Title"]
    assert unfounded(f"# Title\n\n{words} (`benchmarks/cache.py`)\n") == []


@pytest.mark.parametrize("words", ["3 folders", "version 2.10", "5 classes", "`--max-ram 512M`", "1e-4"])
def test_twin_other_numbers_are_none(words):
    assert unfounded(f"# Title\n\n{words}\n") == []


def test_the_intervals_of_the_published_figures_are_those_of_fc7():
    page = (ROOT / "docs" / "ants_bees.md").read_text(encoding="utf-8")
    said = re.search(r"\(Agresti and Coull\), (\S+)-(\S+) and\s(\S+)-(\S+), overlap", page).groups()
    assert [float(number) for number in said] == [
        round(bound, 3) for right in (139, 144) for bound in agresti_coull(right, 153)
    ]


def test_the_example_of_a_wide_interval_is_so():
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    words = (
        r"with (\d+) of a class and (\d+) of the other.*accuracy is (\S+) and\s+"
        r"balanced accuracy (\S+), from (\S+) to (\S+)\.\s"
    )
    said = re.search(words, page, re.DOTALL).groups()
    few, many, *figures = said
    y = np.repeat([1, 0], [int(few), int(many)])
    found = balanced_accuracy(y, np.zeros_like(y))
    computed = [measure(y, None, np.zeros_like(y)).accuracy, found.value, found.low, found.high]
    assert [f"{float(one):.2f}" for one in figures] == [f"{one:.2f}" for one in computed]
