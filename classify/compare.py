"""Compare: many heads on one data set, or several embeddings of it, under one protocol."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..cache.embeddings import Embeddings
from ..errors import DataError, UsageError
from ..extract.progress import Progress, silent
from .fit import Bench
from .heads import HEADS, Head, find_heads
from .imports import check_name, read_predictions, read_results
from .runs import Run
from .thumbnails import FOLDER, write_thumbnails
from .verdict import choose, ranked

logger = logging.getLogger(__name__)


def compare(
    embeddings: Embeddings | Sequence[Embeddings],
    heads: str | Sequence[str] = "all",
    *,
    folder: Path | str | None = None,
    images: Path | str | None = None,
    add: Mapping[str, Path | str] | None = None,
    learning_curve: bool = True,
    on: str | None = None,
    folds: int | None = None,
    epochs: int | None = None,
    average_views: bool = False,
    preparation: str = "unit",
    random_state: int = 0,
    allow_leakage: bool = False,
    progress: Progress = silent,
) -> list[Run]:
    """Fit every head on every embedding and return the records, the one to choose first.

    The order is that of the log loss inside the fitted rows, so that looking at it spends nothing of the evaluated
    split; see :func:`fc7.classify.verdict.choose`. Predictions from elsewhere come last.

    Parameters
    ----------
    embeddings
        One, or several of the same images (backbones, layers).
    heads
        Names, or ``all``. The baseline is always among them.
    folder
        Where records are written as they are made; runs that are already there are not done again, unless their record
        cannot be read.
    images
        The folder that the paths of the images are relative to; with `folder`, thumbnails of the evaluated ones are
        written to ``folder/thumbnails``.
    add
        Predictions from elsewhere, a csv by name; see :func:`fc7.classify.imports.read_results`.
    learning_curve
        Whether the run to choose gets its learning curve: see :meth:`fc7.classify.fit.Bench.learning_curve`.
    on, folds, epochs, average_views, preparation, random_state, allow_leakage, progress
        See :func:`fc7.classify.fit`.

    Raises
    ------
    UsageError
        No such head or preparation.
    DataError, LeakageError
        See :func:`fc7.classify.splits.protocol`; or the embeddings are not of the same images, or `add` not of theirs.
    """
    chosen = find_heads(heads)
    tables = [embeddings] if isinstance(embeddings, Embeddings) else list(embeddings)
    benches = [
        Bench(
            table,
            average_views=average_views,
            preparation=preparation,
            on=on,
            folds=folds,
            random_state=random_state,
            allow_leakage=allow_leakage,
        )
        for table in tables
    ]
    _same_images(benches)
    _check_added(add or {}, benches[0])
    study = _Study(Path(folder) if folder else None, epochs, progress)
    _require_layers(heads, chosen, benches)
    made = [(bench, study.run(bench, head)) for bench in benches for head in chosen if _takes(head, bench)]
    runs = ranked([run for _, run in made])
    if learning_curve:
        runs = _with_curve(runs, made, study)
    added = [study.save(read_results(path, name, runs[0])) for name, path in (add or {}).items()]
    if images is not None and study.folder:
        write_thumbnails(runs[0], images, study.folder / FOLDER, progress=progress)
    return runs + ranked(added)


class _Study:
    """Runs that are looked up in a folder before they are made."""

    def __init__(self, folder: Path | None, epochs: int | None, progress: Progress) -> None:
        self.folder, self.epochs, self.progress = folder, epochs, progress

    def run(self, bench: Bench, head: Head) -> Run:
        """Return the record of a head, fitting it where there is none that can be read."""
        known = self._recorded(bench.identify(head, self.epochs))
        return known or self.save(bench.fit(head, epochs=self.epochs, progress=self.progress).run)

    def save(self, run: Run) -> Run:
        """Write a record, where there is a folder for it."""
        if self.folder:
            run.save(self.folder)
        return run

    def _recorded(self, identity: str) -> Run | None:
        path = self.folder / f"{identity[:16]}.json" if self.folder else None
        if path is None or not path.exists():
            return None
        try:
            run = Run.load(path)
        except DataError as error:
            logger.warning("%s It is done again.", error)
            return None
        return run if run.id == identity else None


def _require_layers(asked: str | Sequence[str], chosen: Sequence[Head], benches: Sequence[Bench]) -> None:
    """Refuse a head that was asked for by name and that none of the embeddings is for."""
    for head in chosen:
        if asked != "all" and not any(_takes(head, bench) for bench in benches):
            layers = [bench.embeddings.recipe.layer for bench in benches]
            raise UsageError(f"The head {head.name} takes --layer {head.layer}, the embeddings are of {layers}.")


def _takes(head: Head, bench: Bench) -> bool:
    """Return whether a head that is made for one layer has it here."""
    return not head.layer or head.layer == bench.embeddings.recipe.layer


def _with_curve(runs: list[Run], made: Sequence[tuple[Bench, Run]], study: _Study) -> list[Run]:
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
    curve = bench.learning_curve(head, chosen, progress=study.progress)
    with_curve = study.save(replace(chosen, learning_curve=curve)) if curve else chosen
    return [with_curve if run is chosen else run for run in runs]


def _same_images(benches: Sequence[Bench]) -> None:
    if len({bench.fingerprint for bench in benches}) > 1:
        tables = [bench.embeddings for bench in benches]
        sizes = {f"{table.recipe.backbone} {table.recipe.layer}": len(table) for table in tables}
        raise DataError(f"The embeddings are not of the same images: {sizes}. Extract them from the same data.")


def _check_added(add: Mapping[str, Path | str], bench: Bench) -> None:
    """Refuse a wrong file before anything is fitted."""
    paths = [str(path) for path in bench.embeddings.paths[bench.protocol.rows]]
    for name, path in add.items():
        check_name(name)
        read_predictions(path, bench.embeddings.classes, paths)
