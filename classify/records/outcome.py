"""The evaluated images, and the record of what came of a fit, a training or another tool on them."""

import os
import platform
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ...cache.embeddings import Embeddings, Rows
from ..arrays import Floats, Positions, plain_numbers
from ..data.splits import Protocol, together
from ..evaluation.metrics import measure
from .fold_fit import FoldFit
from .licences import licence_notes, licences
from .probabilities import Probabilities
from .ranking import is_random
from .runs import Run, fingerprint, versions
from .schema import KEY_DIGITS

PACKAGES = ("numpy", "scikit-learn", "torch", "torchvision")  # whose versions a record names


@dataclass(frozen=True)
class Evaluated:
    """The evaluated images, as all records of runs on them have them."""

    data: dict[str, Any]  # see `Run`
    # `path`, `key` and `label` of each image; `group` where several are of one, as copies are; `fold`, counted from 1,
    # where there are several.
    columns: dict[str, list[Any]]
    protocol: dict[str, Any] = field(default_factory=dict)  # likewise; what the plan says

    @classmethod
    def of(cls, images: Rows, plan: Protocol) -> Self:
        """Describe the images that a protocol evaluates, of all images of a data set."""
        data = {
            "name": images.name,
            "fingerprint": fingerprint(images),
            "classes": list(images.classes),
            "evaluated": plan.evaluated,
            "n_eval": len(plan.rows),
        }
        if isinstance(images, Embeddings) and isinstance(images.vectors, np.ndarray):
            data["vectors"] = _checksum([images.vectors, *images.views])
        columns = {
            "path": images.paths[plan.rows].tolist(),
            "key": [key.tobytes().hex()[:KEY_DIGITS] for key in images.sha256[plan.rows]],
            "label": images.y[plan.rows].tolist(),
        }
        groups = np.unique(together(images, plan.rows), return_inverse=True)[1]
        if groups.max() + 1 < len(groups):
            columns["group"] = groups.tolist()
        if len(plan.pairs) > 1:
            fold = np.empty(len(images), np.intp)
            for number, (_, predicted) in enumerate(plan.pairs, start=1):
                fold[predicted] = number
            columns["fold"] = fold[plan.rows].tolist()
        return cls(data, columns, {"random_state": plan.random_state, "leaked": plan.leaked})

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Describe the images that a run evaluated; how it was made is not told."""
        return cls(dict(run.data), {name: column for name, column in run.predictions.items() if name != "predicted"})

    @property
    def fingerprint(self) -> str:
        """The sha256 over keys, labels, splits and groups of the whole data set."""
        return str(self.data["fingerprint"])

    @property
    def paths(self) -> list[str]:
        """The path of each image."""
        return self.columns["path"]

    def run(
        self,
        *,
        probability: Floats | None,
        predicted: Positions,
        protocol: Mapping[str, Any] | None = None,
        folds: Sequence[FoldFit] = (),
        notes: Sequence[str] = (),
        **about: Any,
    ) -> Run:
        """Return the record of what came of a fit, a training or another tool on these images.

        Parameters
        ----------
        probability
            ``(evaluated, classes)``; None if another tool gave none.
        predicted
            Positions of the predicted classes, ``(evaluated,)``.
        protocol
            What the plan does not say.
        folds
            None where another tool made the predictions: then neither software nor machine is known.
        about
            What else a record has and does not follow from these, by name.
        """
        y = np.asarray(self.columns["label"], np.intp)
        groups = np.asarray(self.columns["group"], np.intp) if "group" in self.columns else None
        several = max(self.columns.get("fold", [1]))
        about = {"head": "", "trainable": "", "weights_source": "", "selection": {}, "hyperparameters": {}} | about
        recipe = about["recipe"]
        parts = [(part["backbone"], part.get("weights", "")) for part in recipe.get("parts") or [recipe]]
        licence = licences(parts, about["weights_source"])
        about["hyperparameters"] = plain_numbers(about["hyperparameters"])
        run = Run(
            **about,
            licence=licence,
            data=self.data,
            metrics=measure(y, probability, predicted, groups=groups, folds=several).to_dict(),
            predictions=self.columns | {"predicted": predicted.tolist()},
            probabilities=None if probability is None else Probabilities.of(probability, y),
            protocol=plain_numbers(self.protocol | dict(protocol or {})),
            folds=[fold.to_dict() for fold in folds],
            notes=[*licence_notes(licence), *notes],
            versions=versions(*PACKAGES) if folds else {},
            machine=_machine() if folds else {},
        )
        if is_random(run):
            run.notes.insert(0, "random weights: a lower bound, not a result")
        return run


def _checksum(tables: Sequence[Any]) -> str:
    """Return the CRC-32 of vectors: whoever changes them under their recipe leaves its id as it was."""
    checksum = 0
    for table in tables:
        checksum = zlib.crc32(np.ascontiguousarray(table).data, checksum)
    return f"{checksum:08x}"


def _machine() -> dict[str, Any]:
    """Return where it was made, without host or user name."""
    return {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count()}
