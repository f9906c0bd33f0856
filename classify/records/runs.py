"""Runs: the record of one fit or fine-tune, from which every number in a table or report is read."""

import hashlib
import json
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import __version__
from ...cache.arguments import checked
from ...cache.embeddings import Rows
from ...cache.files import read_regular
from ...cache.output_file import OutputFile
from ...cache.recipe import sha256_of
from ...cache.tables import counted
from ...errors import DataError
from ..evaluation.effective_size import agresti_coull
from ..evaluation.metrics import worth
from .probabilities import Probabilities
from .schema import check

logger = logging.getLogger(__name__)

# Raise it, here and in run.schema.json, when a field changes its meaning. Records of a number in OLD are shown, what
# they lack as unknown; they are never taken as finished, and never tested. All others are refused.
RECORD = 3
OLD = (1,)
OUTCOME = 2  # a part of every id; raise it when the same settings give other predictions
PROBABILITIES = ".npz"  # the suffix of their file, which is called like the record
LARGEST = 1e100  # number in a record
ELSEWHERE = "elsewhere"  # the backbone of predictions that other tools made


@dataclass(frozen=True)
class Run:
    """The record of one head or one fine-tuned network under one protocol.

    Attributes
    ----------
    id
        sha256 of everything that decides the outcome: data, recipe, head or arm, its grid, folds and seed. A run is not
        done again if there is a record with its id.
    head, trainable
        The head on cached embeddings, or what was fine-tuned from pixels (``head|classifier|all``); the other is empty.
        For predictions from elsewhere `head` is the name that the user chose.
    recipe
        The embedding's recipe as a dict, with its ``id``.
    data
        ``name``, ``fingerprint`` (sha256 over rows), ``vectors`` (CRC-32 of those in memory), ``classes``, ``n_eval``,
        ``evaluated`` (``val``, ``test`` or ``5-fold cross-validation``).
    selection
        How hyper-parameters were chosen on the fitted images: ``grid``, ``folds``, ``accuracy`` (mean over inner
        folds).
    hyperparameters
        The chosen ones, in cross-validation those of a last fit on all images; `folds` has those of each fold.
    protocol
        What was done besides the search: ``random_state``, ``leaked`` (evaluated images that are fitted
        on, too), ``class_weight``, ``preparation``, ``views``, ``average_views``, ``device``.
    folds
        One :class:`fc7.classify.records.fold_fit.FoldFit` as a dict for each fold; a single one for a split; none in
        old records and for predictions from elsewhere.
    metrics
        See :class:`fc7.classify.evaluation.metrics.Metrics`; ``log_loss`` and ``calibration_error`` are None for
        predictions without probabilities.
    seconds
        Per stage: ``extract`` (decode + forward + write, when the rows were computed in this run), ``fit`` (search
        included), ``predict``; all 0 for predictions from elsewhere.
    predictions
        Columns of equal length: ``path``, ``key`` (16 hex digits of the image's sha256, the name of its thumbnail),
        ``label`` and ``predicted`` (positions in ``classes``). Everything that is counted is counted from these two.
        Old records have no ``predicted``. ``group`` (numbers from 0) where several images are of one group or copies,
        ``fold`` (counted from 1) where there are several.
    probabilities
        Those of the predictions; None for predictions without probabilities, and in old records.
    curves
        One dict per epoch where there are epochs: ``epoch, train_loss, train_accuracy, val_loss, val_accuracy``, and
        ``fold``, counted from 1, where there are several.
    learning_curve
        Where it was measured, one dict per training size: ``per_class, accuracy, low, high, repeats``.
    repeats
        Where other splits were fitted, one dict for each: ``split, fitted, evaluated, correct, log_loss`` (inside the
        fitted images).
    few_shot
        Where it was measured, one dict for each draw of a few images of each class: ``per_class, draw, accuracy``.
    notes
        What a reader must know: random weights, no convergence, a licence that forbids commercial use.
    licence
        Of the weights, by the word of the library that publishes them; empty where it is unknown, and in old records.
    """

    id: str
    head: str
    trainable: str
    recipe: dict[str, Any]
    weights_source: str
    data: dict[str, Any]
    selection: dict[str, Any]
    hyperparameters: dict[str, Any]
    metrics: dict[str, Any]
    seconds: dict[str, float]
    predictions: dict[str, list[Any]]
    probabilities: Probabilities | None = None
    protocol: dict[str, Any] = field(default_factory=dict)
    folds: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, float]] = field(default_factory=list)
    learning_curve: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    licence: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    record: int = RECORD
    repeats: list[dict[str, Any]] = field(default_factory=list)
    few_shot: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.figures})"

    @property
    def figures(self) -> str:
        """The accuracy, with its interval and the number of images, as a reader has it."""
        (low, high), metrics = self.metrics["interval"], self.metrics
        return f"accuracy {metrics['accuracy']:.3f}, {low:.3f} to {high:.3f}, of {self.count}"

    @property
    def count(self) -> str:
        """How many images were evaluated: ``400 images``, or ``400 images in 40 groups``."""
        return counted(self.metrics["n"], "image") + self.in_groups

    @property
    def in_groups(self) -> str:
        """How many groups the evaluated images are in, as it follows their number; empty where each is its own."""
        groups = self.metrics.get("groups", self.metrics["n"])
        return f" in {counted(groups, 'group')}" if groups < self.metrics["n"] else ""

    @cached_property
    def groups(self) -> npt.NDArray[np.intp] | None:
        """The number of each image's group, ``(n,)``; None where each is its own."""
        return np.asarray(self.predictions["group"], np.intp) if "group" in self.predictions else None

    def groups_of(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp] | None:
        """Return the groups of some of the images, numbered from 0 without gaps; None where each is its own."""
        return None if self.groups is None else np.unique(self.groups[chosen], return_inverse=True)[1]

    @cached_property
    def folds_number(self) -> int:
        """In how many folds the images were evaluated; 1 for a split."""
        return int(max(self.predictions.get("fold", [1])))

    @property
    def name(self) -> str:
        """What the run is called in a table: ``vgg16 gap logreg``, ``vgg16 finetune all``, ``elsewhere NAME``."""
        network, layer = self.recipe["backbone"], self.recipe["layer"]
        words = [network, "finetune", self.trainable] if self.trainable else [network, layer, self.head]
        return " ".join(word for word in words if word)

    @property
    def elsewhere(self) -> bool:
        """Whether another tool made the predictions: nothing is known of their cost or of how they were chosen."""
        return bool(self.recipe["backbone"] == ELSEWHERE)

    @property
    def paths(self) -> dict[str, str]:
        """The paths of the predicted images, by key."""
        return dict(zip(self.predictions["key"], self.predictions["path"], strict=True))

    @property
    def old(self) -> bool:
        """Whether the record is of an earlier format, and lacks the predicted classes and what was done."""
        return self.record != RECORD

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which images were predicted correctly, ``(n,)``.

        Raises
        ------
        DataError
            The record is old.
        """
        if self.old:
            raise DataError(
                f"The record {self.id[:16]} of an earlier fc7 does not say what was predicted. Run it again."
            )
        return np.asarray(np.asarray(self.predictions["predicted"]) == np.asarray(self.predictions["label"]))

    @cached_property
    def confidence(self) -> npt.NDArray[np.float64] | None:
        """The probability of the predicted class of each image, ``(n,)``.

        None for predictions without probabilities, and, with a warning, if the file of the probabilities is missing or
        altered.
        """
        try:
            return self.probabilities.confidence.astype(np.float64) if self.probabilities else None
        except DataError as error:
            logger.warning("%s: %s Its probabilities are left out.", self.name, error)
            return None

    @cached_property
    def images(self) -> str:
        """The sha256 over keys, classes and groups of the evaluated images: runs of equal ones can be compared."""
        classes, columns = self.data["classes"], self.predictions
        lines = [f"{key} {classes[label]}" for key, label in zip(columns["key"], columns["label"], strict=True)]
        if self.groups is not None:  # a group is called by the least of its lines
            names: dict[int, str] = {}
            for line, group in sorted(zip(lines, columns["group"], strict=True)):
                names.setdefault(group, line)
            lines = [f"{line} {names[group]}" for line, group in zip(lines, columns["group"], strict=True)]
        lines.sort()
        return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()

    def summary(self) -> dict[str, Any]:
        """Return the row that ``--json`` prints."""
        return {
            "id": self.id,
            "name": self.name,
            **({"trainable": self.trainable} if self.trainable else {"head": self.head}),
            "backbone": self.recipe["backbone"],
            "layer": self.recipe["layer"],
            **{name: self.metrics[name] for name in ("accuracy", "n", "groups", "interval", "log_loss")},
            **{name: self.metrics[name] for name in ("balanced_accuracy", "macro_f1")},
            "selection_accuracy": self.selection.get("accuracy"),
            "selection_log_loss": self.selection.get("log_loss"),
            "seconds_fit": self.seconds["fit"],
            "seconds": self.seconds,
            "hyperparameters": self.hyperparameters,
            "protocol": {"evaluated": self.data["evaluated"]} | self.protocol,
            "folds": self.folds,
            "licence": self.licence,
            "notes": self.notes,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it is written: of the probabilities, the sha256 of their file."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("repeats", "few_shot"):  # so that the others are what they were
            if not values[name]:
                del values[name]
        return values | {"probabilities": {"sha256": self.probabilities.sha256} if self.probabilities else None}

    @checked
    def save(self, folder: Path | str) -> Path:
        """Write the record as JSON, whole or not at all, and return its path; its probabilities are written before.

        Parameters
        ----------
        folder
            Where the files ``ID.json`` and ``ID.npz`` go; made if absent.

        Raises
        ------
        FC7Error
            They cannot be written.
        """
        folder = Path(folder)
        text = json.dumps(self.to_dict(), allow_nan=False)
        path = folder / f"{self.id[:16]}.json"
        beside = path.with_suffix(PROBABILITIES)
        if self.probabilities and self.probabilities.source != beside:
            OutputFile(beside).write(self.probabilities.data)  # first: a record that is there promises them
        OutputFile(path).write(text.encode())
        if not self.probabilities:
            beside.unlink(missing_ok=True)  # of the record that this one has replaced
        return path

    @classmethod
    @checked
    def load(cls, path: Path | str) -> "Run":
        """Read a record; its interval is that of this version, whatever that was when the record was written.

        Raises
        ------
        DataError
            Not a run record of this version; the message names the field and what is wrong with it.
        """
        path = Path(path)
        try:
            hooks: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _bounded, "parse_int": _whole}
            values = json.loads(read_regular(path), **hooks)
            if not isinstance(values, dict):
                raise ValueError(f"a JSON {type(values).__name__} where an object was expected")
            number = values.get("record")
            if isinstance(number, int) and number not in (*OLD, RECORD):
                known = " or ".join(map(str, (*OLD, RECORD)))
                raise DataError(f"{path} is not a run record that this version reads: record {number}, not {known}.")
            check(values)
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{path} is not a run record: {reason}") from error
        beside = values.pop("probabilities", None)
        values["predictions"].pop("probability", None)  # of old records, rounded: nothing can be counted from it
        size = values["metrics"]["n"], len(values["data"]["classes"])
        file = path.with_suffix(PROBABILITIES)
        run = cls(**values, probabilities=Probabilities(beside["sha256"], file, *size) if beside else None)
        run.metrics.update(_worth(run))
        return run


def _worth(run: Run) -> dict[str, Any]:
    """Return the metrics that follow from what was predicted, but not from that alone: a method may have changed."""
    if run.old:
        return {"interval": list(agresti_coull(run.metrics["correct"], run.metrics["n"]))}
    effective, interval = worth(run.right, run.groups, run.folds_number)
    return {"effective": effective, "interval": list(interval)}


def finished_run(folder: Path, identity: str, paths: Sequence[str], vectors: str | None = None) -> Run | None:
    """Return the run of this id that a folder holds, if its record can be read, and is of these vectors if it says so.

    A head whose probabilities are missing or altered is not finished, as it is fitted again in seconds; fine-tuning is.
    Names of files are not part of the id. Where they have changed since, the record is written with the `paths` of now.
    """
    path = folder / f"{identity[:16]}.json"
    try:
        run = Run.load(path) if path.exists() else None
        if run and run.probabilities and not run.trainable:
            _ = run.probabilities.arrays
    except DataError as error:
        logger.warning("%s It is done again.", error)
        return None
    if run is None or run.id != identity or run.old or (vectors and run.data.get("vectors", vectors) != vectors):
        return None
    if run.predictions["path"] != list(paths):
        run = replace(run, predictions=run.predictions | {"path": list(paths)})
        run.save(folder)
    return run


def by_images(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs in groups that evaluated the same images, in their order; the group of the most images first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.images, []).append(run)
    return sorted(groups.values(), key=lambda members: -members[0].metrics["n"])


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _bounded(text: str) -> float:
    """Return a number; JSON has larger ones than can be added and divided."""
    number = float(text)
    if abs(number) > LARGEST:
        raise ValueError(f"{text if len(text) < 20 else f'{text[:20]}...'} is beyond the numbers of a record")
    return number


def _whole(text: str) -> int:
    _bounded(text)
    return int(text)


def run_id(decides: Mapping[str, Any]) -> str:
    """Return the sha256 of what decides a run's outcome."""
    return sha256_of(json.dumps({"record": OUTCOME, **decides}, sort_keys=True, default=str))


def fingerprint(embeddings: Rows) -> str:
    """Return the sha256 over the rows' keys, labels, splits and groups, whatever their order on disk."""
    rows = zip(embeddings.sha256, embeddings.labels, embeddings.split, embeddings.group, strict=True)
    lines = sorted(f"{key.tobytes().hex()} {label!s} {split!s} {group!s}" for key, label, split, group in rows)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Return fc7's, Python's and the packages' versions."""
    from importlib.metadata import version

    return {"fc7": __version__, "python": platform.python_version()} | {name: version(name) for name in packages}
