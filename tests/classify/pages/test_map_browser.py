"""The map of images in a real browser, by real clicks, keys and touch."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from chromium import asked, lasso, touch, width
from fakes import noisy

from fc7.classify.audits.audit import audit
from fc7.classify.audits.page import write_audit
from fc7.classify.pages.page import asset
from fc7.classify.pages.point_map import PointMap

ARROWS = {"right": "\ue014", "enter": "\ue007", "escape": "\ue00c"}


@pytest.fixture(scope="module")
def page(table, tmp_path_factory):
    """An audit of two blobs with pictures, of which three labels are wrong."""
    folder = tmp_path_factory.mktemp("map")
    rows = table((14, 14), spread=0.7)
    for place, (name, code) in enumerate(zip(rows.paths, rows.y, strict=True)):
        noisy(folder / "pictures" / name, [(30, 60, 200), (200, 60, 30)][code], place)
    keys = [hashlib.sha256((folder / "pictures" / name).read_bytes()).digest() for name in rows.paths]
    labels = rows.labels.copy()
    labels[[2, 9, 20]] = ["c1", "c1", "c0"]
    rows = replace(rows, labels=labels, sha256=np.array([list(key) for key in keys], np.uint8))
    return write_audit(audit(rows, head="ridge"), folder / "audit.html", folder / "pictures").as_uri()


class Map:
    """The map as a person uses it."""

    def __init__(self, browser, page, pixels=1280, colours="light"):
        self.browser = browser
        width(browser, pixels, colours)
        browser.get_log("browser")
        browser.get(page)
        self.run("document.querySelector('[data-map]').scrollIntoView()")
        self.wait("document.querySelector('.map .points').width > 300 && maps[0].screen(0)[0] > 1")

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, script):
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.browser, 20, 0.02).until(lambda browser: browser.execute_script(f"return {script}"))

    def frame(self):
        """Wait until what was asked for is painted."""
        self.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def move(self, kind, x, y, **others):
        left, top = self.run(
            "const r = document.querySelector('.map .over').getBoundingClientRect(); return [r.x, r.y]"
        )
        event = {"type": kind, "x": left + x, "y": top + y, **others}
        self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def touch(self, kind, *points):
        left, top = self.run(
            "const r = document.querySelector('.map .over').getBoundingClientRect(); return [r.x, r.y]"
        )
        touch(self.browser, kind, *((left + x, top + y) for x, y in points))

    def colours(self):
        """Return the number of different colours on the canvas."""
        return self.run(
            """const c = document.querySelector('.map .points');
            const p = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);
            return new Set(p).size"""
        )


def test_a_thumbnail_is_under_the_pointer_and_a_click_opens_it_with_the_nearest(browser, page):
    found = Map(browser, page)
    asked(browser)
    place = found.run("return JSON.parse(document.querySelector('[data-map] script').textContent).near.length && 5")
    x, y = found.run("return maps[0].screen(arguments[0])", place)
    found.move("mouseMoved", x, y)
    found.wait("!document.querySelector('.map .tip').hidden")
    path = found.run("return document.querySelector('.map .tip .where').textContent")
    assert path.endswith(".png")
    assert found.run("return document.querySelector('.map .tip img').naturalWidth") > 20
    found.move("mousePressed", x, y, button="left", clickCount=1)
    found.move("mouseReleased", x, y, button="left", clickCount=1)
    found.wait("document.querySelector('dialog').open")
    assert path in found.text("dialog .one .where")
    browser.switch_to.active_element.send_keys(ARROWS["escape"])
    found.wait("!document.querySelector('dialog').open")
    assert asked(browser) == []
    assert browser.get_log("browser") == []


def test_a_finding_opens_large_with_its_nearest_images_and_their_labels(browser, page):
    found = Map(browser, page)
    image = browser.find_element("css selector", "#labels .gallery .image")
    path = image.find_element("css selector", ".where").text
    image.find_element("css selector", "img").click()
    found.wait("document.querySelector('dialog').open")
    assert len(browser.find_elements("css selector", "dialog .nearest li")) == 6
    assert path not in [one.text for one in browser.find_elements("css selector", "dialog .nearest .where")]
    assert found.run("return [...document.querySelectorAll('dialog img')].every(image => image.naturalWidth > 20)")
    own, *near = [one.text for one in browser.find_elements("css selector", "dialog strong")]
    assert "looks like" in own
    assert set(near) <= {"c0", "c1"}
    browser.find_element("css selector", "dialog .close").click()
    found.wait("!document.querySelector('dialog').open")
    browser.execute_script("arguments[0].focus()", image)
    image.send_keys(ARROWS["enter"])
    found.wait("document.querySelector('dialog').open")


def test_by_keyboard(browser, page):
    found = Map(browser, page)
    over = browser.find_element("css selector", ".map .over")
    over.send_keys(ARROWS["right"])
    first = found.text(".map .aloud")
    assert first.partition(":")[0] == found.text(".map .tip .where")
    over.send_keys(ARROWS["right"])
    assert found.text(".map .aloud") != first
    before = found.run("return maps[0].screen(0)[0] - maps[0].screen(1)[0]")
    over.send_keys("+")
    assert found.run("return maps[0].screen(0)[0] - maps[0].screen(1)[0]") == pytest.approx(1.5 * before)
    over.send_keys("0")
    assert found.run("return maps[0].screen(0)[0] - maps[0].screen(1)[0]") == pytest.approx(before)
    over.send_keys(ARROWS["right"])
    over.send_keys(ARROWS["enter"])
    found.wait("document.querySelector('dialog').open")


def test_a_class_is_picked_in_the_legend(browser, page):
    found = Map(browser, page)
    button = browser.find_element("css selector", ".map .legend button")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert found.text(".map .legend").startswith("c0")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("pixels", [390, 1280])
def test_it_is_painted_at_every_width_in_light_and_dark(browser, page, pixels, colours):
    found = Map(browser, page, pixels, colours)
    found.frame()
    assert found.colours() > 3
    assert found.run("return document.documentElement.scrollWidth") <= pixels
    x, y = found.run("return maps[0].screen(0)")
    found.move("mouseMoved", x, y)
    tip = found.run(
        """const [tip, box] = ['.map .tip', '.map .box'].map(s => document.querySelector(s).getBoundingClientRect());
        return tip.left >= box.left && tip.right < box.right + 2 && tip.top >= box.top && tip.bottom < box.bottom + 2"""
    )
    assert tip


def test_two_fingers_zoom_and_one_pans_then(browser, page):
    found = Map(browser, page, 390)
    before = found.run("return maps[0].screen(0)[0] - maps[0].screen(1)[0]")
    found.touch("touchStart", (150, 150), (190, 150))
    found.touch("touchMove", (110, 150), (230, 150))
    found.touch("touchEnd")
    after = found.run("return maps[0].screen(0)[0] - maps[0].screen(1)[0]")
    assert abs(after) > 1.8 * abs(before)
    left = found.run("return maps[0].screen(0)[0]")
    found.touch("touchStart", (100, 100))
    found.touch("touchMove", (160, 100))
    found.touch("touchEnd")
    assert found.run("return maps[0].screen(0)[0]") == pytest.approx(left + 60, abs=6)
    assert not found.run("return document.querySelector('dialog').open")


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """A map alone, of 6,000 images of 1,000 classes, every tenth ringed, with a lasso."""
    generator, codes = np.random.default_rng(0), np.arange(6000) % 1000
    chart = PointMap(
        points=generator.standard_normal((1000, 2))[codes] + 0.1 * generator.standard_normal((6000, 2)),
        paths=[f"{code}/{place}.jpg" for place, code in enumerate(codes)],
        labels=[f"class {code:03}" for code in codes],
        others=[f"class {(code + (place % 10 == 0)) % 1000:03}" for place, code in enumerate(codes)],
        before="looks like",
    )
    page = tmp_path_factory.mktemp("thousand") / "map.html"
    style, script = (
        "".join(asset(f"pages/{name}") for name in names) for names in (("page.css", "map.css"), ("marks.js", "map.js"))
    )
    page.write_text(
        f"""<!doctype html><meta name=viewport content="width=device-width"><style>{style}</style>
        <div data-map class="map"><div class="map"></div></div><script>{script}
        const maps = [pointMap(document.querySelector(".map .map"), {json.dumps(chart.data())},
        {{ select: (places) => (window.caught = places) }})];</script>"""
    )
    return page.as_uri()


@pytest.mark.parametrize("pixels", [390, 1280])
def test_a_map_of_a_thousand_classes(browser, thousand, pixels):
    found = Map(browser, thousand, pixels)
    found.frame()
    assert found.colours() > 8, "six colours, the ground, the rings, and the edges of points"
    assert found.run("return document.querySelectorAll('.map .legend li').length") == 0, "too many to tell apart"
    assert found.run("return document.querySelectorAll('.map select option').length") == 1001
    browser.find_element("css selector", ".map select").send_keys("class 500")
    found.frame()
    over = browser.find_element("css selector", ".map .over")
    browser.find_elements("css selector", ".map .tools button")[3].click()
    if pixels < 500:
        lasso(browser, over)
    else:
        wide, high = over.size["width"], over.size["height"]
        found.move("mousePressed", 1, 1, button="left", buttons=1, clickCount=1)
        for corner in ((wide - 1, 1), (wide - 1, high - 1), (1, high - 1)):
            found.move("mouseMoved", *corner, button="left", buttons=1)
        found.move("mouseReleased", 1, high - 1, button="left", clickCount=1)
    found.wait("window.caught")
    assert found.run("return window.caught") == list(range(500, 6000, 1000)), "of the class that is picked alone"


@pytest.mark.parametrize("slow", [False, True])
def test_a_picture_that_is_slow_to_paint_is_moved_first(browser, thousand, slow):
    """By a clock of its own: what takes 50 ms is moved as it is while it is dragged, and painted at rest."""
    found = Map(browser, thousand)
    found.frame()
    before = found.run("return maps[0].screen(0)")
    found.run("let spent = 0; performance.now = () => (spent += arguments[0])", 50 * slow)
    found.run("document.querySelector('.map .tools button:nth-child(3)').click(); maps[0].mark([])")
    found.frame()
    found.move("mousePressed", 300, 100, button="left", buttons=1, clickCount=1)
    found.move("mouseMoved", 340, 110, button="left", buttons=1)
    moved = found.run("return document.querySelector('.map .points').style.transform")
    assert ("40px" in moved) == slow
    found.move("mouseReleased", 340, 110, button="left", clickCount=1)
    assert found.run("return maps[0].screen(0)") == pytest.approx([before[0] + 40, before[1] + 10])
    found.wait("document.querySelector('.map .points').style.transform === ''")
    found.frame()
    assert found.colours() > 8
