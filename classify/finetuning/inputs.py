"""Inputs of training: image files, or cached rows."""

import contextlib
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from ...cache.embeddings import Rows
from ...cache.recipe import DECODES, Input, Recipe
from ...cache.tables import counted
from ...cache.urls import Location
from ...errors import DataError, ImageRejected
from ...extract.decoding.decode_pool import DecodePool
from ...extract.decoding.views import centre_crop, read_augmented, read_image
from ...extract.decoding.worker_process import Request
from ...extract.engines.local import MOST_BESIDE_DEVICE
from ...extract.extraction import why_not_decoded
from ...extract.machine import cores
from ...extract.manifest.hashing import Hashed
from ...extract.manifest.paths import LISTS_ALL, Reject, described, located
from ..arrays import Positions
from ..solvers.device_rows import SHARE, free_memory

logger = logging.getLogger(__name__)

AHEAD = 3  # batches decoded in advance


class Pixels:
    """Image files decoded a few batches ahead: by threads, or beside a device by processes, a batch each.

    The pixels are the same. In a ``with`` block, which ends the processes.

    Parameters
    ----------
    root, images
        Where the files are, and which row is which.
    augment
        Whether batches of an epoch are augmented; each image's crop follows from seed, epoch and row. Rows in the order
        of their keys make it follow from the image.
    processes
        Whether processes decode.
    """

    def __init__(
        self,
        root: Location,
        images: Rows,
        recipe: Recipe,
        *,
        augment: bool,
        seed: int,
        workers: int | None,
        processes: bool = False,
    ) -> None:
        self.files = [located(root, str(path)) for path in images.paths]
        self.keys = images.keys
        self.transform, self.augment, self.seed = recipe.transform, augment, seed
        self.workers = workers or cores()
        self._input = Input(recipe.transform, DECODES["exact"], 0)
        self._pool = DecodePool(min(self.workers, MOST_BESIDE_DEVICE)) if processes else None
        self._rows = 0  # in the largest batch so far

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.close()

    def batches(self, rows: Sequence[Positions], epoch: int | None) -> Iterator[torch.Tensor]:
        """Yield ``(B, crop, crop, 3)`` uint8.

        Raises
        ------
        DataError
            A file is no longer the one that was hashed, or cannot be read.
        """
        self._rows = max([self._rows, *map(len, rows)])
        if self._pool and self._rows and self._pool.prepare([self._input], self._rows):
            pool, ahead = ThreadPoolExecutor(self._pool.batches), self._pool.batches
        else:
            pool, ahead = ThreadPoolExecutor(self.workers), AHEAD
            self._pool = None
        queue: deque[list[Future[npt.NDArray[np.uint8]]]] = deque()
        try:
            for number in range(len(rows) + ahead):
                if number < len(rows):
                    if self._pool:
                        queue.append([pool.submit(self._in_process, self._pool, rows[number], epoch)])
                    else:
                        queue.append([pool.submit(self._pixels, int(row), epoch) for row in rows[number]])
                if number >= ahead and queue:
                    decoded = [future.result() for future in queue.popleft()]
                    yield torch.from_numpy(decoded[0] if self._pool else np.stack(decoded))
        finally:  # where an epoch ends early, what is ahead of it is not decoded
            pool.shutdown(cancel_futures=True)

    def _in_process(self, pool: DecodePool, rows: Positions, epoch: int | None) -> npt.NDArray[np.uint8]:
        """Return a batch that a process decodes; what it cannot is decoded here."""
        files = [(place, self.files[row], self.keys[row]) for place, row in enumerate(rows)]
        draws = {place: self._draw(int(row), epoch) for place, row in enumerate(rows) if self._augments(epoch)}
        with pool.batch() as (number, slot), pool.process() as process:
            failures = process.decode(Request(number, [self._input], files, draws))
            pixels = slot.pixels[self._input][: len(rows)].copy()
        for place, failure in failures.items():
            with self._explained(int(rows[place])):
                if failure is not None:
                    raise failure
                pixels[place] = self._pixels(int(rows[place]), epoch)
        return pixels

    def _pixels(self, row: int, epoch: int | None) -> npt.NDArray[np.uint8]:
        path, key = self.files[row], self.keys[row]
        with self._explained(row):
            if self._augments(epoch):
                return read_augmented(path, key, self.transform, self._draw(row, epoch))
            return centre_crop(read_image(path, key), self.transform)

    def _augments(self, epoch: int | None) -> bool:
        return self.augment and epoch is not None

    def _draw(self, row: int, epoch: int | None) -> tuple[int, int, int]:
        return self.seed, epoch or 0, row

    @contextlib.contextmanager
    def _explained(self, row: int) -> Iterator[None]:
        """Say which file it is that cannot be used any more, and what to do."""
        try:
            yield
        except (ImageRejected, OSError) as error:
            reason = f"not readable: {error.strerror or error}" if isinstance(error, OSError) else error
            raise DataError(
                f"{self.files[row]}: {reason}. It was there, and an image, when fine-tuning began. "
                "Put it back, or start again without it."
            ) from error


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
    """Cached pool5 rows as the inputs of training; each epoch draws one view of every image at random.

    On a `device` they are kept in its memory, as they are stored, if there is room.
    """

    def __init__(self, views: Sequence[npt.NDArray[Any]], seed: int, device: torch.device | None = None) -> None:
        self.views, self.seed = views, seed
        self._there: torch.Tensor | None = None
        if device is not None and sum(view.nbytes for view in views) <= SHARE * free_memory(device):
            self._there = torch.stack([torch.tensor(view).to(device) for view in views])

    def batches(self, rows: Sequence[Positions], epoch: int | None) -> Iterator[Any]:
        """Yield float32 ``(B, dim)``; outside an epoch the centre crops."""
        drawn = np.zeros(len(self.views[0]), np.intp)
        if epoch is not None and len(self.views) > 1:
            drawn = np.random.default_rng([self.seed, epoch]).integers(0, len(self.views), len(drawn))
        for group in rows:
            if self._there is not None:
                yield self._there[torch.from_numpy(drawn[group]), torch.from_numpy(group)].float()
                continue
            vectors = np.stack([self.views[drawn[row]][row] for row in group])
            yield torch.from_numpy(vectors.astype(np.float32))
