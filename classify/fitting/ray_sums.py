"""Sums over rows that stay on disk, computed on Ray; see :mod:`fc7.classify.solvers.map_reduce`.

The result does not depend on the number of workers or the order in which they finish.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import DataError, EngineError, FC7Error
from ..solvers.map_reduce import ROWS, RowPart
from ..solvers.row_stream import MapParts

if TYPE_CHECKING:
    from ...extract.engines.ray_engine import RayEngine

AHEAD = 2  # parts sent for each core


def ray_map(engine: "RayEngine") -> MapParts:
    """Return a function ``(work, parts, *options)`` that yields ``work(part, *options)`` in order, a few at a time.

    It raises DataError if a worker cannot read the cache, and EngineError if a part fails or does not return in time.
    """
    return partial(_map, engine)


def _map(engine: "RayEngine", work: Callable[..., Any], parts: Iterator[RowPart], *options: Any) -> Iterator[Any]:
    ray = engine.ray
    task = ray.remote(max_retries=3)(_result_or_reason)
    limit = AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    pending: deque[Any] = deque()
    try:
        for part in parts:
            pending.append(task.remote(work, part, *options))
            if len(pending) >= limit:
                yield _result(ray, pending[0], engine.patience)
                pending.popleft()
        while pending:
            yield _result(ray, pending[0], engine.patience)
            pending.popleft()
    finally:
        for reference in pending:  # after an error or an interrupt
            ray.cancel(reference, force=True)


def _result_or_reason(work: Callable[..., Any], part: RowPart, *options: Any) -> Any:
    """Return the result of a part, or an error as text: Ray would add the worker's traceback to an exception."""
    try:
        return work(part, *options)
    except FC7Error as error:
        return str(error)


def _result(ray: Any, reference: Any, patience: float) -> Any:
    try:
        result = ray.get(reference, timeout=patience)
    except ray.exceptions.GetTimeoutError as error:
        raise EngineError(f"Sums over {ROWS} rows did not come back in {patience:.0f} s. Run it again.") from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise EngineError(f"Sums over rows failed on Ray: {reason}. Run it again, or with --engine local.") from error
    if isinstance(result, str):
        raise DataError(f"A worker on Ray cannot sum up rows: {result}")
    return result
