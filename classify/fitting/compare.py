"""Compare: many heads on one data set, or several embeddings of it, under one protocol."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from ...cache.embeddings import Embeddings
from ...errors import DataError, UsageError
from ...extract.progress import Progress, silent
from ..heads.base import ClassWeight
from ..heads.table import HEADS, Head, find_heads
from ..pages.thumbnails import FOLDER, write_thumbnails
from ..records.external import check_name, read_predictions, read_results
from ..records.ranking import choose, ranked
from ..records.runs import Run
from . import parallel
from .fit import Experiment
from .learning_curve import measure_learning_curve

if TYPE_CHECKING:
    from ...extract.engines.ray_engine import RayEngine

logger = logging.getLogger(__name__)


def compare(
    embeddings: Embeddings | Sequence[Embeddings],
    heads: str | Sequence[str | Head | BaseEstimator] = "all",
    *,
    folder: Path | str | None = None,
    images: Path | str | None = None,
    add: Mapping[str, Path | str] | None = None,
    learning_curve: bool = True,
    on: str | None = None,
    cross_validate: int | None = None,
    folds: int | None = None,
    epochs: int | None = None,
    average_views: bool = False,
    class_weight: ClassWeight = None,
    preparation: str = "unit",
    random_state: int = 0,
    allow_leakage: bool = False,
    n_jobs: int | None = None,
    engine: "RayEngine | None" = None,
    progress: Progress = silent,
) -> list[Run]:
    """Fit every head on every embedding and return the records, the one to choose first.

    The order is that of the log loss inside the fitted rows, so that looking at it spends nothing of the evaluated
    split; see :func:`fc7.classify.records.ranking.choose`. Predictions from elsewhere come last.

    Parameters
    ----------
    embeddings
        One, or several of the same images (backbones, layers).
    heads
        Names, heads or scikit-learn classifiers as in :func:`fc7.classify.fit`; or ``all`` of the table. The baseline
        is always among them.
    folder
        Where records are written as they are made; runs that are already there are not done again, unless their record
        cannot be read.
    images
        The folder that the paths of the images are relative to; with `folder`, thumbnails of the evaluated ones are
        written to ``folder/thumbnails``.
    add
        Predictions from elsewhere, a csv by name; see :func:`fc7.classify.records.external.read_results`.
    learning_curve
        Whether the run to choose gets its learning curve: see
        :func:`fc7.classify.fitting.learning_curve.measure_learning_curve`.
    class_weight
        See :func:`fc7.classify.fit`. Heads that have none are fitted without, and their records say so.
    n_jobs
        Processes that fit heads, as in :func:`fc7.classify.fitting.parallel.run`. Heads that stream from disk take
        turns.
    engine
        See :func:`fc7.classify.fit`.
    on, cross_validate, folds, epochs, average_views, preparation, random_state, allow_leakage, progress
        See :func:`fc7.classify.fit`.

    Raises
    ------
    UsageError
        No such head or preparation.
    DataError, LeakageError
        See :func:`fc7.classify.data.splits.protocol`; or the embeddings are not of the same images, or `add` not of
        theirs.
    """
    chosen = find_heads(heads)
    tables = [embeddings] if isinstance(embeddings, Embeddings) else list(embeddings)
    benches = [
        Experiment(
            table,
            average_views=average_views,
            class_weight=class_weight,
            preparation=preparation,
            on=on,
            cross_validate=cross_validate,
            folds=folds,
            random_state=random_state,
            allow_leakage=allow_leakage,
            engine=engine,
        )
        for table in tables
    ]
    _same_images(benches)
    _check_added(add or {}, benches[0])
    study = _RecordFolder(Path(folder) if folder else None, epochs, progress)
    _require_layers(heads, chosen, benches)
    pairs = [(bench, head) for bench in benches for head in _able(heads, chosen, bench)]
    made = [(bench, run) for (bench, _), run in zip(pairs, study.run_all(pairs, n_jobs, engine), strict=True)]
    runs = ranked([run for _, run in made])
    if learning_curve:
        runs = _with_curve(runs, made, study)
    added = [study.save(read_results(path, name, runs[0])) for name, path in (add or {}).items()]
    if images is not None and study.folder:
        write_thumbnails(runs[0].paths, images, study.folder / FOLDER, progress=progress)
    return runs + ranked(added)


class _RecordFolder:
    """Runs that are looked up in a folder before they are made."""

    def __init__(self, folder: Path | None, epochs: int | None, progress: Progress) -> None:
        self.folder, self.epochs, self.progress = folder, epochs, progress

    def run_all(
        self, pairs: Sequence[tuple[Experiment, Head]], n_jobs: int | None, engine: "RayEngine | None" = None
    ) -> list[Run]:
        """Return the records of heads, fitting those of which there is none that can be read."""
        if n_jobs in (None, 1) or any(bench.streamed for bench, _ in pairs):
            return [self._recorded(*pair) or self.save(self._fit(*pair, self.progress)) for pair in pairs]
        found = [self._recorded(*pair) for pair in pairs]
        todo = [pair for pair, known in zip(pairs, found, strict=True) if known is None]
        for bench in dict.fromkeys(bench for bench, _ in todo):
            bench.prepare()  # once, not in each process
        fresh = []
        for run in parallel.run(self._fit, [(*pair, silent) for pair in todo], n_jobs, engine):
            fresh.append(self.save(run))
            self.progress("fit heads", len(fresh), len(todo))
        made = iter(fresh)
        return [known or next(made) for known in found]

    def _fit(self, bench: Experiment, head: Head, progress: Progress) -> Run:
        return bench.fit(head, epochs=self.epochs, progress=progress).run

    def save(self, run: Run) -> Run:
        """Write a record, where there is a folder for it."""
        if self.folder:
            run.save(self.folder)
        return run

    def _recorded(self, bench: Experiment, head: Head) -> Run | None:
        identity = bench.identify(head, self.epochs)
        path = self.folder / f"{identity[:16]}.json" if self.folder else None
        if path is None or not path.exists():
            return None
        try:
            run = Run.load(path)
        except DataError as error:
            logger.warning("%s It is done again.", error)
            return None
        return run if run.id == identity else None


def _require_layers(asked: str | Sequence[Any], chosen: Sequence[Head], benches: Sequence[Experiment]) -> None:
    """Refuse a head that was asked for by name and that none of the embeddings is for."""
    for head in chosen:
        if asked != "all" and not any(_takes(head, bench) for bench in benches):
            layers = [bench.embeddings.recipe.layer for bench in benches]
            raise UsageError(f"The head {head.name} takes --layer {head.layer}, the embeddings are of {layers}.")


def _able(asked: str | Sequence[Any], chosen: Sequence[Head], bench: Experiment) -> list[Head]:
    """Return the heads to fit here: of all heads those that stream, where the rows do."""
    able = [head for head in chosen if _takes(head, bench)]
    if bench.streamed and asked == "all":
        left = [head.name for head in able if not head.streams]
        logger.warning("left out, as they need all rows in memory and --max-ram allows less: %s", ", ".join(left))
        return [head for head in able if head.streams]
    return able


def _takes(head: Head, bench: Experiment) -> bool:
    """Return whether a head that is made for one layer has it here."""
    return not head.layer or head.layer == bench.embeddings.recipe.layer


def _with_curve(runs: list[Run], made: Sequence[tuple[Experiment, Run]], study: _RecordFolder) -> list[Run]:
    """Return the runs, the one to choose with its learning curve, where one can be measured in seconds."""
    chosen = choose(runs)
    bench = next(bench for bench, run in made if run is chosen)
    head = HEADS.get(chosen.head)
    if chosen.learning_curve:
        return runs
    folds = len(bench.protocol.pairs) > 1
    if head is None or head.epochs or folds:
        why = "it was cross-validated" if folds else "it has epochs and would take minutes"
        logger.debug("no learning curve of %s: %s", chosen.name, why)
        return runs
    curve = measure_learning_curve(bench, head, chosen, progress=study.progress)
    with_curve = study.save(replace(chosen, learning_curve=curve)) if curve else chosen
    return [with_curve if run is chosen else run for run in runs]


def _same_images(benches: Sequence[Experiment]) -> None:
    if len({bench.fingerprint for bench in benches}) > 1:
        tables = [bench.embeddings for bench in benches]
        sizes = {f"{table.recipe.backbone} {table.recipe.layer}": len(table) for table in tables}
        raise DataError(f"The embeddings are not of the same images: {sizes}. Extract them from the same data.")


def _check_added(add: Mapping[str, Path | str], bench: Experiment) -> None:
    """Refuse a wrong file before anything is fitted."""
    paths = [str(path) for path in bench.embeddings.paths[bench.protocol.rows]]
    for name, path in add.items():
        check_name(name)
        read_predictions(path, bench.embeddings.classes, paths)
