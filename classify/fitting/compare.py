"""Compare: many heads on one data set, or several embeddings of it, under one protocol."""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from ...cache.arguments import checked
from ...cache.tables import counted
from ...errors import DataError, FC7Error, Interrupted, UsageError
from ...extract.computing import computing
from ...extract.coordinates import require_method
from ...extract.progress import Progress, silent
from ...extract.text import few
from ...extract.vector_files.columns import as_tables
from ..heads.base import ClassWeight
from ..heads.table import Head, find_heads
from ..pages.thumbnails import FOLDER, write_thumbnails
from ..records.external import check_name, read_predictions, read_results
from ..records.failures import Failure, write_failures
from ..records.ranking import choose, ranked
from ..records.runs import Run, finished_run
from ..records.table import Runs
from ..settings import FitSettings
from . import parallel
from .drawing import draw_map
from .fit import Experiment
from .learning_curve import measure_learning_curve
from .resampling import Entry, repeat_splits, sizes_to_draw
from .resampling import few_shot as measure_few_shot

if TYPE_CHECKING:
    from ...extract.engines.ray_engine import RayEngine

logger = logging.getLogger(__name__)


class Comparison(Runs):
    """The records of a comparison, the one to choose first.

    Attributes
    ----------
    failures
        The heads that could not be fitted.
    """

    def __init__(self, runs: Iterable[Run], failures: Sequence[Failure] = ()) -> None:
        super().__init__(runs)
        self.failures = list(failures)

    @property
    def _title(self) -> str:
        failed = f", {counted(len(self.failures), 'head')} could not be fitted" if self.failures else ""
        return f"{super()._title}{failed}"


@checked
@computing()
def compare(
    embeddings: Any,
    heads: str | Sequence[str | Head | BaseEstimator] = "all",
    *,
    folder: Path | str | None = None,
    images: Path | str | None = None,
    add: Mapping[str, Path | str] | None = None,
    learning_curve: bool = True,
    repeat: int | None = None,
    few_shot: Sequence[int] | None = None,
    on: str | None = None,
    cross_validate: int | None = None,
    folds: int | None = None,
    epochs: int | None = None,
    average_views: bool = False,
    class_weight: ClassWeight = None,
    preparation: str = "unit",
    random_state: int = 0,
    allow_leakage: bool = False,
    device: str = "auto",
    map_method: str | None = "pca",
    n_jobs: int | None = None,
    engine: "RayEngine | None" = None,
    progress: Progress = silent,
) -> Comparison:
    """Fit every head on every embedding and return the records, the one to choose first.

    A head that cannot be fitted, such as lda where no class has two different images, is among the ``failures`` of what
    is returned, and the others are fitted. Runs are sorted by the log loss of out-of-fold predictions of the fitted
    rows, so the order does not depend on the evaluated split; see :func:`fc7.classify.records.ranking.choose`.
    Predictions from elsewhere come last.

    Parameters
    ----------
    embeddings
        One, or several of the same images (backbones, layers); or what else :func:`fc7.classify.fit` takes.
    heads
        Names, heads or scikit-learn classifiers as in :func:`fc7.classify.fit`; or ``all`` of the table. The baseline
        is always among them.
    folder
        Where records are written, one after each fit. A run that has a readable record there is not done again.
    images
        The folder that image paths are relative to. With `folder`, thumbnails of the evaluated images are written to
        ``folder/thumbnails``.
    add
        Predictions from elsewhere, a csv by name; see :func:`fc7.classify.records.external.read_results`.
    learning_curve
        Whether the run to choose gets its learning curve: see
        :func:`fc7.classify.fitting.learning_curve.measure_learning_curve`.
    repeat
        Random splits of the same images that every head is fitted and evaluated on besides: how stable figures and
        choice are. See :func:`fc7.classify.fitting.resampling.repeat_splits`.
    few_shot
        Numbers of images of each class that every head is fitted on besides, ten draws of each; an empty list takes 2,
        5, 10, 20, ... See :func:`fc7.classify.fitting.resampling.few_shot`.
    class_weight
        See :func:`fc7.classify.fit`. Heads that take no class weights are fitted without, and their records say so.
    map_method
        ``pca``, ``tsne`` or ``umap``: how the map of the images is drawn that `folder` gets for the report; None
        draws none.
    n_jobs
        Processes that fit heads, as in :func:`fc7.classify.fitting.parallel.run`, on the processor. Heads that stream
        from disk take turns.
    engine
        See :func:`fc7.classify.fit`.
    on, cross_validate, folds, epochs, average_views, preparation, random_state, allow_leakage, device, progress
        See :func:`fc7.classify.fit`.

    Raises
    ------
    UsageError
        No such head or preparation.
    DataError, LeakageError
        See :func:`fc7.classify.data.splits.protocol`; or the embeddings are not of the same images, or `add` not of
        theirs, or no head but the baseline could be fitted.
    Interrupted
        Ctrl-C; the records that `folder` has are kept.
    """
    if repeat is not None and repeat < 2:
        raise UsageError(f"--repeat {repeat}: an interval needs two splits or more; ten are usual.")
    settings = FitSettings(
        on=on, cross_validate=cross_validate, folds=folds, random_state=random_state, allow_leakage=allow_leakage,
        epochs=epochs, n_jobs=n_jobs, average_views=average_views, class_weight=class_weight, preparation=preparation,
        device=device if n_jobs in (None, 1) else "cpu",
    )  # fmt: skip
    require_method(map_method or "pca")
    selected = find_heads(heads)
    settings = replace(settings, n_jobs=None)  # its processes fit a head each
    experiments = [Experiment(table, settings, engine) for table in as_tables(embeddings)]
    _require_same_images(experiments)
    _require_told_apart(experiments)
    _check_added(add or {}, experiments[0])
    sizes = None if few_shot is None else sizes_to_draw(experiments[0], few_shot)
    study = _RecordFolder(Path(folder) if folder else None, progress)
    _require_layers(heads, selected, experiments)
    pairs = [(experiment, head) for experiment in experiments for head in _able(heads, selected, experiment)]
    for experiment, head in pairs:
        experiment.require(head)
    with study.kept(pairs):
        if images is not None and study.folder:  # first: a page over an interrupted comparison has pictures, too
            shown = experiments[0].evaluated.columns
            paths = dict(zip(shown["key"], shown["path"], strict=True))
            write_thumbnails(paths, images, study.folder / FOLDER, progress=progress)
        outcomes = study.run_all(pairs, n_jobs, engine)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        if study.folder:
            write_failures(study.folder, failures)
        pair_of = {outcome.id: pair for outcome, pair in zip(outcomes, pairs, strict=True)}
        fitted = [outcome for outcome in outcomes if isinstance(outcome, Run)]
        _require_some(fitted, failures)
        runs = ranked(fitted)
        if learning_curve:
            chosen = choose(runs)
            runs = _with_curve(runs, chosen, *pair_of[chosen.id], study)
        entries = [Entry(*pair, run) for pair, run in zip(pairs, outcomes, strict=True) if isinstance(run, Run)]
        latest = {run.id: run for run in runs}
        entries = [replace(entry, run=latest[entry.run.id]) for entry in entries]
        if study.folder and map_method:
            best = choose([entry.run for entry in entries])
            draw_map(study.folder, best, pair_of[best.id][0], images, map_method, progress)
        if repeat is not None:
            repeat_splits(entries, repeat, study.save, progress)
        if sizes is not None:
            measure_few_shot(entries, sizes, study.save, progress)
        runs = ranked([entry.run for entry in entries])
        added = [study.save(read_results(path, name, runs[0])) for name, path in (add or {}).items()]
    return Comparison(runs + ranked(added), failures)


class _RecordFolder:
    """The folder of records: a run is looked up there before it is fitted, and saved there afterwards."""

    def __init__(self, folder: Path | None, progress: Progress) -> None:
        self.folder, self.progress = folder, progress

    def run_all(
        self, pairs: Sequence[tuple[Experiment, Head]], n_jobs: int | None, engine: "RayEngine | None" = None
    ) -> "list[Run | Failure]":
        """Return a record per head, or why there is none; fit the heads that have no readable record."""
        if n_jobs in (None, 1) or any(experiment.streamed for experiment, _ in pairs):
            return [self._recorded(*pair) or self._saved(self._fit(*pair, self.progress)) for pair in pairs]
        recorded = [self._recorded(*pair) for pair in pairs]
        todo = [pair for pair, run in zip(pairs, recorded, strict=True) if run is None]
        for experiment in dict.fromkeys(experiment for experiment, _ in todo):
            experiment.prepare()  # once, not in each process
        fresh = []
        for outcome in parallel.run(self._fit, [(*pair, silent) for pair in todo], n_jobs, engine):
            fresh.append(self._saved(outcome))
            self.progress("fit heads", len(fresh), len(todo))
        remaining = iter(fresh)
        return [run or next(remaining) for run in recorded]

    @contextlib.contextmanager
    def kept(self, pairs: Sequence[tuple[Experiment, Head]]) -> Iterator[None]:
        """Say at Ctrl-C how many records there are."""
        try:
            yield
        except KeyboardInterrupt as error:
            if self.folder is None:
                raise
            names = [f"{experiment.identify(head)[:16]}.json" for experiment, head in pairs]
            done = sum((self.folder / name).exists() for name in names)
            kept = f"{self.folder} keeps {done} of {counted(len(pairs), 'run')}"
            raise Interrupted(f"Interrupted: {kept}. The same command goes on from there.") from error

    def _fit(self, experiment: Experiment, head: Head, progress: Progress) -> "Run | Failure":
        try:
            return experiment.fit(head, progress=progress).run
        except Interrupted:
            raise
        except (FC7Error, MemoryError) as error:
            recipe, identity = experiment.embeddings.recipe, experiment.identify(head)
            progress(f"fit {head.name}", 1, 1)
            reason = str(error) if isinstance(error, FC7Error) else "There is not enough memory for it."
            return Failure(identity, recipe.backbone, recipe.layer, head.name, reason)

    def _saved(self, outcome: "Run | Failure") -> "Run | Failure":
        return outcome if isinstance(outcome, Failure) else self.save(outcome)

    def save(self, run: Run) -> Run:
        """Write a record, where there is a folder for it."""
        if self.folder:
            run.save(self.folder)
        return run

    def _recorded(self, experiment: Experiment, head: Head) -> Run | None:
        if self.folder is None:
            return None
        evaluated = experiment.evaluated
        return finished_run(self.folder, experiment.identify(head), evaluated.paths, evaluated.data.get("vectors"))


def _require_some(fitted: Sequence[Run], failures: Sequence[Failure]) -> None:
    """Refuse to compare the baseline with nothing."""
    if failures and all(run.head == "baseline" for run in fitted):
        raise DataError(f"No head could be fitted. {failures[0].name}: {failures[0].reason}")


def _require_layers(asked: str | Sequence[Any], selected: Sequence[Head], experiments: Sequence[Experiment]) -> None:
    """Refuse a head that was asked for by name if none of the embeddings has its layer."""
    for head in selected:
        if asked != "all" and not any(_takes(head, experiment) for experiment in experiments):
            layers = [experiment.embeddings.recipe.layer for experiment in experiments]
            raise UsageError(f"The head {head.name} takes --layer {head.layer}, the embeddings are of {few(layers)}.")


def _able(asked: str | Sequence[Any], selected: Sequence[Head], experiment: Experiment) -> list[Head]:
    """Return the heads that these embeddings can be fitted with; of ``all``, those that stream if the rows do."""
    able = [head for head in selected if _takes(head, experiment)]
    if experiment.streamed and asked == "all":
        left_out = [head.name for head in able if not head.streams]
        logger.warning("left out, as they need all rows in memory and less is allowed: %s", ", ".join(left_out))
        return [head for head in able if head.streams]
    return able


def _takes(head: Head, experiment: Experiment) -> bool:
    """Return whether a head takes any layer, or the layer of these embeddings."""
    return not head.layer or head.layer == experiment.embeddings.recipe.layer


def _with_curve(runs: list[Run], chosen: Run, experiment: Experiment, head: Head, study: _RecordFolder) -> list[Run]:
    """Return the runs; the chosen one has its learning curve, where one can be measured in seconds."""
    if chosen.learning_curve or head.estimator:
        return runs
    folds = len(experiment.protocol.pairs) > 1
    if head.epochs or folds:
        why = "it was cross-validated" if folds else "it has epochs and would take minutes"
        logger.debug("no learning curve of %s: %s", chosen.name, why)
        return runs
    curve = measure_learning_curve(experiment, head, chosen, progress=study.progress)
    with_curve = study.save(replace(chosen, learning_curve=curve)) if curve else chosen
    return [with_curve if run is chosen else run for run in runs]


def _require_same_images(experiments: Sequence[Experiment]) -> None:
    if len({experiment.evaluated.fingerprint for experiment in experiments}) > 1:
        tables = [experiment.embeddings for experiment in experiments]
        sizes = few([f"{table.recipe.backbone} {table.recipe.layer} {len(table)}" for table in tables])
        raise DataError(f"The embeddings are not of the same images: {sizes}. Extract them from the same data.")


def _require_told_apart(experiments: Sequence[Experiment]) -> None:
    """Refuse other vectors of one recipe: their runs would have one id."""
    first: dict[str, Experiment] = {}
    for experiment in experiments:
        recipe, evaluated = experiment.embeddings.recipe, experiment.evaluated
        if first.setdefault(recipe.id, experiment).evaluated.data.get("vectors") != evaluated.data.get("vectors"):
            raise UsageError(
                f"Two tables have the recipe of {recipe.backbone} {recipe.layer}, and other vectors. Give vectors that "
                "you have changed a recipe of their own: recipe=fc7.cache.recipe.ForeignRecipe(NAME, DIM, NAME)"
            )


def _check_added(add: Mapping[str, Path | str], experiment: Experiment) -> None:
    """Refuse a wrong file before anything is fitted."""
    for name, path in add.items():
        check_name(name)
        read_predictions(path, experiment.embeddings.classes, experiment.evaluated.paths)
