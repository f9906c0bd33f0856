"""The verb ``report``: write a page, Markdown or csv from run records."""

import argparse
from pathlib import Path

from ...extract.commands.options import Arguments
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.text import plain

TEXT = """
Write what the records of `fc7 compare` and `fc7 finetune` say: the verdict, every run with its interval, paired
tests, plots, and the pictures that runs get wrong. Runs on different images are judged apart. The page is one file
without any link to the network. At least one output is needed.
"""
EXAMPLES = """
# one page
fc7 report my-runs -o report.html

# for a text and for a spreadsheet
fc7 report my-runs --markdown report.md --csv runs.csv
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of report."""
    parser.add_argument("records", type=Path, metavar="DIR", help="records that compare or finetune wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help="one page that needs no other file")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="the verdict and the table of runs")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="one line per run with every metric")


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Write a page, Markdown or csv from run records."""
    from ..pages.page import sizes
    from ..reports.report import write_reports
    from ..reports.verdict import findings
    from .tables import data_sets, written_files

    files = {"html": arguments.output, "markdown_file": arguments.markdown, "csv_file": arguments.csv}
    runs, failures, written = write_reports(arguments.records, **files)
    sets = data_sets(runs)
    payload = {
        "runs": len(runs),
        "verdict": findings(runs),
        "data_sets": sets,
        "failed": [failure.to_dict() for failure in failures],
        "written": written_files(written),
    }
    answers = [f"{one['title']}: {one['verdict'][0]}" if len(sets) > 1 else one["verdict"][0] for one in sets]
    answers += [str(failure) for failure in failures]
    return Answer(payload, "\n".join(map(plain, [*answers, *sizes(written)])))
