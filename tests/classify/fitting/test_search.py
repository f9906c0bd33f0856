"""The search: a grid goes on while its edge wins, in every fold for itself, and what stays on an edge is said."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import ParameterGrid
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from fc7.classify import fit
from fc7.classify.fitting.fit import Experiment
from fc7.classify.heads.calibration import scores
from fc7.classify.heads.growth import GAIN
from fc7.classify.heads.table import HEADS, Head
from fc7.classify.records import description
from fc7.classify.reports.run_table import run_rows
from fc7.classify.settings import FitSettings

# As they were before grids went on: records of then are still found.
IDS = {
    "logreg": "92c181eded7e109a",
    "rbf-svm": "e8c11b2421ceb96c",
    "lda": "2d79b25401a88c60",
    "knn": "2560c27e0a1b0b67",
    "gaussian-nb": "095be3e182ba8d68",
    "mlp": "d65b2fb1e02a3ff5",
    "torch-linear": "c5ab6a345e92f2dc",
    "baseline": "d620e4e2f229b4a8",
}


def test_ids_of_runs_are_those_of_before(table):
    embeddings = table((20, 20), val=6)
    experiment = Experiment(embeddings)
    assert {name: experiment.identify(HEADS[name])[:16] for name in IDS} == IDS
    other = Experiment(embeddings, FitSettings(preparation="scale", cross_validate=3))
    assert other.identify(HEADS["logreg"])[:16] == "99d6c1469886d7fe"


def shallow(name, **grid):
    """Return a head of the table with a smaller grid, that goes on along the same ladders."""
    return replace(HEADS[name], grid=grid)


@pytest.mark.parametrize(
    "head",
    [
        shallow("ridge", alpha=[1e2, 1e1]),
        shallow("ridge", alpha=[1e-7, 1e-8]),
        shallow("logreg", C=[1e-5, 1e-4]),
        shallow("lda", shrinkage=[1e-3, 3e-4]),
        shallow("gaussian-nb", var_smoothing=[1e-8, 1e-9]),
        shallow("knn", n_neighbors=[3, 1], weights=["uniform", "distance"]),
        shallow("rbf-svm", C=[1e-3, 1e-2], gamma=[30.0, 100.0]),
        shallow("torch-linear", epochs=[1, 2], learning_rate=[0.01, 0.03]),
        shallow("mlp", head__alpha=[1e-7, 1e-5]),
    ],
    ids=lambda head: f"{head.name} {min(*next(iter(head.grid.values())))}",
)
def test_the_grid_goes_on_while_its_edge_wins(table, head):
    """The oracle walks along the ladders with grids of its own, each of one point."""
    embeddings = table((30, 30, 30), val=5, dim=12, spread=3.0)
    search = Experiment(embeddings, FitSettings(folds=3))._searches[0]
    found = search.search(head, lambda done: None)
    losses = {}

    def loss(point):
        alone = replace(head, grid={name: [value] for name, value in point.items()}, ladders={})
        if str(point) not in losses:
            losses[str(point)] = search.search(alone, lambda done: None).log_loss
        return losses[str(point)]

    tried = {name: list(values) for name, values in head.grid.items()}
    best = min(ParameterGrid(tried), key=loss)
    while True:
        steps = {
            name: [best[name], *_next(head.ladders[name], best[name], tried[name])] if name in head.ladders else values
            for name, values in tried.items()
        }
        points = [point for point in ParameterGrid(steps) if any(point[name] not in tried[name] for name in point)]
        if not points:
            break
        for name, values in steps.items():
            tried[name] += [value for value in values if value not in tried[name]]
        winner = min(points, key=loss)
        if loss(winner) > (1 - GAIN) * loss(best):
            break
        best = winner
    assert found.hyperparameters == best
    assert {name: sorted(values) for name, values in found.tried.items()} == {
        name: sorted(values) for name, values in tried.items()
    }
    assert found.log_loss == pytest.approx(loss(best), rel=1e-6)


def _next(ladder, value, tried):
    below, above = [v for v in ladder if v < min(tried)][-1:], [v for v in ladder if v > max(tried)][:1]
    return (below if value == min(tried) else []) + (above if value == max(tried) else [])


def mislabelled(table, counts, **options):
    """Return images of two classes, 40 % of which have the label of the other."""
    embeddings = table(counts, **options)
    wrong = np.random.default_rng(0).random(len(embeddings)) < 0.4
    labels = np.where(wrong, np.where(embeddings.labels == "c0", "c1", "c0"), embeddings.labels)
    return replace(embeddings, labels=labels)


def test_many_neighbours_where_labels_are_noisy(table):
    """A grid that ends at 25 neighbours loses points here."""
    run = fit(mislabelled(table, (150, 150), val=50), "knn", folds=3).run
    assert run.hyperparameters["n_neighbors"] > 25
    assert run.selection["grid"]["n_neighbors"][:6] == [25, 15, 9, 5, 3, 1]
    assert run.hyperparameters["n_neighbors"] in run.selection["grid"]["n_neighbors"][6:]


def test_every_outer_fold_goes_on_for_itself(table):
    run = fit(mislabelled(table, (120, 120)), "knn", cross_validate=3, folds=2).run
    chosen = [fold["hyperparameters"]["n_neighbors"] for fold in run.folds]
    assert max(chosen) > 25, chosen
    assert all(fold["edges"] == [] or fold["edges"] == ["n_neighbors"] for fold in run.folds)


def test_choices_that_stay_on_an_edge_are_said(table):
    """A head of the user's has no ladder; what it chooses last is said in the terminal, in JSON and in the report."""
    head = Head("mine", lambda seed: LogisticRegression(), {"C": [1e-9, 1e-8]})
    embeddings = table((30, 30), val=8)
    run = fit(embeddings, head, folds=2).run
    assert run.folds[0]["edges"] == ["C"]
    note = f"on the edge of its grid: C {run.hyperparameters['C']:g}"
    assert note in description.notes(run)
    assert note in run_rows([run])[1][0][-1]
    crossed = fit(embeddings, head, cross_validate=3, folds=2).run
    assert any(" in 3 of 3 folds" in text and "edge" in text for text in description.notes(crossed))


def test_records_of_before_say_it_by_their_grid(made_up):
    run = made_up([True] * 5 + [False], hyperparameters={"C": 10.0}, folds=[_fold(C=10.0)])
    assert description.notes(run) == ["on the edge of its grid: C 10"]
    inside = made_up([True] * 5 + [False], hyperparameters={"C": 1.0}, folds=[_fold(C=1.0)])
    assert description.notes(inside) == []
    step = made_up([True] * 5 + [False], folds=[_fold(head__alpha=1.0) | {"edges": ["head__alpha"]}])
    assert description.notes(step) == ["on the edge of its grid: alpha 1"], "no step of a pipeline"


def _fold(**chosen):
    return {"fitted": 4, "evaluated": 6, "log_loss": 0.1, "accuracy": 0.9, "temperature": 1.0,
            "hyperparameters": chosen, "unconverged": 0}  # fmt: skip


def test_a_fixed_number_of_epochs_stays(table):
    run = fit(table((30, 30), val=8), "torch-linear", folds=2, epochs=3).run
    assert run.hyperparameters["epochs"] == 3
    assert run.selection["grid"]["epochs"] == [3]


# Standardised rows: the oracle is a pipeline that scikit-learn fits on each fold.

ORACLES = {
    "logreg": lambda C: LogisticRegression(C=C, tol=1e-10, max_iter=10_000),
    "linear-svm": lambda C: LinearSVC(C=C, tol=1e-10, max_iter=1_000_000, random_state=0),
    "rbf-svm": lambda C, gamma: SVC(C=C, gamma=gamma, tol=1e-9),
    "ridge": lambda alpha: RidgeClassifier(alpha=alpha),
    "lda": lambda shrinkage: LinearDiscriminantAnalysis("lsqr", shrinkage=shrinkage),
    "knn": lambda n_neighbors, weights: KNeighborsClassifier(n_neighbors, weights=weights),
    "gaussian-nb": lambda var_smoothing: GaussianNB(var_smoothing=var_smoothing),
    "hist-gb": lambda: HEADS["hist-gb"].build(0),
}


@pytest.mark.parametrize("counts", [(20, 20), (12, 15, 12)])
@pytest.mark.parametrize("dim", [6, 70])
@pytest.mark.parametrize("name", ORACLES)
def test_standardised_rows_are_fitted_as_a_pipeline_is(table, name, dim, counts):
    if name == "hist-gb" and (dim > 6 or len(counts) > 2):
        pytest.skip("slow, and the same code for all")
    embeddings = table(counts, dim=dim, spread=4.0, dtype="float32")
    embeddings = replace(embeddings, vectors=embeddings.vectors * np.arange(1, dim + 1, dtype=np.float32) - 7)
    embeddings.vectors[:, 0] = 3.0
    experiment = Experiment(embeddings, FitSettings(folds=3, cross_validate=3, preparation="standard"))
    search, head = experiment._searches[0], HEADS[name]
    found = search.search(head, lambda done: None)
    X, y = experiment.embeddings.vectors[search.fitted].astype(np.float64), search.y
    scaled = make_pipeline(StandardScaler(), FunctionTransformer(lambda rows: rows / np.sqrt(rows.shape[1])))
    pipeline = make_pipeline(scaled, ORACLES[name](**found.hyperparameters))
    expected = np.empty_like(found.scores)
    for fold in search.folds:
        expected[fold.held] = scores(clone(pipeline).fit(X[fold.fitted], y[fold.fitted]), X[fold.held])
    if name == "rbf-svm" and len(counts) > 2:  # votes, where fc7 has the worst of the pairs
        assert (found.scores.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9
        return
    assert found.scores - found.scores.mean(axis=1, keepdims=True) == pytest.approx(
        expected - expected.mean(axis=1, keepdims=True), abs=5e-3 * max(np.abs(expected).max(), 1)
    )
    # and the last fit, on all fitted images, as new images are predicted
    last, fold_fit = search.finish(head, found, None)
    new = scores(clone(pipeline).fit(X, y), experiment.embeddings.vectors[search.predicted].astype(np.float64))
    assert last.predict_proba(experiment.embeddings.vectors[search.predicted]) == pytest.approx(
        softmax(new / fold_fit.temperature, axis=1), abs=2e-3
    )


def test_held_rows_do_not_decide_how_columns_are_standardised(table):
    """Where the held rows of a fold are changed, what was fitted for it stays."""
    embeddings = table((20, 20), dtype="float32")
    search = Experiment(embeddings, FitSettings(folds=4, cross_validate=4, preparation="standard"))._searches[0]
    part = next(search._parts())
    search.embeddings.vectors[search.fitted[search.folds[0].held]] += 1e6
    search._kept.clear()
    again = next(search._parts())
    held = len(part.held)
    assert np.array_equal(part.basis.inputs[held:], again.basis.inputs[held:])
    assert not np.array_equal(part.basis.inputs[:held], again.basis.inputs[:held])


def test_other_folds_have_rows_of_their_own(table):
    search = Experiment(table((20, 20)), FitSettings(folds=4, preparation="standard"))._searches[-1]
    first = search.search(HEADS["ridge"], lambda done: None)
    search.divide(1)
    second = search.search(HEADS["ridge"], lambda done: None)
    assert not np.array_equal(first.scores, second.scores)
    search.divide(search.seed)
    assert np.array_equal(search.search(HEADS["ridge"], lambda done: None).scores, second.scores)


@pytest.mark.parametrize("name", ["ridge", "mlp"])
def test_progress_of_standardised_rows_counts_every_fit_once(table, name):
    done = []
    search = Experiment(table((12, 12)), FitSettings(folds=3, preparation="standard"))._searches[-1]
    search.search(HEADS[name], done.append)
    total = len(ParameterGrid(HEADS[name].grid)) * 3
    assert sorted(done)[-1] == total
    assert done == sorted(done)


def test_views_of_standardised_rows_stay_with_their_image(table):
    embeddings = table((15, 15))
    views = replace(embeddings, views=(embeddings.vectors + np.float16(0.5),))
    run = fit(views, "logreg", cross_validate=3, folds=2, preparation="standard").run
    assert run.protocol["preparation"] == "standard"
    assert run.metrics["accuracy"] > 0.8
    assert "standardised rows" in description.protocol([run])
