"""Names of the heads. The command line shows them, so this module imports no estimator."""

# The only layer whose embeddings a head takes, by the head's name; empty for any.
HEAD_LAYERS = {
    "logreg": "",
    "linear-svm": "",
    "rbf-svm": "",
    "ridge": "",
    "lda": "",
    "knn": "",
    "centroid": "",
    "gaussian-nb": "",
    "random-forest": "",
    "hist-gb": "",
    "mlp": "",
    "torch-linear": "",
    "classifier": "pool5",
    "baseline": "",
}
