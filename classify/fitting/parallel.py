"""Jobs: independent work in several processes that share matrices and divide the cores."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...extract.engines.ray_engine import RayEngine

ROUNDS = 2  # jobs per process that are sent to Ray at a time


def run(
    work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], n_jobs: int | None, engine: "RayEngine | None" = None
) -> Iterator[Any]:
    """Yield what ``work`` returns for each job, in order.

    Parameters
    ----------
    n_jobs
        Processes, as in scikit-learn: -1 is one per core; with 1 or None all is done in this one. joblib hands matrices
        over as memory maps, not as copies, and limits each process' threads to its share of the cores.
    engine
        Where the processes are: on Ray, through joblib's backend for it, -1 is one per core of the cluster.
    """
    if n_jobs in (None, 1) or len(jobs) < 2:
        yield from (work(*job) for job in jobs)
        return
    from joblib import Parallel, delayed

    if engine is None:
        with _deaf_to_ctrl_c():
            results = Parallel(n_jobs, return_as="generator")(delayed(work)(*job) for job in jobs)
        yield from results
        return
    yield from _on_ray(engine.ray, work, jobs, int(n_jobs or 1))


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that a Ctrl-C does not reach: this one ends them, and they would each print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows sends it to every process of the console
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _on_ray(ray: Any, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], n_jobs: int) -> Iterator[Any]:
    """Yield results, a few jobs at a time: joblib's backend for Ray returns nothing before all jobs it has are done."""
    from joblib import Parallel, delayed, parallel_config

    import_module("ray.util.joblib").register_ray()
    cores = max(int(ray.cluster_resources().get("CPU", 1)), 1)
    processes = min(cores if n_jobs < 0 else n_jobs, cores, len(jobs))
    with parallel_config("ray"):  # only here, or scikit-learn's forests would fit their trees on Ray, too
        pool = Parallel(processes)
    step = ROUNDS * processes
    with pool:
        for first in range(0, len(jobs), step):
            yield from pool(delayed(work)(*job) for job in jobs[first : first + step])
