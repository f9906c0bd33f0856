"""The training loop that fine-tuning from pixels and the classifier stack on cached pool5 share."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ...cache.output_file import OutputFile
from ...errors import DataError, FC7Error, Interrupted
from ...extract.backbones.network import restore
from ...extract.backbones.torch_runtime import global_generator, memory_of, to_device
from ...extract.progress import Progress, silent
from ...extract.text import first_line
from ..arrays import Positions
from ..heads.calibration import find_temperature
from ..heads.torch_linear import epoch_line
from ..settings import Training
from .pace import PACE_STEPS, Pace
from .training_task import CRITERION, State, TrainingTask

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 20.0  # a kill loses at most about this, or one epoch
WAIT_STEPS = 8  # steps between two waits for a device: in between it has steps to do while the next are prepared


def train(
    task: TrainingTask,
    *,
    checkpoint: Path | None = None,
    keep: bool = False,
    progress: Progress = silent,
    stage: str = "train",
    on_epoch: Callable[[str], None] | None = None,
) -> State:
    """Train, leave the module with the parameters of the best held-out epoch, and return how it went.

    Parameters
    ----------
    checkpoint
        File to resume from, written at most every ``CHECKPOINT_SECONDS``.
    keep
        Write it at the end, too, because the run has more folds to train.

    Raises
    ------
    FC7Error
        The loss is not finite, or the device's memory is too small.
    Interrupted
        Ctrl-C; the checkpoint has the last finished epoch, or the one before where an epoch was interrupted.
    """
    for parameter in task.module.parameters():
        parameter.requires_grad_(False)
    for part in task.parts:
        part.requires_grad_(True)
    optimiser = _optimiser(task)
    state = _resume(task, optimiser, checkpoint)
    pace, saved, kept = Pace(task, state.seconds), time.perf_counter(), state.epoch
    finished = True  # the module has the parameters of an epoch's end
    devices = [task.device] if task.device.type == "cuda" else []
    size = task.options.batch_size
    advice = (
        f"A step has {size} images: take fewer, --train-batch {size // 2}." if size > 1 else "Take a smaller network."
    )
    before = f"{task.name}, " if task.name else ""
    try:
        while not state.stopped:
            finished = False
            with global_generator(devices), memory_of(task.device, advice):
                line = _epoch(task, optimiser, state, pace, progress, stage=stage)
            _account(task, state, line, pace)
            finished = True
            if on_epoch:
                on_epoch(before + epoch_line(line, task.options.epochs))
            if checkpoint and time.perf_counter() - saved >= CHECKPOINT_SECONDS:
                _save(checkpoint, task, optimiser, state)
                saved, kept = time.perf_counter(), state.epoch
    except KeyboardInterrupt:
        if checkpoint and finished and state.epoch:
            _save(checkpoint, task, optimiser, state)
            kept = state.epoch
        where = f"{before}{kept} of {task.options.epochs} epochs are kept"
        next_time = "goes on from there" if checkpoint else "begins anew"
        raise Interrupted(f"Interrupted: {where}. The same command {next_time}.") from None
    restore(task.module, state.best)
    if checkpoint and keep:
        _save(checkpoint, task, optimiser, state)
    return state


def logits(task: TrainingTask, rows: Positions) -> npt.NDArray[np.float64]:
    """Return ``(len(rows), classes)`` of the plain inputs, everything in eval mode."""
    task.module.eval()
    size = task.options.batch_size
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    outputs = []
    with torch.inference_mode(), _autocast(task):
        for batch in task.inputs.batches(groups, None):
            outputs.append(task.module(to_device(batch, task.device)).float().cpu().numpy())
    return np.concatenate(outputs).astype(np.float64)


def _epoch(
    task: TrainingTask, optimiser: Any, state: State, pace: Pace, progress: Progress, stage: str
) -> dict[str, float]:
    """Run one epoch, or as much of it as the limit leaves time for.

    Order and dropout depend on the seed and the epoch only, so a resumed run gives equal numbers.
    """
    options, number = task.options, state.epoch
    rng = np.random.default_rng([options.random_state, number])
    torch.manual_seed(int(rng.integers(2**62)))
    order = rng.permutation(task.fitted)
    groups = [order[start : start + options.batch_size] for start in range(0, len(order), options.batch_size)]
    task.module.eval()
    for part in task.parts:
        part.train()
    weights = None if task.weights is None else torch.from_numpy(task.weights).to(task.device)
    losses, hits, done = list[torch.Tensor](), list[torch.Tensor](), 0
    pace.begin(len(groups))
    for step, (rows, batch) in enumerate(zip(groups, task.inputs.batches(groups, number), strict=True)):
        _set_rate(optimiser, options, (number + step / len(groups)) / options.epochs)
        target = torch.from_numpy(task.y[rows]).to(task.device)
        with _autocast(task):
            output = task.module(to_device(batch, task.device)).float()
        loss = functional.cross_entropy(output, target, weight=weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], options.clip)
        optimiser.step()
        losses.append(loss.detach())
        hits.append((output.argmax(1) == target).sum())
        if step < PACE_STEPS or not step % WAIT_STEPS:  # a device is waited for only now and then
            loss.item()
        done += len(rows)
        progress(stage, number * len(order) + done, options.epochs * len(order))
        pace.step(len(rows))
        pace.warn(stage, state)
        if pace.is_over():
            break
    sizes = [len(rows) for rows in groups]
    loss_sum = sum(loss * size for loss, size in zip(torch.stack(losses).tolist(), sizes, strict=False))
    right = int(torch.stack(hits).sum())
    if not math.isfinite(loss_sum):
        raise FC7Error(
            f"The loss is not finite in epoch {number + 1}. Lower --learning-rate ({options.learning_rate:g})."
        )
    line = {"epoch": float(number + 1), "train_loss": loss_sum / done, "train_accuracy": right / done}
    line |= {"share": done / len(order)} if done < len(order) else {}
    for name, rows in (("held", task.held), ("val", task.watched)):
        if len(rows):
            outputs = logits(task, rows)
            line |= _measure(outputs, task.y[rows], name)
            if name == "held":
                line[CRITERION] = find_temperature(outputs, task.y[rows])[1]
    return line


def _measure(outputs: npt.NDArray[np.float64], y: npt.NDArray[np.intp], name: str) -> dict[str, float]:
    loss = functional.cross_entropy(torch.from_numpy(outputs), torch.from_numpy(y))
    return {f"{name}_loss": float(loss), f"{name}_accuracy": float((outputs.argmax(axis=1) == y).mean())}


def _account(task: TrainingTask, state: State, line: dict[str, float], pace: Pace) -> None:
    """Enter an epoch into the state: its figures, whether it is the best, and whether it is the last."""
    if not state.best or task.until or line[CRITERION] < state.least:
        state.best, state.best_epoch = _trained(task), state.epoch + 1
    state.curves.append(line)
    state.epoch += 1
    state.seconds = pace.seconds
    patience, waited = task.options.patience, state.epoch - state.best_epoch
    last = task.until or task.options.epochs
    if state.share < 1:
        state.stopped = "limit"
    elif state.epoch >= last:
        state.stopped = "epochs"
    elif patience is not None and waited >= patience and not task.until:
        state.stopped = "patience"
    elif not pace.has_time(state):
        state.stopped = "limit"


def _optimiser(task: TrainingTask) -> torch.optim.Optimizer:
    options = task.options
    by_factor: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in task.module.named_parameters():
        if parameter.requires_grad:
            by_factor.setdefault(1.0 if name in task.new else options.backbone_rate, []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": factor * options.learning_rate, "factor": factor}
        for factor, parameters in by_factor.items()
    ]
    if options.optimiser == "adam":
        return torch.optim.AdamW(groups, weight_decay=options.weight_decay)
    return torch.optim.SGD(groups, momentum=options.momentum, weight_decay=options.weight_decay)


def _set_rate(optimiser: Any, options: Training, fraction: float) -> None:
    factor = {
        "cosine": (1 + math.cos(math.pi * fraction)) / 2,
        "step": 0.1 ** math.floor(3 * fraction),
        "constant": 1.0,
    }[options.schedule]
    for group in optimiser.param_groups:
        group["lr"] = options.learning_rate * group["factor"] * factor


def _trained(task: TrainingTask) -> dict[str, torch.Tensor]:
    """Return a copy of everything that training changes: trained parameters and the buffers of trained parts."""
    names = {name for name, parameter in task.module.named_parameters() if parameter.requires_grad}
    names |= {name for name, _ in task.module.named_buffers()}
    return {name: value.detach().cpu().clone() for name, value in task.module.state_dict().items() if name in names}


def _save(path: Path, task: TrainingTask, optimiser: Any, state: State) -> None:
    output = OutputFile(path)
    with output.temporary() as temporary:
        try:
            torch.save({"state": vars(state), "module": _trained(task), "optimiser": optimiser.state_dict()}, temporary)
        except RuntimeError as error:  # a disk that is full
            raise DataError(f"The checkpoint {path} cannot be written: {first_line(error)}") from error


def _resume(task: TrainingTask, optimiser: Any, path: Path | None) -> State:
    fresh = State(epoch=0, curves=[], best={}, best_epoch=0, seconds=0.0)
    if path is None or not path.exists():
        return fresh
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        state = State(**checkpoint["state"])
        _ = state.least  # a checkpoint of before lacks it
        restore(task.module, checkpoint["module"])
        optimiser.load_state_dict(checkpoint["optimiser"])
    except Exception as error:  # torch raises a dozen kinds of errors on a damaged file
        logger.warning("the checkpoint %s cannot be used (%s); training begins anew", path.name, error)
        return fresh
    logger.info("going on after epoch %d of %d", state.epoch, task.options.epochs)
    return state


def _autocast(task: TrainingTask) -> Any:
    return torch.autocast(task.device.type, torch.bfloat16, enabled=task.bf16)
