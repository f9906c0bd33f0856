"""Mini-batch descent: many softmax regressions trained together, one step of all at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...extract.backbones.torch_runtime import each_with
from ..arrays import Floats, Positions

OPTIMISERS = ("sgd", "adamw")
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of AdamW, as torch has them
RECENT = 3  # the larger, the more late steps weigh in the average; 0 is the plain mean


@dataclass(frozen=True)
class Rule:
    """How a gradient becomes a step, and how rows are cut into batches."""

    optimiser: str = "sgd"  # `sgd` with `momentum`, or `adamw` (Loshchilov and Hutter 2019), which ignores it
    momentum: float = 0.9
    weight_decay: float = 0.0  # of the coefficients, not of the intercept
    batch_size: int = 32  # the most rows in a batch; the batches of an epoch are as equal as possible
    seed: int = 0  # of the order of rows, which differs between epochs

    def __post_init__(self) -> None:
        """Refuse options that cannot train."""
        if self.optimiser not in OPTIMISERS:
            raise ValueError(f"optimiser={self.optimiser!r}: must be one of {', '.join(OPTIMISERS)}.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size}: must be 1 or more.")


class Descent:
    """Softmax regressions on groups of rows, one per group and learning rate, from zero.

    The learning rate is constant, and the result is the average of all steps so far, in which late ones weigh more
    (Shamir and Zhang 2013, polynomial decay). Unlike a schedule it does not depend on how many epochs will come: after
    each epoch the average is what a descent of so many epochs ends with.

    On the processor everything runs on one thread: batches are small, and a result must not depend on the number of
    threads. Tensors are computed with on the device where they are.

    Parameters
    ----------
    rows
        ``(n, d)`` float32, an array or a tensor on a device.
    y
        ``(n,)`` codes.
    groups
        Positions of the rows that each regression is fitted on.
    weights
        Of those rows, ``(len(group),)`` each.
    rates
        Learning rates.

    Attributes
    ----------
    epochs
        How many were done.
    state
        Tensors by name, first axis the groups: coefficients ``(rates * classes, d + 1)``, the intercept last, their
        average, the optimiser's moments, and the number of steps. With `epochs`, all that resuming takes.
    """

    def __init__(
        self,
        rows: "npt.NDArray[np.float32] | torch.Tensor",
        y: Positions,
        classes: int,
        groups: Sequence[Positions],
        weights: Sequence[Floats],
        rates: Sequence[float],
        rule: Rule,
    ) -> None:
        self.rule, self.classes, self.epochs = rule, classes, 0
        there = torch.as_tensor(rows) if isinstance(rows, torch.Tensor) or rows.flags.writeable else torch.tensor(rows)
        self._device = there.device
        self._rows = torch.cat([there, there.new_ones(len(there), 1)], dim=1)
        self._y = torch.from_numpy(y).to(self._device)
        self._rates = torch.tensor(rates, dtype=torch.float32, device=self._device).repeat_interleave(classes)[:, None]
        # The largest groups come first: those that are still in an epoch are always the first few.
        self._order = sorted(range(len(groups)), key=lambda group: -len(groups[group]))
        self._groups = [_Group(groups[group], weights[group], rule) for group in self._order]
        shape = (len(groups), len(rates) * classes, self._rows.shape[1])
        names = ["coefficients", "average", "moment", *(["square"] if rule.optimiser == "adamw" else [])]
        self.state = {name: torch.zeros(shape, dtype=torch.float32, device=self._device) for name in names} | {
            "steps": torch.zeros(len(groups), 1, 1, dtype=torch.float64, device=self._device)
        }

    def coefficients(self) -> npt.NDArray[np.float32]:
        """Return averages ``(groups, rates, classes, d + 1)``."""
        shape = (len(self._groups), -1, self.classes, self._rows.shape[1])
        return np.asarray(self.state["average"].cpu()[np.argsort(self._order)].reshape(shape).numpy())

    def remembered(self) -> dict[str, torch.Tensor]:
        """Return the state in the order of the groups, from which another descent can resume."""
        return {name: value[np.argsort(self._order)] for name, value in self.state.items()}

    def resume(self, remembered: dict[str, torch.Tensor], epochs: int) -> None:
        """Resume from the state of a descent with as many groups and rates, on any rows."""
        self.state, self.epochs = {name: value[self._order] for name, value in remembered.items()}, epochs

    def epoch(self) -> None:
        """See every row of each group once."""
        with each_with(1) as begin, torch.inference_mode():
            begin()
            self._epoch()
        self.epochs += 1

    def _epoch(self) -> None:
        steps = max(group.steps for group in self._groups)
        width = max(group.width for group in self._groups)
        places = np.zeros((len(self._groups), steps, width), np.intp)
        shares = np.zeros(places.shape, np.float32)
        for place, share, group in zip(places, shares, self._groups, strict=True):
            group.draw(np.random.default_rng([self.rule.seed, self.epochs]), place, share)
        batches, batch_shares = torch.from_numpy(places).to(self._device), torch.from_numpy(shares).to(self._device)
        for step in range(steps):
            active = sum(group.steps > step for group in self._groups)
            self._step(batches[:active, step], batch_shares[:active, step])

    def _step(self, places: torch.Tensor, shares: torch.Tensor) -> None:
        state = {name: value[: len(places)] for name, value in self.state.items()}
        batch = self._rows[places]
        logits = torch.bmm(batch, state["coefficients"].transpose(1, 2))
        residual = logits.view(*places.shape, -1, self.classes).softmax(dim=3)
        truth = self._y[places][:, :, None, None].expand(*residual.shape[:3], 1)
        residual.scatter_add_(3, truth, residual.new_full((), -1.0).expand_as(truth))
        residual.mul_(shares[:, :, None, None])
        gradient = torch.bmm(residual.view(logits.shape).transpose(1, 2), batch)
        state["steps"].add_(1)
        (self._adamw if self.rule.optimiser == "adamw" else self._sgd)(gradient, **state)
        late = (RECENT + 1) / (state["steps"] + RECENT)
        state["average"].lerp_(state["coefficients"], late.float())

    def _sgd(self, gradient: torch.Tensor, coefficients: torch.Tensor, moment: torch.Tensor, **_: Any) -> None:
        if self.rule.weight_decay:
            gradient[..., :-1].add_(coefficients[..., :-1], alpha=self.rule.weight_decay)
        moment.mul_(self.rule.momentum).add_(gradient)
        coefficients.addcmul_(moment, self._rates, value=-1)

    def _adamw(self, gradient: torch.Tensor, coefficients: torch.Tensor, moment: torch.Tensor, square: torch.Tensor,
               steps: torch.Tensor, **_: Any) -> None:  # fmt: skip
        coefficients[..., :-1].mul_(1 - self._rates * self.rule.weight_decay)
        moment.lerp_(gradient, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        first, second = (1 - beta**steps for beta in BETAS)  # corrects the bias of moments that start from zero
        scale = (square / second.float()).sqrt_().add_(EPSILON)
        coefficients.sub_(moment / scale * (self._rates / first.float()))


class _Group:
    """Rows that are fitted on together, dealt to batches anew in each epoch."""

    def __init__(self, rows: Positions, weights: Floats, rule: Rule) -> None:
        self._rows, self._weights = rows, weights
        self.steps = -(-len(rows) // rule.batch_size)
        self.width = -(-len(rows) // max(self.steps, 1))
        sizes = np.diff(np.arange(self.steps + 1) * len(rows) // max(self.steps, 1))
        self._batch = np.repeat(np.arange(self.steps), sizes)
        self._place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self._size = sizes[self._batch]

    def draw(self, generator: np.random.Generator, places: Positions, shares: npt.NDArray[np.float32]) -> None:
        """Fill in the rows of each batch, ``(steps, width)``, and their shares in the gradient; empty places stay 0."""
        order = generator.permutation(len(self._rows))
        places[self._batch, self._place] = self._rows[order]
        shares[self._batch, self._place] = self._weights[order] / self._size
