"""The costs of answers, from a csv: a row for each true class, a column for each answer."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError, UsageError
from ...extract.manifest.csv_rows import read_rows
from ...extract.text import few, unguarded
from ..arrays import Floats

TRUE = "true"  # the column with the name of the true class


def read_costs(path: Path | str, classes: Sequence[str] | None = None) -> Floats:
    """Return the costs ``(classes, classes)`` of a csv: rows by true class, columns by answer.

    With None, the classes are those of its rows.

    Raises
    ------
    DataError
        Not such a file, or it lacks a class, has one twice, an unknown one, or what is no finite number.
    """
    path = Path(path)
    columns, numbered = read_rows(path, [TRUE], _form(classes or ["ants", "bees"]))
    place = columns.index(TRUE)
    answers = [unguarded(name) for name in columns[:place] + columns[place + 1 :]]
    true = [unguarded(cells[place]) for _, cells in numbered]
    classes = list(dict.fromkeys(true)) if classes is None else list(classes)
    _require_names(path, "columns", answers, classes)
    _require_names(path, "rows", true, classes)
    costs = np.empty((len(classes), len(classes)))
    for name, (line, cells) in zip(true, numbered, strict=True):
        for answer, cell in zip(answers, cells[:place] + cells[place + 1 :], strict=True):
            costs[classes.index(name), classes.index(answer)] = _number(path, line, cell)
    return costs


def check_costs(costs: Any, classes: int) -> Floats:
    """Return costs as an array ``(classes, classes)``, if they are finite numbers.

    Raises
    ------
    UsageError
        They are not.
    """
    try:
        matrix: npt.NDArray[np.float64] = np.asarray(costs, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--costs: not a matrix of numbers: {error}.") from error
    if matrix.shape != (classes, classes) or not np.isfinite(matrix).all():
        raise UsageError(f"--costs: finite numbers of shape {(classes, classes)} are needed, not {matrix.shape}.")
    return matrix


def _form(classes: Sequence[str]) -> str:
    names = [TRUE, *list(classes)[:3], *(["..."] if len(classes) > 3 else [])]
    return f"needed: the columns {','.join(names)}, and a row for each true class"


def _require_names(path: Path, what: str, names: Sequence[str], classes: Sequence[str]) -> None:
    absent = [name for name in classes if name not in names]
    unknown = sorted(set(names) - set(classes))
    twice = sorted({name for name in names if names.count(name) > 1})
    for wrong, why in (absent, "lacks"), (unknown, "has what is no class:"), (twice, "has twice"):
        if wrong:
            raise DataError(f"{path} {why} {few(wrong)} among its {what}; {_form(classes)}.")


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path} line {line}: {text!r} is no cost. A finite number is needed.")
    return value
