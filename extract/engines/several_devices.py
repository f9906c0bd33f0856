"""Several devices of this machine: a process for each, and this one for the first.

Each of the others begins with a part of its own. This process works through all units: the claims in the cache tell it
which are another's, so that what a process does not finish, or leaves behind when it dies, is computed here. Each
process commits its own rows. They end with this one, however it ends.
"""

import _thread
import contextlib
import logging
import os
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...cache.directory import open_directory
from ...cache.store import Store
from ...errors import FC7Error, Interrupted
from ..backbones.spec import BackboneSpec
from ..backbones.torch_runtime import device_names
from ..child_process import ChildProcess, pipes, send
from ..machine import cores
from ..text import first_line
from .accounting import Clock
from .local import Pipeline
from .ray_worker import require_same
from .unit_loop import Plan

logger = logging.getLogger(__name__)

_PATIENCE = 30.0  # seconds for a process to commit what it has begun


class Part(NamedTuple):
    """What a process computes: with which networks, into which cache, and the keys with the files of its units."""

    backbones: tuple[BackboneSpec, ...]  # with its device
    directory: str
    keys: Sequence[bytes]
    files: Sequence[str]
    unit_rows: int
    workers: int


class SeveralDevices:
    """One extraction on several devices.

    Parameters
    ----------
    devices
        Names, that of this process first.
    workers
        Threads, or processes that decode, of all devices together; default one per core.
    """

    def __init__(self, plan: Plan, devices: Sequence[str], *, workers: int | None = None) -> None:
        self._plan, self._devices = plan, devices
        self._workers = max((workers or cores()) // len(devices), 1)
        self._done = [0] * len(devices)  # images, by device

    def run(self, missing: Sequence[bytes], unit_rows: int | None = None) -> dict[bytes, str]:
        """Compute the missing keys; see :meth:`fc7.extract.engines.unit_loop.UnitLoop.run`."""
        pipeline = Pipeline(self._plan._replace(progress=self._report), workers=self._workers)
        rows = unit_rows or pipeline.unit_rows()
        units, count = -(-len(missing) // rows), len(self._devices)
        bounds = [-(-number * units // count) * rows for number in range(count)] + [len(missing)]  # few units: none
        with contextlib.ExitStack() as stack:
            for number in range(1, count):
                keys = missing[bounds[number] : bounds[number + 1]]
                if keys:
                    try:
                        stack.callback(_end, *self._start(number, keys, rows))
                    except OSError as error:  # then its part is computed here
                        logger.warning("fc7: %s does not begin: %s", self._devices[number], error)
            return pipeline.run(missing, rows)

    def _start(self, number: int, keys: Sequence[bytes], rows: int) -> tuple[ChildProcess, threading.Thread]:
        """Start the process of a device, and a thread that hears how far it is."""
        device = {"device": self._devices[number]}
        specs = [BackboneSpec.of(backbone) for backbone in self._plan.backbones]
        part = Part(
            backbones=tuple(spec._replace(options=spec.options | device) for spec in specs),
            directory=str(Path(self._plan.stores[0].directory).absolute()),
            keys=list(keys),
            files=list(self._plan.files(keys)),
            unit_rows=rows,
            workers=self._workers,
        )
        process = ChildProcess(__name__, quiet=True)
        hearing = threading.Thread(target=self._hear, args=(number, process), daemon=True)
        hearing.start()
        with contextlib.suppress(BrokenPipeError):  # it has died
            process.send(part)
        return process, hearing

    def _hear(self, number: int, process: ChildProcess) -> None:
        with contextlib.suppress(EOFError, pickle.UnpicklingError, OSError, ValueError):
            while True:
                message = process.receive()
                if isinstance(message, str):
                    logger.warning("fc7: %s computes no more: %s", self._devices[number], message)
                else:
                    self._done[number] = message

    def _report(self, stage: str, done: int, total: int) -> None:
        self._done[0] = done
        self._plan.progress(stage, min(sum(self._done), total), total)


def on_this_machine(plan: Plan, workers: int | None) -> Pipeline | SeveralDevices:
    """Return what computes an extraction here, on the devices of its first backbone."""
    devices = device_names(plan.backbones[0].settings.device)
    return SeveralDevices(plan, devices, workers=workers) if len(devices) > 1 else Pipeline(plan, workers=workers)


def _end(process: ChildProcess, hearing: threading.Thread) -> None:
    process.end(_PATIENCE)
    hearing.join()


def serve() -> None:
    """Run the process of a device: compute its part, and say how many images are done."""
    requests, replies = pipes()
    part = pickle.load(requests)
    threading.Thread(target=_end_with, args=(requests,), daemon=True).start()

    def say(message: int | str) -> None:
        with contextlib.suppress(OSError):
            send(replies, message)

    code = 0
    try:
        _compute(part, lambda stage, done, total: say(done))
    except (Interrupted, KeyboardInterrupt):  # nobody wants more
        code = 1
    except Exception as error:  # whatever it is, another process computes the rest
        code = 1
        say(first_line(error) if isinstance(error, FC7Error) else f"{type(error).__name__}: {first_line(error)}")
    os._exit(code)


def _end_with(requests: Any) -> None:
    """Interrupt this process when its input ends: what it has begun is committed."""
    requests.read(1)
    _thread.interrupt_main()


def _compute(part: Part, progress: Any) -> None:
    directory, backbones = open_directory(part.directory, new=False), []
    for spec in part.backbones:
        backbone = spec.load(directory)
        require_same(spec, backbone)
        backbones.append(backbone)
    recipes = [recipe for backbone in backbones for recipe in backbone.recipes_of_views]
    files = dict(zip(part.keys, part.files, strict=True))
    stores = [Store(recipe, directory) for recipe in recipes]
    plan = Plan(backbones, stores, lambda keys: [files[key] for key in keys], Clock(), progress)
    Pipeline(plan, workers=part.workers).run(part.keys, part.unit_rows)
