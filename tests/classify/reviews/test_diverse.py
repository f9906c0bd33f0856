"""Which image to label next, against the definition: greedy weighted coverage."""

import numpy as np
import pytest

from fc7.classify.reviews.diverse import SAMPLE, Coverage


def by_definition(vectors, weights, seen, count):
    """Choose one after another what brings the uncertain closest to something that is seen or chosen."""
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine, chosen = rows @ rows.T, []
    for _ in range(count):
        covered = np.max([np.full(len(rows), -1.0), *cosine[[*seen, *chosen]]], axis=0)
        open_ = np.setdiff1d(np.arange(len(rows)), [*seen, *chosen])
        targets = np.setdiff1d(np.arange(len(rows)), seen)
        gain = [(weights[targets] * np.maximum(cosine[image, targets] - covered[targets], 0)).sum() for image in open_]
        chosen.append(int(open_[np.argmax(gain)]))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_that_of_the_definition(seed):
    generator = np.random.default_rng(seed)
    vectors, weights = generator.normal(size=(40, 6)), generator.random(40)
    coverage = Coverage(vectors.astype(np.float32), np.arange(40))
    for seen in ([], [3, 17], [3, 17, 5, 30], [3]):  # the last takes something back
        assert coverage.choose(weights, np.array(seen, int), 8).tolist() == by_definition(vectors, weights, seen, 8)


def test_each_group_is_shown_before_a_second_image_of_one():
    centres = np.eye(5)[np.repeat(np.arange(5), [30, 20, 10, 5, 2])]
    vectors = centres + 0.05 * np.random.default_rng(0).normal(size=centres.shape)
    coverage = Coverage(vectors.astype(np.float32), np.arange(len(vectors)))
    first = coverage.choose(np.ones(len(vectors)), np.array([], int))
    assert sorted(centres[first[:5]].argmax(axis=1)) == [0, 1, 2, 3, 4]
    assert centres[first[0]].argmax() == 0, "the largest first"


def test_little_or_nothing_is_left():
    vectors = np.zeros((3, 4), np.float32)
    coverage = Coverage(vectors, np.arange(3))
    assert coverage.choose(np.ones(3), np.array([], int)).tolist() == [0, 1, 2]
    assert coverage.choose(np.zeros(3), np.array([0, 2])).tolist() == [1]
    assert coverage.choose(np.ones(3), np.arange(3)).tolist() == []


def test_of_many_images_a_sample_is_chosen_from():
    vectors = np.random.default_rng(0).normal(size=(3 * SAMPLE, 3)).astype(np.float32)
    chosen = Coverage(vectors, np.arange(len(vectors))).choose(np.ones(len(vectors)), np.array([7]), 2)
    assert len(set(chosen.tolist()) - {7}) == 2
