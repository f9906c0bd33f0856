"""The report: one self-contained page from run records, and the same table as Markdown and csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...cache.arguments import checked
from ...cache.output_file import OutputFile, require_apart
from ...errors import UsageError
from ...extract.text import csv_text
from ..evaluation.effective_size import ALPHA
from ..pages.page import PAGES, TABLES, TEXTS, render, write
from ..pages.pictures import BYTES
from ..pages.text import shown, without_folders
from ..pages.thumbnails import FOLDER
from ..records import description
from ..records.class_report import class_report, unequal_classes
from ..records.contest import Contest, contest
from ..records.failures import Failure, read_failures
from ..records.ranking import fit_seconds
from ..records.runs import PROBABILITIES, Run, by_images
from ..records.screened import Screened
from ..records.table import Runs, load_runs
from . import candidates, sections
from .classes import FIRST, class_rows, classes
from .gallery import gallery, point_map
from .reading import reading
from .run_table import run_rows
from .stability import stability, stability_rows
from .verdict import better, by_title, findings, overlap, verdict


@checked
def report(
    runs: Sequence[Run] | Path | str,
    path: Path | str | OutputFile,
    *,
    thumbnails: Path | str | None = None,
    maps: Path | str | None = None,
    failures: Sequence[Failure] = (),
    screened: Screened | None = None,
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
    maps
        The folder of records whose comparison has drawn a map; that of `runs` where it is one.
    failures
        Heads that could not be fitted; those of the folder where `runs` is one.
    screened
        What :func:`fc7.classify.screen` has found; that of the folder where `runs` is one.

    Raises
    ------
    DataError
        No runs, or the file cannot be written.
    MissingExtra
        Jinja2 is not installed.
    """
    output = path if isinstance(path, OutputFile) else OutputFile(path, kinds=PAGES)
    if isinstance(runs, str | Path):
        runs = Path(runs)
        thumbnails, failures = thumbnails or _thumbnails(runs), failures or read_failures(runs)
        screened, maps = screened or Screened.load(runs), maps or runs
        runs = load_runs(runs)
    context = _context(runs, Path(thumbnails) if thumbnails else None, failures, output.path)
    folder = Path(maps) if maps else None
    for group in context["groups"]:
        group["map"] = point_map(group, folder, Path(thumbnails) if thumbnails else None, output.path)
    galleries = [shown for group in context["groups"] for shown in (group["gallery"], group["map"]) if shown]
    context["screening"] = candidates.section(screened)
    return write(output, render("reports/report.html.jinja", context, *galleries))


def write_reports(
    folder: Path | str,
    *,
    html: Path | None = None,
    markdown_file: Path | None = None,
    csv_file: Path | None = None,
) -> tuple[list[Run], list[Failure], list[Path]]:
    """Write the requested files from a folder of records; return the records, the failures, and the files."""
    if not (html or markdown_file or csv_file):
        raise UsageError("Nothing to write: name a file with -o FILE.html, --markdown FILE.md or --csv FILE.csv.")
    files = ((html, PAGES), (markdown_file, TEXTS), (csv_file, TABLES))
    page, table, lines = (OutputFile(path, kinds=kinds) if path else None for path, kinds in files)
    folder = Path(folder)
    require_apart(page, table, lines, read=[*folder.glob("*.json"), *folder.glob(f"*{PROBABILITIES}")])
    runs, failures = load_runs(folder), read_failures(folder)
    written = []
    if page:
        screened = Screened.load(folder)
        beside = {"thumbnails": _thumbnails(folder), "maps": folder}
        written.append(report(runs, page, **beside, failures=failures, screened=screened))
    written += [write(table, markdown(runs, failures))] if table else []
    written += [write(lines, csv_table(runs, failures))] if lines else []
    return runs, failures, written


def _thumbnails(records: Path) -> Path | None:
    """Return the folder of thumbnails beside records, if there is one."""
    folder = records / FOLDER
    return folder if folder.is_dir() else None


def markdown(runs: Sequence[Run], failures: Sequence[Failure] = ()) -> str:
    """Return the verdict and the table of runs as Markdown; of several sets of images one after the other.

    Last come the heads that could not be fitted.
    """
    sets = by_title(runs)
    parts = [
        f"## {_words(title)}\n\n{_markdown(members)}" if len(sets) > 1 else _markdown(members)
        for title, members in sets.items()
    ]
    parts += ["".join(f"- {_words(without_folders(str(failure)))}\n" for failure in failures)] if failures else []
    return "\n".join(parts)


def _markdown(runs: Sequence[Run]) -> str:
    compared = contest(runs)
    answer, *evidence = (_words(sentence) for sentence in findings(runs))
    columns, rows = run_rows(compared.runs)
    rows = [[without_folders(cell) for cell in row] for row in rows]
    parts = [f"**{answer}**", " ".join(evidence), _table(columns, rows)]
    if by_class := class_report(compared.chosen):
        name = compared.name(compared.chosen)
        parts += [_words(f"Classes of {name}, the least recall first:"), _table(*class_rows(by_class, FIRST))]
    for title, heads, cells, promise in stability_rows(runs):
        parts += [_words(f"{title}:"), _table(heads, cells), *([_words(promise)] if promise else [])]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_words(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def csv_table(runs: Sequence[Run], failures: Sequence[Failure] = ()) -> str:
    """Return one line per run with every metric, as csv that a spreadsheet will not execute.

    The column ``images`` is the same in runs that can be compared. A head that could not be fitted has a line without
    figures, and the reason as its note.
    """
    rows = _rows(runs, failures)
    return csv_text(list(dict.fromkeys(name for row in rows for name in row)), rows)


def _rows(runs: Sequence[Run], failures: Sequence[Failure]) -> list[dict[str, Any]]:
    rows = Runs(run for group in by_images(runs) for run in group).to_dicts()
    for failure in failures:
        about = {"head": failure.head, "backbone": failure.backbone, "layer": failure.layer}
        rows.append({"id": failure.id, "name": failure.name, **about, "notes": without_folders(str(failure))})
    return rows


def _words(text: str) -> str:
    """Escape text for a Markdown table, so that no cell ends early and nothing becomes a tag, a link or an image."""
    escaped = shown(text).replace("&", "&amp;").replace("<", "&lt;")
    for letter in "\\`*_[]|":
        escaped = escaped.replace(letter, f"\\{letter}")
    return escaped


def _context(runs: Sequence[Run], thumbnails: Path | None, failures: Sequence[Failure], page: Path) -> dict[str, Any]:
    """Return the values of the template."""
    sets, names = by_title(runs), {description.data_name(run) for run in runs}
    contests = {title: contest(members) for title, members in sets.items()}
    most = BYTES // len(sets)
    return {
        "title": names.pop() if len(names) == 1 else "",
        "groups": [
            _group(title, compared)
            | {"overlap": overlap(title, sets), "gallery": gallery(compared.chosen, thumbnails, page, most)}
            for title, compared in contests.items()
        ],
        "reading": reading(list(contests.values())),
        "alpha": ALPHA,
        "failures": [(failure.name, without_folders(failure.reason)) for failure in failures],
        "provenance": sections.provenance(runs),
        "records": _rows(runs, failures),
        "seconds": sum(fit_seconds(run) for run in runs),
    }


def _group(title: str, compared: Contest) -> dict[str, Any]:
    """Return what the page says of runs on the same images."""
    chosen, shown = compared.chosen, compared.main or compared.baseline
    return {
        "title": title,
        "chosen": chosen,
        "runs": compared.runs,
        "name": compared.name(chosen),
        "sentences": verdict(compared.runs),
        "protocol": description.protocol(compared.runs),
        "sides": sections.sides(compared),
        "difference": shown.pair if shown else None,
        "planned": len(compared.comparisons),
        "better": better(compared),
        "dependent": chosen.metrics["n"] > chosen.metrics.get("effective", chosen.metrics["n"]),
        "table": sections.table(compared),
        "scale": sections.scale(compared),
        "folds": sections.folds(compared),
        "tests": sections.tests(compared),
        "speed": sections.speed(compared),
        "training": sections.training(compared),
        "unequal": unequal_classes(compared.runs),
        "classes": classes(chosen, sections.kind(chosen)),
        "confusion": sections.confusion(chosen),
        "abstention": sections.abstention(compared),
        "calibrations": sections.calibrations(compared),
        "learning": sections.learning(compared),
        "stable": stability(compared),
    }
