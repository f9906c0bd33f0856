"""The torch linear head: softmax regression by mini-batches, a whole grid at once, with training curves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from ..arrays import Floats, Positions
from ..solvers.eigenbasis import Eigenbasis
from .base import (
    ClassWeight,
    Folds,
    FoldScores,
    HeldScores,
    LogLinear,
    exported,
    grouped,
    positive,
    probabilities,
    validated,
)

if TYPE_CHECKING:
    from ..solvers.sgd import Descent

TOGETHER = 2**23  # coefficients that are trained together; more folds are trained in batches

Rows = npt.NDArray[np.float32]
Validation = tuple[npt.NDArray[Any], npt.NDArray[Any]] | None
OnEpoch = Callable[[str], None] | None


def epoch_line(epoch: dict[str, float], epochs: int) -> str:
    """Return ``epoch 3/12 train loss 0.2031 acc 0.926 val loss 0.2511 acc 0.902``."""
    words = [f"epoch {epoch['epoch']:.0f}/{epochs}"]
    for split in ("train", "val"):
        if f"{split}_loss" in epoch:
            words.append(f"{split} loss {epoch[f'{split}_loss']:.4f} acc {epoch[f'{split}_accuracy']:.3f}")
    return " ".join(words)


@exported
class TorchLinear(LogLinear):
    """Softmax regression by mini-batches, at a constant learning rate, with averaged coefficients.

    The average makes the number of epochs a hyper-parameter like any other: see
    :class:`fc7.classify.solvers.sgd.Descent`. In a grid the folds choose it, and all their descents run as one batch.

    Parameters
    ----------
    learning_rate
        For rows of about unit length; scale others, or take ``adamw`` with a rate near 0.03.
    epochs
        Passes over all rows; the most of them with `early_stopping`.
    optimiser
        ``sgd`` with `momentum`, or ``adamw`` (Loshchilov and Hutter 2019).
    weight_decay
        Of the coefficients; 0 by default, as few epochs regularise like a penalty.
    batch_size
        The most rows in a batch.
    class_weight
        Weight of the losses of each class: none, ``balanced``, or a dict by label, as in scikit-learn. Balanced weights
        are those of the rows fitted on.
    early_stopping
        Whether :meth:`fit` holds out ``validation_fraction`` of its rows, stratified, ends when their log loss was not
        lower by ``tol`` for ``n_iter_no_change`` epochs, and keeps the best epoch. Not in a grid, where folds choose.
    random_state
        Of the order of rows, and of those held out.

    Attributes
    ----------
    curves_
        One dict per epoch, of the averaged coefficients: ``epoch, train_loss, train_accuracy``, with early stopping
        ``held_loss, held_accuracy``, and with validation rows ``val_loss, val_accuracy``, which do not affect the fit.
        Losses are without class weights.
    n_iter_
        Epochs that were run.
    """

    def __init__(
        self,
        learning_rate: float = 1.0,
        epochs: int = 32,
        optimiser: str = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int = 32,
        class_weight: ClassWeight = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        tol: float = 1e-4,
        random_state: Any = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.optimiser = optimiser
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, validation: Validation = None, on_epoch: OnEpoch = None) -> Self:
        """Fit on ``X`` ``(n, d)`` and ``y`` ``(n,)``.

        `validation` rows and labels are scored after each epoch; `on_epoch` is called with a line about the epoch.

        Raises
        ------
        ValueError
            An invalid parameter, a single class, or rows so long that float32 overflows.
        """
        rows, labels = self._labelled(X, y)
        return self.fit_prepared(Eigenbasis(rows), labels, validation, on_epoch)

    def fit_prepared(
        self, basis: Eigenbasis, y: npt.NDArray[Any], validation: Validation = None, on_epoch: OnEpoch = None
    ) -> Self:
        """Fit on prepared rows and labels ``(n,)``; see :meth:`fit`."""
        self._fit(basis, self._codes(basis, y), validation, on_epoch)
        return self

    def partial_fit(self, X: npt.ArrayLike, y: npt.ArrayLike, classes: npt.ArrayLike | None = None) -> Self:
        """Fit on ``X`` ``(n, d)`` and ``y`` ``(n,)`` for one epoch, starting from where the last call ended.

        ``k`` calls with all rows give the result of :meth:`fit` with ``k`` epochs, to the bit.

        Parameters
        ----------
        classes
            All labels there will be; needed in the first call.

        Raises
        ------
        ValueError
            No classes in the first call, other classes later, a label that is none of them, or balanced class weights,
            which would need the rows to come.
        """
        fresh = not hasattr(self, "classes_")
        if fresh and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if self.class_weight == "balanced":
            raise ValueError("class_weight 'balanced' is not supported for partial_fit: pass the weights as a dict.")
        rows, labels = validated(self, X, y, dtype=np.float32, reset=fresh)
        check_classification_targets(labels)
        known = np.unique(np.asarray(classes)) if classes is not None else self.classes_
        if not fresh and not np.array_equal(known, self.classes_):
            raise ValueError(f"classes={known}: not those of the first call, {self.classes_}.")
        if not np.isin(labels, known).all():
            raise ValueError(f"labels {np.setdiff1d(labels, known)} are none of the classes {known}.")
        weights = compute_sample_weight(self.class_weight, labels)
        codes, everything = np.searchsorted(known, labels), np.arange(len(rows))
        descent = self._descent(
            rows, codes, len(known), groups=[everything], weights=[weights], rates=[self.learning_rate]
        )
        if not fresh:
            self._resume(descent)
        descent.epoch()
        self.classes_ = known
        self._keep(descent.coefficients()[0, 0])
        self._state = {name: value.numpy() for name, value in descent.state.items()}  # of rows in memory
        self.n_iter_ = descent.epochs
        return self

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        # All learning rates and folds are one batch, scored after each number of epochs that is asked for. SGD from
        # zero stays in the span of the rows and does not depend on a rotation: it runs in the eigenbasis where that
        # has fewer dimensions. AdamW depends on it.
        shared = [name for name in self.get_params() if name not in ("learning_rate", "epochs")]
        for points in grouped(heads, *shared):
            asked = {point: (heads[point].learning_rate, positive(epochs=heads[point].epochs)) for point in points}
            rates = len({rate for rate, _ in asked.values()})
            batch_size = max(TOGETHER // (rates * (int(y.max()) + 1) * basis.dim), 1)
            for first in range(0, len(folds), batch_size):
                yield from heads[points[0]]._descend(basis, y, folds[first : first + batch_size], asked)

    def _descend(
        self, basis: Eigenbasis, y: Positions, folds: Folds, asked: Mapping[int, tuple[float, int]]
    ) -> FoldScores:
        """Yield the scores under points by learning rate and epochs; fewest epochs first."""
        rates = list(dict.fromkeys(rate for rate, _ in asked.values()))
        rotated = self.optimiser == "sgd" and basis.wide
        epochs = self._epochs(basis, y, [fold.fitted for fold in folds], rates, rotated=rotated)
        for done in range(1, max(count for _, count in asked.values()) + 1):
            coef = next(epochs)
            for point, rate in [(point, rate) for point, (rate, count) in asked.items() if count == done]:
                for fold, fold_coef in zip(folds, coef[:, rates.index(rate)], strict=True):
                    if rotated:
                        yield HeldScores(point, fold, _margins(basis.rows32[fold.held], fold_coef))
                    else:
                        yield HeldScores(point, fold, basis.margins(fold.held, *_wide(fold_coef)))

    def _epochs(
        self, basis: Eigenbasis, y: Positions, groups: Sequence[Positions], rates: Sequence[float], *, rotated: bool
    ) -> Iterator[Rows]:
        """Yield the coefficients ``(groups, rates, classes, d + 1)`` after each epoch.

        Streamed rows lie in the order of their keys, which are hashes: a pass over them is in random order, and each
        block is shuffled anew in each epoch.
        """
        classes, labels = int(y.max()) + 1, getattr(self, "classes_", np.arange(int(y.max()) + 1))
        weights = [compute_sample_weight(self.class_weight, labels[y[group]]) for group in groups]
        rows = _whole(basis, rotated=rotated)
        if rows is not None:
            descent = self._descent(rows, y, classes, groups=groups, weights=weights, rates=rates)
            while True:
                descent.epoch()
                yield descent.coefficients()
        row_weights = np.zeros((len(groups), len(basis)))
        for row_weight, group, weight in zip(row_weights, groups, weights, strict=True):
            row_weight[group] = weight
        used, blocks_done, state = np.flatnonzero(row_weights.any(axis=0)), 0, None
        while True:
            blocks = basis.blocks(used) if basis.device is None else basis.there.blocks(used, np.float32)
            for places, block in blocks:
                members = [np.flatnonzero(row_weight[places]) for row_weight in row_weights]
                shares = [row_weight[places][member] for row_weight, member in zip(row_weights, members, strict=True)]
                descent = self._descent(block, y[places], classes, groups=members, weights=shares, rates=rates)
                if state is not None:
                    descent.resume(state, blocks_done)
                descent.epoch()
                state, blocks_done = descent.remembered(), blocks_done + 1
            yield descent.coefficients()

    def _fit(self, basis: Eigenbasis, y: Positions, validation: Validation = None, on_epoch: OnEpoch = None) -> None:
        fitted, watched = np.arange(len(y)), {"train": np.arange(len(y))}
        if self.early_stopping:
            parts = train_test_split(
                fitted, test_size=self.validation_fraction, stratify=y, random_state=self.random_state
            )
            fitted, held = map(np.sort, parts)
            watched = {"train": fitted, "held": held}
        if validation is not None:
            new_rows = validated(self, validation[0], dtype=np.float32, reset=False)
        patience = self.n_iter_no_change if self.early_stopping else np.inf
        self.curves_: list[dict[str, float]] = []
        epochs = self._epochs(basis, y, [fitted], [self.learning_rate], rotated=False)
        least, waited = np.inf, 0
        while len(self.curves_) < positive(epochs=self.epochs) and waited < patience:
            coef = next(epochs)[0, 0]
            epoch = {"epoch": float(len(self.curves_) + 1)}
            for name, rows in watched.items():
                epoch |= _measure(name, basis.margins(rows, *_wide(coef)), y[rows])
            if validation is not None:
                epoch |= _measure("val", _margins(new_rows, coef), np.searchsorted(self.classes_, validation[1]))
            self.curves_.append(epoch)
            if on_epoch:
                on_epoch(epoch_line(epoch, self.epochs))
            loss = epoch.get("held_loss", -epoch["epoch"])  # with none held out the last epoch is the best
            waited = 0 if loss < least - self.tol else waited + 1
            if not loss >= least:
                least, best_coef = loss, coef
        self._keep(best_coef)
        self.n_iter_ = len(self.curves_)
        self._state = {}

    def _descent(self, rows: Rows, y: Positions, classes: int, *, groups: Sequence[Positions],
                 weights: Sequence[Floats], rates: Sequence[float]) -> "Descent":  # fmt: skip
        from ..solvers.sgd import Descent, Rule

        for rate in rates:
            positive(learning_rate=rate)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rule = Rule(optimiser=self.optimiser, momentum=self.momentum, weight_decay=self.weight_decay,
                    batch_size=self.batch_size, seed=seed)  # fmt: skip
        return Descent(rows, y, classes=classes, groups=groups, weights=weights, rates=rates, rule=rule)

    def _resume(self, descent: "Descent") -> None:
        """Resume from the stored state, or from the coefficients alone."""
        import torch

        descent.epochs = self.n_iter_
        state = getattr(self, "_state", {})
        if state.keys() != descent.state.keys():  # after fit, or with another optimiser
            coef = np.column_stack([self.coef_, self.intercept_])
            coef = np.vstack([-coef / 2, coef / 2]) if len(coef) == 1 else coef
            state = dict.fromkeys(("coefficients", "average"), coef[None].astype(np.float32))
        descent.state |= {name: torch.from_numpy(value.copy()) for name, value in state.items()}

    def _keep(self, coef: Rows) -> None:
        if not np.isfinite(coef).all():
            raise ValueError(f"learning_rate={self.learning_rate}: the coefficients overflow. Scale the rows.")
        coef = coef[1:] - coef[:1] if len(coef) == 2 else coef
        self.coef_, self.intercept_ = coef[:, :-1].astype(np.float64), coef[:, -1].astype(np.float64)


def _whole(basis: Eigenbasis, *, rotated: bool) -> Any:
    """Return all rows in float32, on the device of the basis; None where they are in blocks."""
    if rotated:
        return basis.arrays.asarray(basis.rows32)
    if basis.device is not None:
        return None if basis.there.whole is None else basis.arrays.asarray(basis.there.whole, np.float32)
    return None if basis.streamed else basis.inputs.astype(np.float32, copy=False)


def _wide(coef: Rows) -> tuple[Floats, Floats]:
    """Return coefficients ``(d, classes)`` and intercepts in float64."""
    return coef[:, :-1].T.astype(np.float64), coef[:, -1].astype(np.float64)


def _margins(rows: Rows, coef: Rows) -> Floats:
    return np.asarray(rows.astype(np.float64) @ coef[:, :-1].T + coef[:, -1])


def _measure(name: str, margins: Floats, y: Positions) -> dict[str, float]:
    truth = probabilities(margins)[np.arange(len(y)), y]
    return {
        f"{name}_loss": float(-np.log(np.maximum(truth, 1e-7)).mean()),
        f"{name}_accuracy": float((margins.argmax(axis=1) == y).mean()),
    }
