"""Inputs of training: image files, or cached rows."""

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...cache.embeddings import Rows
from ...cache.recipe import Recipe
from ...cache.tables import counted
from ...cache.urls import Location
from ...errors import DataError, ImageRejected
from ...extract.decoding.views import augmented, centre_crop, read_image
from ...extract.extraction import why_not_decoded
from ...extract.manifest.hashing import Hashed
from ...extract.manifest.paths import LISTS_ALL, Reject, described, located
from ..arrays import Positions

logger = logging.getLogger(__name__)

AHEAD = 3  # batches decoded in advance


class Pixels:
    """Image files decoded in threads, a few batches ahead.

    Parameters
    ----------
    root, images
        Where the files are, and which row is which.
    augment
        Whether batches of an epoch are augmented; each image's crop follows from seed, epoch and row. Rows in the order
        of their keys make it follow from the image.
    """

    def __init__(
        self, root: Location, images: Rows, recipe: Recipe, *, augment: bool, seed: int, workers: int | None
    ) -> None:
        self.files = [located(root, str(path)) for path in images.paths]
        self.keys = images.keys
        self.transform, self.augment, self.seed = recipe.transform, augment, seed
        self.workers = workers or os.cpu_count() or 1

    def batches(self, rows: Sequence[Positions], epoch: int | None) -> Iterator[torch.Tensor]:
        """Yield ``(B, crop, crop, 3)`` uint8.

        Raises
        ------
        DataError
            A file is no longer the one that was hashed, or cannot be read.
        """
        queue: deque[list[Future[npt.NDArray[np.uint8]]]] = deque()
        pool = ThreadPoolExecutor(self.workers)
        try:
            for number in range(len(rows) + AHEAD):
                if number < len(rows):
                    queue.append([pool.submit(self._pixels, int(row), epoch) for row in rows[number]])
                if number >= AHEAD and queue:
                    yield torch.from_numpy(np.stack([future.result() for future in queue.popleft()]))
        finally:  # where an epoch ends early, what is ahead of it is not decoded
            pool.shutdown(cancel_futures=True)

    def _pixels(self, row: int, epoch: int | None) -> npt.NDArray[np.uint8]:
        try:
            image = read_image(self.files[row], self.keys[row])
        except (ImageRejected, OSError) as error:
            reason = f"not readable: {error.strerror or error}" if isinstance(error, OSError) else error
            raise DataError(
                f"{self.files[row]}: {reason}. It was there, and an image, when fine-tuning began. "
                "Put it back, or start again without it."
            ) from error
        if epoch is None or not self.augment:
            return centre_crop(image, self.transform)
        return augmented(image, self.transform, np.random.default_rng([self.seed, epoch, row]))


def usable(hashed: Hashed, workers: int | None) -> Rows:
    """Return the images that can be decoded, in the order of their keys; warn about the others."""
    root, rows = hashed.manifest.root, hashed.rows
    reasons = why_not_decoded(root, rows, workers)
    undecoded = [Reject(str(path), why) for path, why in zip(rows.paths, reasons, strict=True) if why]
    for line in described([*hashed.rejects(), *undecoded], LISTS_ALL):
        logger.warning("rejected %s", line)
    decodable = rows[np.array([not why for why in reasons], dtype=bool)]
    if not len(decodable):
        raise DataError(f"None of {counted(len(hashed.manifest), 'image')} of {root} could be decoded.")
    return decodable.in_key_order()


class CachedRows:
    """Cached pool5 rows as the inputs of training; each epoch draws one view of every image at random."""

    def __init__(self, views: Sequence[npt.NDArray[Any]], seed: int) -> None:
        self.views, self.seed = views, seed

    def batches(self, rows: Sequence[Positions], epoch: int | None) -> Iterator[Any]:
        """Yield float32 ``(B, dim)``; outside an epoch the centre crops."""
        drawn = np.zeros(len(self.views[0]), np.intp)
        if epoch is not None and len(self.views) > 1:
            drawn = np.random.default_rng([self.seed, epoch]).integers(0, len(self.views), len(drawn))
        for group in rows:
            vectors = np.stack([self.views[drawn[row]][row] for row in group])
            yield torch.from_numpy(vectors.astype(np.float32))
