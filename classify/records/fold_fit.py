"""What one fit of a protocol chose: a fold of cross-validation, or the one fit of a split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class FoldFit:
    """One fit of a protocol, and how it was chosen inside its fitted images.

    Attributes
    ----------
    fitted, evaluated
        Number of images fitted on, and predicted.
    log_loss, accuracy
        Of the chosen hyper-parameters or epoch, on images inside the fitted ones that they were not fitted on.
    temperature
        By which the scores of this fit are divided.
    hyperparameters
        The chosen ones.
    inner_folds
        Folds that they were chosen in; None where one part was held out.
    held_out
        Number of images of that part, which were not fitted on.
    unconverged
        How many of the fits behind the choice, the last one included, did not converge.
    edges
        The hyper-parameters whose choice is on an edge of the values that were tried; None in records of before.
    epochs, best_epoch
        Epochs that ran, and the chosen one; None for heads without epochs.
    """

    fitted: int
    evaluated: int
    log_loss: float
    accuracy: float
    temperature: float
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    inner_folds: int | None = None
    held_out: int | None = None
    unconverged: int = 0
    edges: list[str] | None = None
    epochs: int | None = None
    best_epoch: int | None = None

    @property
    def trained(self) -> dict[str, int]:
        """The epochs that ran and the best one, where there are epochs."""
        values = {"best_epoch": self.best_epoch, "epochs": self.epochs}
        return {name: value for name, value in values.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def ranges(folds: Sequence[FoldFit]) -> dict[str, str]:
    """Return each hyper-parameter's values over the folds: ``10``, ``0.01 to 1``, or ``l1, l2``; epochs likewise."""
    texts: dict[str, str] = {}
    chosen = [fold.hyperparameters | fold.trained for fold in folds]
    for name in dict.fromkeys(name for values in chosen for name in values):
        values = list(dict.fromkeys(values[name] for values in chosen if name in values))
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) == len(values) > 1:
            texts[name] = f"{min(numbers):g} to {max(numbers):g}"
        else:
            texts[name] = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return texts
