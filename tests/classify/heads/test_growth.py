import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import ParameterGrid

from fc7.classify.heads.growth import edges, open_edges, points_beyond, take
from fc7.classify.heads.table import ENDS, HEADS, Head

GROWN = [name for name, head in HEADS.items() if head.ladders]


def tried_by(head):
    return {name: list(values) for name, values in head.grid.items()}


@pytest.mark.parametrize("name", list(HEADS))
def test_every_ordered_grid_goes_on_in_both_directions_or_ends(name):
    head = HEADS[name]
    ordered = {key for key, values in head.grid.items() if not isinstance(values[0], str)}
    assert set(head.ladders) == ordered
    for key, ladder in head.ladders.items():
        assert list(ladder) == sorted(set(ladder))
        inside = [value for value in ladder if min(head.grid[key]) <= value <= max(head.grid[key])]
        assert set(inside) >= set(head.grid[key]), "the grid is a part of the ladder"
        assert ladder[-1] > max(head.grid[key])
        assert ladder[0] < min(head.grid[key]) or ladder[0] == ENDS[key]


@pytest.mark.parametrize("name", GROWN)
def test_points_beyond_are_new_and_one_step_away(name):
    head = HEADS[name]
    for point in ParameterGrid(head.grid):
        tried = tried_by(head)
        on = edges(point, tried)
        further = points_beyond(head, point, tried, 10_000)
        assert bool(further) == bool(on)
        for new in further:
            moved = [key for key in point if new[key] != point[key] and key in head.ladders]
            assert set(moved) <= set(on)
            assert all(new[key] not in tried[key] for key in moved)
            assert moved
        take(tried, further)
        assert edges(point, tried) == []


def test_what_has_no_order_takes_all_its_values():
    head = HEADS["knn"]
    further = points_beyond(head, {"n_neighbors": 25, "weights": "uniform"}, tried_by(head), 1000)
    assert sorted((point["n_neighbors"], point["weights"]) for point in further) == [(50, "distance"), (50, "uniform")]


def test_few_rows_end_the_grid():
    head, point = HEADS["knn"], {"n_neighbors": 25, "weights": "uniform"}
    assert points_beyond(head, point, tried_by(head), 49) == []
    assert open_edges(head, point, tried_by(head), 49) == []
    assert open_edges(head, point, tried_by(head), 50) == ["n_neighbors"]


def test_a_single_neighbour_is_on_no_edge():
    assert edges({"n_neighbors": 1}, {"n_neighbors": [5, 3, 1]}) == []
    assert edges({"n_neighbors": 5}, {"n_neighbors": [5, 3, 1]}) == ["n_neighbors"]


@pytest.mark.parametrize(
    "values",
    [["l1", "l2"], [True, False], [None, 1.0], [(1,), (2,)], [7]],
    ids=lambda values: repr(values),
)
def test_what_cannot_be_ordered_has_no_edge(values):
    head = Head("own", lambda seed: None, {"x": values})
    assert edges({"x": values[0]}, {"x": values}) == []
    assert points_beyond(head, {"x": values[0]}, {"x": values}, 10) == []


def test_arrays_in_a_grid_are_taken_once():
    tried = {"priors": []}
    take(tried, [{"priors": np.array([0.2, 0.8])}, {"priors": np.array([0.2, 0.8])}, {"priors": np.array([1.0])}])
    assert len(tried["priors"]) == 2


def test_a_head_without_a_ladder_is_on_an_edge_and_stays_there():
    head = Head("own", lambda seed: None, {"C": [1.0, 2.0, 3.0]})
    assert points_beyond(head, {"C": 3.0}, tried_by(head), 10) == []
    assert open_edges(head, {"C": 3.0}, tried_by(head), 10) == ["C"]


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=6, unique=True), st.data())
def test_an_edge_is_the_least_or_the_largest(values, data):
    value = data.draw(st.sampled_from(values))
    assert edges({"C": value}, {"C": values}) == (["C"] if value in (min(values), max(values)) else [])
