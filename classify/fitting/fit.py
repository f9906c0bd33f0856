"""Fit: one head on cached embeddings; its hyper-parameters are chosen on folds of the fitted rows."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.model_selection import ParameterGrid

from ...cache.disk_vectors import StoredVectors
from ...cache.embeddings import Embeddings, chunks
from ...errors import UsageError
from ...extract.computing import computing
from ...extract.progress import Progress, silent
from ...extract.text import few
from ..arrays import Positions
from ..data.checks import require_finite
from ..data.splits import Protocol, protocol
from ..evaluation.abstention import Abstention
from ..heads.base import ClassWeight
from ..heads.preparation import PREPARATIONS
from ..heads.table import HEADS, Head, find_head
from ..records.fold_fit import FoldFit
from ..records.runs import Run, build_run, fingerprint, run_id
from ..solvers.lapack import threads
from .costs import foresee
from .search import FoldSearch, SearchResult

if TYPE_CHECKING:
    from ...extract.engines.ray_engine import RayEngine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A fitted head with the record of how good it is.

    Attributes
    ----------
    estimator
        From raw embeddings ``(n, dim)`` to probabilities, ``classes_`` are positions in ``embeddings.classes``.
    run
        The record.
    embeddings
        What it was fitted and evaluated on, in the order of keys.
    abstention
        Measured on out-of-fold predictions of the fitted images; None for a head that is not fitted in folds.
    """

    estimator: Any
    run: Run
    embeddings: Embeddings
    abstention: Abstention | None = None


class Experiment:
    """Embeddings under one protocol, prepared once for any number of heads.

    Rows are put in the order of their keys, so that names and order of files decide nothing, not even a last bit. They
    are scaled to unit length, or all of them by one number. Grid heads share an
    :class:`fc7.classify.solvers.eigenbasis.Eigenbasis` of them. Neither depends on labels.

    Parameters
    ----------
    embeddings, average_views, class_weight, preparation, on, cross_validate, folds, random_state, allow_leakage
        See :func:`fit`.
    n_jobs, engine
        See :func:`fit`.

    Attributes
    ----------
    embeddings
        In the order of keys.
    class_weight
        By class name, as asked for; `weights` has them by position in ``embeddings.classes``.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        average_views: bool = False,
        class_weight: ClassWeight = None,
        preparation: str = "unit",
        n_jobs: int | None = None,
        engine: "RayEngine | None" = None,
        **options: Any,
    ) -> None:
        if preparation not in PREPARATIONS:
            raise UsageError(f"preparation {preparation!r} is not one of {', '.join(PREPARATIONS)}.")
        self.embeddings = embeddings.in_key_order()
        if preparation != "unit" and self.streamed:
            raise UsageError(f"--preparation {preparation} measures all rows first: they must fit into --max-ram.")
        self.preparation = preparation
        self.n_jobs, self.engine = n_jobs, engine
        self.average_views = average_views
        self.class_weight = class_weight
        self.weights = _by_position(class_weight, embeddings.classes)
        self.protocol: Protocol = protocol(self.embeddings, **options)
        self.fingerprint = fingerprint(self.embeddings)
        require_finite(self.embeddings, np.unique(np.concatenate([*self.protocol.pairs[0], self.protocol.rows])))

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it must not start processes itself."""
        return vars(self) | {"engine": None}

    def prepare(self) -> None:
        """Compute what grid heads share, before the experiment is sent to several processes."""
        for search in self._searches:
            search.prepared.basis.prepare()

    @property
    def streamed(self) -> bool:
        """Whether the rows stay on disk."""
        return isinstance(self.embeddings.vectors, StoredVectors)

    @property
    def evaluated_paths(self) -> list[str]:
        """The path of each evaluated image."""
        return [str(path) for path in self.embeddings.paths[self.protocol.rows]]

    def identify(self, head: Head, epochs: int | None = None) -> str:
        """Return the id that this head's run will have."""
        grid = head.fixed(epochs, None).grid
        return run_id(
            {
                "data": self.fingerprint,
                "recipe": self.embeddings.recipe.id,
                "views": [len(self.embeddings.views), self.average_views],
                "preparation": self.preparation,
                "head": head.identity,
                "grid": grid,
                "class_weight": self.class_weight,
                "evaluated": self.protocol.evaluated,
                "leaked": self.protocol.leaked,
                "device": "cpu",
                "folds": self.protocol.folds,
                "random_state": self.protocol.random_state,
            }
        )

    def require(self, head: Head, epochs: int | None = None) -> None:
        """Refuse what can be known before anything is fitted.

        Raises
        ------
        UsageError
            No epochs, or the head needs rows in memory that stay on disk.
        """
        if epochs is not None and epochs < 1:
            raise UsageError(f"--epochs {epochs}: one or more are needed.")
        if self.streamed and not head.streams:
            able = ", ".join(other.name for other in HEADS.values() if other.streams)
            raise UsageError(
                f"The head {head.name} needs all rows in memory, and these are more than --max-ram allows. Raise it, "
                f"or take one that streams: {able}."
            )

    @computing()
    def fit(
        self,
        head: Head,
        *,
        epochs: int | None = None,
        progress: Progress = silent,
        on_epoch: Callable[[str], None] | None = None,
    ) -> Fitted:
        """Choose hyper-parameters, fit, predict the evaluated rows, and record it all."""
        self.require(head, epochs)
        foresee(head, self.embeddings, self.protocol)
        if head.layer:  # the backbone's own stack: trained like a network, not searched like an estimator
            return self._fit_stack(head, epochs, progress, on_epoch)
        identity = self.identify(head, epochs)
        head = head.fixed(epochs, self.weights)
        started = time.perf_counter()
        searches = self._searches
        points = len(ParameterGrid(head.grid))
        steps = [points * len(search.folds) + 1 for search in searches]  # one more for the fit of the chosen point
        y, rows = self.embeddings.y, self.protocol.rows
        probability = np.full((len(y), len(self.embeddings.classes)), np.nan)
        seconds_predict = 0.0
        fits: list[FoldFit] = []
        curves: list[dict[str, float]] = []
        progress(f"fit {head.name}", 0, sum(steps))
        for number, search in enumerate(searches):

            def count_done(done: int, before: int = sum(steps[:number])) -> None:
                progress(f"fit {head.name}", before + done, sum(steps))

            with threads(len(y)):
                chosen = search.search(head, self.protocol.random_state, count_done, self.n_jobs)
                estimator, converged = search.finish(head, chosen, self.protocol.random_state, on_epoch)
            count_done(steps[number])
            fits.append(_fold_fit(search, chosen, converged=converged))
            if search.predicted is not None:
                start = time.perf_counter()
                probability[search.predicted] = self._predict(estimator, search.predicted)
                seconds_predict += time.perf_counter() - start
                fold = {"fold": number + 1} if len(searches) > 1 else {}
                curves += [fold | epoch for epoch in getattr(estimator["head"].estimator, "curves_", [])]
        seconds = {"fit": time.perf_counter() - started - seconds_predict, "predict": seconds_predict}
        folds = [fit for fit in fits if fit.evaluated]
        notes = [*_convergence(fits, folds), *_against_baseline(search, fits[-1], head)]
        notes += ["fitted without class weights: it has none"] if self.weights and not head.class_weight else []
        run = self._record(
            head, fits[-1], probability[rows], id=identity, folds=folds, curves=curves, seconds=seconds, notes=notes
        )
        abstention = Abstention.of(
            self.embeddings, search.fitted, search.folds, chosen.probability, random_state=self.protocol.random_state
        )
        return Fitted(estimator, run, self.embeddings, abstention)

    def _fit_stack(
        self, head: Head, epochs: int | None, progress: Progress, on_epoch: Callable[[str], None] | None
    ) -> Fitted:
        from ..finetuning.stack import fit_stack
        from ..finetuning.training_loop import Training

        training = Training(random_state=self.protocol.random_state)
        training = replace(training, epochs=epochs) if epochs else training
        pipeline, run, abstention = fit_stack(
            self.embeddings,
            self.protocol,
            self.identify(head, epochs),
            training=training,
            average_views=self.average_views,
            class_weight=self.weights,
            progress=progress,
            on_epoch=on_epoch,
        )
        if self.preparation != "unit":
            note = f"fitted without --preparation {self.preparation}: it takes rows as they are"
            run = replace(run, notes=[*run.notes, note])
        return Fitted(pipeline, run, self.embeddings, abstention)

    def _predict(self, estimator: Any, rows: Positions) -> npt.NDArray[np.float64]:
        views = (self.embeddings.vectors, *(self.embeddings.views if self.average_views else ()))
        batches = [[estimator.predict_proba(view[chunk]) for view in views] for chunk in chunks(views[0], rows)]
        return np.concatenate([np.mean(batch, axis=0) for batch in batches])

    @cached_property
    def _searches(self) -> list[FoldSearch]:
        """The searches to make in turn; after cross-validation the last one fits the final estimator on all images."""
        pairs: list[tuple[Positions, Positions | None]] = list(self.protocol.pairs)
        if len(pairs) > 1:
            pairs.append((np.arange(len(self.embeddings)), None))
        options: dict[str, Any] = {"preparation": self.preparation, "engine": self.engine}
        return [FoldSearch(self.embeddings, self.protocol, *pair, **options) for pair in pairs]

    def _record(
        self,
        head: Head,
        last: FoldFit,
        probability: npt.NDArray[np.float64],
        *,
        seconds: dict[str, float],
        notes: list[str],
        **fields: Any,
    ) -> Run:
        scaled = ["rows on one scale"] if self.preparation == "scale" else []
        return build_run(
            self.embeddings,
            self.protocol,
            probability,
            fingerprint=self.fingerprint,
            packages=("numpy", "scikit-learn", "torch"),
            random=self.embeddings.random,
            head=head.name,
            trainable="",
            recipe=self.embeddings.recipe.to_dict(),
            weights_source=self.embeddings.weights_source,
            settings={
                "views": len(self.embeddings.views),
                "average_views": self.average_views,
                "class_weight": self.class_weight if head.class_weight else None,
                "preparation": self.preparation,
                "device": "cpu",
            },
            selection={
                "grid": {name: list(values) for name, values in head.grid.items()},
                "folds": last.inner_folds,
                "by": "log loss",
                "log_loss": last.log_loss,
                "accuracy": last.accuracy,
            },
            hyperparameters=last.hyperparameters,
            seconds={"extract": self.embeddings.seconds} | seconds,
            notes=scaled + notes,
            **fields,
        )


@computing()
def fit(
    embeddings: Embeddings,
    head: str | Head | BaseEstimator = "logreg",
    *,
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
    on_epoch: Callable[[str], None] | None = None,
) -> Fitted:
    """Fit one head, on all views of the fitted images.

    Parameters
    ----------
    embeddings
        From :func:`fc7.extract.extract` or :meth:`fc7.cache.Embeddings.from_h5`.
    head
        A name of :data:`fc7.classify.heads.table.HEADS`; or a :class:`fc7.classify.heads.table.Head` of your own; or
        any scikit-learn classifier, which is fitted without a grid. Bundles hold heads of the table only.
    on
        The split to evaluate on; default ``val``, else ``test``; data without splits are cross-validated.
    cross_validate
        Folds in which every image is predicted once, whatever its split.
    folds
        For hyper-parameters, inside the fitted rows; default 5, fewer for small classes.
    epochs
        For heads that have them.
    average_views
        Average the probabilities of an evaluated image over its views; by default its centre crop decides.
    class_weight
        ``balanced``, or weights by class name, for heads that have them: see :class:`fc7.classify.heads.table.Head`.
        Balanced weights are those of the rows fitted on, inside each fold. Hyper-parameters are still chosen by the log
        loss in which every image counts once.
    preparation
        ``unit``: each row is scaled to unit length, usually the more accurate choice. ``scale``: all rows are divided
        by one number, which an exported linear layer can absorb; see :func:`fc7.classify.export`.
    random_state
        Of folds and heads.
    allow_leakage
        Go on although an image is on both sides of the split.
    n_jobs
        Processes that fit grid points and folds of heads that are no grid heads; see
        :func:`fc7.classify.fitting.parallel.run`.
    engine
        :class:`fc7.extract.RayEngine`: where those processes run, and where rows that stay on disk are summed.
        Default this machine.
    progress
        Called with fits done and fits to do.
    on_epoch
        Called with a line per epoch of the final fit, for heads that have epochs.

    Raises
    ------
    UsageError
        No such head or preparation, the head has no class weights, or they make no sense.
    DataError, LeakageError
        See :func:`fc7.classify.data.splits.protocol`.
    """
    selected = find_head(head, weighted=class_weight is not None)
    experiment = Experiment(
        embeddings,
        average_views=average_views,
        class_weight=class_weight,
        preparation=preparation,
        on=on,
        cross_validate=cross_validate,
        folds=folds,
        random_state=random_state,
        allow_leakage=allow_leakage,
        n_jobs=n_jobs,
        engine=engine,
    )
    return experiment.fit(selected, epochs=epochs, progress=progress, on_epoch=on_epoch)


def _fold_fit(search: FoldSearch, chosen: SearchResult, *, converged: bool) -> FoldFit:
    """Return what one fit of the protocol chose."""
    return FoldFit(
        fitted=len(search.fitted),
        evaluated=0 if search.predicted is None else len(search.predicted),
        log_loss=chosen.log_loss,
        accuracy=chosen.accuracy,
        temperature=chosen.temperature,
        hyperparameters=chosen.hyperparameters,
        inner_folds=len(search.folds),
        unconverged=chosen.unconverged + (not converged),
    )


def _convergence(fits: Sequence[FoldFit], folds: Sequence[FoldFit]) -> list[str]:
    """Return a note on the fits with the chosen hyper-parameters that did not converge, where there are any."""
    number = sum(fit.unconverged for fit in fits)
    where = f", in {sum(fold.unconverged > 0 for fold in folds)} of {len(folds)} folds" if len(folds) > 1 else ""
    of = sum((fit.inner_folds or 0) + 1 for fit in fits)
    return [f"did not converge: {number} of {of} fits{where}"] if number else []


def _against_baseline(search: FoldSearch, last: FoldFit, head: Head) -> list[str]:
    """Return a note on a head that does worse than the shares of the classes, out-of-fold in the fitted images."""
    share, right = np.empty(len(search.y)), np.empty(len(search.y), bool)
    for fold in search.folds:
        shares = np.bincount(search.y_views[fold.fitted]) / len(fold.fitted)
        share[fold.held] = shares[search.y[fold.held]]
        right[fold.held] = search.y[fold.held] == shares.argmax()
    log_loss, accuracy = -float(np.log(share).mean()), float(right.mean())
    worse = [f"log loss {last.log_loss:.3g}, not {log_loss:.3g}"] if last.log_loss > 1.01 * log_loss else []
    worse += [f"accuracy {last.accuracy:.3f}, not {accuracy:.3f}"] if last.accuracy < accuracy else []
    if not worse or head.name == "baseline":
        return []
    return [f"worse than the baseline inside the fitted images: {'; '.join(worse)}"]


def _by_position(class_weight: ClassWeight, classes: Sequence[str]) -> ClassWeight:
    """Return class weights by the position of the class instead of its name."""
    if class_weight is None or class_weight == "balanced":
        return class_weight
    if isinstance(class_weight, str):
        raise UsageError(f"class_weight={class_weight!r}: balanced, or a dict of weights by class name.")
    unknown = class_weight.keys() - set(classes)
    if unknown:
        name = few([repr(min(unknown, key=str))])
        raise UsageError(f"class_weight names {name}, which is none of the classes {few(classes)}.")
    wrong = {name: weight for name, weight in class_weight.items() if not 0 < weight < np.inf}
    if wrong:
        texts = [f"{name!r} {weight}" for name, weight in wrong.items()]
        raise UsageError(f"class_weight of {few(texts)}: must be more than 0, and finite.")
    return {classes.index(name): float(weight) for name, weight in class_weight.items()}
