"""Costs: what a head would take in memory and time, said before it is fitted."""

import logging
from typing import TYPE_CHECKING

from sklearn.model_selection import ParameterGrid

from ...errors import DataError
from ..heads.table import HEADS, Head

if TYPE_CHECKING:
    from ...cache.embeddings import Embeddings
    from ..data.splits import Protocol
    from .shared_folds import SharedFolds

logger = logging.getLogger(__name__)

LONG = 90.0  # seconds from which a warning says how long it will take
QUICK = ("ridge", "lda", "centroid")  # what to take instead


def foresee(
    head: Head,
    embeddings: "Embeddings",
    protocol: "Protocol",
    shared: "SharedFolds | None" = None,
    *,
    on_device: bool = False,
) -> None:
    """Refuse a head that would take more memory than is allowed; warn of one that will take minutes on the processor.

    Memory is that of scores of held rows for the whole grid, and what the head says. Rows, which are in memory if they
    fit, were counted when they were read, and what is streamed is read in blocks that fit.

    Raises
    ------
    DataError
        It would take more than ``embeddings.max_ram``.
    """
    images = max(len(fitted) for fitted, _ in protocol.pairs)
    rows, classes = images * (1 + len(embeddings.views)), len(embeddings.classes)
    size = rows, embeddings.vectors.shape[1], classes
    need = _memory(head, images, size)
    if embeddings.max_ram is not None and need > embeddings.max_ram:
        less = [name for name in QUICK if _memory(HEADS[name], images, size) <= embeddings.max_ram]
        advice = f", or take one of: {', '.join(less)}" if less else ""
        raise DataError(
            f"The head {head.name} takes about {need / 2**20:,.0f} MB for {rows:,} rows of {classes:,} classes, "
            f"--max-ram allows {embeddings.max_ram // 2**20:,} MB. Raise it{advice}."
        )
    seconds = fits(head, protocol, shared) * head.seconds(*size)
    if seconds > LONG and not on_device:  # whose speed is not known
        quicker = [
            name for name in QUICK if 10 * fits(HEADS[name], protocol, shared) * HEADS[name].seconds(*size) < seconds
        ]
        advice = f" Quicker: {', '.join(quicker)}." if quicker else ""
        logger.warning("%s will take about %.0f minutes on %s rows of %s classes.%s",
                       head.name, seconds / 60, f"{rows:,}", f"{classes:,}", advice)  # fmt: skip


def _memory(head: Head, images: int, size: tuple[int, int, int]) -> float:
    """Return about how many bytes it takes beside rows."""
    return 8 * len(ParameterGrid(head.grid)) * images * size[2] + head.memory(*size)


def fits(head: Head, protocol: "Protocol", shared: "SharedFolds | None") -> int:
    """Return how many fits the searches of a protocol take together.

    After cross-validation there is one more search, on all images.
    """
    points, outer = len(ParameterGrid(head.grid)), len(protocol.pairs)
    if shared is None:
        return (outer + (outer > 1)) * (points * protocol.folds + 1)
    if shared.fits and not head.answers_grid:  # with two folds left out, with one, and with none
        return points * (outer * (outer - 1) // 2 + outer) + 1
    return points * outer**2 + outer + 1
