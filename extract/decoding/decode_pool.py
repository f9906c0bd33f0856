"""Decoding processes for a device, and the batches that they fill in turn."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from ...cache.recipe import Input
from .shared_pixels import Layout, SharedPixels, Slot
from .worker_process import DecodeProcess

logger = logging.getLogger(__name__)


class DecodePool:
    """So many processes, with more batches than that: while some are computed, no process waits.

    It can be used for one extraction after another; they start when the first is prepared.
    """

    def __init__(self, processes: int) -> None:
        self._number = processes
        self.batches = processes + max(2, processes // 4)
        self._shared: SharedPixels | None = None
        self._all: list[DecodeProcess] = []
        self._processes: SimpleQueue[DecodeProcess] = SimpleQueue()
        self._slots: SimpleQueue[tuple[int, Slot]] = SimpleQueue()

    def __enter__(self) -> "DecodePool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def memory(self) -> npt.NDArray[np.uint8]:
        """Where the pixels are."""
        return np.zeros(0, np.uint8) if self._shared is None else self._shared.memory

    def prepare(self, inputs: Sequence[Input], rows: int) -> bool:
        """Have room for batches of so many rows; return False, and say why, if there is none."""
        layout = Layout(tuple(dict.fromkeys(inputs)), rows, self.batches)
        if self._shared is not None and self._shared.layout == layout:
            return True
        self.close()
        try:
            self._shared = SharedPixels(layout)
        except OSError as error:
            logger.info(
                "images are decoded without processes of their own: no %d bytes to share: %s", layout.size(), error
            )
            return False
        self._all = [DecodeProcess(self._shared) for _ in range(self._number)]
        for process in self._all:
            process.start()
            self._processes.put(process)
        for numbered in enumerate(self._shared.slots):
            self._slots.put(numbered)
        return True

    @contextlib.contextmanager
    def batch(self) -> Iterator[tuple[int, Slot]]:
        """Have one of the batches to the end of the block: its number, and its pixels."""
        numbered = self._slots.get()
        try:
            yield numbered
        finally:
            self._slots.put(numbered)

    @contextlib.contextmanager
    def process(self) -> Iterator[DecodeProcess]:
        """Have one of the processes to the end of the block."""
        process = self._processes.get()
        try:
            yield process
        finally:
            self._processes.put(process)

    def end_stuck(self) -> None:
        """End processes that come no further."""
        for process in self._all:
            process.end_if_stuck()

    def close(self) -> None:
        """End the processes, and give the memory back."""
        for process in self._all:
            process.close()
        self._all, self._processes, self._slots = [], SimpleQueue(), SimpleQueue()
        if self._shared is not None:
            self._shared.close()
            self._shared = None
