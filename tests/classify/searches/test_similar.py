"""Similar images: the nearest by brute force, in the order of keys where they tie, and a page of them."""

from dataclasses import replace

import numpy as np
import pytest

from fc7.classify import Similar, similar
from fc7.classify.searches.page import write_similar
from fc7.errors import DataError, UsageError


def cosines(embeddings, to=None):
    rows, asked = (np.asarray(one.vectors, np.float64) for one in (embeddings, to or embeddings))
    rows, asked = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (rows, asked))
    return asked @ rows.T


def test_each_image_has_its_nearest_in_the_order_that_was_given(table):
    embeddings = table((12, 13), dim=6)
    found = similar(embeddings, k=3)
    assert [image.path for image in found] == embeddings.paths.tolist()
    every = cosines(embeddings)
    np.fill_diagonal(every, -2)
    for row, image in enumerate(found):
        best = np.argsort(-every[row])[:3]
        assert [near.path for near in image.neighbours] == embeddings.paths[best].tolist()
        assert [near.label for near in image.neighbours] == embeddings.labels[best].tolist()
        assert [near.score for near in image.neighbours] == pytest.approx(every[row][best], abs=1e-9)
        assert image.label == embeddings.labels[row]


def test_other_images_are_asked_about(table):
    embeddings, others = table((12, 13), dim=6), table((4, 0), dim=6, seed=1)
    found = similar(embeddings, others, k=2)
    best = np.argsort(-cosines(embeddings, others), axis=1)[:, 0]
    assert [image.neighbours[0].path for image in found] == embeddings.paths[best].tolist()
    matrix = similar(embeddings, others.vectors, k=2)
    assert [image.path for image in matrix] == ["row 0", "row 1", "row 2", "row 3"]
    assert [image.neighbours for image in matrix] == [image.neighbours for image in found]


def test_ties_are_in_the_order_of_keys_whatever_the_order_of_files(table):
    embeddings = table((10, 10), dim=4)
    embeddings = replace(embeddings, vectors=np.ones_like(embeddings.vectors))
    by_key = embeddings.paths[np.argsort([key.hex() for key in embeddings.keys])].tolist()
    order = np.random.default_rng(0).permutation(20)
    for rows in (embeddings, embeddings[order]):
        for image in similar(rows, k=5):
            assert [near.path for near in image.neighbours] == [path for path in by_key if path != image.path][:5]


def test_copies_are_neighbours_and_an_image_is_not_its_own(table):
    keys = list(range(20))
    keys[1] = keys[0]
    embeddings = table((10, 10), dim=4, keys=keys)
    embeddings.vectors[1] = embeddings.vectors[0]
    first, second, *_ = similar(embeddings, k=1)
    assert (first.neighbours[0].path, second.neighbours[0].path) == ("c0/001.png", "c0/000.png")
    assert first.neighbours[0].score == 1


def test_few_images_have_few_neighbours_and_no_labels_are_empty(table):
    (only,) = similar(table((1, 0)), k=5)
    assert only.neighbours == []
    assert len(similar(table((3, 0)), k=5)[0].neighbours) == 2
    X = table((3, 3)).vectors
    assert {near.label for image in similar((X, None)) for near in image.neighbours} == {""}


def test_a_table_has_a_row_for_each_neighbour(table):
    found = similar(table((2, 1), dim=4), k=2)
    assert isinstance(found[:1], Similar)
    lines = found.to_csv().splitlines()
    assert lines[0] == "path,rank,neighbour,score,label"
    assert len(lines) == 1 + 3 * 2
    assert "c0/000.png" in repr(found)
    assert [*found[0].to_dict()["neighbours"][0]] == ["path", "score", "label"]


@pytest.mark.parametrize(
    ("to", "options", "said"),
    [
        (None, {"k": 0}, "-k 0"),
        (np.ones((2, 5)), {}, "5 numbers, those of the data set 8"),
        ("other", {}, "same recipe"),
    ],
)
def test_what_cannot_be_compared_is_usage(table, to, options, said):
    other = table(layer="fc7") if isinstance(to, str) else to
    with pytest.raises(UsageError, match=said):
        similar(table(), other, **options)


def test_numbers_that_are_not_finite_are_refused(table):
    bad = table()
    bad.vectors[3] = np.nan
    with pytest.raises(DataError, match=r"c0/003\.png"):
        similar(bad)
    with pytest.raises(DataError, match=r"c0/003\.png"):
        similar(table(), bad)


def test_the_page_shows_the_first_images_and_names_stay_text(table, tmp_path):
    names = [f"<script>alert({row})</script>\u202e/home/ann/{row}.png" for row in range(20)]
    embeddings = replace(table((10, 10)), paths=np.array(names))
    page = write_similar(similar(embeddings, k=2), tmp_path / "page.html", embeddings, top=3).read_text()
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "3 of 20 images" in page
    assert page.count("<li ") == 3
    assert "src=" not in page, "no pictures without images"


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_one_line(device):
    with pytest.raises(UsageError, match=f"device {device} cannot be used here"):
        similar((np.eye(3, dtype=np.float32), None), k=1, device=device)
