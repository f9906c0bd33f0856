"""The verb ``report``: write a page, Markdown or csv from run records."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.tables import counted
from ...cache.urls import without_secrets
from ...extract.commands.options import Arguments
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.text import plain

if TYPE_CHECKING:
    from ..records.runs import Run

TEXT = """
Write what the records of `fc7 compare` and `fc7 finetune` say: the verdict, every run with its interval, paired
tests, plots, and the pictures that runs get wrong. Runs on different images are judged apart. The page has no
link to the network; more than 600 pictures lie in a folder beside it. At least one output is needed.

--mlflow and --tensorboard hand the figures to other programs. Runs that were handed over before stay as they
are, so you can give the same command after more fits. Nothing is sent anywhere unless you name a server.
"""
EXAMPLES = """
# one page
fc7 report my-runs -o report.html

# for a text and for a spreadsheet
fc7 report my-runs --markdown report.md --csv runs.csv

# for mlflow ui, and for tensorboard --logdir curves
fc7 report my-runs --mlflow my-mlruns
fc7 report my-runs --tensorboard curves
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of report."""
    parser.add_argument("records", type=Path, metavar="DIR", help="records that compare or finetune wrote")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.html", help="one page with all tables, plots and pictures"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="the verdict and the table of runs")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="one line per run with every metric")
    parser.add_argument(
        "--mlflow",
        metavar="URI",
        help="runs of MLflow, in a folder or where a server is, one for each record (extra fc7[mlflow]; default: none)",
    )
    parser.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="curves by epoch as event files (extra fc7[tensorboard]; default: none)",
    )


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Write a page, Markdown or csv from run records."""
    from ..pages.page import sizes
    from ..records.failures import read_failures
    from ..records.table import load_runs
    from ..reports.report import write_reports
    from ..reports.verdict import findings
    from .tables import data_sets, written_files

    files = {"html": arguments.output, "markdown_file": arguments.markdown, "csv_file": arguments.csv}
    handed_on = arguments.mlflow is not None or arguments.tensorboard is not None
    if handed_on and not any(files.values()):
        runs, failures, written = [*load_runs(arguments.records)], read_failures(arguments.records), list[Path]()
    else:
        runs, failures, written = write_reports(arguments.records, **files)
    lines = _hand_on(arguments, runs)
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
    return Answer(payload, "\n".join(map(plain, [*answers, *sizes(written), *lines])))


def _hand_on(arguments: Arguments, runs: "Sequence[Run]") -> list[str]:
    """Write runs for other programs, and say so."""
    lines = []
    if arguments.mlflow is not None:
        from ..reports.mlflow_runs import log_runs

        new = log_runs(runs, arguments.mlflow)
        lines.append(f"MLflow has {counted(len(runs), 'run')}, {new} of them new: {without_secrets(arguments.mlflow)}")
    if arguments.tensorboard is not None:
        from ..reports.event_files import write_events

        folders = write_events(runs, arguments.tensorboard)
        lines.append(f"TensorBoard has the curves of {counted(len(folders), 'more run')}: {arguments.tensorboard}")
    return lines
