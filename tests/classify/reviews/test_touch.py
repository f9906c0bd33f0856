"""A review by finger on a narrow screen, in light and dark."""

import pytest
from chromium import lasso, lift, tap, touch, width
from review_page import Page, label, tile

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'fc7[review]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'fc7[review]'")

LEAST = 40  # px that a finger needs


@pytest.fixture(params=["light", "dark"])
def page(browser, desk, request):
    found = Page(browser, desk)
    width(browser, 390, request.param)
    found.load()
    yield found
    while desk.review.changes:
        desk.review.undo()
    width(browser, 1280)
    assert browser.get_log("browser") == []


def finger(page, selector):
    tap(page.browser, page.find(selector))
    page.wait("return true")


def small(page):
    """Return the buttons in sight that a finger would miss."""
    return page.browser.execute_script(
        """return [...document.querySelectorAll("button, select, input")].filter((one) => {
            const box = one.getBoundingClientRect();
            return box.width && !one.closest("dialog:not([open])") && Math.min(box.width, box.height) < arguments[0];
        }).map((one) => one.outerHTML.slice(0, 120) + one.offsetWidth + "x" + one.offsetHeight)""",
        LEAST,
    )


def test_a_tap_selects_decides_and_opens(page, desk):
    assert small(page) == []
    first, second, *_ = page.order()
    finger(page, f"{tile(first)} .pick")
    page.wait("return !document.getElementById('picked').hidden")
    finger(page, f"{tile(second)} .pick")
    page.wait("return document.querySelector('#picked b').textContent === '2 selected'")
    assert small(page) == []
    bar = page.find("#picked").rect
    assert bar["x"] == 0
    assert bar["width"] == 390
    touch_bar = page.find("#picked [data-bad]")
    tap(page.browser, touch_bar)
    page.wait("return document.getElementById('picked').hidden")
    assert {image for image, decision in desk.review.decided.items() if decision.bad} == {first, second}
    finger(page, "#undo")
    page.wait("return document.getElementById('undo').disabled")
    finger(page, label(second, desk.review.subject(second).decision.label))
    page.wait("return !document.getElementById('undo').disabled")
    assert desk.review.decided[second] == desk.review.subject(second).given
    finger(page, f"{tile(first)} .picture")
    page.wait("return document.getElementById('large').open")
    assert small(page) == []
    finger(page, "dialog .picture")
    page.wait("return !document.getElementById('large').open")


def test_a_finger_draws_a_lasso_on_the_map(page, desk):
    finger(page, "#plane")
    page.wait("return document.querySelectorAll('#map .tools button').length === 4")
    assert small(page) == []
    tap(page.browser, page.browser.find_elements("css selector", "#map .tools button")[3])
    page.wait("return document.querySelector('#map .tools [aria-pressed=true]') !== null")
    assert lasso(page.browser, page.find("#map .over")) == 0, "it draws, and does not scroll"
    page.wait("return !document.getElementById('picked').hidden")
    assert page.find("#picked b").text == "28 selected"
    finger(page, "#picked [data-confirm]")
    page.wait("return document.getElementById('picked').hidden")
    assert len(desk.review.decided) == 28


def test_a_long_list_scrolls_under_a_finger(browser, served):
    desk = served(counts=(150, 150), flipped=())
    page = Page(browser, desk)
    width(browser, 390)
    page.load()
    finger(page, "#tab-all")
    page.wait("return document.getElementById('grid').dataset.list === 'all'")
    for _ in range(6):
        before = browser.execute_script("return scrollY")
        touch(browser, "touchStart", (200, 700))
        for y in range(650, 50, -50):
            touch(browser, "touchMove", (200, y))
        lift(browser, (200, 100))
        page.wait(f"return scrollY > {before + 300}")
    assert len(page.order()) < 80
    page.wait("return [...document.querySelectorAll('#grid > li .where')].length > 10")
    inside = "const box = one.getBoundingClientRect(); return box.top > 0 && box.bottom < innerHeight"
    script = f"return [...document.querySelectorAll('#grid > li')].find((one) => {{ {inside} }}).dataset.image"
    image = int(browser.execute_script(script))
    assert image > 10
    finger(page, f"{tile(image)} .picture")
    page.wait("return document.getElementById('large').open")
    assert page.find("dialog .tile").get_attribute("data-image") == str(image)
    width(browser, 1280)


def test_a_lasso_in_a_review_of_a_thousand_classes(browser, served):
    """Each image has a class of its own: nothing is judged, everything can be caught and named at once."""
    desk = served(counts=(1,) * 1000, flipped=())
    page = Page(browser, desk)
    width(browser, 390)
    page.load()
    assert "1,000 images, 0 reviewed" in page.find("#sums").text
    assert page.browser.execute_script("return document.getElementById('of').options.length") == 1001
    finger(page, "#plane")
    page.wait("return document.querySelectorAll('#map .tools button').length === 4")
    tap(browser, browser.find_elements("css selector", "#map .tools button")[3])
    page.wait("return document.querySelector('#map .tools [aria-pressed=true]') !== null")
    lasso(browser, page.find("#map .over"))
    page.wait("return !document.getElementById('picked').hidden")
    assert page.find("#picked b").text == "1,000 selected"
    finger(page, "#picked [data-confirm]")
    page.wait("return document.getElementById('picked').hidden")
    assert len({decision.label for decision in desk.review.decided.values()}) == 1000
    width(browser, 1280)
    assert browser.get_log("browser") == []
