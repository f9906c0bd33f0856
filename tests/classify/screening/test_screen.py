"""Screening: the better candidates go on, what is left is compared on images that no sample has, and all is kept."""

import json
import shutil

import numpy as np
import pytest
from fakes import FakeBackbone, coloured

from fc7.classify import load_runs, report, screen
from fc7.errors import DataError, Interrupted, UsageError
from fc7.extract import extract


class Network(FakeBackbone):
    """Colours under noise of a deviation of its own; it counts the images that it was asked for."""

    def __init__(self, number, noise=0.0):
        super().__init__(weights=f"{number:064x}", dtype="float32", batch_size=1)
        self.noise, self.number = noise, number

    def __copy__(self):
        return self

    def forward(self, batch):
        (vectors,) = super().forward(batch)
        seed = [self.number, *np.frombuffer(vectors.tobytes(), np.uint32)[:4].tolist()]
        return [
            vectors + np.float32(self.noise) * np.random.default_rng(seed).standard_normal(vectors.shape, np.float32)
        ]


def networks():
    return [Network(number, noise) for number, noise in enumerate([9.0, 1.0, 9.0, 0.05, 9.0])]


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return coloured(tmp_path_factory.mktemp("split"), 60, fitted=40)


def images(backbones):
    return [backbone.batches for backbone in backbones]


@pytest.fixture(scope="module")
def screened(split, tmp_path_factory):
    """Where records and rows are, the networks, and what was found."""
    home, given = tmp_path_factory.mktemp("screened"), networks()
    return home, given, run(split, given, home)


def run(data, given, home):
    return screen(data, given, ["ridge"], folder=home / "runs", cache=home / "cache", sample=20)


def test_the_best_is_found_on_all_images_and_the_others_have_samples(screened):
    _, given, screening = screened
    best = screening.candidates[0]
    assert best.recipe == given[3].recipes[0].id
    assert (best.outcome, best.final, best.images) == ("best", True, 40)
    assert screening.answer[0].startswith(f"Take {best.name}: ")
    assert images(given)[3] == 120
    assert max(images(given)[place] for place in (0, 2, 4)) <= 40
    assert [(row["images"], row["candidates"]) for row in screening.screened.rounds] == [(20, 5), (40, 3)]
    assert {row.outcome for row in screening.candidates[-2:]} <= {"worse", "too few images to say"}


def test_a_second_run_computes_nothing_and_answers_the_same(split, screened):
    home, _, screening = screened
    again = networks()
    repeated = run(split, again, home)
    assert images(again) == [0] * 5
    assert (repeated.answer, repeated.candidates) == (screening.answer, screening.candidates)


def test_the_memory_of_what_an_interrupted_screening_extracted_is_known(split, tmp_path, monkeypatch):
    class Interrupting(Network):
        def forward(self, batch):
            raise KeyboardInterrupt

    def measured(size):
        monkeypatch.setattr("fc7.classify.screening.screen.watch_memory", lambda backbone: lambda: size)

    def candidates():
        return [networks()[place] for place in (0, 1, 3)]  # the best is among them

    measured(7 << 20)
    first, *others = candidates()
    with pytest.raises(Interrupted):
        run(split, [first, Interrupting(9), *others], tmp_path)
    measured(1 << 20)
    memory = {row.recipe: row.memory for row in run(split, candidates(), tmp_path).candidates}
    assert memory[first.recipes[0].id] == 7 << 20
    (tmp_path / "runs" / "screening" / "memory.json").write_text("[1]")
    assert run(split, candidates(), tmp_path).candidates[0].memory is None


def test_without_a_split_no_image_of_a_sample_is_evaluated(tmp_path):
    data = coloured(tmp_path / "data", 40)
    screening = screen(data, networks(), ["ridge"], folder=tmp_path / "runs", cache=tmp_path / "cache", sample=16)
    last = screening.screened.rounds[-1]["images"]
    rounds = load_runs(tmp_path / "runs" / "screening" / str(last))
    sampled, evaluated = ({*run.predictions["key"]} for run in (rounds[0], screening.runs[0]))
    assert len(sampled) == last
    assert not sampled & evaluated
    assert len(sampled | evaluated) == 80
    assert screening.runs[0].folds[0]["fitted"] >= last


def test_two_candidates_are_compared_on_all_images(split, tmp_path):
    screening = screen(split, networks()[2:4], ["ridge"], cache=tmp_path / "cache")
    assert screening.screened.rounds == []
    assert [row.final for row in screening.candidates] == [True, True]


def test_too_few_images_for_a_sample_leave_no_candidate_out(tmp_path, caplog):
    data = coloured(tmp_path / "data", 5)
    screening = screen(data, networks()[:3], ["ridge"], cache=tmp_path / "cache")
    assert all(row.final for row in screening.candidates)
    assert "too few images for a sample" in caplog.text
    assert "too few to say" in screening.answer[0] or "cannot be told apart" in screening.answer[0]


class Broken(Network):
    """One without numbers: for all images, or for one of them."""

    def __init__(self, number, *, lost=None):
        super().__init__(number)
        self.lost = lost

    def forward(self, batch):
        (vectors,) = super().forward(batch)
        nothing = np.full_like(vectors, np.nan)
        return [nothing if self.lost is None or np.allclose(vectors, self.lost, atol=1e-6) else vectors]


def test_a_broken_candidate_does_not_stop_the_others(split, tmp_path):
    given = [Broken(7), *networks()[2:4]]
    screening = run(split, given, tmp_path)
    assert {row.recipe: row.final for row in screening.candidates} == {one.recipes[0].id: True for one in given[1:]}
    (said,) = [sentence for sentence in screening.answer if sentence.startswith("Could not be extracted: ")]
    assert "its embedding is not finite" in said
    assert list(screening.screened.broken.values()) == ["no image could be embedded: its embedding is not finite"]
    with pytest.raises(DataError, match="its embedding is not finite"):
        screen(split, [Broken(7)], ["ridge"], cache=tmp_path / "cache")


def test_an_image_that_one_candidate_rejects_is_left_out_of_all(split, tmp_path, caplog):
    lost = extract(split, Network(6), cache=tmp_path / "cache").vectors[-1]
    screening = screen(split, [networks()[3], Broken(8, lost=lost)], ["ridge"], cache=tmp_path / "cache")
    assert len({row.images for row in screening.candidates}) == 1
    assert "left out of all, so that runs are compared on the same: 119 left" in caplog.text
    assert "its embedding is not finite" in caplog.text


def test_the_page_has_the_candidates(screened, tmp_path):
    runs = shutil.copytree(screened[0] / "runs", tmp_path / "runs")
    page = report(runs, tmp_path / "page.html").read_text()
    assert "Screening: 5 candidates" in page
    assert "Accuracy against images per second" in page
    (runs / "screening" / "screening.json").write_text(json.dumps({"format": 1}))
    assert "Screening:" not in report(runs, tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("backbones", "options", "message"),
    [
        ([], {}, "the list is empty"),
        ([Network(1), Network(1)], {}, "given twice"),
        ([Network(1)], {"sample": 0}, "must be 1 or more"),
        ([Network(1)], {"nonsense": 1}, "nonsense"),
        ([Network(1)], {"folds": 1}, "two or more"),
    ],
)
def test_what_makes_no_sense_is_refused(split, backbones, options, message):
    with pytest.raises(UsageError, match=message):
        screen(split, backbones, **options)
