"""Galleries: any number of images as data, and a window of them as elements."""

import json

import numpy as np
import pytest
from chromium import asked, width
from html_page import Page

from fc7.classify.pages.gallery import FIRST, Gallery, Shown, Tile
from fc7.classify.pages.pictures import EMBEDDED, folder_beside
from fc7.classify.reports.report import report

WINDOW = 96
HOSTILE = ("<script>window.pwned = 1</script>", "\"><img src=x onerror='window.pwned = 2'>", "\u202egpj.exe", "\udcff")


def data(path):
    return next(json.loads(text) for tag, text in Page(path.read_text()).texts if tag == "script" and "beside" in text)


def test_words_are_said_once_and_names_are_harmless():
    tiles = [
        Tile((Shown(f"ants/{name}/{place}.jpg", "ants", "99.0 %"),), "wrong", "bees")
        for place in range(3)
        for name in HOSTILE
    ]
    said = Gallery("x", tiles, words="is", marks={"wrong": "wrong", "right": "right"}).data()
    words = said["words"]
    assert len(words) == len(set(words)) == 9, "ants, bees, 99 %, wrong, nothing and four folders"
    assert [words[row[0]] for row in said["rows"]] == ["wrong"] * 12
    assert said["marks"] == [("wrong", "wrong: 12")]
    assert not any("\u202e" in word or "\udcff" in word for word in words)


def test_a_tile_without_anything():
    assert Gallery("x", []).data()["rows"] == []
    assert Gallery("x", [Tile((Shown(""),))]).data()["rows"] == [[0, 0, 0, 0, "", 0, 0, "", ""]]


@pytest.fixture(scope="module")
def many(made_up, tmp_path_factory):
    """A report of 3,000 images of 1,000 classes, every tenth wrong, with hostile names."""
    n = 3000
    classes = [f"class {place:03}" for place in range(1000)]
    paths = [f"{HOSTILE[place % 4]}/{place:04}.jpg" for place in range(n)]
    folder = tmp_path_factory.mktemp("many")
    run = made_up(np.arange(n) % 10 > 0, classes=classes, paths=paths)
    return report([run], folder / "report.html")


def test_few_tiles_are_markup(many):
    tiles = [a for tag, a in Page(many.read_text()).tags if tag == "li" and a.get("class") in {"wrong", "right"}]
    assert len(tiles) == FIRST
    assert len(data(many)["rows"]) == 3000


def shown(browser):
    script = "return [...document.querySelectorAll('.gallery li')].map(tile => tile.innerText)"
    return browser.execute_script(script)


def counted(browser):
    return browser.find_element("css selector", ".pager output").text


def pick(browser, kind, value):
    browser.find_element("css selector", f".shown select.{kind} option[value='{value}']").click()


def test_a_window_at_a_time(browser, many):
    width(browser, 1280)
    browser.get_log("browser")
    browser.get(many.as_uri())
    assert browser.execute_script("return document.querySelectorAll('.gallery *').length") <= 12 * WINDOW
    assert counted(browser) == "1 to 96 of 3,000"
    before, after = browser.find_elements("css selector", ".pager button")
    assert not before.is_enabled()
    first = shown(browser)
    after.click()
    assert counted(browser) == "97 to 192 of 3,000"
    assert not set(first) & set(shown(browser))
    before.send_keys("\ue007")
    assert shown(browser) == first
    assert browser.execute_script("return window.pwned") is None
    assert browser.get_log("browser") == []


def test_what_is_sought_is_left(browser, many):
    browser.get(many.as_uri())
    search = browser.find_element("css selector", ".shown input")
    search.send_keys("0042.JPG")
    assert len(shown(browser)) == 1
    assert counted(browser) == "1 to 1 of 1, of 3,000"
    search.send_keys(" no such thing")
    assert shown(browser) == []
    assert counted(browser) == "nothing like this"
    search.clear()
    search.send_keys("x\ue003")
    assert len(shown(browser)) == WINDOW


def test_marks_classes_and_orders(browser, many):
    browser.get(many.as_uri())
    pick(browser, "marks", "wrong")
    assert counted(browser) == "1 to 96 of 300, of 3,000"
    pick(browser, "marks", "right")
    sure = [float(tile.split("%")[0].split()[-1].strip(">")) for tile in shown(browser)]
    assert sure == sorted(sure)
    pick(browser, "order", "-1")
    sure = [float(tile.split("%")[0].split()[-1].strip(">")) for tile in shown(browser)]
    assert sure == sorted(sure, reverse=True)
    pick(browser, "marks", "")
    pick(browser, "classes", "class 007")
    assert all("class 007" in tile for tile in shown(browser))
    assert len(shown(browser)) >= 3


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("pixels", [390, 1280])
def test_nothing_is_wider_than_the_page(browser, many, pixels, colours):
    width(browser, pixels, colours)
    browser.get(many.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= pixels


def test_pictures_beside_a_page_are_shown(browser, made_up, tmp_path):
    """The first are in the page; it asks for no other file than those in the folder."""
    from PIL import Image

    n = EMBEDDED + 400
    run = made_up([True] * n)
    run.save(tmp_path / "runs")
    (tmp_path / "runs" / "thumbnails").mkdir()
    generator = np.random.default_rng(0)
    for key in run.predictions["key"]:
        noise = generator.integers(0, 255, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "runs" / "thumbnails" / f"{key}.jpg", quality=95)
    page = report(tmp_path / "runs", tmp_path / "page 100%.html")
    assert page.stat().st_size < 3_000_000
    width(browser, 1280)
    browser.get(page.as_uri())
    browser.get_log("performance")
    for _ in range(-(-n // WINDOW) - 1):
        browser.find_elements("css selector", ".pager button")[1].click()
    from selenium.webdriver.support.ui import WebDriverWait

    ready = "return [...document.images].every(image => image.complete && image.naturalWidth === 96)"
    WebDriverWait(browser, 60).until(lambda browser: browser.execute_script(ready))
    assert len(shown(browser)) == n % WINDOW
    found = asked(browser)
    assert found
    assert all(address.startswith((tmp_path / "runs" / "thumbnails").as_uri()) for address in found)


def test_the_folder_beside_a_page_has_its_name(tmp_path):
    assert folder_beside(tmp_path / "page.html") == tmp_path / "page-thumbnails"
