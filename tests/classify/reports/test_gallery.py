"""Thumbnails of the mistakes: embedded small, without metadata, and only those beside the records."""

import io

import numpy as np
from html_page import Page
from PIL import Image

from fc7.classify.reports.report import report


def save_thumbnail(folder, key, size=(200, 100), **options):
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size, "green").save(folder / f"{key}.jpg", **options)


def images(path):
    return [a for t, a in Page(path.read_text(encoding="utf-8")).tags if t == "img"]


def test_thumbnails_are_embedded_small_and_without_metadata(made_up, tmp_path):
    run = made_up([True, False, True])
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    save_thumbnail(tmp_path / "t", run.predictions["key"][0], exif=exif, comment=b"secret comment")
    (image,) = images(report([run], tmp_path / "report.html", thumbnails=tmp_path / "t"))
    import base64

    content = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
    assert b"secret" not in content
    assert max(Image.open(io.BytesIO(content)).size) == 96
    assert image["alt"].startswith("ants/0000.jpg: ants ")


def test_missing_and_broken_thumbnails_are_file_names(made_up, tmp_path):
    run = made_up([True, False, True])
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / f"{run.predictions['key'][0]}.jpg").write_bytes(b"<svg onload=alert(1)>")
    save_thumbnail(tmp_path / "t", run.predictions["key"][1])
    path = report([run], tmp_path / "report.html", thumbnails=tmp_path / "t")
    assert [image["alt"].partition(":")[0] for image in images(path)] == ["bees/0001.jpg"]
    assert "ants/0000.jpg" in Page(path.read_text()).text


def test_a_record_cannot_choose_which_file_is_read(made_up, tmp_path):
    run = made_up([True])
    save_thumbnail(tmp_path, "secret")
    (tmp_path / "t").mkdir()
    run.predictions["key"][0] = "../secret"
    assert images(report([run], tmp_path / "report.html", thumbnails=tmp_path / "t")) == []


def test_a_folder_of_records_with_thumbnails_beside_them(made_up, tmp_path):
    run = made_up([True, False])
    run.save(tmp_path)
    save_thumbnail(tmp_path / "thumbnails", run.predictions["key"][1])
    assert len(images(report(tmp_path, tmp_path / "out" / "report.html"))) == 1


def test_four_hundred_images_and_twenty_runs_stay_under_three_megabytes(made_up, tmp_path):
    generator = np.random.default_rng(0)
    runs = [made_up(generator.random(400) < 0.9, head=f"head{place}") for place in range(20)]
    (tmp_path / "t").mkdir()
    for key in runs[0].predictions["key"]:
        noise = generator.integers(0, 255, (96, 96, 3), dtype=np.uint8)  # nothing compresses worse
        Image.fromarray(noise).save(tmp_path / "t" / f"{key}.jpg", quality=95)
    assert report(runs, tmp_path / "report.html", thumbnails=tmp_path / "t").stat().st_size < 3_000_000


def test_without_any_picture_there_are_no_boxes_and_one_line(made_up, tmp_path):
    """Such as after an interrupted compare, which has written records but no thumbnails."""
    made_up([True, False, True]).save(tmp_path)
    page = Page(report(tmp_path, tmp_path / "report.html").read_text())
    assert not any("missing" in (attributes.get("class") or "").split() for _, attributes in page.tags)
    assert "There are no pictures" in page.text
    assert "bees/0001.jpg" in page.text


def test_with_pictures_nothing_is_said_of_their_absence(made_up, tmp_path):
    run = made_up([True, False])
    run.save(tmp_path)
    save_thumbnail(tmp_path / "thumbnails", run.predictions["key"][1])
    assert "There are no pictures" not in Page(report(tmp_path, tmp_path / "out.html").read_text()).text
