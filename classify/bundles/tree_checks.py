"""Soundness of trees that come from a file: compiled code follows their indices without looking."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

LEAF = -1  # what a forest's tree has for the children of a leaf


def check_trees(estimator: Any) -> None:
    """Refuse trees that lead outside of themselves, round in circles, or to columns that rows do not have.

    A node's children must come after it, which rules out circles.

    Raises
    ------
    ValueError
        Says what is wrong.
    """
    for tree in _trees(estimator, set()):
        if hasattr(tree, "nodes"):
            _check_predictor(tree)
        else:
            _check_tree(tree)


def columns(estimator: Any) -> int:
    """Return how many columns a row must have for the trees inside; 0 where there are none."""
    most = 0
    for tree in _trees(estimator, set()):
        feature = tree.nodes["feature_idx"] if hasattr(tree, "nodes") else tree.feature
        most = max(most, int(feature.max(initial=-1)) + 1)
    return most


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


def _trees(thing: Any, seen: set[int]) -> Iterator[Any]:
    """Yield every tree inside of an estimator, however deep; what is seen lives as long as the estimator does."""
    if id(thing) in seen or isinstance(thing, np.ndarray | str | bytes):
        return
    seen.add(id(thing))
    if type(thing).__name__ in ("Tree", "TreePredictor"):
        yield thing
        return
    held = vars(thing) if hasattr(thing, "__dict__") else thing
    parts = held.values() if isinstance(held, Mapping) else held if isinstance(held, list | tuple | set) else ()
    for part in parts:
        yield from _trees(part, seen)
