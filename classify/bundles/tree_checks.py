"""Checks of trees from a file. Why not trust them: compiled code follows their indices without bounds checks."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

LEAF = -1  # a forest's mark for the children of a leaf


def check_trees(estimator: Any) -> None:
    """Refuse trees with indices out of bounds, cycles, or negative columns.

    A node's children must come after it, which rules out cycles.
    """
    for tree in _trees(estimator, set()):
        if hasattr(tree, "nodes"):
            _check_predictor(tree)
        else:
            _check_tree(tree)


def columns(estimator: Any) -> int:
    """Return the number of columns that the trees inside need; 0 without trees."""
    count = 0
    for tree in _trees(estimator, set()):
        feature = tree.nodes["feature_idx"] if hasattr(tree, "nodes") else tree.feature
        count = max(count, int(feature.max(initial=-1)) + 1)
    return count


def _check_predictor(tree: Any) -> None:
    """Check a tree of gradient boosting."""
    nodes = tree.nodes
    inner = nodes[nodes["is_leaf"] == 0]
    place = np.flatnonzero(nodes["is_leaf"] == 0)
    _check_children(place, inner["left"].astype(np.int64), inner["right"].astype(np.int64), len(nodes))
    if inner["is_categorical"].any() or (nodes["feature_idx"] < 0).any():
        raise ValueError("a tree looks at categories or at columns before the first")


def _check_tree(tree: Any) -> None:
    """Check a tree of a forest."""
    left, right = tree.children_left, tree.children_right
    if ((left == LEAF) != (right == LEAF)).any():
        raise ValueError("a node of a tree has one child")
    place = np.flatnonzero(left != LEAF)
    _check_children(place, left[place], right[place], tree.node_count)
    if (tree.feature[place] < 0).any():
        raise ValueError("a tree looks at columns before the first")


def _check_children(place: npt.NDArray[Any], left: npt.NDArray[Any], right: npt.NDArray[Any], count: int) -> None:
    for child in (left, right):
        if not ((child > place) & (child < count)).all():
            raise ValueError(f"a tree of {count} nodes leads outside of itself, or back")


def _trees(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield every tree inside an estimator, however deep; each id is unique as long as the estimator lives."""
    if id(value) in seen or isinstance(value, np.ndarray | str | bytes):
        return
    seen.add(id(value))
    if type(value).__name__ in ("Tree", "TreePredictor"):
        yield value
        return
    state = vars(value) if hasattr(value, "__dict__") else value
    items = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple | set) else ()
    for item in items:
        yield from _trees(item, seen)
