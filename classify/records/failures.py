"""Heads that could not be fitted, beside the records of those that could."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...cache.files import read_regular
from ...cache.output_file import OutputFile

logger = logging.getLogger(__name__)

FILE = "failures.jsonl"


@dataclass(frozen=True)
class Failure:
    """A head that could not be fitted, and why."""

    id: str  # the id that its run would have
    backbone: str
    layer: str
    head: str
    reason: str

    def __str__(self) -> str:
        """Return what happened, in one line for a table."""
        return f"{self.name} could not be fitted: {self.reason}"

    @property
    def name(self) -> str:
        """What its run would be called in a table."""
        return f"{self.backbone} {self.layer} {self.head}"

    def to_dict(self) -> dict[str, str]:
        """Return plain values."""
        return {"name": self.name, **asdict(self)}


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Write the failures of the latest comparison, one JSON object per line; without any, there is no file."""
    if failures:
        lines = "".join(f"{json.dumps(asdict(failure))}\n" for failure in failures)
        OutputFile(folder / FILE).write(lines.encode())
    else:
        (folder / FILE).unlink(missing_ok=True)


def read_failures(folder: Path) -> list[Failure]:
    """Return the failures of the latest comparison in a folder; a damaged file is left out with a warning."""
    path = folder / FILE
    if not path.exists():
        return []
    try:
        return [Failure(**json.loads(line)) for line in read_regular(path).decode().splitlines()]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        logger.warning("left out: %s does not hold failures: %s", path, getattr(error, "strerror", None) or error)
        return []
