"""The check that a file is a valid run record; ``run.schema.json`` describes every field."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = Path(__file__).with_name("run.schema.json")
KEY_DIGITS = 16
_SHOWN = 200  # characters of a wrong value in a message


def check(values: dict[str, Any]) -> None:
    """Refuse values that are no run record.

    The schema checks all fields but the columns of the predictions. Those are checked as arrays, because checking
    thousands of predictions one by one would take longer than all else that is done with them.

    Raises
    ------
    ValueError
        The message names the field and what is wrong with it.
    """
    columns = values.get("predictions")
    short = {name: column[:1] if isinstance(column, list) else column for name, column in _items(columns)}
    error = _first_error(values | ({"predictions": short} if isinstance(columns, dict) else {}))
    if error:
        raise ValueError(error)
    _check_columns(values["predictions"], len(values["data"]["classes"]), values["metrics"]["n"])


def _items(columns: Any) -> list[tuple[str, Any]]:
    return list(columns.items()) if isinstance(columns, dict) else []


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _first_error(values: dict[str, Any]) -> str:
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(values))
    if error is None:
        return ""
    message = error.message if len(error.message) <= _SHOWN else f"{error.message[:_SHOWN]}..."
    field = error.json_path.removeprefix("$").removeprefix(".")
    return f"{field}: {message}" if field else message


def _check_columns(columns: dict[str, list[Any]], classes: int, n: int) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if set(lengths.values()) != {n}:
        raise ValueError(f"predictions: columns of {lengths} rows where metrics.n is {n}")
    for name in ("path", "key"):
        strangers = set(map(type, columns[name])) - {str}
        if strangers:
            raise ValueError(f"predictions.{name}: not all are strings, found {_names(strangers)}")
    wrong = next((key for key in columns["key"] if len(key) != KEY_DIGITS or set(key) - set("0123456789abcdef")), None)
    if wrong is not None:
        raise ValueError(f"predictions.key: {wrong[:_SHOWN]!r} is not {KEY_DIGITS} hex digits")
    strangers = set(map(type, columns["label"])) - {int}
    if strangers or not 0 <= min(columns["label"]) <= max(columns["label"]) < classes:
        actual = _names(strangers) if strangers else f"{min(columns['label'])} to {max(columns['label'])}"
        raise ValueError(f"predictions.label: not all are whole numbers from 0 to {classes - 1}, found {actual}")
    _check_probability(columns["probability"], classes)


def _check_probability(rows: list[Any], classes: int) -> None:
    try:
        matrix = np.array(rows)
    except (ValueError, OverflowError):
        matrix = np.empty(0, dtype=object)
    if matrix.ndim != 2 or matrix.shape[1] != classes or matrix.dtype.kind not in "if":
        raise ValueError(f"predictions.probability: not one row of {classes} numbers, one per class, for every image")
    if not ((matrix >= 0) & (matrix <= 1)).all():
        raise ValueError(f"predictions.probability: from {matrix.min():g} to {matrix.max():g}, not from 0 to 1")


def _names(types: set[type]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in types))
