"""Settings of fitting and of training; see :mod:`fc7.extract.settings`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..cache.arguments import check_fields
from ..errors import UsageError
from ..extract import readers
from ..extract.settings import require_choice, setting
from ..extract.text import few

ARMS = ("head", "classifier", "all")  # what fine-tuning trains
OPTIMISERS = ("sgd", "adam")
SCHEDULES = ("cosine", "step", "constant")

_ON = "the split to evaluate on (default: val, else test; without splits every image is predicted once, in folds)"
_CROSS = (
    "predict every image once, in N folds, whatever its split; all choices are made inside each (default: by split)"
)
_EPOCHS = "of what is trained in epochs (default: chosen in the folds for torch-linear, else 12)"
_N_JOBS = "processes that fit; -1: one per core, with --engine ray of the cluster (default: 1)"
_BALANCED = "each class counts as much as the others, in heads that know weights (default: each image does)"
# Of rows before a head, and what is said of it.
PREPARED = {"unit": "rows of unit length", "scale": "rows on one scale", "standard": "standardised rows"}
_PREPARATION = (
    "unit: each row before a head has unit length; scale: all are on one scale; standard: every column has mean 0 and "
    "one spread in the fitted rows of each fold. A plain last layer can take in the last two, see fc7 export"
)
_LIMIT = "time for each arm, its folds included; what is reached by then is measured (default: no limit)"
_PATIENCE = "stop after N epochs without progress on a part of train (default: train all)"


@dataclass(frozen=True)
class ProtocolSettings:
    """Which images are fitted on and which are predicted; :func:`fc7.classify.fit` says what each setting means."""

    on: str | None = setting(None, _ON, choices=("val", "test"))
    cross_validate: int | None = setting(None, _CROSS, type=readers.folds_number, metavar="N")
    folds: int | None = setting(
        None,
        "folds to choose hyper-parameters in (default: 5; of a cross-validation in 3 to 5 folds the others)",
        type=readers.folds_number,
        metavar="N",
    )
    random_state: int = setting(0, "seed of all that is drawn", type=readers.seed_number, metavar="N")
    allow_leakage: bool = setting(False, "go on with an image on both sides of the split")

    def __post_init__(self) -> None:
        """Refuse what no data set can be divided by."""
        check_fields(self)
        for option, folds in ("folds", self.folds), ("cross-validate", self.cross_validate):
            if folds is not None and folds < 2:
                raise UsageError(f"--{option} {folds}: two or more are needed.")
        if not 0 <= self.random_state < 2**32:
            raise UsageError(f"random_state {self.random_state}: must be between 0 and 2**32 - 1.")
        if self.on and self.cross_validate:
            raise UsageError(
                f"--on {self.on} evaluates on a split, --cross-validate {self.cross_validate} on all images: give one."
            )


@dataclass(frozen=True)
class FitSettings(ProtocolSettings):
    """How heads are fitted and evaluated; :func:`fc7.classify.fit` says what each setting means."""

    epochs: int | None = setting(None, _EPOCHS, type=readers.whole_number, metavar="N")
    n_jobs: int | None = setting(None, _N_JOBS, type=readers.jobs_number, metavar="N")
    average_views: bool = setting(False, "predict the mean over all --views of an image")
    class_weight: str | Mapping[str, float] | None = setting(None, _BALANCED, choices=("balanced",))
    preparation: str = setting("unit", _PREPARATION, choices=tuple(PREPARED))
    device: str = "auto"  # an option of the backbone, which runs there, too

    def __post_init__(self) -> None:
        """Refuse what no head can be fitted with."""
        super().__post_init__()
        require_choice(self, "preparation")
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"--epochs {self.epochs}: one or more are needed.")
        if self.n_jobs == 0:
            raise UsageError("--n-jobs 0: 1 or more processes are needed; -1 is one per core.")
        if isinstance(self.class_weight, str) and self.class_weight != "balanced":
            raise UsageError(f"class_weight={self.class_weight!r}: balanced, or a dict of weights by class name.")

    def weights(self, classes: Sequence[str]) -> str | dict[Any, float] | None:
        """Return class weights by the position of the class instead of its name.

        Raises UsageError if one is of no class, or not above 0 and finite.
        """
        if self.class_weight is None or isinstance(self.class_weight, str):
            return self.class_weight
        unknown = self.class_weight.keys() - set(classes)
        if unknown:
            name = few([repr(min(unknown, key=str))])
            raise UsageError(f"class_weight names {name}, which is none of the classes {few(classes)}.")
        wrong = [f"{name!r} {weight!r}" for name, weight in self.class_weight.items() if not _is_weight(weight)]
        if wrong:
            raise UsageError(f"class_weight of {few(wrong)}: must be more than 0, and finite.")
        return {classes.index(name): float(weight) for name, weight in self.class_weight.items()}


def _is_weight(weight: Any) -> bool:
    return isinstance(weight, Real) and 0 < float(weight) < math.inf


DEFAULTS = FitSettings()


@dataclass(frozen=True)
class Training:
    """How parameters are trained. The same object is the argument, the line in the record and part of the run's id.

    Attributes
    ----------
    learning_rate
        Of new layers; ``backbone_rate`` times it for pretrained ones.
    optimiser
        ``sgd`` (with ``momentum``) or ``adam``.
    clip
        Largest norm of a step's gradient: a stack that starts from a seed meets activations in the hundreds.
    schedule
        ``cosine`` to zero, ``step`` (a tenth after every third of the epochs) or ``constant``.
    patience
        Stop after this many epochs without a smaller held-out loss; None runs all epochs. The result is always the
        epoch with the least held-out loss, never the best on val.
    held_out
        One in this many of the fitted images is held out to measure that loss.
    limit_seconds
        Of all trainings of a run together; each of those to come gets an equal share. No epoch starts if it would end
        later, and one that runs out of time ends after the batch, early enough to measure what it reached.
    """

    epochs: int = 12
    batch_size: int = setting(32, "images in one step", option="train-batch", type=readers.whole_number, metavar="N")
    learning_rate: float = setting(0.003, "of new layers", type=readers.positive_number, metavar="X")
    backbone_rate: float = setting(
        0.1, "of pretrained layers, as a share of that", type=readers.positive_number, metavar="X"
    )
    optimiser: str = setting("sgd", "how steps are taken", choices=OPTIMISERS)
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 10.0
    schedule: str = setting("cosine", "of the learning rates", choices=SCHEDULES)
    patience: int | None = setting(None, _PATIENCE, type=readers.whole_number, metavar="N")
    held_out: int = 7
    limit_seconds: float | None = setting(None, _LIMIT, type=readers.positive_number, metavar="S")
    random_state: int = 0

    def __post_init__(self) -> None:
        """Refuse values that training cannot use."""
        check_fields(self)
        require_choice(self, "optimiser", "schedule")
        if self.epochs < 1 or self.batch_size < 1 or self.held_out < 2:
            raise UsageError(
                f"epochs {self.epochs}, batch size {self.batch_size}, held out 1 in {self.held_out}: too small."
            )
