"""Costs of answers: a csv by names, in bundles and predictions."""

from dataclasses import replace

import numpy as np
import pytest

from fc7.classify import Bundle, fit
from fc7.classify.bundles.answers import AnswerRules
from fc7.classify.bundles.cost_matrix import check_costs, read_costs
from fc7.errors import DataError, UsageError

GOOD = "true,bees,ants\nants,5,0\nbees,0,1\n"


def written(tmp_path, text):
    path = tmp_path / "costs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_and_columns_are_found_by_name(tmp_path):
    assert read_costs(written(tmp_path, GOOD), ["ants", "bees"]).tolist() == [[0, 5], [1, 0]]


def test_names_that_other_programs_quote(tmp_path):
    text = 'true,\'=a,"b, c"\n"b, c",2,0\n\'=a,0,1\n'
    assert read_costs(written(tmp_path, text), ["=a", "b, c"]).tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefftrue;ants;bees\nants;0;5\nbees;1;0\n",
        'true, "ants",  bees ,\r\nbees , 1 ,0,\r\n ants,0,5,\r\n\r\n',
        ",ants,bees\nants,0,5\nbees,1,0\n",  # a table of pandas with names of its rows
        ",true,ants,bees\n0,ants,0,5\n1,bees,1,0\n",  # with numbers of its rows
        "ants,bees,true\n0,5,ants\n1,0,bees\n",
    ],
)
def test_whoever_wrote_it(tmp_path, text):
    assert read_costs(written(tmp_path, text), ["ants", "bees"]).tolist() == [[0, 5], [1, 0]]
    assert read_costs(written(tmp_path, text)).shape == (2, 2)


def test_names_of_classes_that_are_odd(tmp_path):
    assert read_costs(written(tmp_path, ",true,false\ntrue,0,9\nfalse,1,0\n"), ["false", "true"]).tolist() == [
        [0, 1],
        [9, 0],
    ]
    assert read_costs(written(tmp_path, "true,a b,c\na b,0,9\nc,1,0\n"), ["a b ", "c"]).tolist() == [[0, 9], [1, 0]]
    with pytest.raises(DataError, match="lacks a "):
        read_costs(written(tmp_path, "true,a,c\na,0,9\nc,1,0\n"), ["a ", "a", "c"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; needed: the columns true,ants,bees"),
        ("true,ants,bees\n", "has no rows"),
        ("true;ants;bees\nants;0;0,5\nbees;1;0\n", "'0,5' is not a cost. A finite number is needed, such as 0.5"),
        ("true,ants\nants,0\nbees,1\n", "lacks bees among its columns"),
        ("true,ants,bees\nants,0,1\n", "lacks bees among its rows"),
        ("true,ants,bees\nants,0,1\nbees,1,0\nants,0,1\n", "has twice ants among its rows"),
        ("true,ants,bees,wasps\nants,0,1,1\nbees,1,0,1\n", "has names that are not classes: wasps among its columns"),
        ("true,ants,bees\nants,0,much\nbees,1,0\n", "line 2: 'much' is not a cost"),
        ("true,ants,bees\nants,0,nan\nbees,1,0\n", "line 2: 'nan' is not a cost"),
        ("true,ants,bees\nants,0,\nbees,1,0\n", "line 2: '' is not a cost"),
        ("ants,bees\n0,1\n1,0\n", "needed: the columns true,ants,bees"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, said):
    with pytest.raises(DataError) as error:
        read_costs(written(tmp_path, text), ["ants", "bees"])
    assert said in str(error.value)


@pytest.mark.parametrize("costs", [[[0, 1]], [[0, 1], [np.nan, 0]], "cheap", [[0, 1], [1]], {}])
def test_no_matrix_is_refused(costs):
    with pytest.raises(UsageError, match="costs: "):
        check_costs(costs, 2)


def test_an_answer_is_that_of_least_expected_cost():
    probability = np.array([0.7, 0.3])
    plain = AnswerRules(["bees", "ants"]).prediction("1.jpg", probability, None)
    dear = AnswerRules(["bees", "ants"], costs=np.array([[0.0, 1.0], [9.0, 0.0]])).prediction(
        "1.jpg", probability, None
    )
    assert (plain.answer, dear.answer, dear.probability) == ("bees", "ants", 0.3)
    assert list(dear.probabilities) == ["bees", "ants"]


def test_a_bundle_keeps_its_costs(table, tmp_path):
    bundle = Bundle.of(fit(table((20, 20), val=5), "centroid"))
    costing = replace(bundle, costs=np.array([[0, 1], [9, 0]]))
    read = Bundle.load(costing.save(tmp_path / "costs.fc7"))
    assert read.costs == [[0, 1], [9, 0]]
    assert Bundle.load(bundle.save(tmp_path / "plain.fc7")).costs is None
    with pytest.raises(UsageError, match="give one"):
        replace(costing, max_error=0.1)
    with pytest.raises(UsageError, match="shape"):
        replace(bundle, costs=[[0]])
