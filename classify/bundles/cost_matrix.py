"""The costs of answers, from a csv: a row for each true class, a column for each answer."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError, UsageError
from ...extract.manifest.csv_rows import column_list, read_rows
from ...extract.text import few, unguarded
from ..arrays import Floats

logger = logging.getLogger(__name__)

TRUE = "true"  # the column with the name of the true class


def read_costs(path: Path | str, classes: Sequence[str] | None = None) -> Floats:
    """Return the costs ``(classes, classes)`` of a csv: rows by true class, columns by answer.

    With None, the classes are those that it names. The names of the true ones are in a column ``true``, or in a first
    one without a name.

    Raises
    ------
    DataError
        Not such a file, or it lacks a class, has one twice, an unknown one, or what is no finite number.
    """
    path, form = Path(path), _form(classes or ["ants", "bees"])

    def pick(names: Sequence[str]) -> Sequence[str]:
        if TRUE not in names and names[0]:
            raise DataError(f"{path} has the columns {column_list(names)}; {form}.")
        return names

    columns, numbered = read_rows(path, pick, form)
    if not numbered:
        raise DataError(f"{path} has no rows; {form}.")
    place = _place(columns, [cells for _, cells in numbered])
    answers = {unguarded(name): number for number, name in enumerate(columns) if name and number != place}
    true = [unguarded(cells[place].strip()) for _, cells in numbered]
    names = list(dict.fromkeys([*answers, *true])) if classes is None else _stripped(classes)
    _require_names(path, "columns", list(answers), names)
    _require_names(path, "rows", true, names)
    costs = np.empty((len(names), len(names)))
    for name, (line, cells) in zip(true, numbered, strict=True):
        costs[names.index(name)] = [_number(path, line, cells[answers[answer]]) for answer in names]
    return costs


def _place(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return which column names the true classes: one without a name, as pandas writes it, or ``true``.

    A class may be called ``true``, and what pandas writes may be the numbers of rows: the column has the names of the
    others.
    """
    places = [number for number, name in enumerate(columns) if name == TRUE or (not number and not name)]
    names = [{unguarded(cells[place].strip()) for cells in rows} for place in places]
    others = [{unguarded(name) for name in columns if name} - {columns[place]} for place in places]
    fitting = [place for place, own, other in zip(places, names, others, strict=True) if own == other]
    return fitting[0] if fitting else places[-1]


def _stripped(classes: Sequence[str]) -> list[str]:
    """Return names without spaces around them, as cells are read; as they are if that makes two alike."""
    names = [name.strip() for name in classes]
    return names if len(set(names)) == len(names) else list(classes)


def check_costs(costs: Any, classes: int) -> Floats:
    """Return costs as an array ``(classes, classes)``, if they are finite numbers.

    Raises UsageError if they are not.
    """
    try:
        matrix: npt.NDArray[np.float64] = np.asarray(costs, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--costs: not a matrix of numbers: {error}.") from error
    if matrix.shape != (classes, classes) or not np.isfinite(matrix).all():
        raise UsageError(f"--costs: finite numbers of shape {(classes, classes)} are needed, not {matrix.shape}.")
    return matrix


def require_one(max_error: float | None, costs: Any) -> None:
    """Refuse a threshold on the probability beside costs; raises UsageError."""
    if max_error is not None and costs is not None:
        raise UsageError(
            "--max-error decides by probability, --costs by cost: give one. A bundle keeps the one that it was fitted "
            "with."
        )


def say_shifted(run: Mapping[str, Any]) -> None:
    """Warn where class weights have shifted the probabilities that costs need; the record may lack its protocol."""
    if run.get("protocol", {}).get("class_weight"):
        logger.warning(
            "The head was fitted with class weights, which shift its probabilities towards rare classes. Costs need "
            "true ones: fit without class weights."
        )


def _form(classes: Sequence[str]) -> str:
    names = [TRUE, *list(classes)[:3], *(["..."] if len(classes) > 3 else [])]
    return f"needed: the columns {','.join(names)}, and a row for each true class"


def _require_names(path: Path, what: str, names: Sequence[str], classes: Sequence[str]) -> None:
    absent = [name for name in classes if name not in names]
    unknown = sorted(set(names) - set(classes))
    twice = sorted({name for name in names if names.count(name) > 1})
    for wrong, why in (absent, "lacks"), (unknown, "has names that are not classes:"), (twice, "has twice"):
        if wrong:
            raise DataError(f"{path} {why} {few(wrong)} among its {what}; {_form(classes)}.")


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path} line {line}: {text!r} is not a cost. A finite number is needed, such as 0.5.")
    return value
