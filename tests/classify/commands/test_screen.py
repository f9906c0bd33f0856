"""The verb screen: a table of candidates, an answer, and a page."""

import pytest
from command_line import draw_split

pytestmark = pytest.mark.usefixtures("shared_cache")
SEEDS = [word for seed in range(3) for word in ("--weights", f"random:{seed}")]
WORDS = ["--backbone", "squeezenet1_1", *SEEDS, "--image-size", "64", "--heads", "ridge", "--quiet"]


@pytest.fixture(scope="module")
def screened(tmp_path_factory):
    return draw_split(tmp_path_factory.mktemp("screened"), 20, 8)


def test_screen_says_what_to_take_and_names_candidates_by_what_differs(fc7, screened, tmp_path):
    code, out, _ = fc7("screen", screened, "-o", tmp_path / "runs", *WORDS, "--sample", 12)
    assert code == 0
    for seed in range(3):
        assert f"squeezenet1_1 gap random:{seed} " in out
    assert "Take squeezenet1_1 gap random:" in out
    code, _, _ = fc7("report", tmp_path / "runs", "-o", tmp_path / "page.html")
    assert code == 0
    assert "Screening: 3 candidates" in (tmp_path / "page.html").read_text()


def test_screen_json(fc7_json, screened, tmp_path):
    answer = fc7_json("screen", screened, "-o", tmp_path / "runs", *WORDS, "--sample", 12)
    assert len(answer["candidates"]) == 3
    assert answer["rounds"] == [{"images": 12, "candidates": 3, "went_on": answer["rounds"][0]["went_on"]}]
    assert {"answer", "runs", "records", "data_sets"} <= answer.keys()
    first = answer["candidates"][0]
    assert first["outcome"] == "best"
    assert first["images_per_second"] > 0


def test_sizes_are_candidates(fc7_json, screened, tmp_path):
    words = ["--backbone", "squeezenet1_1", "--weights", "random:0", "--image-size", "64", "--image-size", "96:100"]
    answer = fc7_json("screen", screened, "-o", tmp_path / "runs", *words, "--heads", "ridge", "--quiet")
    assert {row["image_size"] for row in answer["candidates"]} == {64, 96}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backbone", "squeezenet1_1", "--image-size", "wide"], "wide"),
        (["--backbone", "squeezenet1_1", "--weights", "random:0", "--weights", "random:0"], "twice"),
        (["--backbone", "nonsense"], "nonsense"),
    ],
)
def test_wrong_candidates_are_usage_errors(fc7, screened, tmp_path, words, message):
    code, _, err = fc7("screen", screened, "-o", tmp_path / "runs", *words)
    assert code == 2
    assert message in err
