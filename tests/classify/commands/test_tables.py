"""Tables: every run with its n and its interval, in as many cells as there are columns."""

from fc7.classify.commands.tables import line, runs_table
from fc7.classify.reports.run_table import interval, run_rows


def inside(run, log_loss=0.25):
    run.selection["log_loss"] = log_loss
    return run


def test_a_row_under_every_column(made_up):
    run = inside(made_up([True] * 9 + [False], hyperparameters={"C": 10.0, "penalty": "l2"}, seconds={"fit": 1.234}))
    columns, (row,) = run_rows([run])
    cells = dict(zip(columns, row, strict=True))
    assert all(isinstance(cell, str) for cell in row)
    assert (cells["backbone"], cells["layer"], cells["head"], cells["n"]) == ("vgg16", "fc7", "logreg", "10")
    assert (cells["accuracy"], cells["95 %"]) == ("0.900", "0.574-1.000")
    assert (cells["acc inside"], cells["loss inside"], cells["fit s"]) == ("0.900", "0.250", "1.23")
    assert cells["log loss"] == f"{run.metrics['log_loss']:.3f}"
    assert cells["chosen"] == "C = 10, penalty = l2"


def test_notes_are_in_the_table(made_up):
    run = inside(made_up([True], hyperparameters={}, notes=["did not converge", "random weights"]))
    assert run_rows([run])[1][0][-1] == "did not converge, random weights"
    plain = inside(made_up([True], hyperparameters={"alpha": 0.001}, notes=["did not converge"]))
    assert run_rows([plain])[1][0][-1] == "alpha = 0.001, did not converge"


def test_the_order_is_the_callers(made_up):
    runs = [inside(made_up([True], head=name)) for name in ("b", "a", "c")]
    assert [row[2] for row in run_rows(runs)[1]] == ["b", "a", "c"]
    assert run_rows([])[1] == []


def test_one_run_in_one_line(made_up):
    said = line(made_up([True] * 9 + [False], hyperparameters={"n_neighbors": 5, "weights": "distance"}), "ours")
    assert said.startswith("ours: accuracy 0.900 (9/10 on val, 95 % 0.574-1.000), fitted in 0.8 s")
    assert said.endswith(" with n_neighbors = 5, weights = distance")
    assert "\n" not in said
    assert line(made_up([True], hyperparameters={}), "ours").endswith("fitted in 0.8 s")


def test_words(made_up):
    assert interval(made_up([True, False])) == "0.095-0.905"
    tuned = made_up([True], hyperparameters={"head__C": 1e-4, "shrinkage": None})
    assert line(tuned, "ours").endswith(" with C = 0.0001, shrinkage = None"), "no step of a pipeline"


def test_the_order_is_only_said_where_it_is_so(made_up):
    first, second = inside(made_up([True]), 0.1), inside(made_up([True], head="knn"), 0.2)
    without = made_up([True], head="theirs", backbone="elsewhere", layer="", selection=None)
    said = "In the order of log loss inside the fitted images:"
    assert [said in runs_table(runs) for runs in ([first, second, without], [second, first])] == [True, False]
