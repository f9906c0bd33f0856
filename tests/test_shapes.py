"""Shapes and types that docstrings state are those of what is returned."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
from fakes import coloured
from sklearn.base import BaseEstimator

import fc7.cache
import fc7.classify
import fc7.classify.heads
import fc7.extract
from fc7.cache import Store
from fc7.classify import Bundle, EmbeddingTransformer, fit
from fc7.classify.heads import Calibrated, ClassifierStack, Ridge
from fc7.extract import extract, load_backbone

DOORS = (fc7.extract, fc7.classify, fc7.classify.heads, fc7.cache)
CLASSES = {name: value for door in DOORS for name in door.__all__ if inspect.isclass(value := getattr(door, name))}
SHAPE = re.compile(r"``(\([^`]*,[^`]*\))``")
TYPE = re.compile(r"\b(?:float|uint|int)\d+\b|\bstr\b")
OF_WHAT_IS_TAKEN = {("Bundle", "estimator"), ("Fitted", "estimator")}
X = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
Y = np.arange(30) % 3


def entries(doc, section):
    """Return what a section of a docstring lists: the names of each entry, and its text."""
    text = re.search(rf"^{section}\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", doc, re.MULTILINE | re.DOTALL)
    return re.findall(r"^(\S.*)\n((?: {4}.*\n?)+)", text[1], re.MULTILINE) if text else []


def claims():
    """Yield what is stated of attributes and of what methods return: class, name, and the sentence with the shape."""
    for name, value in CLASSES.items():
        ours = [base for base in value.__mro__ if base.__module__.startswith("fc7.")]
        for names, text in (entry for base in ours for entry in entries(inspect.getdoc(base) or "", "Attributes")):
            names, shapes = names.partition(":")[0].split(","), SHAPE.findall(text)
            for place, one in enumerate(names if shapes else ()):
                yield name, one.strip(), f"``{shapes[place]}``" if len(shapes) == len(names) > 1 else text
        for member in {member for base in ours for member in vars(base) if member[0] != "_" or member == "__array__"}:
            inner = getattr(value, member)
            doc = inspect.getdoc(inner) or ""
            text = " ".join(text for _, text in entries(doc, "Returns"))
            if isinstance(inner, property) or doc.startswith("Return "):
                text = text or doc.partition("\n\n")[0]
            if SHAPE.search(text):
                yield name, member, text


CLAIMS = {(name, member): text for name, member, text in claims() if (name, member) not in OF_WHAT_IS_TAKEN}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An object of each class, and what the letters in its shapes stand for."""
    home = tmp_path_factory.mktemp("shapes")
    settings = {"weights": "random:0", "image_size": (32, 32), "cache": home / "cache"}
    backbone = load_backbone("squeezenet1_1", "gap", views=2, **settings)
    rows = extract(coloured(home / "data", 6), backbone, cache=home / "cache")
    head = fit(rows, "ridge", folds=2)
    bundle = replace(Bundle.of(head), costs=[[0, 1], [2, 0]])
    store = Store(rows.recipe, home / "cache")
    transformer = EmbeddingTransformer(load_backbone("squeezenet1_1", "gap", **settings), cache=home / "cache")
    objects = (backbone, rows, head, bundle, store, transformer)
    paths = sorted((home / "data").glob("*/*"))
    letters = {
        "paths": paths,
        "n": len(rows),
        "evaluated": len(rows),
        "dim": 512,
        "classes": 2,
        "views": 2,
        "rows": rows,
        "B": 3,
        "keys": rows.keys,
        "len": len,
    }
    return {type(value).__name__: (value, letters) for value in objects} | {
        name: (fitted(value), {"n": 30, "d": 8, "dim": 8, "classes": 3, "axes": 8})
        for name, value in CLASSES.items()
        if issubclass(value, BaseEstimator) and value not in (EmbeddingTransformer, ClassifierStack)
    }


def fitted(estimator, y=Y):
    """Return an estimator with its defaults, fitted."""
    options = {"estimator": Ridge()} if estimator is Calibrated else {}
    return estimator(**options).fit(X[: len(y)], y)


def value_of(made, name, member):
    """Return what an attribute holds, or a method returns."""
    one, letters = made[name]
    value = getattr(one, member)
    if not callable(value):
        return np.asarray(value) if member == "costs" else value
    rows = letters.get("rows")
    given = {
        "forward": lambda: [np.zeros((3, 32, 32, 3), np.uint8)],
        "__array__": list,
        "get_feature_names_out": list,
        "all_views": lambda: [np.arange(len(rows))],
    }
    if rows is None:
        return value(X)
    if name == "Store":
        return value(rows.keys)
    if name == "EmbeddingTransformer" and member == "transform":
        return value([str(path) for path in letters["paths"]])
    return value(*given.get(member, lambda: [np.ones((len(rows), 512))])())


@pytest.mark.parametrize(("name", "member"), sorted(CLAIMS))
def test_a_stated_shape_is_true(made, name, member):
    if name == "ClassifierStack":
        pytest.skip("it is fitted on cached pool5 alone: tests/classify/heads")
    arrays, text = value_of(made, name, member), CLAIMS[name, member]
    types = TYPE.findall(text.partition(";")[0].lower())
    for array in arrays if isinstance(arrays, list | tuple) else [arrays]:
        stated = SHAPE.search(text)[1].replace("support vectors", "len(array)")
        assert array.shape == eval(stated, {"len": len, "array": array} | made[name][1])
        assert not types or array.dtype.name in types or ("str" in types and array.dtype.kind == "U")


@pytest.mark.parametrize("name", [name for name, member in CLAIMS if member == "decision_function"])
def test_of_two_classes_there_is_one_margin(name):
    if name != "ClassifierStack":
        assert fitted(CLASSES[name], Y[:20] % 2).decision_function(X).shape == (30,)


def test_shapes_are_stated():
    assert {("Embeddings", "vectors"), ("Embeddings", "labels"), ("Bundle", "predict_proba"), ("Backbone", "forward"),
            ("Store", "rows"), ("Logistic", "predict_proba")} <= CLAIMS.keys()  # fmt: skip
