"""Ray as an engine: a cluster of its own, or one that is joined."""

from contextlib import ExitStack
from typing import Any, Self

from ...errors import UsageError
from .ray_cluster import joined_cluster, own_cluster, require_ray
from .ray_worker import Worker

STALL = 300.0  # seconds without progress, if a batch takes less than a tenth of that on a slow core


class RayEngine:
    """Workers on Ray, in a ``with`` block; the cluster starts, or is joined, when there is something to compute.

    Parameters
    ----------
    address
        Of a cluster: ``auto``, ``HOST:6379``. Default: one of its own, on this machine alone.
    actors
        Workers, each with the networks in memory; default one per core, or per GPU where the cluster has any.
    stall
        Seconds without progress after which a worker is ended and its unit given to another; default 5 minutes, more
        for networks with which a batch takes half a minute.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    """

    worker = Worker

    def __init__(self, address: str | None = None, *, actors: int | None = None, stall: float | None = None) -> None:
        if actors is not None and actors < 1:
            raise UsageError(f"actors {actors}: must be 1 or more.")
        require_ray(address)
        self.address, self.actors, self.stall = address, actors, stall
        self._open = ExitStack()
        self._ray: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what was started."""
        self._ray = None
        self._open.close()

    @property
    def ray(self) -> Any:
        """Ray itself, connected."""
        if self._ray is None:
            cluster = own_cluster() if self.address is None else joined_cluster(self.address)
            self._ray = self._open.enter_context(cluster)
        return self._ray

    @property
    def patience(self) -> float:
        """Seconds without progress after which a worker is ended."""
        return STALL if self.stall is None else self.stall
