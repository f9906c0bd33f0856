"""The report: one self-contained page from run records, and the same table as Markdown and csv.

The page loads nothing: thumbnails are ``data:`` URIs, plots are inline SVG, and its content security policy allows no
other script than its own (which only sorts and filters; without it everything can still be read).
"""

import base64
import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cache.durable import make_folder, replace
from ..errors import DataError, MissingExtra, UsageError
from . import gallery, sections
from .plain import pairs, shown, without_folders
from .runs import Run, load_runs
from .verdict import contest, duration, findings, fit_seconds

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_HERE = Path(__file__).parent


def report(runs: Sequence[Run] | Path, path: Path | str, *, thumbnails: Path | None = None) -> Path:
    """Write the page and return its path.

    Parameters
    ----------
    runs
        Records, in the order of the table; or the folder that holds them, best first.
    path
        The HTML file.
    thumbnails
        A folder of ``<key>.jpg``; ``thumbnails`` beside the records where `runs` is a folder that has one. Images
        without one are shown by their file name.

    Raises
    ------
    DataError
        No runs, or the file cannot be written.
    MissingExtra
        Jinja2 is not installed.
    """
    path = Path(path)
    if isinstance(runs, Path):
        beside = runs / "thumbnails"
        thumbnails = beside if thumbnails is None and beside.is_dir() else thumbnails
        runs = load_runs(runs)
    page = _environment().get_template("report.html.jinja").render(_context(runs, thumbnails))
    return _write(path, page)


def publish(
    folder: Path | str,
    *,
    html: Path | None = None,
    markdown_file: Path | None = None,
    csv_file: Path | None = None,
) -> tuple[list[Run], list[Path]]:
    """Write what is asked for from a folder of records, and return the records and the files.

    Raises
    ------
    UsageError
        Nothing is asked for.
    DataError, MissingExtra
        See :func:`report`.
    """
    if not (html or markdown_file or csv_file):
        raise UsageError("Nothing to write: name a file with -o FILE.html, --markdown FILE.md or --csv FILE.csv.")
    folder = Path(folder)
    runs = load_runs(folder)
    beside = folder / "thumbnails"
    written = [report(runs, html, thumbnails=beside if beside.is_dir() else None)] if html else []
    written += [_write(markdown_file, markdown(runs))] if markdown_file else []
    written += [_write(csv_file, csv_table(runs))] if csv_file else []
    return runs, written


def sizes(files: Sequence[Path]) -> list[str]:
    """Return a line per file: what it is called and how large it is."""
    return [f"Wrote {file}: {_size(file.stat().st_size)}" for file in files]


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _write(path: Path, text: str) -> Path:
    """Write a file whole or not at all."""
    try:
        make_folder(path.parent)
        replace(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(f"The report {path} cannot be written: {error.strerror or error}.") from error
    return path


def markdown(runs: Sequence[Run]) -> str:
    """Return the verdict and the table of runs as Markdown."""
    head = [
        "run",
        "accuracy",
        "95 % interval",
        "n",
        "log loss",
        "inside train",
        "fit + predict",
        "hyper-parameters",
        "notes",
    ]
    lines = [_words(sentence) for sentence in findings(runs)]
    rows = []
    for row in sections.table(runs, contest(runs).chosen):
        inside = "" if row["selection"] is None else f"{row['selection']:.3f}"
        figures = [
            f"{row['accuracy']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            str(row["n"]),
            "" if row["log_loss"] is None else f"{row['log_loss']:.3f}",
        ]
        rows.append([row["name"], *figures, inside, row["duration"], row["hyperparameters"], "; ".join(row["notes"])])
    cells = [head, ["---"] * len(head), *([_words(cell) for cell in row] for row in rows)]
    return (
        "\n\n".join([f"**{lines[0]}**", " ".join(lines[1:]), "\n".join(f"| {' | '.join(row)} |" for row in cells)])
        + "\n"
    )


def csv_table(runs: Sequence[Run]) -> str:
    """Return one line per run with every metric, as csv that a spreadsheet will not execute."""
    rows = [_record(run) for run in runs]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({name: _cell(item) for name, item in row.items()} for row in rows)
    return buffer.getvalue()


def _record(run: Run) -> dict[str, Any]:
    low, high = run.metrics["interval"]
    metrics = {name: item for name, item in run.metrics.items() if name != "interval"}
    return {
        "id": run.id,
        "name": run.name,
        "head": run.head,
        "trainable": run.trainable,
        "backbone": run.recipe["backbone"],
        "layer": run.recipe["layer"],
        "weights": without_folders(run.weights_source),
        "data": without_folders(str(run.data.get("name") or "")),
        "evaluated": run.data.get("evaluated", ""),
        **metrics,
        "interval_low": low,
        "interval_high": high,
        "selection_accuracy": run.selection.get("accuracy", ""),
        **{f"seconds_{stage}": seconds for stage, seconds in run.seconds.items() if not run.elsewhere},
        "hyperparameters": pairs(run.hyperparameters),
        "notes": "; ".join(without_folders(note) for note in run.notes),
    }


def _cell(item: Any) -> Any:
    """Return a csv cell; text that a spreadsheet would take for a formula gets an apostrophe, numbers stay numbers."""
    text = shown(item) if isinstance(item, str) else item
    return f"'{text}" if isinstance(text, str) and text.startswith(_FORMULA) else text


def _words(text: str) -> str:
    """Return text for a Markdown table: no cell ends early, nothing becomes a tag, a link or an image."""
    escaped = shown(text).replace("&", "&amp;").replace("<", "&lt;")
    for letter in "\\`*_[]|":
        escaped = escaped.replace(letter, f"\\{letter}")
    return escaped


def _environment() -> Any:
    """Return Jinja with autoescape, undefined names as errors, and every string through :func:`shown`."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtra("jinja2", "report") from error

    def visible(item: Any) -> Any:
        return shown(item) if isinstance(item, str) and not isinstance(item, Markup) else item

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Only for what this package wrote itself: its style, its script, its plots.
    environment.filters["ours"] = Markup
    environment.filters["sure"] = lambda share: ">99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
    environment.filters["percent"] = lambda share, digits=1: f"{100 * share:.{digits}f}"
    return environment


def _context(runs: Sequence[Run], thumbnails: Path | None) -> dict[str, Any]:
    """Return what the template shows."""
    fought, sentences = contest(runs), findings(runs)
    chosen, rival = fought.chosen, fought.rival
    wrong, right = gallery.tiles(chosen, thumbnails)
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return {
        "style": (_HERE / "report.css").read_text(encoding="utf-8"),
        "script": script,
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'",
        "title": without_folders(str(chosen.data.get("name") or "")),
        "chosen": chosen,
        "sentences": sentences,
        "sides": sections.tiles_of(fought),
        "difference": sections.difference(fought),
        "table": sections.table(runs, chosen),
        "tests": sections.tests(runs, chosen),
        "speed": sections.speed(runs, fought),
        "training": sections.training(runs),
        "confusion": sections.confusion(chosen),
        "calibrations": sections.calibrations([chosen, rival] if rival else [chosen]),
        "wrong": wrong,
        "right": right,
        "learning": sections.learning(runs),
        "payments": sections.payments(runs),
        "provenance": sections.provenance(runs),
        "records": [_record(run) for run in runs],
        "took": duration(sum(fit_seconds(run) for run in runs)),
    }
