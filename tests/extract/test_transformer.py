"""Image paths in, embeddings out, inside scikit-learn's own pipeline and search; each image is computed once."""

import numpy as np
import pytest
from fakes import coloured
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from fc7.classify import EmbeddingTransformer
from fc7.classify.heads.penalised import Logistic
from fc7.classify.heads.preparation import UnitRows
from fc7.errors import DataError
from fc7.extract import extract, load_backbone, read_manifest


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("transformer")
    coloured(root / "data", 6)
    return root


@pytest.fixture
def paths(home):
    return sorted((home / "data").glob("*/*.png"), key=lambda path: path.name)


@pytest.fixture
def transformer(home):
    options = {"weights": "random:0", "batch_size": 4, "cache": str(home / "cache"), "device": "cpu"}
    return EmbeddingTransformer("squeezenet1_1", "gap", **options)


def test_rows_are_those_of_extract_in_the_order_asked_for(home, paths, transformer):
    backbone = load_backbone("squeezenet1_1", "gap", weights="random:0", batch_size=4, cache=home / "cache")
    embeddings = extract(read_manifest(home / "data"), backbone, cache=home / "cache")
    found = transformer.fit_transform(paths)
    rows = dict(zip(embeddings.paths.tolist(), embeddings.vectors, strict=True))
    expected = [rows[str(path.relative_to(home / "data"))] for path in paths]
    assert np.array_equal(found, np.stack(expected))


def test_a_search_computes_each_image_once(paths, transformer, home, forwards):
    transformer.set_params(cache=str(home / "other"))
    pipeline = Pipeline([("embed", transformer), ("unit", UnitRows()), ("head", Logistic())])
    labels = [path.parent.name for path in paths]
    search = GridSearchCV(pipeline, {"head__C": [0.1, 10]}, cv=3).fit([str(path) for path in paths], labels)
    assert search.predict(paths).tolist() == labels
    assert sum(forwards) <= len(paths) + 4 * 2, "and what pads the last batches"


def test_it_is_cloned_with_its_parameters(transformer):
    twin = clone(transformer)
    assert twin.get_params() == transformer.get_params()
    assert twin.backbone == "squeezenet1_1"


def test_what_is_no_image_is_refused_by_name(paths, transformer, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG but no more")
    absent = tmp_path / "absent.png"
    for wrong in (broken, absent):
        with pytest.raises(DataError, match=f"1 of 2 files .*{wrong.name}"):
            transformer.transform([paths[0], wrong])
