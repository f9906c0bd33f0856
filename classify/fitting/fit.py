"""Fit: one head on cached embeddings; its hyper-parameters are chosen on folds of the fitted rows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.model_selection import ParameterGrid

from ...cache.arguments import checked
from ...cache.embeddings import Embeddings, chunks
from ...cache.recipe import Recipe
from ...cache.store import StoredVectors
from ...errors import UsageError
from ...extract.computing import computing
from ...extract.progress import Progress, silent
from ...extract.vector_files.columns import as_table
from ..arrays import Floats, Positions
from ..data.checks import labelled, require_finite
from ..data.splits import Protocol, protocol
from ..evaluation.abstention import Abstention
from ..heads.base import ClassWeight
from ..heads.table import HEADS, Head, find_head
from ..records.description import UNWEIGHTED
from ..records.fold_fit import FoldFit
from ..records.outcome import Evaluated
from ..records.runs import Run, run_id
from ..settings import DEFAULTS, FitSettings, Training
from ..solvers.lapack import threads
from .costs import foresee
from .device import MANY, heads_device
from .search import FoldSearch
from .shared_folds import SharedFolds

if TYPE_CHECKING:
    import torch

    from ...extract.engines.ray_engine import RayEngine


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
    rows
        Positions of the images that it was fitted on.
    abstention
        Measured on out-of-fold predictions of the fitted images; None for a head that is not fitted in folds.
    probability
        Of the evaluated images, ``(evaluated, classes)``, of which the record keeps the most probable classes; None for
        the head ``classifier``.
    """

    estimator: Any
    run: Run
    embeddings: Embeddings
    rows: Positions
    abstention: Abstention | None = None
    probability: Floats | None = None

    def __repr__(self) -> str:
        return f"Fitted({self.run.name!r}, {self.run.figures})"


class Experiment:
    """Embeddings under one protocol, prepared once for any number of heads; those without a label are left out.

    Rows are put in the order of their keys, so that names and order of files decide nothing, not even a last bit. They
    are scaled to unit length, or all of them by one number. Grid heads share an
    :class:`fc7.classify.solvers.eigenbasis.Eigenbasis` of them. Neither depends on labels.

    Attributes
    ----------
    embeddings
        In the order of keys.
    weights
        Of the classes, by position in ``embeddings.classes``.
    evaluated
        The evaluated images, as records have them.
    """

    def __init__(
        self, embeddings: Embeddings, settings: FitSettings = DEFAULTS, engine: "RayEngine | None" = None
    ) -> None:
        self.embeddings, self.settings, self.engine = labelled(embeddings).in_key_order(), settings, engine
        if settings.preparation != "unit" and self.streamed:
            raise UsageError(
                f"--preparation {settings.preparation} measures all rows first: they must fit into --max-ram."
            )
        self.weights = settings.weights(embeddings.classes)
        self.protocol: Protocol = protocol(self.embeddings, settings)
        self.evaluated = Evaluated.of(self.embeddings, self.protocol)
        numbers = (1 + len(self.embeddings.views)) * int(np.prod(self.embeddings.vectors.shape))
        self.device = None if engine else heads_device(settings.device, numbers)
        require_finite(self.embeddings, np.unique(np.concatenate([*self.protocol.pairs[0], self.protocol.rows])))

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it must not start processes itself."""
        return vars(self) | {"engine": None}

    def prepare(self) -> None:
        """Compute what heads share, before the experiment is sent to several processes."""
        for search in self._searches:
            search.prepare()

    @property
    def streamed(self) -> bool:
        """Whether the rows stay on disk."""
        return isinstance(self.embeddings.vectors, StoredVectors)

    def device_of(self, head: Head) -> "torch.device | None":
        """Return the device that fits a head; None is the processor, as for all heads of other programs."""
        if head.layer:  # each row passes through millions of parameters
            return None if self.engine else heads_device(self.settings.device, MANY)
        return self.device if head.answers_grid else None

    def identify(self, head: Head) -> str:
        """Return the id that this head's run will have."""
        settings = self.settings
        return run_id(
            {
                "data": self.evaluated.fingerprint,
                "recipe": self.embeddings.recipe.id,
                "views": [len(self.embeddings.views), settings.average_views],
                "preparation": settings.preparation,
                "head": head.identity,
                "grid": head.fixed(settings.epochs, None).grid,
                "class_weight": settings.class_weight,
                "evaluated": self.protocol.evaluated,
                "leaked": self.protocol.leaked,
                "device": _kind(self.device_of(head)),
                "folds": self.protocol.folds,
                "random_state": self.protocol.random_state,
            }
        )

    def require(self, head: Head) -> None:
        """Refuse a head that needs rows in memory which stay on disk; raises UsageError."""
        if self.streamed and not head.streams:
            able = ", ".join(other.name for other in HEADS.values() if other.streams)
            raise UsageError(
                f"The head {head.name} needs all rows in memory, and these are more than --max-ram allows. Raise it, "
                f"or take one that streams: {able}."
            )

    @computing()
    def fit(self, head: Head, *, progress: Progress = silent, on_epoch: Callable[[str], None] | None = None) -> Fitted:
        """Choose hyper-parameters, fit, predict the evaluated rows, and record it all."""
        self.require(head)
        foresee(head, self.embeddings, self.protocol, self._shared, on_device=self.device_of(head) is not None)
        if head.layer:  # the backbone's own stack: trained like a network, not searched like an estimator
            return self._fit_stack(head, progress, on_epoch)
        identity = self.identify(head)
        head = head.fixed(self.settings.epochs, self.weights)
        started = time.perf_counter()
        searches = self._searches
        points = len(ParameterGrid(head.grid))
        steps = [points * len(search.folds) + 1 for search in searches]  # one more for the fit of the chosen point
        y, rows = self.embeddings.y, self.protocol.rows
        probability = np.full((len(y), len(self.embeddings.classes)), np.nan)
        seconds_predict = 0.0
        fits: list[FoldFit] = []
        curves: list[dict[str, float]] = []
        if self._shared:
            self._shared.clear()
        progress(f"fit {head.name}", 0, sum(steps))
        for number, search in enumerate(searches):

            def count_done(done: int, before: int = sum(steps[:number])) -> None:
                progress(f"fit {head.name}", before + done, sum(steps))

            with threads(len(y)):
                chosen = search.search(head, count_done, self.settings.n_jobs)
                estimator, fold_fit = search.finish(head, chosen, on_epoch)
            count_done(steps[number])
            fits.append(fold_fit)
            if search.predicted is not None:
                start = time.perf_counter()
                probability[search.predicted] = self.predict(estimator, search.predicted)
                seconds_predict += time.perf_counter() - start
                fold = {"fold": number + 1} if len(searches) > 1 else {}
                curves += [fold | epoch for epoch in getattr(estimator["head"].estimator, "curves_", [])]
        last, folds = fits[-1], [fit for fit in fits if fit.evaluated]
        scaled = self.settings.preparation == "scale"
        unweighted = self.weights and not head.class_weight
        evaluated = probability[rows]
        run = self.evaluated.run(
            id=identity,
            head=head.name,
            recipe=self.embeddings.recipe.to_dict(),
            weights_source=self.embeddings.weights_source,
            probability=evaluated,
            predicted=evaluated.argmax(axis=1),
            selection={
                "grid": chosen.tried,
                "folds": last.inner_folds,
                "by": "log loss",
                "log_loss": last.log_loss,
                "accuracy": last.accuracy,
            },
            hyperparameters=last.hyperparameters,
            protocol={
                "views": len(self.embeddings.views),
                "average_views": self.settings.average_views,
                "class_weight": self.settings.class_weight if head.class_weight else None,
                "preparation": self.settings.preparation,
                "device": _kind(self.device_of(head)),
            },
            folds=folds,
            seconds={
                "extract": self.embeddings.seconds,
                "fit": time.perf_counter() - started - seconds_predict,
                "predict": seconds_predict,
            },
            curves=curves,
            notes=[
                *(["rows on one scale"] if scaled else []),
                *_convergence(fits, folds),
                *(search.below_baseline(last) if head.name != "baseline" else []),
                *([UNWEIGHTED] if unweighted else []),
            ],
        )
        abstention = Abstention.of(
            self.embeddings, search.fitted, search.folds, chosen.probability, random_state=search.seed
        )
        return Fitted(estimator, run, self.embeddings, self._final_rows, abstention, evaluated)

    def _fit_stack(self, head: Head, progress: Progress, on_epoch: Callable[[str], None] | None) -> Fitted:
        from ..finetuning.stack import fit_stack
        from ..finetuning.study import TrainingStudy

        recipe = self.embeddings.recipe
        if not isinstance(recipe, Recipe) or recipe.layer != head.layer:
            raise UsageError(f"The head {head.name} takes {head.layer}, not {recipe.layer}: --layer {head.layer}")
        training = Training(random_state=self.settings.random_state)
        training = replace(training, epochs=self.settings.epochs) if self.settings.epochs else training
        study = TrainingStudy(
            self.embeddings,
            self.protocol,
            self.evaluated,
            self.settings,
            training,
            recipe,
            self.embeddings.weights_source,
            self.identify(head),
            head=head.name,
        )
        pipeline, run, abstention = fit_stack(
            self.embeddings, study, self.device_of(head), progress=progress, on_epoch=on_epoch
        )
        return Fitted(pipeline, run, self.embeddings, self._final_rows, abstention)

    @property
    def _final_rows(self) -> Positions:
        """Positions of the images that the final estimator is fitted on: after cross-validation all."""
        pairs = self.protocol.pairs
        return pairs[0][0] if len(pairs) == 1 else np.arange(len(self.embeddings))

    def predict(self, estimator: Any, rows: Positions) -> npt.NDArray[np.float64]:
        """Return probabilities of some rows, ``(rows, classes)``, by a fitted pipeline."""
        views = (self.embeddings.vectors, *(self.embeddings.views if self.settings.average_views else ()))
        batches = [[estimator.predict_proba(view[chunk]) for view in views] for chunk in chunks(views[0], rows)]
        return np.concatenate([np.mean(batch, axis=0) for batch in batches])

    @cached_property
    def _searches(self) -> list[FoldSearch]:
        """The searches to make in turn; after cross-validation the last one fits the final estimator on all images."""
        pairs: list[tuple[Positions, Positions | None]] = list(self.protocol.pairs)
        if len(pairs) > 1:
            pairs.append((np.arange(len(self.embeddings)), None))
        return [self.search_on(*pair, self._shared) for pair in pairs]

    @cached_property
    def _shared(self) -> SharedFolds | None:
        return SharedFolds.of(self.embeddings, self.protocol, self.settings)

    def search_on(
        self, fitted: Positions, predicted: Positions | None, shared: SharedFolds | None = None
    ) -> FoldSearch:
        """Return the search on some of the rows, with the settings of the experiment."""
        kind, engine, device = self.settings.preparation, self.engine, self.device
        return FoldSearch(self.embeddings, self.protocol, fitted, predicted, kind, engine, device, shared)


@checked
@computing()
def fit(
    embeddings: Any,
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
    device: str = "auto",
    n_jobs: int | None = None,
    engine: "RayEngine | None" = None,
    progress: Progress = silent,
    on_epoch: Callable[[str], None] | None = None,
) -> Fitted:
    """Fit one head, on all views of the fitted images.

    Parameters
    ----------
    embeddings
        From :func:`fc7.extract.extract` or :func:`fc7.extract.vector_files.reading.read_vectors`; or vectors that other
        programs made: ``(X, y)``, or a table, see :func:`fc7.extract.vector_files.columns.from_memory`.
    head
        A name of :data:`fc7.classify.heads.table.HEADS`; or a :class:`fc7.classify.heads.table.Head` of your own; or
        any scikit-learn classifier, which is fitted without a grid. Bundles hold heads of the table only.
    on
        The split to evaluate on; default ``val``, else ``test``; data without splits are cross-validated.
    cross_validate
        Folds in which every image is predicted once, whatever its split.
    folds
        For hyper-parameters, inside the fitted rows; default 5, fewer for small classes. In a cross-validation of 3 to
        5 folds, the other ones: see :class:`fc7.classify.fitting.shared_folds.SharedFolds`.
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
        by one number. ``standard``: every column has mean 0 and one spread in the fitted rows of each fold; see
        :class:`fc7.classify.heads.StandardRows`. An exported linear layer can absorb the last two: see
        :func:`fc7.classify.export`.
    random_state
        Of folds and heads.
    allow_leakage
        Go on although an image is on both sides of the split.
    device
        What fits grid heads, ``torch-linear`` and ``classifier``: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``, which is
        CUDA if there is any and rows are many. See :func:`fc7.classify.fitting.device.heads_device`.
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
    settings = FitSettings(
        on=on, cross_validate=cross_validate, folds=folds, random_state=random_state, allow_leakage=allow_leakage,
        epochs=epochs, n_jobs=n_jobs, average_views=average_views, class_weight=class_weight, preparation=preparation,
        device=device,
    )  # fmt: skip
    return Experiment(as_table(embeddings, "fit"), settings, engine).fit(selected, progress=progress, on_epoch=on_epoch)


def _kind(device: "torch.device | None") -> str:
    return "cpu" if device is None else device.type


def _convergence(fits: Sequence[FoldFit], folds: Sequence[FoldFit]) -> list[str]:
    """Return a note on the fits with the chosen hyper-parameters that did not converge, where there are any."""
    number = sum(fit.unconverged for fit in fits)
    where = f", in {sum(fold.unconverged > 0 for fold in folds)} of {len(folds)} folds" if len(folds) > 1 else ""
    of = sum((fit.inner_folds or 0) + 1 for fit in fits)
    return [f"did not converge: {number} of {of} fits{where}"] if number else []
