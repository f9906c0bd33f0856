"""Search: rows are prepared once, hyper-parameters are chosen on folds of them, and heads are fitted."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline

from ...cache.embeddings import Embeddings
from ...cache.store import StoredVectors
from ...errors import DataError
from ...extract.progress import spread
from ..arrays import Positions, plain_numbers
from ..data.splits import Fold, Protocol, cut
from ..heads.base import CountDone, OutOfFold
from ..heads.calibration import Calibrated, find_temperature
from ..heads.growth import GAIN, Tried, open_edges, points_beyond, take
from ..heads.preparation import OF_EACH_FOLD, PREPARATIONS
from ..heads.table import Head
from ..records.fold_fit import FoldFit
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.row_stream import Stream
from .estimators import quietly, require_answers, scores_of
from .parallel import run
from .ray_sums import ray_map
from .shared_folds import Scored, SharedFolds

if TYPE_CHECKING:
    import torch

    from ...extract.engines.ray_engine import RayEngine


KEPT = 2**28  # bytes of rows prepared for folds that are kept for the next head

Points = list[dict[str, Any]]


@dataclass(frozen=True)
class SearchResult:
    """Hyper-parameters chosen by log loss over out-of-fold predictions of the fitted rows."""

    hyperparameters: dict[str, Any]
    temperature: float
    log_loss: float
    accuracy: float
    unconverged: int  # in how many folds the chosen point did not converge
    # The out-of-fold predictions, `(fitted rows, classes)`, before they are divided by the temperature.
    scores: npt.NDArray[np.float64]
    tried: Tried = field(default_factory=dict)  # the values that were tried, by name

    @property
    def probability(self) -> npt.NDArray[np.float64]:
        """Out-of-fold probabilities of the fitted rows, ``(fitted rows, classes)``."""
        return np.asarray(softmax(self.scores / self.temperature, axis=1))


class Part(NamedTuple):
    """Folds of the fitted images that share prepared rows."""

    basis: Eigenbasis
    y: Positions
    folds: list[Fold]  # of these rows
    held: Positions  # `(held rows,)`: which of the fitted images each of the first rows is
    before: int = 0  # folds that come before these

    @classmethod
    def of(cls, search: "FoldSearch", rows: npt.NDArray[np.float32], number: int) -> "Part":
        """Prepare the rows of one fold by those that it is fitted on; the held ones come first."""
        fold, preparation = search.folds[number], clone(search.preparation)
        places, held = np.concatenate([fold.held, fold.fitted]), len(fold.held)
        prepared = preparation.fit(rows[fold.fitted]).transform(rows[places])
        alone = Fold(np.arange(held, len(places)), np.arange(held))
        return cls(Eigenbasis(prepared, search.device), search.y_views[places], [alone], fold.held, number)


class FoldSearch:
    """The search for hyper-parameters of heads on folds of the fitted images, and their fits on all of these images.

    Rows are prepared once for every head. They are ordered by view: the first ``len(fitted)`` are the centre crops.

    Parameters
    ----------
    fitted, predicted
        Rows of the embeddings; `predicted` is None where nothing is evaluated.
    preparation
        One of :data:`fc7.classify.heads.preparation.PREPARATIONS`.
    engine
        Where rows that stay on disk are summed, and where folds are fitted; None is this machine.
    device
        What computes with the rows; None is the processor.
    shared
        Folds and fits of a cross-validation that this is a search of; None cuts folds of its own.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        protocol: Protocol,
        fitted: Positions,
        predicted: Positions | None,
        preparation: str = "unit",
        engine: "RayEngine | None" = None,
        device: "torch.device | None" = None,
        shared: SharedFolds | None = None,
    ) -> None:
        self.device, self._shared = device, shared
        self.embeddings, self.fitted, self.predicted, self.engine = embeddings, fitted, predicted, engine
        self.seed, self._folds = protocol.random_state, protocol.folds
        self.preparation = PREPARATIONS[preparation]()
        self._kept: dict[int, Part] = {}
        self.y = embeddings.y[fitted]
        self.y_views = np.tile(self.y, 1 + len(embeddings.views))

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it must not start processes itself."""
        return vars(self) | {"engine": None, "_kept": {}}

    def prepare(self) -> None:
        """Compute what heads share, so that no process that they are sent to computes it again."""
        _ = self.folds
        self.basis.prepare()

    @cached_property
    def folds(self) -> list[Fold]:
        """Folds of the fitted images; all views of an image are in one."""
        shared = self._shared
        pairs = shared.folds(self.fitted) if shared else cut(self.embeddings, self.fitted, self._folds, self.seed)
        return [
            Fold(self._every_view(np.searchsorted(self.fitted, inner)), np.searchsorted(self.fitted, held))
            for inner, held in pairs
        ]

    @property
    def _least(self) -> int:
        """The rows that the fold with the fewest fits on."""
        return min(len(fold.fitted) for fold in self.folds)

    def divide(self, random_state: int) -> None:
        """Divide the same prepared rows into other folds, by another seed."""
        self.seed = random_state
        self._kept.clear()
        self.__dict__.pop("folds", None)

    @property
    def rows(self) -> npt.NDArray[np.float32]:
        """All prepared rows, in memory."""
        return self.basis.inputs

    @cached_property
    def basis(self) -> Eigenbasis:
        """The prepared rows of all views, and the decomposition of them that grid heads share."""
        tables = (self.embeddings.vectors, *self.embeddings.views)
        stored = [table for table in tables if isinstance(table, StoredVectors)]
        if stored:
            self.preparation.fit(np.zeros((1, stored[0].shape[1]), np.float32))  # a stream's rows have unit length
            return Eigenbasis(Stream(stored, self.fitted, ray_map(self.engine) if self.engine else None), self.device)
        rows = self.embeddings.all_views(self.fitted).astype(np.float32)
        return Eigenbasis(self.preparation.fit(rows).transform(rows), self.device)

    def search(self, head: Head, count_done: CountDone, n_jobs: int | None = None) -> SearchResult:
        """Return the grid point with the least log loss of out-of-fold predictions of centre crops; ties to the first.

        While the chosen point is on an edge of the grid, that goes on a step at a time. Class weights affect how heads
        are fitted, not which point is chosen: every image counts once in the log loss.
        """
        rows = self._least
        points = [point for point in ParameterGrid(head.grid) if head.possible(point, rows)]
        if not points:
            raise ValueError(f"the grid of {head.name} is empty")
        best = self._best(head, points, count_done, n_jobs)
        tried: Tried = {name: [] for name in head.grid}
        take(tried, points)
        while best and (further := points_beyond(head, best.hyperparameters, tried, rows)):
            take(tried, further)
            beyond = self._best(head, further, lambda done: None, n_jobs)
            if beyond is None or beyond.log_loss > (1 - GAIN) * best.log_loss:
                break
            best = beyond
        if best is None:
            raise DataError(f"{head.name} gave no finite score on {rows} images. Look for extreme values in them.")
        return replace(best, tried=tried)

    def _best(self, head: Head, points: Points, count_done: CountDone, n_jobs: int | None) -> SearchResult | None:
        """Return the best of some points; None where no score is finite."""
        answers = [(part.held, self._answers(head, points, part, count_done, n_jobs)) for part in self._parts()]
        results = answers[0][1]
        if len(answers) > 1:
            results = OutOfFold.empty(points, self.folds, len(self.embeddings.classes))
            for held, answer in answers:
                results.scores[:, held] = answer.scores
                results.unconverged[:] += answer.unconverged
        best: SearchResult | None = None
        for point, margins, unconverged in zip(points, results.scores, results.unconverged, strict=True):
            temperature, log_loss = find_temperature(margins, self.y)
            if np.isfinite(log_loss) and (best is None or log_loss < best.log_loss):
                accuracy = float((margins.argmax(axis=1) == self.y).mean())
                best = SearchResult(plain_numbers(point), temperature, log_loss, accuracy, int(unconverged), margins)
        return best

    def _answers(
        self, head: Head, points: Points, part: "Part", count_done: CountDone, n_jobs: int | None
    ) -> OutOfFold:
        """Score the held rows of a part under all points: at once, or each with an estimator of its own."""

        def count(done: int) -> None:
            count_done(part.before * len(points) + done)

        if head.answers_grid:
            grid_head = self._build(head, {})
            answer = partial(grid_head.out_of_fold, part.basis, part.y, part.folds, points, count)
            answers: OutOfFold = quietly(answer, grid_head, self._least, self.device)[0]
            return answers
        results = OutOfFold.empty(points, part.folds, len(self.embeddings.classes))
        pairs = list(itertools.product(range(len(points)), part.folds))
        pairs = [pairs[number] for number in spread(len(pairs))]  # what is done tells how long the rest takes
        known = [self._lent(head, points[p], fold) for p, fold in pairs]
        new = [pair for pair, scored in zip(pairs, known, strict=True) if scored is None]
        rows, more = part.basis.inputs, self._predicted_rows() if self._lends else None
        tasks = [(self._build(head, points[p]), rows, part.y, fold, more) for p, fold in new]
        fits = run(_fit_fold, tasks, n_jobs, self.engine)
        for number, ((point, fold), scored) in enumerate(zip(pairs, known, strict=True)):
            margins, converged = scored or next(fits)
            results.scores[point, fold.held] = margins[: len(fold.held)]
            results.unconverged[point] += not converged
            if scored is None and self._lends:
                self._lend(head, points[point], fold.fitted, (margins[len(fold.held) :], converged))
            count(number + 1)
        return results

    @property
    def _lends(self) -> bool:
        """Whether other searches may ask for the scores of this one's fits."""
        return self._shared is not None and self._shared.fits and self.predicted is not None

    def _lent(self, head: Head, point: dict[str, Any], fold: Fold) -> Scored | None:
        """Return the scores of a fold's held rows, and whether the fit converged, if another search has fitted it."""
        if self._shared is None:
            return None
        return self._shared.take(head, point, self._images(fold.fitted), self.fitted[fold.held])

    def _lend(self, head: Head, point: dict[str, Any], fitted: Positions, scored: Scored) -> None:
        """Keep the scores of the predicted images for the search in which they are held out."""
        if self._shared and self.predicted is not None:
            self._shared.keep(head, point, self._images(fitted), self.predicted, scored)

    def _images(self, places: Positions) -> Positions:
        """Return the images of rows, each once, whatever its views."""
        return self.fitted[places[places < len(self.fitted)]]

    def _predicted_rows(self) -> npt.NDArray[np.float32]:
        """Return the prepared rows of the predicted images."""
        rows = self.embeddings.vectors[self.predicted].astype(np.float32)
        return np.asarray(self.preparation.transform(rows))

    def _parts(self) -> "Iterator[Part]":
        """Yield all folds at once where they share prepared rows, else each fold with rows prepared for it alone."""
        if not isinstance(self.preparation, OF_EACH_FOLD):
            yield Part(self.basis, self.y_views, self.folds, np.arange(len(self.fitted)))
            return
        rows = self.embeddings.all_views(self.fitted).astype(np.float32)
        for number in range(len(self.folds)):
            part = self._kept.get(number) or Part.of(self, rows, number)
            if len(self.folds) * rows.nbytes <= KEPT:
                self._kept[number] = part
            yield part

    def finish(
        self, head: Head, chosen: SearchResult, on_epoch: Callable[[str], None] | None
    ) -> tuple[Pipeline, FoldFit]:
        """Fit the chosen point on all rows; return it with its preparation, and how it was chosen."""
        options: dict[str, Any] = {"on_epoch": on_epoch} if head.epochs else {}
        if head.epochs and self.predicted is not None and not self.basis.streamed:
            options["validation"] = (self._predicted_rows(), self.embeddings.y[self.predicted])
        estimator, converged = self.fit(head, chosen.hyperparameters, **options)
        if self._lends and not head.answers_grid:
            scored = scores_of(estimator, self._predicted_rows()), converged
            self._lend(head, chosen.hyperparameters, np.arange(len(self.fitted)), scored)
        pipeline = Pipeline([("prepare", self.preparation), ("head", Calibrated(estimator, chosen.temperature))])
        return pipeline, FoldFit(
            fitted=len(self.fitted),
            evaluated=0 if self.predicted is None else len(self.predicted),
            log_loss=chosen.log_loss,
            accuracy=chosen.accuracy,
            temperature=chosen.temperature,
            hyperparameters=chosen.hyperparameters,
            inner_folds=len(self.folds),
            unconverged=chosen.unconverged + (not converged),
            edges=open_edges(head, chosen.hyperparameters, chosen.tried, self._least),
        )

    def below_baseline(self, fit: FoldFit) -> list[str]:
        """Return a note on a fit that does worse than the shares of the classes, out-of-fold in the fitted images."""
        share, right = np.empty(len(self.y)), np.empty(len(self.y), bool)
        for fold in self.folds:
            shares = np.bincount(self.y_views[fold.fitted]) / len(fold.fitted)
            share[fold.held] = shares[self.y[fold.held]]
            right[fold.held] = self.y[fold.held] == shares.argmax()
        log_loss, accuracy = -float(np.log(share).mean()), float(right.mean())
        worse = [f"log loss {fit.log_loss:.3g}, not {log_loss:.3g}"] if fit.log_loss > 1.01 * log_loss else []
        worse += [f"accuracy {fit.accuracy:.3f}, not {accuracy:.3f}"] if fit.accuracy < accuracy else []
        return [f"worse than the baseline inside the fitted images: {'; '.join(worse)}"] if worse else []

    def fit(self, head: Head, point: dict[str, Any], **options: Any) -> tuple[Any, bool]:
        """Fit a point of a head's grid on all rows; return the estimator, and whether it converged."""
        estimator = self._build(head, point)
        if head.answers_grid:
            fit = partial(estimator.fit_prepared, self.basis)
        else:  # an estimator of the user's may write into its rows, as scikit-learn's with copy=False
            fit = partial(estimator.fit, self.rows.copy() if head.estimator else self.rows)
        fitted = quietly(partial(fit, self.y_views, **options), estimator, len(self.y_views), self.device)
        if head.estimator:
            require_answers(fitted[0], self.rows)
        return fitted

    def _build(self, head: Head, point: dict[str, Any]) -> Any:
        """Return a head's unfitted estimator at a point of its grid."""
        return head.build(self.seed).set_params(**point)

    def _every_view(self, places: Positions) -> Positions:
        """Return the places of these fitted images in every view, so that all views of an image are in one fold."""
        return np.concatenate([places + number * len(self.fitted) for number in range(1 + len(self.embeddings.views))])


def _fit_fold(
    unfitted: Any, rows: npt.NDArray[np.float32], y: Positions, fold: Fold, more: npt.NDArray[np.float32] | None
) -> Scored:
    """Return the scores of a fold's held rows, and of more rows after them, and whether the fit converged."""
    fit = partial(unfitted.fit, rows[fold.fitted], y[fold.fitted])
    estimator, converged = quietly(fit, unfitted, len(fold.fitted))
    held = rows[fold.held] if more is None else np.concatenate([rows[fold.held], more])
    return scores_of(estimator, held), converged
