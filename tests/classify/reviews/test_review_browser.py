"""A review in a real browser, with real clicks and keys."""

import csv
import threading

import pytest
from chromium import asked, width
from review_page import KEY, Page, label, tile
from waiting import LONG

from fc7.extract.manifest.manifest import read_manifest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'fc7[review]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'fc7[review]'")

HOSTILE = ("<script>window.pwned = 1</script>", "\"><img src=x onerror='window.pwned = 2'>", "\u202egpj.exe", "a\nb")


@pytest.fixture
def page(browser, desk):
    found = Page(browser, desk)
    yield found
    while desk.review.changes:
        desk.review.undo()
    assert browser.get_log("browser") == []


def test_the_page_asks_for_nothing_from_elsewhere(browser, desk, page):
    asked(browser)
    page.load()
    page.wait("return [...document.images].every(image => image.complete && image.naturalWidth > 0)")
    found = asked(browser)
    assert len(found) > 9
    assert all(address.startswith(desk.server.address) for address in found)


def test_a_click_fixes_a_label_and_another_one_undoes_it(page, desk):
    first, *_ = page.order()
    assert first in (3, 20)
    wrong = desk.review.subject(first).decision.label
    right = {"c0": "c1", "c1": "c0"}[wrong]
    before = page.find("#agreement").text
    assert page.find(label(first, wrong)).get_attribute("aria-pressed") == "true"
    page.click(label(first, right))
    assert desk.review.subject(first).decision.label == right
    assert f"{first:03d}.png,{desk.review.key(first)},{right},train,,,1" in desk.file.read_text()
    assert page.find(label(first, right)).get_attribute("aria-pressed") == "true"
    assert (page.flag(first), page.order()[0]) == ("relabelled", first)
    assert f"{wrong} → {right}." in page.said()
    assert "ms" in page.said()
    assert "▲" in page.find("#agreement").text
    assert page.find("#undo").text == "Undo (1)"
    page.click("#undo")
    assert not desk.file.exists()
    assert page.flag(first) == ""
    assert "undone" in page.said()
    assert page.find("#agreement").text.split("%")[0] == before.split("%")[0]
    assert not page.find("#undo").is_enabled()


def test_bad_and_back_and_after_a_reload_it_is_among_the_reviewed(page, desk):
    first, second, *_ = page.order()
    page.click(f"{tile(first)} [data-bad]")
    page.click(label(second, desk.review.subject(second).decision.label))
    assert (page.flag(first), page.flag(second)) == ("bad", "kept")
    assert ",yes,1" in desk.file.read_text()
    page.load()
    assert not {first, second} & set(page.order())
    page.click("#tab-reviewed")
    assert page.order() == [second, first]
    assert page.find("#tab-reviewed span").text == "2"
    page.click(f"{tile(first)} [data-bad]")
    assert (desk.review.counts["bad"], page.flag(first)) == (0, "kept")
    page.click("#undo")
    assert desk.review.counts["bad"] == 1


def test_the_whole_of_it_by_keyboard(page, desk):
    page.click("#tab-uncertain")
    first, second, third, fourth, *_ = page.order()
    page.browser.execute_script("document.querySelector('#grid > li').focus()")
    page.press("2")
    assert desk.review.decided[first].label == "c1"
    assert page.focus() == second
    page.press("b")
    assert desk.review.decided[second].bad
    page.press(KEY["enter"])
    assert desk.review.decided[third] == desk.review.subject(third).given
    assert page.focus() == fourth
    page.press(KEY["left"])
    assert page.focus() == third
    page.press("u")
    assert third not in desk.review.decided
    page.press("u")
    assert page.focus() == second
    columns = len(page.browser.execute_script("return getComputedStyle(grid).gridTemplateColumns").split())
    page.press(KEY["down"])
    assert page.focus() == page.order()[1 + columns]
    page.press(KEY["up"])
    page.press("r")
    assert first not in page.order()
    assert page.order()[0] == second


# Timers of 100 ms are kept and run by hand; from `hold` on a decision waits for `release`.
BY_HAND = """
const [set, clear, ask] = [setTimeout, clearTimeout, fetch];
window.kept = new Map();
let number = 0;
window.setTimeout = (run, ms, ...rest) => {
  if (ms !== 100) return set(run, ms, ...rest);
  kept.set(number -= 1, run);
  return number;
};
window.clearTimeout = (id) => kept.delete(id) || clear(id);
window.hold = () => {
  window.fetch = (path, ...rest) => path !== "decide" ? ask(path, ...rest) :
    new Promise((go) => { window.release = () => go(ask(path, ...rest)); });
};
window.go_on = () => {
  Object.assign(window, { setTimeout: set, clearTimeout: clear, fetch: ask });
  for (const run of kept.values()) run();
};
"""


def test_no_list_is_brought_up_to_date_while_a_decision_is_on_its_way(page, desk):
    """Both ask the same server, and draw the same tiles: the key would wait."""
    page.click("#tab-uncertain")
    first, second, *_ = page.order()
    page.browser.execute_script(BY_HAND)
    page.find(tile(first)).send_keys("2")
    page.wait("return kept.size === 1", still=False)
    page.browser.execute_script("hold()")
    page.find(tile(second)).send_keys("2")
    page.wait("return window.release !== undefined", still=False)
    assert page.browser.execute_script("return kept.size") == 0
    page.browser.execute_script("release()")
    page.wait("return kept.size === 1", still=False)
    page.browser.execute_script("go_on()")
    page.wait("return true")
    assert list(desk.review.decided) == [first, second]


def test_an_image_is_seen_large_and_decided_there(page, desk):
    first, second, *_ = page.order()
    page.click(f"{tile(first)} .picture")
    page.wait("const image = document.querySelector('dialog img'); return image.complete && image.naturalWidth > 0")
    assert f"/images/{first}.jpg" in page.find("dialog img").get_attribute("src")
    page.press("b")
    assert desk.review.decided[first].bad
    assert page.find("dialog .tile").get_attribute("data-image") == str(second)
    page.click(f"dialog [data-label='{desk.review.subject(second).decision.label}']")
    assert second in desk.review.decided
    page.press(KEY["escape"])
    page.wait("return !document.querySelector('dialog').childElementCount")
    assert page.focus() == second


def test_other_labels_that_a_decision_casts_doubt_on_are_added_as_new(page, desk):
    """Half of a class under the other label: the more of them are believed, the more others are doubted."""
    page.click("#tab-uncertain")
    shown = page.order()
    page.click("#tab-suspects")
    order = page.order()
    for image in shown:
        given = desk.review.subject(image).decision.label
        change = desk.review.decide(image, {"c0": "c1", "c1": "c0"}[given])
        desk.review.undo()
        if change.joined:
            break
    else:
        pytest.fail("no decision casts doubt on others: make the data harder")
    page.load()
    page.click("#tab-uncertain")
    page.click(label(image, {"c0": "c1", "c1": "c0"}[given]))
    assert "now doubted" in page.said()
    page.click("#tab-suspects")
    assert set(change.joined) <= set(page.order())
    assert set(order) <= set(page.order()) | set(change.left)


def test_what_is_refused_is_said_and_changes_nothing(page, desk):
    first, second, *_ = page.order()
    page.click(f"{tile(first)} [data-bad]")
    text = desk.file.read_text()
    desk.file.write_text(text + "\n")
    page.click(f"{tile(second)} [data-bad]")
    assert "changed by another program" in page.said()
    assert "error" in page.find("#said").get_attribute("class")
    assert page.flag(second) == ""
    desk.file.write_text(text)
    page.click(f"{tile(second)} [data-bad]")
    assert page.flag(second) == "bad"
    assert "error" not in page.find("#said").get_attribute("class")
    (entry,) = page.browser.get_log("browser")
    assert "409" in entry["message"], "the browser's own note of the answer"


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("pixels", [320, 390, 768, 1280])
def test_nothing_scrolls_sideways(page, browser, pixels, colours):
    width(browser, pixels, colours)
    page.load()
    page.click(f"{tile(page.order()[0])} [data-bad]")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= pixels
    script = """return [...document.querySelectorAll('main *, header *, .bar *')]
        .filter(e => !e.closest('.skip') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"""
    assert browser.execute_script(script) == []
    shade = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in shade[4:-1].split(",")) > 600) == (colours == "light")


def test_hostile_names_and_many_classes(browser, served):
    names = [f"{HOSTILE[row % 4].replace('/', '_')}{'x' * 90}{row}.png" for row in range(48)]
    desk = served(counts=(4,) * 12, names=names)
    page = Page(browser, desk)
    width(browser, 390)
    assert browser.execute_script("return window.pwned") is None
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert browser.execute_script("return document.scripts.length") == 3
    first = page.order()[0]
    assert len(browser.find_elements("css selector", f"{tile(first)} [data-label]")) in (3, 4)
    assert not browser.find_elements("css selector", f"{tile(first)} [data-label='c11']")
    page.click(f"{tile(first)} [data-other]")
    page.press("C1" + KEY["down"] + KEY["down"] + KEY["enter"])
    assert desk.review.decided[first].label == "c11"
    assert page.find(label(first, "c11")).get_attribute("aria-pressed") == "true"
    assert browser.get_log("browser") == []


def test_one_class_is_shown_and_divided_by_keys_of_many_new_ones(browser, served):
    desk = served(counts=(6,), flipped=())
    page = Page(browser, desk)
    assert page.find("[aria-selected=true]").get_attribute("data-list") == "uncertain"
    assert len(page.order()) == 6
    for number in range(1, 11):
        page.find("#class").send_keys(f"c{number}\n")
    first = page.order()[0]
    page.find(tile(first)).send_keys("3")
    page.wait("return true")
    assert desk.review.decided[first].label == "c2"
    assert page.flag(first) == "relabelled"
    assert browser.get_log("browser") == []


def test_images_without_a_label_get_their_first_one(browser, served):
    """Classes are typed into the page; by click and key they reach the csv, which is a data set then."""
    desk = served(classes=("", ""))
    page = Page(browser, desk)
    page.find("#class").send_keys("ant\n")
    page.find("#class").send_keys("ANT\n")
    assert page.said() == "There is a class ant already; ANT differs from it in case only."
    page.find("#class").clear()
    page.find("#class").send_keys("bee, red")
    page.click("#adding button")
    assert page.said() == ""
    first, second, third, *_ = page.order()
    page.click(label(first, "ant"))
    assert page.flag(first) == "labelled"
    page.find(tile(second)).send_keys("2")
    page.wait("return true")
    page.click(f"{tile(third)} [data-bad]")
    with desk.file.open(encoding="utf-8", newline="") as file:
        rows = {row["sha256"]: row for row in csv.DictReader(file)}
    decided = [rows[desk.review.key(image)] for image in (first, second, third)]
    assert [(row["label"], row["bad"]) for row in decided] == [("ant", ""), ("bee, red", ""), ("", "yes")]
    assert {row["label"] for row in rows.values()} == {"", "ant", "bee, red"}
    assert (len(rows), page.find("#undo").text) == (28, "Undo (3)")
    manifest = read_manifest(desk.file)
    assert (len(manifest), manifest.classes) == (27, ("ant", "bee, red"))
    assert browser.get_log("browser") == []


def drawn(browser, doing):
    """Return the images whose tile is drawn until the server has answered."""
    browser.execute_script("""window.drawn = new Set();
        window.watching = new MutationObserver((changes) => changes.forEach((change) => {
            const tile = change.target.closest?.('#grid > li');
            if (tile) window.drawn.add(Number(tile.dataset.image));
        }));
        window.watching.observe(document.getElementById('grid'), { childList: true, subtree: true });""")
    doing()
    return set(browser.execute_script("window.watching.disconnect(); return [...window.drawn]"))


def test_a_decision_draws_one_tile_and_only_what_is_in_sight_has_one(browser, served):
    desk = served(counts=(200, 200), flipped=())
    page = Page(browser, desk)
    page.click("#tab-all")
    assert page.find("#tab-all span").text == "400"
    assert len(page.order()) < 60
    page.browser.execute_script("document.querySelector('#grid > li').focus()")
    page.click("#tab-all")
    first = page.order()[0]
    page.find(tile(first)).send_keys("x")

    def decide():
        page.browser.switch_to.active_element.send_keys("1")
        wait = "return document.querySelector('#grid > li').classList.contains('decided')"
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(browser, 20, 0.005).until(lambda browser: browser.execute_script(wait))

    assert drawn(browser, decide) == {first}
    page.wait("return true")
    page.press(KEY["end"])
    assert page.focus() == 399
    assert len(page.order()) < 60
    assert page.order()[-1] == 399
    page.press(KEY["home"])
    assert page.focus() == page.order()[0] == 0
    browser.execute_script("scrollTo(0, document.body.scrollHeight / 2)")
    page.wait(
        "const box = [...document.querySelectorAll('#grid > li')].map((li) => li.getBoundingClientRect());"
        "return box.some((b) => b.top < 100) && box.some((b) => b.bottom > innerHeight)"
    )
    page.wait("return [...document.querySelectorAll('#grid > li .where')].length > 10")
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("pixels", [390, 1280])
def test_several_are_selected_and_decided_at_once(page, desk, pixels):
    width(page.browser, pixels)
    page.click("#tab-all")
    page.click(f"{tile(2)} .pick")
    from selenium.webdriver import ActionChains, Keys

    pick = page.find(f"{tile(5)} .pick")
    page.browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", pick)
    ActionChains(page.browser).key_down(Keys.SHIFT).click(pick).key_up(Keys.SHIFT).perform()
    assert page.find("#picked b").text == "4 selected"
    page.click("#picked [data-label='c1']")
    assert set(desk.review.decided) == {2, 3, 4, 5}
    assert {decision.label for decision in desk.review.decided.values()} == {"c1"}
    assert (desk.review.changes, page.find("#picked").is_displayed()) == (1, False)
    assert "4 images: c1." in page.said()
    page.press("u")
    assert desk.review.decided == {}
    page.find("#find").send_keys("c0/00")
    page.wait("return about.textContent.includes('10 images found')")
    page.browser.execute_script("document.activeElement.blur()")
    page.find("body").send_keys("a")
    page.wait("return true")
    assert page.find("#picked b").text == "10 selected"
    page.press(KEY["escape"])
    assert not page.find("#picked").is_displayed()
    page.find("#find").clear()
    page.find("#find").send_keys(KEY["escape"])
    page.wait("return !about.textContent.includes('found')")
    page.find("#of").send_keys("c1")
    page.wait("return !document.querySelector('#grid > [data-image=\"2\"]')")
    assert {desk.review.subject(image).decision.label for image in page.order()} == {"c1"}


def test_what_is_skipped_comes_last(page):
    first, second, *_ = page.order()
    page.find(tile(first)).send_keys("s")
    page.wait("return true")
    assert (page.focus(), page.flag(first)) == (second, "skipped")
    page.press("r")
    assert (page.order()[0], page.order()[-1]) == (second, first)


def test_more_like_one_image_get_its_class(page, desk):
    page.click("#tab-all")
    page.find(tile(9)).send_keys("m")
    page.wait("return true")
    near = [9, *desk.review.like(9, 23).tolist()]
    assert page.order() == near[: len(page.order())]
    assert page.find("#picked b").text == "24 selected"
    page.click(f"{tile(near[1])} .pick")
    page.click(f"{tile(near[2])} [data-label='c0']")
    assert set(desk.review.decided) == set(near) - {near[1]}


@pytest.mark.parametrize("pixels", [390, 1280])
def test_a_lasso_on_the_map_selects_what_is_decided_at_once(page, desk, pixels):
    from selenium.webdriver import ActionChains, Keys

    width(page.browser, pixels)
    page.click("#plane")
    over = page.find("#map .over")
    page.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", over)
    wide, high = over.size["width"] // 2 - 4, over.size["height"] // 2 - 4
    drag = ActionChains(page.browser).key_down(Keys.SHIFT).move_to_element_with_offset(over, -wide, -high)
    drag.click_and_hold()
    for right, down in ((2 * wide, 0), (0, 2 * high), (-2 * wide, 0), (0, -2 * high + 1)):
        drag.move_by_offset(right, down)
    drag.release().key_up(Keys.SHIFT).perform()
    page.wait("return !document.getElementById('picked').hidden")
    assert page.find("#picked b").text == "28 selected"
    page.click("#picked [data-confirm]")
    assert (desk.review.changes, len(desk.review.decided)) == (1, 28)


def test_near_duplicates_and_outliers_are_looked_at_in_the_same_page(browser, served):
    asked, go = [], threading.Event()

    def findings(told):
        asked.append(1)
        told("compare pixels", 3, 10)
        assert go.wait(LONG)
        pairs = [["c0/004.png", "c1/021.png"], ["gone.png", "c0/004.png"]]
        return {"near_duplicates": pairs, "outliers": [["c0/009.png"]]}

    desk = served(findings=findings)
    page = Page(browser, desk)
    assert asked == [], "it takes a while, and not everybody needs it"
    page.find("#tab-near_duplicates").click()
    page.wait("return document.getElementById('empty').textContent.includes('compare pixels, 30 %')", still=False)
    assert not page.order()
    page.find("#tab-all").click()
    page.wait("return document.querySelector(\"#grid > [data-image='9']\")")
    page.click(label(9, "c1"))
    assert desk.review.decided[9].label == "c1", "whoever reviews goes on while it is looked for"
    page.find("#tab-near_duplicates").click()
    go.set()
    page.wait("return document.querySelector(\"#grid > [data-image='4']\")")
    assert page.order() == [4, 21]
    page.press("a")
    page.click("#picked [data-bad]")
    assert desk.review.counts["bad"] == 2
    page.click("#tab-outliers")
    assert (page.order(), page.find("#tab-outliers span").text, asked) == ([9], "1", [1])
    assert browser.get_log("browser") == []


def test_two_tabs_of_one_review_lose_nothing(browser, served):
    """Both have the same images before the eyes; what one has decided, the other may not change unseen."""
    desk = served()
    page = Page(browser, desk)
    first, second, *_ = page.order()
    one = browser.current_window_handle
    browser.switch_to.new_window("window")
    other = browser.current_window_handle
    try:
        late = Page(browser, desk)
        browser.switch_to.window(one)
        page.click(f"{tile(first)} [data-bad]")
        browser.switch_to.window(other)
        late.click(f"{tile(second)} [data-bad]")
        assert late.find("#undo").text == "Undo (2)"
        assert late.flag(first) == "bad", "it has learnt of the first"
        browser.switch_to.window(one)
        browser.execute_script("dispatchEvent(new Event('focus'))")
        page.wait("return document.getElementById('undo').textContent === 'Undo (2)'")
        page.press("u")
        assert desk.review.changes == 1
        browser.switch_to.window(other)
        browser.execute_script(f'document.querySelector("{label(first, "c0")}").click()')
        late.wait("return true")
        assert desk.review.decided[first].label == "c0", "this it has seen"
        browser.switch_to.window(one)
    finally:
        browser.switch_to.window(other)
        browser.close()
        browser.switch_to.window(one)


def test_a_tab_that_is_behind_says_so_and_changes_nothing(page, desk):
    first, second, *_ = page.order()
    wrong = desk.review.subject(first).decision.label
    desk.review.decide(first, bad=True)  # as another tab
    page.click(label(first, wrong))
    assert "Another tab has decided on" in page.said()
    assert desk.review.decided[first].bad
    assert page.flag(first) == "bad", "now it is seen"
    page.click(label(first, wrong))
    assert not desk.review.decided[first].bad
    desk.review.decide(second, bad=True)
    page.press("u")
    assert "Another tab has decided meanwhile" in page.said()
    assert second in desk.review.decided
    page.press("u")
    assert second not in desk.review.decided
    assert all("409" in entry["message"] for entry in page.browser.get_log("browser"))


def test_hostile_classes(browser, served):
    desk = served(classes=("=1+1", HOSTILE[0]))
    page = Page(browser, desk)
    first = page.order()[0]
    wrong = desk.review.subject(first).decision.label
    page.click(f"{tile(first)} [data-label]:not(.holds)")
    assert browser.execute_script("return window.pwned") is None
    assert desk.review.subject(first).decision.label != wrong
    assert HOSTILE[0] in page.find("#grid").text
    assert browser.get_log("browser") == []


def test_the_policy_stops_a_script_that_got_in(browser, desk):
    page = Page(browser, desk)
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 3'; document.body.append(s)"
    )
    assert browser.execute_script("return window.pwned") is None
    assert "Content Security Policy" in page.browser.get_log("browser")[0]["message"]


def test_a_review_that_has_ended_is_said(browser, served):
    desk = served()
    page = Page(browser, desk)
    desk.server.stop()
    page.wait("return fetch('state').then(() => false, () => true)")
    page.click(f"{tile(page.order()[0])} [data-bad]")
    assert "The review has ended" in page.said()
    assert browser.get_log("browser") != [], "the browser's own notes of it"
