"""What a screening has found of its candidates, written beside its records, in words and plain values."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from ...cache.output_file import OutputFile

logger = logging.getLogger(__name__)

FOLDER = "screening"  # below that of the records
_FILE, _MEMORY = "screening.json", "memory.json"
_FORMAT = 1

BEST, WORSE, BETTER, ALIKE, TOO_FEW = "best", "worse", "better there", "cannot be told apart", "too few images to say"


@dataclass(frozen=True)
class Candidate:
    """A backbone with its weights, its layer and the side of its images: what it is worth, and what it costs.

    Attributes
    ----------
    name
        What it is called beside the others.
    backbone, layer, weights, image_size, dim, recipe
        ``recipe`` is the id.
    rounds
        In how many rounds it took part.
    images
        How many images it was last measured on, with what follows.
    final
        Whether these are the images that are evaluated in the end; else those of a sample, in folds.
    head, accuracy, interval, log_loss
        Of its best head there.
    outcome
        Beside the best candidate, by a paired test on these images: ``best``, ``worse``, ``cannot be told apart``,
        ``too few images to say``, or ``better there``, where it has more images right in a sample that it did not win.
    difference, difference_interval, p
        Accuracy of the best candidate minus its own there, and the corrected p; None for the best.
    images_per_second
        While it was extracted; None where the cache does not know it.
    memory
        Peak in bytes while it was extracted; None where it is not known.
    random
        Whether its weights are random.
    """

    name: str
    backbone: str
    layer: str
    weights: str
    image_size: int
    dim: int
    recipe: str
    rounds: int
    images: int
    final: bool
    head: str
    accuracy: float
    interval: tuple[float, float]
    log_loss: float
    outcome: str
    difference: float | None
    difference_interval: tuple[float, float] | None
    p: float | None
    images_per_second: float | None
    memory: int | None
    random: bool = False


@dataclass(frozen=True)
class Screened:
    """What a screening has found.

    Attributes
    ----------
    answer
        Sentences, of which the first one is the answer.
    candidates
        The best first, then those that were compared with it on all images, then by rounds.
    rounds
        Of each round ``images``, ``candidates`` and how many went on.
    broken
        Of the candidates that could not be extracted, the reason by their names.
    """

    answer: list[str]
    candidates: list[Candidate]
    rounds: list[dict[str, int]] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"format": _FORMAT} | asdict(self)

    def save(self, folder: Path) -> None:
        """Write it below the folder of the records."""
        OutputFile(folder / FOLDER / _FILE).write(json.dumps(self.to_dict(), indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Return what a folder of records has; None if it has none that can be read."""
        path = folder / FOLDER / _FILE
        try:
            values = json.loads(path.read_bytes()) if path.exists() else None
            if not values or values.pop("format") != _FORMAT:
                return None
            return cls(**values | {"candidates": [Candidate(**row) for row in values["candidates"]]})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("left out: %s is not a screening that can be read (%s)", path.name, type(error).__name__)
            return None


def save_memory(folder: Path, memory: Mapping[str, int | None]) -> None:
    """Write the peaks in bytes by recipe id, as each is known: what is in the cache cannot be measured again."""
    OutputFile(folder / FOLDER / _MEMORY).write(json.dumps(memory).encode())


def load_memory(folder: Path) -> dict[str, int | None]:
    """Return the peaks of extractions before, of an interrupted screening, too; none that cannot be read."""
    try:
        values = json.loads((folder / FOLDER / _MEMORY).read_bytes())
        return {str(recipe): peak and int(peak) for recipe, peak in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
