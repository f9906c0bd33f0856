"""Jobs: independent work in several processes, which share the matrices and do not fight over the cores."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def run(work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], n_jobs: int | None) -> Iterator[Any]:
    """Yield what ``work`` returns for each job, in order.

    Parameters
    ----------
    n_jobs
        Processes, as in scikit-learn: -1 is one per core; with 1 or None all is done in this one. joblib hands matrices
        over as memory maps, not as copies, and limits each process' threads to its share of the cores.
    """
    if n_jobs in (None, 1) or len(jobs) < 2:
        yield from (work(*job) for job in jobs)
        return
    from joblib import Parallel, delayed

    yield from Parallel(n_jobs, return_as="generator")(delayed(work)(*job) for job in jobs)
