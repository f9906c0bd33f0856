import skops.io
from bundles import refused, rewrite

from fc7.classify import Bundle, fit


def test_trees_that_lead_astray_are_refused(embeddings, tmp_path):
    """Compiled code follows them without looking: a child before its parent, beyond the last, or a column too far."""
    for name, wrong in (("random-forest", _bend_forest), ("hist-gb", _bend_boosting)):
        path = Bundle.of(fit(embeddings, name, folds=2)).save(tmp_path / f"{name}.fc7")
        sound = path.read_bytes()
        for which in ("back", "beyond", "column", "before"):
            bundle = Bundle.load(path)
            wrong(bundle.estimator["head"].estimator, which)
            rewrite(path, skops.io.dumps(bundle.estimator))
            refused(path, "tree|column")
            path.write_bytes(sound)


def _bend_forest(forest, which):
    tree = forest.estimators_[3].tree_
    state = tree.__getstate__()
    field, value = {
        "back": ("left_child", 0),
        "beyond": ("right_child", tree.node_count),
        "column": ("feature", 5000),
        "before": ("feature", -7),
    }[which]
    state["nodes"][field][0] = value
    tree.__setstate__(state)


def _bend_boosting(boosting, which):
    nodes = boosting["head"]._predictors[2][0].nodes
    if which in ("back", "beyond"):
        nodes["right"][0] = 0 if which == "back" else len(nodes)
    else:
        nodes["feature_idx"][0] = 5000 if which == "column" else -7
