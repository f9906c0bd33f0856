"""Curves of fine-tuning as event files, which TensorBoard shows."""

import contextlib
import multiprocessing
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...cache.output_file import require_folder
from ...errors import DataError, MissingExtra
from ..records.runs import Run
from .figures import epochs

_EVENTS = "events.out.tfevents.*"
_NO_NAME = re.compile(r"[^\w.=+-]+", re.ASCII)


def write_events(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write a folder with an event file for each run that has epochs, and return the new ones: what is there is left.

    Raises
    ------
    MissingExtra
        tensorboardX is not installed.
    DataError
        No run has epochs, the folder cannot be written in, or this system has no semaphores, which tensorboardX needs.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboardX", "tensorboard") from error
    with_epochs = [run for run in runs if run.curves]
    if not with_epochs:
        raise DataError("No run has epochs, so there are no curves. Those of fc7 finetune and of torch-linear have.")
    require_folder(folder)
    try:
        multiprocessing.Lock()
    except OSError as error:
        raise DataError(
            f"Event files cannot be written: there are no semaphores ({error.strerror}). Make /dev/shm writable."
        ) from error
    written = []
    for run in with_epochs:
        place = folder / f"{_NO_NAME.sub('_', run.name)[:80]}-{run.id[:12]}"
        if any(place.glob(_EVENTS)):
            continue
        try:
            with _whole(place), SummaryWriter(str(place), write_to_disk=True) as writer:
                for figure in epochs(run):
                    writer.add_scalar(figure.name, figure.value, figure.step)
        except OSError as error:
            raise DataError(f"{place} cannot be written: {error.strerror or error}.") from error
        written.append(place)
    return written


@contextlib.contextmanager
def _whole(place: Path) -> Iterator[None]:
    """Remove event files that an error leaves unfinished, so that they are written the next time."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for part in place.glob(_EVENTS):
                part.unlink()
            place.rmdir()  # unless it holds what is not ours
        raise
