"""What a head would take is said before it is fitted."""

from dataclasses import replace

import pytest
from sklearn.model_selection import ParameterGrid
from sklearn.naive_bayes import BernoulliNB

from fc7.classify import compare, fit
from fc7.classify.data.splits import protocol
from fc7.classify.fitting.costs import fits, foresee
from fc7.classify.fitting.fit import Experiment
from fc7.classify.heads.table import HEADS, Head
from fc7.classify.settings import FitSettings, ProtocolSettings
from fc7.errors import DataError


@pytest.mark.parametrize(("name", "need"), [("rbf-svm", 8 * 5000**2), ("random-forest", 100 * 0.7 * 5000 * 80)])
def test_more_memory_than_allowed_is_refused_before_any_work(table, name, need):
    embeddings = table((2500, 2500), dim=4)
    every = protocol(embeddings, ProtocolSettings(cross_validate=2))
    points, images = (12, 2500) if name == "rbf-svm" else (1, 2500)
    whole = 8 * points * images * 2 + need / (4 if name == "rbf-svm" else 2)  # half of the images is fitted
    foresee(HEADS[name], replace(embeddings, max_ram=int(1.02 * whole)), every)
    with pytest.raises(DataError, match=rf"{name} takes about [\d,]+ MB for 2,500 rows of 2 classes, max_ram allows"):
        foresee(HEADS[name], replace(embeddings, max_ram=int(0.98 * whole)), every)
    foresee(HEADS[name], embeddings, every)


@pytest.mark.parametrize("name", ["rbf-svm", "ridge", "logreg"])
def test_a_limit_holds_where_rows_are_in_memory(table, name):
    embeddings = replace(table((30, 30), val=5), max_ram=2000)
    with pytest.raises(DataError, match="max_ram"):
        fit(embeddings, name)
    assert fit(replace(embeddings, max_ram=2**20), name).run.metrics["accuracy"] > 0.5


def test_what_takes_minutes_says_so_and_what_is_quicker(table, caplog):
    many = table((4,) * 100, dim=4, val=1)
    plan = protocol(many, ProtocolSettings(folds=3))
    slow = replace(HEADS["knn"], seconds=lambda n, d, k: 600 / (12 * plan.folds + 1))
    foresee(slow, many, plan)
    assert "knn will take about 10 minutes on 300 rows of 100 classes. Quicker: ridge, lda, centroid." in caplog.text
    caplog.clear()
    foresee(slow, many, plan, on_device=True)
    assert not caplog.text, "nobody knows how fast that is"


def test_what_takes_seconds_says_nothing(table, caplog):
    compare(table((20, 20), val=5), "ridge,rbf-svm,hist-gb")
    assert "minutes" not in caplog.text


def test_every_slow_head_knows_how_slow_it_is():
    for name in ("logreg", "linear-svm", "rbf-svm", "gaussian-nb", "random-forest", "hist-gb", "mlp"):
        assert HEADS[name].seconds(100_000, 2048, 100) > HEADS["ridge"].seconds(2000, 2048, 2)


# Seconds of processor time that benchmarks/foreseen.py measured, of classes that overlap much. In few columns products
# with the rows are a small part of that.
MEASURED = {
    ("logreg", 4800, 16, 100): 5.5,
    ("logreg", 4800, 64, 100): 3.3,
    ("logreg", 4800, 512, 100): 5.9,
    ("linear-svm", 4800, 16, 100): 1.1,
    ("linear-svm", 4800, 512, 100): 6.4,
    ("ridge", 4800, 16, 100): 0.033,
    ("ridge", 4800, 512, 100): 0.37,
    ("lda", 4800, 512, 100): 0.26,
    ("knn", 4800, 16, 100): 0.27,
    ("knn", 4800, 512, 100): 0.66,
    ("gaussian-nb", 4800, 16, 100): 0.2,
    ("gaussian-nb", 4800, 512, 100): 2.9,
    ("torch-linear", 4800, 16, 100): 0.71,
    ("torch-linear", 4800, 512, 100): 5.2,
    ("mlp", 4800, 512, 100): 2.9,
    ("rbf-svm", 4800, 16, 100): 32.0,
    ("hist-gb", 4800, 64, 100): 16.0,
    ("random-forest", 1200, 4, 2): 0.6,
    ("random-forest", 4800, 16, 100): 5.6,
}


@pytest.mark.parametrize("size", MEASURED)
def test_what_is_foreseen_is_what_was_measured(size):
    name, n, d, k = size
    fits = 3 * len(ParameterGrid(HEADS[name].grid))
    assert 1 / 2 < fits * HEADS[name].seconds(2 * n // 3, d, k) / MEASURED[size] < 2


@pytest.mark.parametrize(
    ("folds", "preparation"), [(5, "unit"), (3, "unit"), (4, "standard"), (6, "unit"), (None, "unit")]
)
def test_fits_are_counted_as_they_are_made(table, monkeypatch, folds, preparation):
    """Of a head without a grid of its own kind: each is a call of scikit-learn."""
    made, settings = [], FitSettings(cross_validate=folds, preparation=preparation)
    head = Head("nb", lambda seed: BernoulliNB(), {"alpha": [1.0]})
    fit_of = BernoulliNB.fit
    monkeypatch.setattr(BernoulliNB, "fit", lambda *given, **options: made.append(1) or fit_of(*given, **options))
    embeddings = table((18, 18), val=6)
    experiment = Experiment(embeddings, settings)
    experiment.fit(head)
    assert len(made) == fits(head, experiment.protocol, experiment._shared)
    assert len(made) == {5: 16, 3: 7, 4: 21, 6: 42, None: 6}[folds]
