"""Outcome: what came of a fit, a training or another tool, from which its record is built."""

import os
import platform
import zlib
from collections.abc import Sequence
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
    """The evaluated images, as all records of runs on them have them.

    Attributes
    ----------
    data, protocol
        See :class:`fc7.classify.records.runs.Run`; of the protocol, what the plan says.
    columns
        ``path``, ``key`` and ``label`` of each image; ``group`` where several are of one, as copies are; ``fold``,
        counted from 1, where there are several.
    """

    data: dict[str, Any]
    columns: dict[str, list[Any]]
    protocol: dict[str, Any] = field(default_factory=dict)

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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a record says besides the images and their metrics; see :class:`fc7.classify.records.runs.Run`.

    Attributes
    ----------
    probability
        ``(evaluated, classes)``; None if another tool gave none.
    predicted
        Positions of the predicted classes, ``(evaluated,)``.
    protocol
        What the plan does not say.
    """

    id: str
    head: str = ""
    trainable: str = ""
    recipe: dict[str, Any]
    weights_source: str = ""
    probability: Floats | None
    predicted: Positions
    selection: dict[str, Any] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    folds: Sequence[FoldFit] = ()
    seconds: dict[str, float]
    curves: Sequence[dict[str, float]] = ()
    notes: Sequence[str] = ()

    def run(self, evaluated: Evaluated) -> Run:
        """Return the record."""
        y = np.asarray(evaluated.columns["label"], np.intp)
        groups = np.asarray(evaluated.columns["group"], np.intp) if "group" in evaluated.columns else None
        folds = max(evaluated.columns.get("fold", [1]))
        own = bool(self.folds)  # of the predictions of another tool, neither software nor machine is known
        parts = [(part["backbone"], part.get("weights", "")) for part in self.recipe.get("parts") or [self.recipe]]
        licence = licences(parts, self.weights_source)
        run = Run(
            id=self.id,
            head=self.head,
            trainable=self.trainable,
            recipe=self.recipe,
            weights_source=self.weights_source,
            licence=licence,
            data=evaluated.data,
            selection=self.selection,
            hyperparameters=plain_numbers(self.hyperparameters),
            metrics=measure(y, self.probability, self.predicted, groups=groups, folds=folds).to_dict(),
            seconds=self.seconds,
            predictions=evaluated.columns | {"predicted": self.predicted.tolist()},
            probabilities=None if self.probability is None else Probabilities.of(self.probability, y),
            protocol=plain_numbers(evaluated.protocol | self.protocol),
            folds=[fold.to_dict() for fold in self.folds],
            curves=list(self.curves),
            notes=[*licence_notes(licence), *self.notes],
            versions=versions(*PACKAGES) if own else {},
            machine=_machine() if own else {},
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
