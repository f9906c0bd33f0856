"""Thumbnails, and larger pictures: upright, without metadata, of the evaluated images only, and never fatal."""

import hashlib
import logging
import os
from dataclasses import replace

import numpy as np
import pytest
from fakes import draw
from PIL import Image

from fc7.classify import compare
from fc7.classify.pages.thumbnails import write_thumbnails
from fc7.classify.reports.report import report


@pytest.fixture
def photos(tmp_path, made_up):
    """Four pictures and the record of a run that predicted them."""
    paths = [f"val/{label}/{number}.jpg" for number in range(2) for label in ("ants", "bees")]
    for number, path in enumerate(paths):
        draw(tmp_path / "data" / path, (60 * number, 80, 40), (600, 200))
    run = made_up([True, False, True, True], paths=paths)
    run.predictions["key"][:] = [
        hashlib.sha256((tmp_path / "data" / path).read_bytes()).hexdigest()[:16] for path in paths
    ]
    return run, tmp_path / "data", tmp_path / "runs" / "thumbnails"


def test_two_per_image_of_96_and_of_480_pixels(photos):
    run, root, folder = photos
    keys = run.predictions["key"]
    assert write_thumbnails(run.paths, root, folder) == {key: key for key in keys}
    for place, edge in ((folder, 96), (folder / "large", 480)):
        assert {path.name for path in place.iterdir() if path.is_file()} == {f"{key}.jpg" for key in keys}
        for path in place.glob("*.jpg"):
            with Image.open(path) as image:
                assert image.format == "JPEG"
                assert image.size == (edge, edge // 3)


def test_larger_ones_are_made_of_the_first_images_only(photos, monkeypatch):
    run, root, folder = photos
    monkeypatch.setattr("fc7.classify.pages.thumbnails.MOST_LARGE", 2)
    assert len(write_thumbnails(run.paths, root, folder)) == 4
    first = list(run.paths)[:2]
    assert {path.stem for path in (folder / "large").iterdir()} == set(first)
    (folder / "large" / f"{first[0]}.jpg").unlink()
    assert len(write_thumbnails(run.paths, root, folder)) == 4
    assert {path.stem for path in (folder / "large").iterdir()} == set(first), "it is made again, the small one is not"


def test_names_are_those_of_the_bytes_where_keys_are_not(photos):
    run, root, folder = photos
    paths = {f"place {number}": path for number, path in enumerate(run.paths.values())}
    names = write_thumbnails(paths, root, folder, checked=False)
    assert list(names) == list(paths)
    assert list(names.values()) == list(run.paths)
    first, second, *_ = paths.values()
    (root / first).write_bytes((root / second).read_bytes())
    names = write_thumbnails(paths, root, folder, checked=False)
    assert names["place 0"] == names["place 1"] == list(run.paths)[1]


def test_upright_and_without_metadata(tmp_path, made_up):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "secret place"
    path = draw(tmp_path / "a.jpg", (200, 0, 0), (40, 20), exif=exif, comment=b"secret comment")
    run = made_up([True], paths=["a.jpg"])
    run.predictions["key"][0] = key = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    write_thumbnails(run.paths, tmp_path, tmp_path / "t")
    for made in (tmp_path / "t" / f"{key}.jpg", tmp_path / "t" / "large" / f"{key}.jpg"):
        with Image.open(made) as image:
            assert image.size == (20, 40), "turned, and not enlarged"
        assert b"secret" not in made.read_bytes()


def test_those_that_are_there_are_left_alone(photos):
    run, root, folder = photos
    write_thumbnails(run.paths, root, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.jpg")}
    first = next(iter(sorted(folder.glob("*.jpg"))))
    first.unlink()
    assert len(write_thumbnails(run.paths, root, folder)) == 4
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.jpg")}
    assert {name: after[name] for name in before if name != first.name} == {
        name: time for name, time in before.items() if name != first.name
    }
    assert len(write_thumbnails(run.paths, root / "gone", folder)) == 4


def test_what_cannot_be_read_is_counted_and_not_fatal(photos, caplog):
    run, root, folder = photos
    (root / run.predictions["path"][0]).unlink()
    (root / run.predictions["path"][1]).write_bytes(b"another file")
    with caplog.at_level(logging.WARNING):
        assert len(write_thumbnails(run.paths, root, folder)) == 2
    (said,) = caplog.messages
    assert said.startswith(f"images without a thumbnail: 2, the first: {run.predictions['path'][0]}: No such file")
    assert len(list(folder.glob("*.*"))) == 2, "no temporary file stays"


def test_a_damaged_image_has_none(tmp_path, made_up, caplog):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff no image")
    run = made_up([True], paths=["a.jpg"])
    run.predictions["key"][0] = hashlib.sha256((tmp_path / "a.jpg").read_bytes()).hexdigest()[:16]
    assert write_thumbnails(run.paths, tmp_path, tmp_path / "t") == {}
    assert "a.jpg" in caplog.text


@pytest.mark.parametrize("kind", ["a file", "read-only"])
def test_a_folder_that_cannot_be_written_is_not_fatal(photos, caplog, kind):
    run, root, folder = photos
    folder.parent.mkdir(parents=True)
    if kind == "a file":
        folder.write_text("")
    elif getattr(os, "geteuid", int)() == 0:
        pytest.skip("root may write everywhere")
    else:
        folder.mkdir(mode=0o500)
    assert write_thumbnails(run.paths, root, folder) == {}
    assert "images without a thumbnail: 4" in caplog.text


def test_progress_is_told(photos):
    run, root, folder = photos
    told = []
    write_thumbnails(run.paths, root, folder, progress=lambda stage, done, total: told.append((stage, done, total)))
    assert told == [("thumbnails", done, 4) for done in range(1, 5)]


def test_compare_writes_those_of_the_evaluated_images_and_the_report_shows_them(table, tmp_path):
    embeddings = table((8, 8), val=3)
    keys = []
    for number, path in enumerate(embeddings.paths):
        file = draw(tmp_path / "data" / str(path), (10 * number, 100, 0))
        keys.append(list(hashlib.sha256(file.read_bytes()).digest()))
    embeddings = replace(embeddings, sha256=np.array(keys, np.uint8))
    compare(embeddings, "centroid", folder=tmp_path / "runs", images=tmp_path / "data", learning_curve=False)
    made = {path.stem for path in (tmp_path / "runs" / "thumbnails").glob("*.jpg")}
    evaluated = {bytes(key).hex()[:16] for key, split in zip(keys, embeddings.split, strict=True) if split == "val"}
    assert evaluated < made, "also those of the fitted images that are nearest to them"
    assert made <= {bytes(key).hex()[:16] for key in keys}
    page = report(tmp_path / "runs", tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2 * len(made), "a thumbnail, and a larger picture"


def test_without_images_or_without_a_folder_there_are_none(table, tmp_path):
    compare(table(val=5), "centroid", folder=tmp_path / "runs")
    assert not (tmp_path / "runs" / "thumbnails").exists()
    compare(table(val=5), "centroid", images=tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]
