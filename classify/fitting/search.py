"""Search: rows are prepared once, hyper-parameters are chosen on folds of them, and heads are fitted."""

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline

from ...cache.disk_vectors import StoredVectors
from ...cache.embeddings import Embeddings
from ...errors import DataError, FC7Error
from ..arrays import Positions
from ..data.splits import Fold, Protocol, cut
from ..heads.base import CountDone, OutOfFold
from ..heads.calibration import Calibrated, find_temperature, scores
from ..heads.preparation import PREPARATIONS
from ..heads.table import Head
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.row_stream import Stream
from .parallel import run
from .ray_sums import ray_map

if TYPE_CHECKING:
    from ...extract.engines.ray_engine import RayEngine


@dataclass(frozen=True)
class SearchResult:
    """Hyper-parameters chosen by log loss over out-of-fold predictions of the fitted rows.

    Attributes
    ----------
    unconverged
        In how many folds the chosen point did not converge.
    scores
        The out-of-fold predictions, ``(fitted rows, classes)``, before they are divided by the temperature.
    """

    hyperparameters: dict[str, Any]
    temperature: float
    log_loss: float
    accuracy: float
    unconverged: int
    scores: npt.NDArray[np.float64]

    @property
    def probability(self) -> npt.NDArray[np.float64]:
        """Out-of-fold probabilities of the fitted rows, ``(fitted rows, classes)``."""
        return np.asarray(softmax(self.scores / self.temperature, axis=1))


class PreparedRows:
    """Rows to fit on, prepared once for every head.

    Parameters
    ----------
    inputs
        ``(n, d)`` embeddings as extracted; or a stream, whose rows have unit length.
    preparation
        One of :data:`fc7.classify.heads.preparation.PREPARATIONS`.
    """

    def __init__(self, inputs: npt.NDArray[np.float32] | Stream, preparation: str) -> None:
        streamed = isinstance(inputs, Stream)
        self.preparation = PREPARATIONS[preparation]()
        self.preparation.fit(np.zeros((1, inputs.shape[1]), np.float32) if streamed else inputs)
        self._rows = inputs if streamed else self.preparation.transform(inputs)

    @property
    def rows(self) -> npt.NDArray[np.float32]:
        """All rows, in memory."""
        return self.basis.inputs

    @cached_property
    def basis(self) -> Eigenbasis:
        """The decomposition that grid heads share."""
        return Eigenbasis(self._rows)

    def fit(self, head: Head, estimator: Any, y: Positions, **options: Any) -> tuple[Any, bool]:
        """Fit on all rows; return the estimator, and whether it converged."""
        if head.answers_grid:
            return _quietly(lambda: estimator.fit_prepared(self.basis, y, **options), estimator, len(y))
        return _quietly(lambda: estimator.fit(self.rows, y, **options), estimator, len(y))


class FoldSearch:
    """The search for hyper-parameters of heads on folds of the fitted images, and their fits on all of these images.

    Prepared rows are ordered by view: the first ``len(fitted)`` are the centre crops.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        protocol: Protocol,
        fitted: Positions,
        predicted: Positions | None,
        preparation: str = "unit",
        engine: "RayEngine | None" = None,
    ) -> None:
        self.embeddings, self.fitted, self.predicted, self.engine = embeddings, fitted, predicted, engine
        self.preparation = preparation
        self.y = embeddings.y[fitted]
        self.y_views = np.tile(self.y, 1 + len(embeddings.views))
        self.folds = [
            Fold(self._every_view(np.searchsorted(fitted, inner)), np.searchsorted(fitted, held))
            for inner, held in cut(embeddings, fitted, protocol.folds, protocol.random_state)
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it must not start processes itself."""
        return vars(self) | {"engine": None}

    @cached_property
    def prepared(self) -> PreparedRows:
        """The prepared rows of all views."""
        tables = (self.embeddings.vectors, *self.embeddings.views)
        stored = [table for table in tables if isinstance(table, StoredVectors)]
        if stored:
            map_parts = ray_map(self.engine) if self.engine else None
            return PreparedRows(Stream(stored, self.fitted, map_parts), self.preparation)
        return PreparedRows(self.embeddings.all_views(self.fitted).astype(np.float32), self.preparation)

    def search(self, head: Head, seed: int, count_done: CountDone, n_jobs: int | None = None) -> SearchResult:
        """Return the grid point with the least log loss of out-of-fold predictions of centre crops; ties to the first.

        Class weights affect how heads are fitted, not which point is chosen: every image counts once in the log loss.
        """
        rows = min(len(fold.fitted) for fold in self.folds)
        points = [point for point in ParameterGrid(head.grid) if head.possible(point, rows)]
        if not points:
            raise ValueError(f"the grid of {head.name} is empty")
        if head.answers_grid:
            grid_head = build(head, seed, {})
            results, _ = _quietly(
                lambda: grid_head.out_of_fold(self.prepared.basis, self.y_views, self.folds, points, count_done),
                grid_head,
                rows,
            )
        else:
            results = self._one_by_one(head, seed, points, count_done, n_jobs=n_jobs)
        best: SearchResult | None = None
        for point, margins, unconverged in zip(points, results.scores, results.unconverged, strict=True):
            temperature, log_loss = find_temperature(margins, self.y)
            if np.isfinite(log_loss) and (best is None or log_loss < best.log_loss):
                accuracy = float((margins.argmax(axis=1) == self.y).mean())
                best = SearchResult(_plain(point), temperature, log_loss, accuracy, int(unconverged), margins)
        if best is None:
            raise DataError(f"{head.name} gave no finite score on {rows} images. Look for extreme values in them.")
        return best

    def _one_by_one(
        self, head: Head, seed: int, points: list[dict[str, Any]], count_done: CountDone, *, n_jobs: int | None
    ) -> OutOfFold:
        """Fit every point on every fold, each with an estimator of its own."""
        results = OutOfFold.empty(points, self.folds, len(self.embeddings.classes))
        pairs = list(itertools.product(range(len(points)), self.folds))
        tasks = [(build(head, seed, points[p]), self.prepared.rows, self.y_views, fold) for p, fold in pairs]
        for number, (margins, converged) in enumerate(run(_fit_fold, tasks, n_jobs, self.engine)):
            point, fold = pairs[number]
            results.scores[point, fold.held] = margins
            results.unconverged[point] += not converged
            count_done(number + 1)
        return results

    def finish(
        self, head: Head, chosen: SearchResult, seed: int, on_epoch: Callable[[str], None] | None
    ) -> tuple[Pipeline, bool]:
        """Fit the chosen point on all rows; return it with its preparation, and whether it converged."""
        estimator = build(head, seed, chosen.hyperparameters)
        options: dict[str, Any] = {"on_epoch": on_epoch} if head.epochs else {}
        preparation = self.prepared.preparation
        if head.epochs and self.predicted is not None and not self.prepared.basis.streamed:
            held = preparation.transform(self.embeddings.vectors[self.predicted].astype(np.float32))
            options["validation"] = (np.asarray(held), self.embeddings.y[self.predicted])
        estimator, converged = self.prepared.fit(head, estimator, self.y_views, **options)
        calibrated = Calibrated(estimator, chosen.temperature)
        return Pipeline([("prepare", preparation), ("head", calibrated)]), converged

    def _every_view(self, places: Positions) -> Positions:
        """Return the places of these fitted images in every view, so that all views of an image are in one fold."""
        return np.concatenate([places + number * len(self.fitted) for number in range(1 + len(self.embeddings.views))])


def build(head: Head, seed: int, point: Any) -> Any:
    """Return a head's unfitted estimator at a point of its grid."""
    return head.build(seed).set_params(**point)


def _fit_fold(unfitted: Any, rows: npt.NDArray[np.float32], y: Positions, fold: Fold) -> tuple[Any, bool]:
    """Return the scores of a fold's held rows, and whether the fit converged."""
    fit = partial(unfitted.fit, rows[fold.fitted], y[fold.fitted])
    estimator, converged = _quietly(fit, unfitted, len(fold.fitted))
    return scores(estimator, rows[fold.held]), converged


def _quietly(fit: Callable[[], Any], estimator: Any, images: int) -> tuple[Any, bool]:
    """Fit without warnings, and return whether it converged: the record says so once, not every fold."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        # BLAS sets this flag on small matrices without cause; values that are not finite fail when they are measured.
        warnings.filterwarnings("ignore", "invalid value encountered in matmul", RuntimeWarning)
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # two images a class are few
        try:
            fitted = fit()
        except (FC7Error, MemoryError):
            raise
        except Exception as error:  # an estimator of the user's may raise anything
            raise DataError(f"{estimator} cannot be fitted on {images} images: {error}") from error
    return fitted, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _plain(point: Any) -> dict[str, Any]:
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in point.items()}
