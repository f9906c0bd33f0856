"""Growth: a grid goes on beyond its edge, a step at a time, while the edge wins."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sklearn.model_selection import ParameterGrid

from .table import ENDS, Head

GAIN = 1e-3  # share of the log loss that a step must take off to win: weak penalties gain ever less and never end

Tried = dict[str, list[Any]]  # values by name of the hyper-parameter, in the order in which they were tried


def points_beyond(head: Head, chosen: Mapping[str, Any], tried: Tried, rows: int) -> list[dict[str, Any]]:
    """Return the points one step beyond the edges that `chosen` is on; none where it is inside, or there is no step.

    What has no order takes all of its values, and what is inside stays as it was chosen. `rows` is the number of rows
    that a fit has.
    """
    steps = {name: _beyond(head, name, chosen, tried[name]) for name in edges(chosen, tried)}
    steps = {name: value for name, value in steps.items() if value is not None}
    if not steps:
        return []
    axes = {
        name: [chosen[name], *([steps[name]] if name in steps else [])] if _ordered(values) else values
        for name, values in tried.items()
    }
    new = [point for point in ParameterGrid(axes) if any(point[name] == value for name, value in steps.items())]
    return [point for point in new if head.possible(point, rows)]


def take(tried: Tried, points: Iterable[Mapping[str, Any]]) -> None:
    """Add the values of points to those that were tried."""
    for point in points:
        for name, value in point.items():
            if repr(value) not in map(repr, tried[name]):  # values of the user's may be arrays
                tried[name].append(value)


def edges(chosen: Mapping[str, Any], tried: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the hyper-parameters of which the least or the largest of several values was chosen.

    One that cannot go on, such as a single neighbour, is on no edge.
    """
    return [
        name
        for name, values in tried.items()
        if name in chosen
        and len(values) > 1
        and _ordered(values)
        and chosen[name] in (min(values), max(values))
        and chosen[name] != ENDS.get(name)
    ]


def open_edges(head: Head, chosen: Mapping[str, Any], tried: Tried, rows: int) -> list[str]:
    """Return the edges that `chosen` is on, without those beyond which so few rows cannot be fitted."""
    steps = {name: _beyond(head, name, chosen, tried[name]) for name in edges(chosen, tried)}
    return [name for name, value in steps.items() if value is None or head.possible({**chosen, name: value}, rows)]


def _beyond(head: Head, name: str, chosen: Mapping[str, Any], tried: Sequence[Any]) -> Any:
    """Return the next value after the edge that a hyper-parameter is on; None where the head knows of none."""
    ladder = head.ladders.get(name, ())
    if chosen[name] == min(tried):
        return max((value for value in ladder if value < chosen[name]), default=None)
    return min((value for value in ladder if value > chosen[name]), default=None)


def _ordered(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
