"""The pictures of a page: in it, or in the folder beside it, and never those of another image."""

import base64
import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from fakes import draw, noisy
from PIL import Image

from fc7.cache.output_file import OutputFile
from fc7.classify.pages import pictures as module
from fc7.classify.pages.pictures import folder_beside, pictures
from fc7.classify.pages.thumbnails import write_thumbnails


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Six images, and pages with more than three pictures have a folder beside them."""
    monkeypatch.setattr(module, "EMBEDDED", 3)
    return {f"{number:016x}": str(noisy(tmp_path / f"{number}.png", (90, 90, 90), number)) for number in range(6)}


def name_of(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def made(page, paths, *, fails=False):
    """Write a page that names its pictures."""
    try:
        with pictures(OutputFile(page), paths, checked=False) as found:
            if fails:
                raise KeyboardInterrupt
            page.write_text("\n".join(found.small.values()))
    except KeyboardInterrupt:
        pass
    return found


def there(page):
    folder = folder_beside(page)
    return {path.stem for path in folder.glob("*.jpg")}, {path.stem for path in (folder / "large").glob("*.jpg")}


def test_a_page_that_is_written_again_has_its_own_pictures_only(images, tmp_path):
    page = tmp_path / "page.html"
    made(page, images)
    assert there(page) == ({name_of(path) for path in images.values()},) * 2
    images.popitem()
    noisy(tmp_path / "0.png", (200, 20, 20), 99)  # the first has other bytes
    (folder_beside(page) / f"{name_of(images[f'{1:016x}'])}.4711").write_bytes(b"left by a crash")
    made(page, images)
    assert there(page) == ({name_of(path) for path in images.values()},) * 2
    assert {path.name for path in folder_beside(page).iterdir() if path.suffix != ".jpg"} == {".fc7", "large"}
    made(page, dict(list(images.items())[:2]))
    assert not folder_beside(page).exists(), "all are in the page"


def test_a_crash_before_the_page_is_written_leaves_the_old_one_its_pictures(images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BYTES", 0)
    page = tmp_path / "page.html"
    found = made(page, images).small
    before = {source: (tmp_path / source).read_bytes() for source in found.values()}
    assert page.read_text().split("\n") == list(before)
    for number, path in enumerate(images.values()):
        noisy(tmp_path / path, (20, 200, 20), 100 + number)
    made(page, images, fails=True)
    assert {source: (tmp_path / source).read_bytes() for source in before} == before
    after = made(page, images).small
    assert not set(after.values()) & set(before)
    assert there(page)[0] == {name_of(path) for path in images.values()}


def test_a_folder_that_fc7_did_not_make_keeps_what_is_in_it(images, tmp_path):
    page = tmp_path / "page.html"
    mine = draw(folder_beside(page) / "0123456789abcdef.jpg", (1, 2, 3))
    made(page, images)
    made(page, dict(list(images.items())[:1]))
    assert mine.exists()


def test_one_file_has_larger_pictures_of_the_first_until_they_are_too_many_bytes(tmp_path):
    generator, paths = np.random.default_rng(0), {}
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.fromarray(generator.integers(0, 255, (600, 800, 3), dtype=np.uint8)).save(path)
        paths[name_of(path)] = str(path)
    with pictures(OutputFile(tmp_path / "page.html"), paths) as found:
        assert list(found.small) == list(found.large) == list(paths)
        assert found.beside == ""
        for source, edge in ((found.small, 96), (found.large, 320)):
            data = re.fullmatch(r"data:image/jpeg;base64,(.*)", next(iter(source.values())))[1]
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                assert image.size == (edge, 3 * edge // 4)
        size = len(next(iter(found.large.values())))
    folder = tmp_path / "thumbnails"
    write_thumbnails(paths, Path(), folder)
    _, large = module.addresses(folder, paths, tmp_path / "page.html", most=4 * size - 2)
    assert [source.partition(":")[0] for source in large.values()] == ["data", "data"] + [
        f"thumbnails/large/{key}.jpg" for key in list(paths)[2:]
    ]
    _, large = module.addresses(folder, paths, tmp_path / "elsewhere" / "page.html", most=4 * size - 2)
    assert list(large) == list(paths)[:2], "what it cannot name it does not have"
