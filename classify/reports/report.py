"""The report: one self-contained page from run records, and the same table as Markdown and csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...cache.output_file import OutputFile, require_apart
from ...errors import UsageError
from ..pages.page import render, write
from ..pages.text import csv_lines, duration, pairs, shown, without_folders
from ..pages.thumbnails import BYTES
from ..records import description
from ..records.failures import Failure, read_failures
from ..records.ranking import fit_seconds
from ..records.runs import PROBABILITIES, Run, by_images, load_runs
from . import gallery, sections
from .verdict import contest, findings, verdict


def report(
    runs: Sequence[Run] | Path,
    path: Path | str | OutputFile,
    *,
    thumbnails: Path | None = None,
    failures: Sequence[Failure] = (),
) -> Path:
    """Write the page and return its path.

    Parameters
    ----------
    runs
        Records in the order of the table; or their folder, which is read best first.
    path
        The HTML file.
    thumbnails
        A folder of ``<key>.jpg``; ``thumbnails`` beside the records where `runs` is a folder that has one. Images
        without one are shown by their file name.
    failures
        Heads that could not be fitted; those of the folder where `runs` is one.

    Raises
    ------
    DataError
        No runs, or the file cannot be written.
    MissingExtra
        Jinja2 is not installed.
    """
    output = path if isinstance(path, OutputFile) else OutputFile(path)
    if isinstance(runs, Path):
        beside = runs / "thumbnails"
        thumbnails = beside if thumbnails is None and beside.is_dir() else thumbnails
        failures = failures or read_failures(runs)
        runs = load_runs(runs)
    return write(output, render("reports/report.html.jinja", _context(runs, thumbnails) | {"failures": failures}))


def write_reports(
    folder: Path | str,
    *,
    html: Path | None = None,
    markdown_file: Path | None = None,
    csv_file: Path | None = None,
) -> tuple[list[Run], list[Path]]:
    """Write the requested files from a folder of records, and return the records and the files."""
    if not (html or markdown_file or csv_file):
        raise UsageError("Nothing to write: name a file with -o FILE.html, --markdown FILE.md or --csv FILE.csv.")
    page, table, lines = (OutputFile(path) if path else None for path in (html, markdown_file, csv_file))
    folder = Path(folder)
    require_apart(page, table, lines, read=[*folder.glob("*.json"), *folder.glob(f"*{PROBABILITIES}")])
    runs = load_runs(folder)
    beside = folder / "thumbnails"
    pictures, failures = beside if beside.is_dir() else None, read_failures(folder)
    written = [report(runs, page, thumbnails=pictures, failures=failures)] if page else []
    written += [write(table, markdown(runs))] if table else []
    written += [write(lines, csv_table(runs))] if lines else []
    return runs, written


def markdown(runs: Sequence[Run]) -> str:
    """Return the verdict and the table of runs as Markdown; of several sets of images one after the other."""
    groups = by_images(runs)
    if not groups:
        findings(runs)
    if len(groups) == 1:
        return _markdown(runs)
    titles = description.titles(groups)
    return "\n".join(f"## {_words(title)}\n\n{_markdown(group)}" for title, group in zip(titles, groups, strict=True))


def _markdown(runs: Sequence[Run]) -> str:
    columns = ["run", "accuracy", "95 % interval", "n", "log loss", "inside train", "fit + predict"]
    columns += ["hyper-parameters", "notes"]
    answer, *evidence = (_words(sentence) for sentence in findings(runs))
    rows = []
    for row in sections.table(runs, contest(runs).chosen):
        notes = "; ".join([*row["notes"], *row["settings"]])
        inside = "" if row["selection"] is None else f"{row['selection']:.3f}"
        figures = [
            f"{row['accuracy']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            str(row["n"]),
            "" if row["log_loss"] is None else f"{row['log_loss']:.3f}",
        ]
        rows.append([row["name"], *figures, inside, row["duration"], row["hyperparameters"], notes])
    cells = [columns, ["---"] * len(columns), *([_words(cell) for cell in row] for row in rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n\n".join([f"**{answer}**", " ".join(evidence), "\n".join(lines)]) + "\n"


def csv_table(runs: Sequence[Run]) -> str:
    """Return one line per run with every metric, as csv that a spreadsheet will not execute.

    The column ``images`` is the same in runs that can be compared.
    """
    rows = _rows(runs)
    return csv_lines(list(dict.fromkeys(name for row in rows for name in row)), rows)


def _rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [
        _record(run, names[run.id])
        for group in by_images(runs)
        for names in [description.labels(group)]
        for run in group
    ]


def _record(run: Run, name: str) -> dict[str, Any]:
    folds = description.fold_fits(run)
    done = {item: run.protocol.get(item, "") for item in ("leaked", "preparation", "device", "random_state")}
    low, high = run.metrics["interval"]
    metrics = {name: item for name, item in run.metrics.items() if name != "interval"}
    return {
        "id": run.id,
        "name": name,
        "record": run.record,
        "head": run.head,
        "trainable": run.trainable,
        "backbone": run.recipe["backbone"],
        "layer": run.recipe["layer"],
        "weights": without_folders(run.weights_source),
        "data": without_folders(str(run.data.get("name") or "")),
        "images": run.images[:16],
        "evaluated": description.on(run).removeprefix("on ").removeprefix("in "),
        "folds": len(folds) or "",
        "fitted_least": min((fold.fitted for fold in folds), default=""),
        "fitted_most": max((fold.fitted for fold in folds), default=""),
        "folds_not_converged": sum(fold.unconverged > 0 for fold in folds) if folds else "",
        "class_weight": description.settings(run).get("class_weight", ""),
        **done,
        **metrics,
        "interval_low": low,
        "interval_high": high,
        "selection_accuracy": run.selection.get("accuracy", ""),
        **{f"seconds_{stage}": seconds for stage, seconds in run.seconds.items() if not run.elsewhere},
        "hyperparameters": pairs(description.chosen(run)),
        "notes": "; ".join(without_folders(note) for note in description.notes(run)),
    }


def _words(text: str) -> str:
    """Escape text for a Markdown table, so that no cell ends early and nothing becomes a tag, a link or an image."""
    escaped = shown(text).replace("&", "&amp;").replace("<", "&lt;")
    for letter in "\\`*_[]|":
        escaped = escaped.replace(letter, f"\\{letter}")
    return escaped


def _context(runs: Sequence[Run], thumbnails: Path | None) -> dict[str, Any]:
    """Return the values of the template."""
    groups = by_images(runs)
    if not groups:
        findings(runs)
    names = dict.fromkeys(without_folders(str(run.data.get("name") or "")) for run in runs)
    most = BYTES // len(groups)
    titled = zip(description.titles(groups), groups, strict=True)
    return {
        "title": next(iter(names)) if len(names) == 1 else "",
        "groups": [_group(title, group, thumbnails, most) for title, group in titled],
        "provenance": sections.provenance(runs),
        "records": _rows(runs),
        "took": duration(sum(fit_seconds(run) for run in runs)),
    }


def _group(title: str, runs: Sequence[Run], thumbnails: Path | None, most: int) -> dict[str, Any]:
    """Return what the page says of runs on the same images."""
    compared = contest(runs)
    chosen, rival = compared.chosen, compared.rival
    wrong, right, pictures = gallery.tiles(chosen, thumbnails, most)
    return {
        "title": title,
        "chosen": chosen,
        "name": compared.name(chosen),
        "sentences": verdict(runs),
        "protocol": description.protocol(runs),
        "sides": sections.tiles_of(compared),
        "difference": sections.difference(compared),
        "table": sections.table(runs, chosen),
        "folds": sections.folds(runs),
        "tests": sections.tests(runs, chosen),
        "speed": sections.speed(runs, compared),
        "training": sections.training(runs),
        "confusion": sections.confusion(chosen),
        "calibrations": sections.calibrations([chosen, rival] if rival else [chosen], sections.labels(runs)),
        "wrong": wrong,
        "right": right,
        "pictures": pictures,
        "learning": sections.learning(runs),
        "payments": sections.payments(runs),
    }
