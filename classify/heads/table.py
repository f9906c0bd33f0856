"""The table of heads: estimators that turn an embedding into a class, each with the grid it is tuned over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from math import log2
from typing import TYPE_CHECKING, Any

from ...errors import UsageError

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

    from .base import ClassWeight


Size = Callable[[int, int, int], float]  # from rows, columns and classes

# Where hyper-parameters end because nothing lies beyond.
ENDS = {"n_neighbors": 1, "epochs": 1, "shrinkage": 1.0}


@dataclass(frozen=True)
class Head:
    """One row of the table.

    Attributes
    ----------
    name
        As ``--head`` takes it.
    build
        Makes the unfitted estimator from a seed.
    grid
        Values to choose from within the training rows, the simplest first: ties go to the first.
    ladders
        All values of ordered hyper-parameters, the least first: while the edge of the grid wins, it goes on along them.
    epochs
        The estimator has epochs and curves.
    class_weight
        The parameter that takes class weights; empty where they have no meaning.
    possible
        Whether a point of the grid can be fitted on so many rows.
    layer
        The only layer whose embeddings it takes; empty for any.
    estimator
        Of a head that is not in the table: its class and all parameters, or its name and the hash of its code.
    seconds
        About how long one fit takes on one core.
    memory
        About how many bytes one fit takes that cannot be given less: beside rows, and scores of held rows.
    """

    name: str
    build: Callable[[int], "BaseEstimator"]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    epochs: bool = False
    class_weight: str = ""
    layer: str = ""
    estimator: str = ""
    ladders: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    possible: Callable[[Mapping[str, Any], int], bool] = lambda point, rows: True
    seconds: Size = lambda rows, columns, classes: 0
    memory: Size = lambda rows, columns, classes: 0

    def __repr__(self) -> str:
        grid = ", ".join(f"{len(values)} {name}" for name, values in self.grid.items())
        return f"Head({self.name!r}{f', {grid}' if grid else ''})"

    @property
    def identity(self) -> str:
        """What distinguishes it from other heads: its name, or class and parameters of the user's estimator."""
        return self.estimator or self.name

    @property
    def streams(self) -> bool:
        """Whether it can be fitted on rows that are read from disk block by block: all but a kernel of all pairs."""
        return self.answers_grid and self.name != "rbf-svm"

    @cached_property
    def answers_grid(self) -> bool:
        """Whether it answers its grid in all folds at once; see :class:`fc7.classify.heads.base.GridHead`."""
        return hasattr(self.build(0), "out_of_fold")

    def fixed(self, epochs: int | None, class_weight: "ClassWeight") -> "Head":
        """Return the head with a fixed number of epochs and fixed class weights, where it has them."""
        grid = {**self.grid, "epochs": [epochs]} if self.epochs and epochs is not None else self.grid
        options = {self.class_weight: class_weight} if self.class_weight and class_weight is not None else {}
        return replace(self, grid=grid, build=lambda seed: self.build(seed).set_params(**options))


def _powers(first: int, last: int) -> list[float]:
    return [10.0**power for power in range(first, last + 1)]


_THREES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]


def _new(estimator: str, **options: Any) -> Any:
    """Import an estimator, such as ``.ridge:Ridge``, and make one."""
    module, name = estimator.split(":")
    return getattr(import_module(module, __package__), name)(**options)


def _on_axes(estimator: str, **options: Any) -> "BaseEstimator":
    head = _new(estimator, **options)
    return _new("sklearn.pipeline:Pipeline", steps=[("axes", _new(".leading_axes:LeadingAxes")), ("head", head)])


# Seconds of a fit, by benchmarks/foreseen.py: within a factor of two of what is measured for most sizes. In few columns
# it can be ten: there the steps of a solver follow from how much classes overlap.


def _logistic(n: int, d: int, k: int) -> float:
    """Return the seconds of passes over the rows: what few columns save in products, they cost in steps."""
    columns = min(n, d)
    return n * k * (3e-7 + 1.2e-9 * columns + 1.2e-5 / columns)


def _solved(n: int, d: int, k: int) -> float:
    """Return the seconds of a solver that decomposes the rows once."""
    columns = min(n, d)
    return 4e-11 * columns**3 + 7e-11 * n * k * (columns + 70)


# Rows have unit length, at least on average (see preparation.py): one grid suits every backbone.
_ROWS = (
    Head(
        "logreg",
        lambda seed: _new(".penalised:Logistic"),
        {"C": _powers(-2, 4)},
        ladders={"C": _powers(-5, 7)},
        class_weight="class_weight",
        seconds=_logistic,
    ),
    Head(
        "linear-svm",
        lambda seed: _new(".penalised:LinearSVM"),
        {"C": _powers(-3, 2)},
        ladders={"C": _powers(-6, 5)},
        class_weight="class_weight",
        seconds=lambda n, d, k: n * k * (3e-7 + 2.2e-9 * min(n, d)),
    ),
    Head(
        "rbf-svm",
        lambda seed: _new(".rbf_svm:RbfSVM"),
        {"C": _powers(-1, 2), "gamma": [0.3, 1.0, 3.0]},
        ladders={"C": _powers(-3, 5), "gamma": _THREES},
        class_weight="class_weight",
        seconds=lambda n, d, k: n**2 * (1e-8 + 7e-10 * k),
        memory=lambda n, d, k: 8 * n**2 * (2 if n < d else 1),
    ),
    Head(
        "ridge",
        lambda seed: _new(".ridge:Ridge"),
        {"alpha": _powers(-4, 2)[::-1]},
        ladders={"alpha": _powers(-8, 5)},
        class_weight="class_weight",
        seconds=_solved,
    ),
    Head(
        "lda",
        lambda seed: _new(".lda:Lda"),
        {"shrinkage": [0.9, 0.5, 0.2, 0.1, 0.03]},
        ladders={"shrinkage": [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.5, 0.9, 1.0]},
        class_weight="class_weight",
        seconds=_solved,
    ),
    Head(
        "knn",
        lambda seed: _new(".neighbours:Neighbours"),
        {"n_neighbors": [25, 15, 9, 5, 3, 1], "weights": ["uniform", "distance"]},
        ladders={"n_neighbors": [1, 3, 5, 9, 15, 25, 50, 100, 200, 400, 800]},
        possible=lambda point, rows: point["n_neighbors"] <= rows,
        seconds=lambda n, d, k: n**2 * (6.5e-10 + 1.7e-12 * d),
    ),
    Head("centroid", lambda seed: _new(".centroid:Centroid")),
    Head(
        "gaussian-nb",
        lambda seed: _new(".naive_bayes:NaiveBayes"),
        {"var_smoothing": _powers(-4, 0)[::-1]},
        ladders={"var_smoothing": _powers(-9, 3)},
        class_weight="class_weight",
        seconds=lambda n, d, k: 1.1e-9 * n * (d + 20) * k,
    ),
    Head(
        "random-forest",
        lambda seed: _new("sklearn.ensemble:RandomForestClassifier", min_samples_leaf=3, random_state=seed),
        class_weight="class_weight",
        seconds=lambda n, d, k: 0.12 + 100 * n * log2(n) * (6e-8 + d**0.5 * (2e-8 + 1e-9 * k)),
        memory=lambda n, d, k: 100 * 0.7 * n * (64 + 8 * k),
    ),
    # Thousands of columns cost these two ten times as much, and bring nothing. Trees that split as soon as there are
    # two rows do so in folds, too, and not in the last fit alone; without l2_regularization many classes diverge.
    Head(
        "hist-gb",
        lambda seed: _on_axes(
            "sklearn.ensemble:HistGradientBoostingClassifier",
            max_iter=50,
            max_leaf_nodes=8,
            max_bins=32,
            min_samples_leaf=1,
            l2_regularization=3.0,
            max_features=0.2,
            early_stopping=False,
            random_state=seed,
        ),
        class_weight="head__class_weight",
        seconds=lambda n, d, k: 50 * k * (5e-4 + 1e-7 * n),
    ),
    Head(
        "mlp",
        lambda seed: _on_axes(".mlp:Mlp", random_state=seed),
        {"head__alpha": [1e-1, 1e-3]},
        ladders={"head__alpha": [1e-7, 1e-5, 1e-3, 1e-1, 1.0, 10.0]},
        class_weight="head__class_weight",
        seconds=lambda n, d, k: 0.05 + n * (4e-5 + 1e-6 * k),
    ),
    Head(
        "torch-linear",
        lambda seed: _new(".torch_linear:TorchLinear", random_state=seed),
        {"epochs": [1, 2, 4, 8, 16, 32], "learning_rate": [0.3, 1.0, 3.0]},
        ladders={
            "epochs": [1, 2, 4, 8, 16, 32, 64, 128, 256],
            "learning_rate": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
        },
        epochs=True,
        class_weight="class_weight",
        seconds=lambda n, d, k: n * (2.5e-6 + d * (5e-9 + 5e-10 * k)),
    ),
    Head(
        "classifier",
        lambda seed: _new(".classifier_stack:ClassifierStack"),
        epochs=True,
        class_weight="class_weight",
        layer="pool5",
    ),
    Head("baseline", lambda seed: _new(".baseline:Baseline")),
)
HEADS = {head.name: head for head in _ROWS}


def find_head(head: "str | Head | BaseEstimator", *, weighted: bool = False) -> Head:
    """Return one head by name; a head is returned as it is, and a scikit-learn classifier becomes one without a grid.

    A `weighted` one takes class weights.

    Raises
    ------
    UsageError
        No such head, or it takes none.
    """
    from sklearn.base import BaseEstimator

    if isinstance(head, BaseEstimator):
        entry = _head_of(head)
    elif isinstance(head, Head):
        entry = _with_code(head)
    elif head in HEADS:
        entry = HEADS[head]
    else:
        raise UsageError(f"There is no head {head!r}. Heads: {', '.join(HEADS)}.")
    if weighted and not entry.class_weight:
        having = ", ".join(entry.name for entry in HEADS.values() if entry.class_weight)
        raise UsageError(
            f"The head {entry.name} has no class weights. Leave out --class-weight, or take one of: {having}."
        )
    return entry


def find_heads(heads: "str | Sequence[str | Head | BaseEstimator]") -> list[Head]:
    """Return heads; ``all`` or a comma-separated string will do. The baseline is always among them.

    Raises
    ------
    UsageError
        No such head.
    """
    wanted = heads.split(",") if isinstance(heads, str) else list(heads)
    if wanted == ["all"]:
        return list(HEADS.values())
    chosen = {head.identity: head for head in map(find_head, [*wanted, "baseline"])}
    return list(chosen.values())


def _with_code(head: Head) -> Head:
    """Return a head that is told from others by what builds it, where that is not of fc7."""
    from .identity import is_ours, with_code

    return head if head.estimator or is_ours(head.build) else replace(head, estimator=with_code(head.name, head.build))


def _head_of(estimator: "BaseEstimator") -> Head:
    """Return a head that fits copies of an estimator; an estimator without a seed gets that of the run."""
    from sklearn.base import clone

    from .identity import identity_of

    def build(seed: int) -> "BaseEstimator":
        copy = clone(estimator)
        seeded = "random_state" in copy.get_params() and copy.get_params()["random_state"] is None
        return copy.set_params(random_state=seed) if seeded else copy

    weight = "class_weight" if "class_weight" in estimator.get_params() else ""
    return Head(type(estimator).__name__, build, class_weight=weight, estimator=identity_of(estimator))
