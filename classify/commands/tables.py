"""Tables: what run records, and files that were written, look like on a terminal and in an answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...extract.commands.terminal import table
from ...extract.text import plain
from ..pages.text import named
from ..records import description
from ..records.class_report import class_report
from ..records.contest import contest
from ..records.pairs import compare_pairs
from ..records.ranking import choose
from ..records.runs import Run, by_images
from ..reports.run_table import interval, run_rows
from ..reports.verdict import verdict
from .class_tables import class_lines
from .stability_tables import stability, stability_lines


def runs_table(runs: Sequence[Run]) -> str:
    """Return a table of runs, with what it says in sentences below; of several sets of images a table for each."""
    groups = by_images(runs)
    parts = []
    for title, members in zip(description.titles(groups), groups, strict=True):
        heading = [f"{title}:"] if len(groups) > 1 else []
        heading += [description.protocol(members)]
        heading += ["In the order of log loss inside the fitted images:"] if _in_order(members) else []
        best = choose(members)
        parts += [*map(plain, heading), table("", *run_rows(members)), *map(plain, verdict(members))]
        parts += [class_lines(best, description.labels(members)[best.id])] if not best.old else []
        parts += [*stability_lines(members), ""]
    return "\n".join(parts[:-1])


def _in_order(runs: Sequence[Run]) -> bool:
    """Return whether runs come by their log loss inside the fitted images, those without one last."""
    losses = [run.selection.get("log_loss") for run in runs]
    known = [loss for loss in losses if loss is not None]
    return losses[: len(known)] == sorted(known)


def data_sets(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what an answer says of each set of images that runs evaluated: the runs, the best, and the verdict."""
    groups = by_images(runs)
    return [
        {
            "title": title,
            "images": members[0].images,
            "n": members[0].metrics["n"],
            "protocol": description.protocol(members),
            "runs": [run.id for run in members],
            "best": choose(members).id,
            "question": contest(members).question,
            "comparisons": [test.to_dict() for test in contest(members).comparisons],
            "choice_in_folds": _choice(members),
            "stability": stability(members),
            "verdict": verdict(members),
            "by_class": by_class(choose(members)),
        }
        for title, members in zip(description.titles(groups), groups, strict=True)
    ]


def by_class(run: Run) -> dict[str, Any] | None:
    """Return what an answer says of the classes of a run; None for a record of an earlier fc7."""
    report = class_report(run)
    return report.to_dict() if report else None


def _choice(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Return the accuracy of the choice that is made anew in each fold; None where the best run is not flattered."""
    compared = contest(runs)
    if compared.choice is compared.chosen:
        return None
    return {name: compared.choice.metrics[name] for name in ("accuracy", "n", "correct", "groups", "interval")}


def pairs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return every pair of runs on the same images; only the planned ones have a corrected test and an interval."""
    rows = []
    for members in by_images(runs):
        compared = contest(members)
        planned = {(test.pair.first, test.pair.second): test for test in compared.comparisons if not test.anew}
        for pair in compare_pairs(members, compared.names):
            test = planned.get((pair.first, pair.second)) or planned.get((pair.second, pair.first))
            untested = {"p_corrected": None, "level": None, "interval": None} | dict.fromkeys(_COULD)
            rows.append(
                {"planned": True, **test.to_dict()} if test else {"planned": False, **pair.to_dict(), **untested}
            )
    return rows


_COULD = ("smallest_detectable", "likely_detectable")


def summaries(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the row of each run that an answer has, with the name that tells it from the others, and all notes."""
    names = description.labels(runs)
    return [run.summary() | {"name": names[run.id], "notes": description.notes(run)} for run in runs]


def run_lines(runs: Sequence[Run]) -> str:
    """Return a line for each run, one for what was done, and one for each of its notes."""
    names = description.labels(runs)
    texts = []
    for run in runs:
        texts += [line(run, names[run.id]), description.protocol([run])]
        texts += [f"note: {note}" for note in description.remarks([run])[run.id]]
    return "\n".join(map(plain, texts))


def written_files(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what an answer says of files: where each is and how large."""
    return [{"file": str(file), "bytes": file.stat().st_size} for file in files]


def line(run: Run, name: str) -> str:
    """Return one run in one line."""
    chosen = named(description.chosen(run))
    return (
        f"{name}: accuracy {run.metrics['accuracy']:.3f} ({run.metrics['correct']}/{run.metrics['n']}{run.in_groups} "
        f"{description.on(run)}, 95 % {interval(run)}), fitted in {run.seconds['fit']:.1f} s"
        + (f" with {chosen}" if chosen else "")
    )
