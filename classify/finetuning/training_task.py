"""What is trained: a module, the rows it is trained and measured on, and how far that is."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ..arrays import Positions
from ..settings import Training

# The loss that an epoch is chosen by: that of the held-out part at its own temperature, because probabilities are
# scaled by it later. Without, an epoch that is surer loses to one that is more often wrong.
CRITERION = "held_calibrated_loss"


class Inputs(Protocol):
    """The inputs of a module, by rows of the data set."""

    def batches(self, rows: Sequence[Positions], epoch: int | None) -> Iterator[torch.Tensor]:
        """Yield one tensor per group of rows; augmented where ``epoch`` is a number, plain where it is None."""


@dataclass
class TrainingTask:
    """A module to train, the rows it is trained and measured on, and how."""

    module: torch.nn.Module  # from a batch of inputs to logits `(B, classes)`
    parts: Sequence[torch.nn.Module]  # the submodules that are trained; all others stay in eval mode without gradients
    new: frozenset[str]  # names of parameters without pretrained values: they take the full learning rate
    inputs: Inputs
    y: npt.NDArray[np.intp]  # `(n,)` positions of the classes of all rows
    # Rows to train on, to choose the epoch on, and to report only.
    fitted: Positions
    held: Positions
    watched: Positions
    options: Training
    device: torch.device
    bf16: bool = False
    # Of the classes, in the loss that is minimised; the loss that chooses the epoch has none.
    weights: npt.NDArray[np.float32] | None = None
    # Train for so many epochs, with the schedule of all of them, and keep the last; None chooses the epoch.
    until: int | None = None
    name: str = ""  # which of several trainings this is, for lines
    trainings: int = 1  # how many trainings like this one are to come, itself included; said if they will take long

    @property
    def measured(self) -> int:
        """How many rows are measured after each epoch."""
        return len(self.held) + len(self.watched)


@dataclass
class State:
    """The state of training after an epoch; a checkpoint holds all of it."""

    epoch: int
    # One dict per epoch; the last one has the `share` of its images that were trained on if the limit cut it short.
    curves: list[dict[str, float]]
    best: dict[str, torch.Tensor]
    best_epoch: int
    seconds: float
    stopped: str = ""  # why training ended: `epochs`, `patience` or `limit`; empty while it goes on

    @property
    def epochs(self) -> float:
        """Epochs that ran, the last one by its share."""
        return self.epoch - 1 + self.share if self.epoch else 0.0

    @property
    def least(self) -> float:
        """Least loss that an epoch was chosen by."""
        return min((row[CRITERION] for row in self.curves if "held_loss" in row), default=math.inf)

    @property
    def share(self) -> float:
        """Share of the last epoch that ran."""
        return self.curves[-1].get("share", 1.0) if self.curves else 1.0
