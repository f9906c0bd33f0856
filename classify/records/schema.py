"""The check that a file is a valid run record; ``run.schema.json`` describes every field."""

import json
from functools import cache
from operator import eq
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).with_name("run.schema.json")
KEY_DIGITS = 16
TOLERANCE = 1e-6  # of an accuracy
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
    columns, short = values.get("predictions"), values
    if isinstance(columns, dict):
        first = {name: column[:1] if isinstance(column, list) else column for name, column in columns.items()}
        short = values | {"predictions": first}
    if error := _first_error(short):
        raise ValueError(error)
    predictions = values["predictions"]
    for name in ("n", "correct"):
        if type(values["metrics"][name]) is not int:  # 20.0 is an integer of JSON
            raise ValueError(f"metrics.{name}: {values['metrics'][name]} is not a whole number")
    _check_columns(predictions, len(values["data"]["classes"]), values["metrics"]["n"])
    if "predicted" in predictions:
        _check_correct(values["metrics"], predictions["label"], predictions["predicted"])


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
    limits = {"label": (0, classes - 1), "predicted": (0, classes - 1), "group": (0, n - 1), "fold": (1, n)}
    for name in columns.keys() & limits:
        strangers, (first, last) = set(map(type, columns[name])) - {int}, limits[name]
        if strangers or not first <= min(columns[name]) <= max(columns[name]) <= last:
            actual = _names(strangers) if strangers else f"{min(columns[name])} to {max(columns[name])}"
            raise ValueError(f"predictions.{name}: not all are whole numbers from {first} to {last}, found {actual}")
    for name, first in ("group", 0), ("fold", 1):
        if name in columns and len(set(columns[name])) != max(columns[name]) + 1 - first:
            raise ValueError(f"predictions.{name}: numbers from {first} to {max(columns[name])} are left out")


def _check_correct(metrics: dict[str, Any], labels: list[int], predicted: list[int]) -> None:
    correct, n = sum(map(eq, labels, predicted)), len(labels)
    if metrics["correct"] != correct or abs(metrics["accuracy"] - correct / n) > TOLERANCE:
        stated = f"{metrics['correct']} correct and an accuracy of {metrics['accuracy']:g}"
        raise ValueError(f"metrics: {stated}, but {correct} of {n} predictions are right")


def _names(types: set[type]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in types))
