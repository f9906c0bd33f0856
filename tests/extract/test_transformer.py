"""Image paths in, embeddings out, inside scikit-learn's own pipeline and search; each image is computed once."""

import pickle

import numpy as np
import pytest
from fakes import coloured
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.utils import estimator_checks

from fc7.cache.recipe import Transform
from fc7.classify import EmbeddingTransformer
from fc7.classify.heads.penalised import Logistic
from fc7.classify.heads.preparation import UnitRows
from fc7.errors import DataError, UsageError
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
    assert found.dtype == np.float32
    assert np.array_equal(found, np.stack(expected).astype(np.float32))


def test_a_search_computes_each_image_once(paths, transformer, home, forwards):
    transformer.set_params(cache=str(home / "other"))
    pipeline = Pipeline([("embed", transformer), ("unit", UnitRows()), ("head", Logistic())])
    labels = [path.parent.name for path in paths]
    search = GridSearchCV(pipeline, {"head__C": [0.1, 10]}, cv=3).fit([str(path) for path in paths], labels)
    assert search.predict(paths).tolist() == labels
    assert sum(forwards) <= len(paths) + 4 * 2, "and what pads the last batches"


def test_images_are_prepared_as_it_says(home, paths, transformer):
    transform = Transform(232, 224, (0.5,) * 3, (0.25,) * 3, "bicubic")
    options = {"weights": "random:0", "batch_size": 4, "cache": home / "cache", "transform": transform}
    right = extract(
        read_manifest(home / "data"), load_backbone("squeezenet1_1", "gap", **options), cache=home / "cache"
    )
    rows = dict(zip(right.paths.tolist(), right.vectors, strict=True))
    found = clone(transformer).set_params(image_transform=transform).transform(paths)
    assert np.array_equal(found, np.stack([rows[str(path.relative_to(home / "data"))] for path in paths]))
    assert not np.array_equal(found, transformer.transform(paths))
    named = clone(transformer).set_params(image_transform="IMAGENET1K_V1")
    assert np.array_equal(named.transform(paths), transformer.transform(paths))


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


def test_rows_are_float32_so_that_squares_do_not_overflow(paths, transformer, monkeypatch):
    import fc7.extract.transformer as module

    def large(hashed, backbones, **options):
        return [], iter([(range(len(paths)), {backbones[0].recipes[0]: np.full((len(paths), 512), 300, np.float16)})])

    monkeypatch.setattr(module, "cached_vectors", large)
    rows = transformer.transform(paths)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(Normalizer().fit_transform(rows), axis=1), 1)


def test_columns_and_tables_are_lists_of_paths(paths, transformer):
    pandas = pytest.importorskip("pandas")
    names = [str(path) for path in paths]
    expected = transformer.transform(names)
    table = pandas.DataFrame({"path": names, "size": 1})
    for images in (
        np.array(names),
        np.array(names)[:, None],
        table["path"],
        table[["path"]],
        tuple(paths),
        iter(paths),
    ):
        assert np.array_equal(transformer.transform(images), expected)
    columns = ColumnTransformer([("embed", transformer, ["path"])], remainder="passthrough")
    assert np.array_equal(columns.fit_transform(table)[:, :-1], expected)
    assert columns.get_feature_names_out()[[0, -1]].tolist() == ["embed__squeezenet1_1_gap_0", "remainder__size"]
    for work in (transformer.fit, transformer.transform):
        with pytest.raises(UsageError, match="2 columns, path, size"):
            work(table)


@pytest.mark.parametrize(
    ("images", "error", "said"),
    [
        ("a.png", UsageError, "One path, 'a.png'.*into a list"),
        (b"a.png", UsageError, "into a list"),
        (None, UsageError, "a list"),
        ([], DataError, "no images"),
        ([1.5], UsageError, "Row 0 is of type float, 1.5"),
        ([["a.png"]], UsageError, "Row 0 is of type list"),
        (np.zeros((2, 4, 4, 3)), UsageError, "Row 0 is of type ndarray"),
        ({"path": "a.png"}, UsageError, "a list"),
    ],
)
def test_what_is_no_list_of_paths_is_refused(transformer, images, error, said):
    with pytest.raises(error, match=said):
        transformer.transform(images)


def test_columns_have_names_before_anything_is_transformed(transformer, home):
    names = clone(transformer).get_feature_names_out()
    assert names.dtype == object
    assert names.tolist() == [f"squeezenet1_1_gap_{place}" for place in range(512)]
    options = {"weights": "random:0", "cache": home / "cache"}
    assert EmbeddingTransformer("alexnet", "fc7", **options).get_feature_names_out()[-1] == "alexnet_fc7_4095"


def test_tables_out(paths, transformer):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"path": [str(path) for path in paths]}, index=range(100, 100 + len(paths)))
    expected = transformer.transform(table)
    found = clone(transformer).set_output(transform="pandas").fit_transform(table)
    assert np.array_equal(found.to_numpy(), expected)
    assert found.columns.tolist() == transformer.get_feature_names_out().tolist()
    assert found.index.tolist() == table.index.tolist()
    pipeline = make_pipeline(clone(transformer), FunctionTransformer(feature_names_out="one-to-one"))
    assert pipeline.set_output(transform="pandas").fit_transform(table).shape == expected.shape


def test_the_name_of_the_column_is_kept_as_scikit_learn_keeps_it(paths, transformer):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"path": [str(path) for path in paths]})
    assert transformer.fit(table).feature_names_in_.tolist() == ["path"]
    assert transformer.n_features_in_ == 1
    assert not hasattr(transformer.fit(paths), "feature_names_in_")
    assert pickle.loads(pickle.dumps(transformer)).get_params() == transformer.get_params()


# A backbone that is made already


@pytest.fixture
def made(home):
    return load_backbone("squeezenet1_1", "gap", weights="random:0", batch_size=4, cache=home / "cache", device="cpu")


def test_a_backbone_that_is_made_already_gives_the_same_rows(home, paths, transformer, made):
    taking = EmbeddingTransformer(made, cache=home / "cache")
    expected = transformer.transform(paths)
    twin = clone(taking)
    assert twin.backbone is made
    assert np.array_equal(twin.fit_transform(paths), expected)
    assert twin.get_feature_names_out().tolist() == transformer.get_feature_names_out().tolist()
    again = pickle.loads(pickle.dumps(taking))
    assert again.backbone.recipes == made.recipes
    assert np.array_equal(again.transform(paths), expected)


def test_a_search_chooses_among_backbones(home, paths, made):
    other = load_backbone("squeezenet1_1", "gmp", weights="random:0", batch_size=4, cache=home / "cache", device="cpu")
    pipeline = Pipeline([("embed", EmbeddingTransformer(made, cache=home / "cache")), ("head", Logistic())])
    labels = [path.parent.name for path in paths]
    search = GridSearchCV(pipeline, {"embed__backbone": [made, other]}, cv=2).fit(paths, labels)
    assert search.best_params_["embed__backbone"] in (made, other)


def test_what_a_backbone_has_decided_is_not_said_again(home, paths, made):
    views = load_backbone("squeezenet1_1", "gap", weights="random:0", views=1, cache=home / "cache")
    layers = load_backbone("squeezenet1_1", ["gap", "gmp"], weights="random:0", cache=home / "cache")
    for wrong, said in (
        (EmbeddingTransformer(made, "gmp"), "layer is what .* has decided already"),
        (EmbeddingTransformer(made, batch_size=2), "batch_size"),
        (EmbeddingTransformer(made, resize="pad"), "resize is what"),
        (EmbeddingTransformer(views), "several vectors"),
        (EmbeddingTransformer(layers), "several vectors"),
        (EmbeddingTransformer(5), "name=5 is of type int"),
    ):
        with pytest.raises(UsageError, match=said) as raised:
            wrong.set_params(cache=home / "cache").transform(paths)
        assert len(str(raised.value).splitlines()) == 1


# What cannot be read


def test_what_is_no_image_can_be_a_row_of_nan(paths, transformer, tmp_path, log):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but no more")
    (tmp_path / "folder").mkdir()
    wrong = [tmp_path / "broken.png", tmp_path / "absent.png", tmp_path / "notes.txt", tmp_path / "folder"]
    taking = clone(transformer).set_params(on_reject="nan")
    found = taking.transform([wrong[0], paths[3], *wrong[1:], paths[3], paths[0]])
    kept = [1, 5, 6]
    assert found.dtype == np.float32
    assert np.array_equal(found[kept], transformer.transform([paths[3], paths[3], paths[0]]))
    assert np.isnan(np.delete(found, kept, axis=0)).all()
    (warning,) = [record.getMessage() for record in log.records if "NaN" in record.getMessage()]
    assert warning.startswith("4 of 7 files are not images that can be read; the first is ")
    alone = taking.transform(wrong)
    assert alone.shape == (4, 512)
    assert np.isnan(alone).all()


def test_on_reject_has_two_values(paths, transformer):
    with pytest.raises(UsageError, match="on_reject='drop'"):
        clone(transformer).set_params(on_reject="drop").transform(paths)


# scikit-learn's own checks, but those that fit on matrices of numbers


@pytest.mark.parametrize("name", [
    "parameters_default_constructible", "get_params_invariance", "set_params", "no_attributes_set_in_init",
    "estimator_repr", "estimator_cloneable", "mixin_order", "estimator_tags_renamed", "valid_tag_types",
])  # fmt: skip
def test_it_is_an_estimator_by_the_word_of_scikit_learn(name):
    check = getattr(estimator_checks, f"check_{name}", None)
    if check is None:
        pytest.skip(f"this scikit-learn has no check_{name}")
    check("EmbeddingTransformer", EmbeddingTransformer())
