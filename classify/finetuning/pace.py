"""Pace: how fast training is, so that it ends in time, and says beforehand what will take long."""

import logging
import time

from ...cache.tables import counted
from ..pages.text import duration
from .training_task import State, TrainingTask

logger = logging.getLogger(__name__)

PACE_STEPS = 4  # after so many steps of an epoch its pace is known
LONG_SECONDS = 120.0  # what will take longer says so


class Pace:
    """How fast a training is, measured on its own steps."""

    def __init__(self, task: TrainingTask, seconds: float) -> None:
        self.task = task
        self.per_image = 0.0
        self._started = time.perf_counter() - seconds
        self._known = self._steps = self._images = 0
        self._since = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training, those before it was resumed included."""
        return time.perf_counter() - self._started

    def begin(self, steps: int) -> None:
        """Begin an epoch of so many steps."""
        self._known, self._since = min(steps, PACE_STEPS), time.perf_counter()
        self._steps = self._images = 0

    def step(self, images: int) -> None:
        """Count a step of so many images; the first of several waits for the decoder and says nothing of the pace."""
        self._steps += 1
        if self._steps == 1 < self._known:
            self._since = time.perf_counter()
            return
        self._images += images
        if self._steps >= self._known:
            self.per_image = (time.perf_counter() - self._since) / self._images

    def is_over(self) -> bool:
        """Return whether there is no time for a step more and for measuring, after the epoch and again in the end."""
        limit = self.task.options.limit_seconds
        batches = 1 + 4  # the step, and the first batch of each measuring of two parts, which is waited for
        images = batches * self.task.options.batch_size + 2 * self.task.measured
        return limit is not None and self.seconds + images * self.per_image >= limit

    def has_time(self, state: State) -> bool:
        """Return whether another epoch like those before would end within the limit."""
        limit, epochs = self.task.options.limit_seconds, state.epoch + 1
        return limit is None or state.seconds * epochs / state.epoch + self.task.measured * self.per_image <= limit

    def warn(self, stage: str, state: State) -> None:
        """Say about how long this will take, if it is long; once, when the pace of the first epoch is known."""
        task, options = self.task, self.task.options
        if state.epoch or self._steps != self._known:
            return
        seconds = options.epochs * (len(task.fitted) + task.measured) * task.trainings * self.per_image
        if seconds > LONG_SECONDS:
            times = f", {task.trainings} times" if task.trainings > 1 else ""
            limit = options.limit_seconds
            ends = "" if limit is None else f" It ends after {duration(limit * task.trainings)}."
            logger.warning(
                "%s: about %s for %s of %d images%s.%s Fewer epochs take less, and a head on cached "
                "embeddings takes seconds: fc7 compare DATA --heads ridge -o RUNS",
                stage, duration(seconds), counted(options.epochs, "epoch"), len(task.fitted), times, ends,
            )  # fmt: skip
