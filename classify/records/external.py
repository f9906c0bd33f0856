"""Predictions of other tools, read into run records."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...cache.tables import are, counted
from ...errors import DataError, UsageError
from ...extract.manifest.csv_rows import column_list, read_rows
from ...extract.text import few, unguarded
from ..arrays import Floats, Positions
from ..heads.table import HEADS
from .outcome import Evaluated
from .runs import ELSEWHERE, Run, run_id

logger = logging.getLogger(__name__)

NO_PROBABILITIES = "predictions without probabilities"
PREDICTED = "predicted"
ANSWERS = (PREDICTED, "label")  # columns of class names, where there is no column per class
SUM_TOLERANCE = 0.01  # by which an image's probabilities may miss a sum of 1; files keep few decimals

Rows = list[tuple[int, dict[str, str]]]  # with their lines


def read_results(path: Path | str, name: str, like: Run) -> Run:
    """Read the predictions of another tool and return their record.

    Parameters
    ----------
    path
        A csv with ``path`` (file names will do if they are unique) and one column of probabilities per class, named
        like the class; or, instead of those, ``predicted`` or ``label`` with the predicted class. Where there are both,
        ``predicted`` says which of several equally probable classes was predicted.
    name
        The name of the run.
    like
        A run of the comparison; the file must predict exactly the same images.

    Raises
    ------
    DataError
        Not such a file, or images are missing, unknown or there twice.
    UsageError
        `name` is empty, or that of a head.
    """
    check_name(name)
    predicted, probability = read_predictions(path, like.data["classes"], like.predictions["path"])
    notes = [f"from {Path(path).name}", *([NO_PROBABILITIES] if probability is None else [])]
    return Evaluated.of_run(like).run(
        # The content is not part of the id: a corrected file replaces the record of the one before.
        id=run_id({ELSEWHERE: name, "data": like.data.get("fingerprint"), "evaluated": like.data["evaluated"]}),
        head=name,
        recipe={"backbone": ELSEWHERE, "layer": ""},
        probability=probability,
        predicted=predicted,
        seconds={"extract": 0.0, "fit": 0.0, "predict": 0.0},
        notes=notes,
    )


def read_predictions(
    path: Path | str, classes: Sequence[str], images: Sequence[str]
) -> tuple[Positions, Floats | None]:
    """Return predicted classes ``(len(images),)`` and probabilities ``(len(images), classes)``, None without any."""
    path = Path(path)
    columns, numbered = read_rows(path, ["path"], "needed: path and one per class, or path,predicted")
    rows = [(line, dict(zip(columns, row, strict=True))) for line, row in numbered]
    order = _order(path, [(line, row["path"]) for line, row in rows], images)
    present = [name for name in classes if name in columns]
    answer = next((name for name in ANSWERS if name in columns), "")
    if len(present) == len(classes):
        probability = _probabilities(path, rows, classes)
        stated = PREDICTED in columns and PREDICTED not in classes
        predicted = _most_probable(path, rows, classes, probability) if stated else probability.argmax(axis=1)
        return predicted[order], probability[order]
    if answer:
        return _answers(path, rows, answer, classes)[order], None
    absent = [name for name in classes if name not in columns]
    raise DataError(
        f"{path} has the columns {column_list(columns)}: no probabilities of {few(absent)}, and neither "
        f"{' nor '.join(repr(name) for name in ANSWERS)} with the predicted class."
    )


def sources(words: Sequence[str]) -> dict[str, Path]:
    """Return the files of ``NAME=FILE.csv`` arguments, by name."""
    files: dict[str, Path] = {}
    for word in words:
        name, sign, file = word.partition("=")
        if not sign or not file:
            raise UsageError(f"--add takes NAME=FILE.csv, got {word!r}.")
        check_name(name)
        if name in files:
            raise UsageError(f"--add names {name!r} twice: {files[name]} and {file}.")
        files[name] = Path(file)
    return files


def check_name(name: str) -> None:
    """Refuse a name that does not distinguish the run from others."""
    if not name.strip():
        raise UsageError("Results from elsewhere need a name: --add NAME=FILE.csv")
    if name in HEADS:
        raise UsageError(f"{name!r} is a head of fc7: give the results another name, such as {name}-elsewhere.")


def _order(path: Path, cells: Sequence[tuple[int, str]], images: Sequence[str]) -> list[int]:
    """Return the place in the file of each image; the file must hold exactly these images."""
    known = set(images)
    counts = Counter(image.rpartition("/")[2] for image in images)
    by_name = {image.rpartition("/")[2]: image for image in images if counts[image.rpartition("/")[2]] == 1}
    matches = [_image(text, known, by_name) or _image(unguarded(text), known, by_name) for _, text in cells]
    places: dict[str, int] = {}
    twice = [image for place, image in enumerate(matches) if image and places.setdefault(image, place) != place]
    extra = [f"line {line}: {text}" for (line, text), image in zip(cells, matches, strict=True) if not image]
    missing = [image for image in images if image not in places]
    if missing or extra or twice:
        kinds = {"missing": missing, "of other images": extra, "there twice": twice}
        problems = "; ".join(f"{len(names)} {kind}, the first {names[0]}" for kind, names in kinds.items() if names)
        hint = " File names without folders must be unique." if extra and max(counts.values()) > 1 else ""
        raise DataError(
            f"{path} does not predict exactly the {counted(len(images), 'image')} of the comparison: {problems}.{hint} "
            "Write one row per evaluated image; the records hold their paths."
        )
    return [places[image] for image in images]


def _image(text: str, known: set[str], by_name: dict[str, str]) -> str:
    """Return the image that a cell names: by its path, a longer path that ends in it, or a unique file name."""
    if text in known:
        return text
    parts = [part for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    endings = ("/".join(parts[start:]) for start in range(len(parts)))
    path = next((ending for ending in endings if ending in known), "")
    return path or (by_name.get(parts[0], "") if len(parts) == 1 else "")


def _probabilities(path: Path, rows: Rows, classes: Sequence[str]) -> Floats:
    matrix = np.empty((len(rows), len(classes)))
    for place, (line, row) in enumerate(rows):
        for column, name in enumerate(classes):
            try:
                matrix[place, column] = float(row[name])
            except ValueError:
                raise DataError(f"{path}, line {line}: {name} is {row[name]!r}, not a number.") from None
    inside = ((matrix >= 0) & (matrix <= 1)).all(axis=1)
    sums = matrix.sum(axis=1)
    wrong = np.flatnonzero(~(inside & (abs(sums - 1) <= SUM_TOLERANCE)))
    if len(wrong):
        place = int(wrong[0])
        values = few([f"{name} {value:g}" for name, value in zip(classes, matrix[place], strict=True)])
        raise DataError(
            f"{path}, line {rows[place][0]}{f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''}: {values} are no "
            f"probabilities, their sum is {sums[place]:g}. Bring scores to sum 1 by a softmax first."
        )
    return np.asarray(matrix / sums[:, None])


def _most_probable(path: Path, rows: Rows, classes: Sequence[str], probability: Floats) -> Positions:
    """Return the predicted classes of a file that has probabilities, too; each must be one of the most probable."""
    predicted = _answers(path, rows, PREDICTED, classes)
    less = np.flatnonzero(probability[np.arange(len(rows)), predicted] < probability.max(axis=1))
    if len(less):
        place = int(less[0])
        likely = few([classes[probability[place].argmax()], classes[predicted[place]]])
        raise DataError(
            f"{path}, line {rows[place][0]}{f' and {len(less) - 1} more' if len(less) > 1 else ''}: of {likely} the "
            f"first is more probable, {PREDICTED} says the second. Leave out that column, or the probabilities."
        )
    return predicted


def _answers(path: Path, rows: Rows, column: str, classes: Sequence[str]) -> Positions:
    position = {name: place for place, name in enumerate(classes)}
    names = [row[column] if row[column] in position else unguarded(row[column]) for _, row in rows]
    strangers = [f"line {line}: {name!r}" for (line, _), name in zip(rows, names, strict=True) if name not in position]
    if strangers:
        raise DataError(
            f"{path}: {counted(len(strangers), 'cell')} of {column} {are(len(strangers))} no class of the comparison, "
            f"the first in {strangers[0]}. "
            f"Classes: {few(classes)}."
        )
    return np.array([position[name] for name in names], np.intp)
