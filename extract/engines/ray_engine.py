"""Ray as an engine: a cluster on this machine, which ends with us, or one that runs already and is joined.

Turned off are Ray's dashboard, its usage statistics, ports on all interfaces, a token in the user's home, logs that
stay, and workers that import from the working directory.
"""

import contextlib
import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from typing import Any, Self

from ...cache.arguments import checked
from ...cache.leases import owner_of, sign
from ...errors import EngineError, MissingExtra, UsageError
from ..machine import cores
from .ray_worker import Worker, reason

logger = logging.getLogger(__name__)

OLDEST = (2, 52)  # the first with token authentication, and without CVE-2025-62593
STALL = 300.0  # seconds without progress, if a batch takes less than a tenth of that on a slow core
MOST_SHARED, LEAST_SHARED = 2**30, 100 * 2**20  # bytes of memory that processes share: keys, paths, moments
_FOLDER = "fc7-ray-"
_LONGEST = 24  # characters of a folder's path; longer names of Ray's sockets are refused by the system


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

    @checked
    def __init__(self, address: str | None = None, *, actors: int | None = None, stall: float | None = None) -> None:
        if actors is not None and actors < 1:
            raise UsageError(f"actors {actors}: must be 1 or more.")
        require_ray(address)
        self.address, self.actors, self.stall = address, actors, stall
        self._open = contextlib.ExitStack()
        self._ray: Any = None

    def __repr__(self) -> str:
        return f"RayEngine({self.address!r}, actors={self.actors}, stall={self.stall})"

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
            self._ray = self._open.enter_context(connected(self.address))
        return self._ray

    @property
    def patience(self) -> float:
        """Seconds without progress after which a worker is ended."""
        return STALL if self.stall is None else self.stall


def require_ray(address: str | None = None) -> Any:
    """Import Ray, for a cluster at an address or for one of its own; some settings it reads only then."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as in later versions; Ray 2.52 warns of it
    if address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # Ray's name for: loopback only
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one into the user's home
        if "ray" not in sys.modules:  # an imported Ray has read its settings already
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray

        version = tuple(int(digits) for digits in re.findall(r"\d+", ray.__version__)[:2])
    except (ImportError, AttributeError):
        raise MissingExtra("ray", "ray") from None
    if version < OLDEST:
        raise MissingExtra(f"ray >= {OLDEST[0]}.{OLDEST[1]} (this is {ray.__version__})", "ray")
    return ray


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Join a cluster, or start one that this machine alone reaches, until the end of the block.

    If this process is killed, the processes of a cluster of its own end by themselves within a minute.
    """
    if address and address.startswith("ray://"):
        raise UsageError(
            f"--address {address}: Ray's client protocol does not do here; run fc7 on a machine of the cluster, with "
            "--address auto or HOST:6379."
        )
    ray = require_ray(address)
    if ray.is_initialized():
        raise EngineError("Ray is in use in this process already; call ray.shutdown() first.")
    with contextlib.ExitStack() as stack:
        if address is None:
            folder = _folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.callback(ray.shutdown)
            try:
                _start(ray, folder)
            except BaseException as error:
                _end_node(error)
                raise
        else:
            stack.callback(ray.shutdown)
            _init(ray, address=address)
            if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
                logger.warning(
                    "The Ray cluster at %s is used without token authentication: whoever reaches its ports can run "
                    "programs on it. Start it with RAY_AUTH_MODE=token and set that here, too, or see to it that "
                    "nobody else reaches it.",
                    address,
                )
        yield ray


def _start(ray: Any, folder: Path) -> None:
    with contextlib.chdir(folder):  # Ray has its workers import from the working directory first
        _init(
            ray,
            address="local",
            num_cpus=cores(),
            include_dashboard=False,
            **_shared(folder),
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
            _system_config={"worker_niceness": 0},
        )
    node_address = ray.util.get_node_ip_address()
    if node_address != "127.0.0.1":  # Ray was imported before us, with other settings
        logger.warning("Ray listens on %s, not on this machine's loopback only.", node_address)


def _end_node(error: BaseException) -> None:
    """End the processes of a node that did not start, which only the error still has: Ray leaves them until we end."""
    for cause in filter(None, (error, error.__cause__)):
        for frame, _ in walk_tb(cause.__traceback__):
            if end := getattr(frame.f_locals.get("self"), "kill_all_processes", None):
                with contextlib.suppress(Exception):  # what matters is why it did not start
                    end(check_alive=False, allow_graceful=False)


def _init(ray: Any, **options: Any) -> None:
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, namespace="fc7", **options)
    except Exception as error:  # a node that starts slowly is an Exception and nothing more
        address, why = options["address"], reason(error)
        if address == "local":
            raise EngineError(f"Ray does not start on this machine: {why}. Without it: --engine local") from error
        raise EngineError(
            f"The Ray cluster at {address} cannot be used: {why}. Is it running, does it have Ray "
            f"{ray.__version__}, and are RAY_AUTH_MODE and RAY_AUTH_TOKEN its own?"
        ) from error


def _shared(folder: Path) -> dict[str, Any]:
    """Return where Ray shares memory and how many bytes: a third of what is free at most; containers have little.

    Where /dev/shm is too small or cannot be written, it is in files of the folder.
    """
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shutil.disk_usage(shm).free < 3 * LEAST_SHARED:
        shm = folder
    free = shutil.disk_usage(shm).free
    return {"object_store_memory": max(min(free // 3, MOST_SHARED), LEAST_SHARED), "_plasma_directory": str(shm)}


def _folder() -> Path:
    """Make a folder for Ray's sockets and logs, and remove those that killed processes have left."""
    above = Path(tempfile.gettempdir())
    if len(str(above)) > _LONGEST:
        above = Path("/tmp")
    for left in above.glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError):  # another user's, or its owner is not known
            owner = owner_of(left / "owner")
            if owner and owner.gone:
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=above))
    # Why not in the folder's name: it would be too long for Ray's sockets.
    sign(folder / "owner")
    return folder
