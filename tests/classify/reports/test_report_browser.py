"""The page in a real browser: Debian's chromium and chromium-driver, headless."""

from dataclasses import replace

import numpy as np
import pytest
from chromium import asked, width

from fc7.classify.audits.audit import audit
from fc7.classify.audits.page import write_audit
from fc7.classify.reports.report import report

HOSTILE = ("<script>window.pwned = 1</script>", "\"><img src=x onerror='window.pwned = 2'>", "\u202egpj.exe", "a\nb")


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    return report(study, tmp_path_factory.mktemp("page") / "report.html").as_uri()


def column(browser, number):
    script = """const rows = [...document.querySelectorAll('#runs-table tbody tr:not([hidden])')]
        return rows.map(row => row.cells[arguments[0]].textContent.trim())"""
    return browser.execute_script(script, number)


def test_the_page_renders_without_console_errors_or_requests(browser, page):
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(page)
    assert browser.get_log("browser") == []
    assert asked(browser) == [page]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("pixels", [320, 390, 768, 1280])
def test_nothing_scrolls_sideways(browser, page, pixels, colours):
    width(browser, pixels, colours)
    browser.get(page)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= pixels
    # Nothing is cut off either: whatever is wider than the page scrolls in a box of its own.
    script = """return [...document.querySelectorAll('main *, header *')]
        .filter(e => !e.closest('.scroll, .skip, svg') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 80))"""
    assert browser.execute_script(script) == []


@pytest.fixture(scope="module")
def audit_page(table, tmp_path_factory):
    """An audit with findings of every kind, under names that no line has room for or that are hostile."""
    keys = list(range(60))
    keys[1], keys[29], keys[33] = keys[0], keys[2], keys[3]
    embeddings = table((30, 30), val=5, keys=keys, spread=3.0)
    names = [f"{HOSTILE[row % 4]}{'x' * 90}{row}.jpg" for row in range(60)]
    found = audit(replace(embeddings, paths=np.array(names)), threshold=0.7)
    assert all(found.counts[name] for name in ("leaks", "conflicts", "duplicates", "candidates", "labels"))
    return write_audit(found, tmp_path_factory.mktemp("audit") / "audit.html").as_uri()


@pytest.mark.parametrize("pixels", [320, 390, 768, 1280])
def test_the_page_of_an_audit(browser, audit_page, pixels):
    width(browser, pixels)
    browser.get_log("browser")
    browser.get(audit_page)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.pwned") is None
    assert browser.execute_script("return document.querySelectorAll('script:not([type])').length") == 1
    assert browser.execute_script("return document.documentElement.scrollWidth") <= pixels
    assert "Suspected labels" in browser.find_element("tag name", "main").text


@pytest.mark.parametrize("pixels", [390, 1280])
def test_labels_of_plots_touch_neither_each_other_nor_the_edge(browser, page, pixels):
    width(browser, pixels)
    browser.get(page)
    script = """return [...document.querySelectorAll('svg.plot')].filter(plot => plot.checkVisibility()).map(plot => {
        const labels = [plot, ...plot.querySelectorAll('text.label')];
        const [outer, ...boxes] = labels.map(one => one.getBoundingClientRect());
        const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
        return boxes.every(box => box.left >= outer.left && box.right <= outer.right)
            && boxes.every((box, place) => boxes.slice(0, place).every(other => apart(box, other)))
    })"""
    found = browser.execute_script(script)
    assert found
    assert all(found)


def test_the_table_of_runs_fits_a_screen_with_its_notes(browser, page):
    width(browser, 1280)
    browser.get(page)
    table = "document.querySelector('#runs-table')"
    assert browser.execute_script(f"return {table}.scrollWidth <= {table}.parentElement.clientWidth")
    assert browser.execute_script(f"return {table}.tHead.innerText").strip().endswith("Notes")


def test_dark_is_dark(browser, page):
    shades = []
    for colours in ("light", "dark"):
        width(browser, 1280, colours)
        browser.get(page)
        shade = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(part) for part in shade[4:-1].split(",")))
    assert shades[0] > 600 > 120 > shades[1]


def test_a_click_sorts_and_a_second_one_turns_it(browser, page):
    width(browser, 1280)
    browser.get(page)
    button = browser.find_element("css selector", "#runs-table th:nth-child(2) button")
    button.click()
    down = [float(text) for text in column(browser, 1)]
    assert down == sorted(down, reverse=True)
    head = browser.find_element("css selector", "#runs-table th:nth-child(2)")
    assert head.get_attribute("aria-sort") == "descending"
    button.click()
    up = [float(text) for text in column(browser, 1)]
    assert up == sorted(up)
    assert head.get_attribute("aria-sort") == "ascending"


def test_seconds_sort_by_value_not_by_their_words(browser, page, study):
    browser.get(page)
    browser.find_element("css selector", "#runs-table th:nth-child(8) button").click()
    expected = [run.name for run in sorted(study, key=lambda run: -run.seconds["fit"] - run.seconds["predict"])]
    found = column(browser, 0)
    assert all(cell.startswith(name) for cell, name in zip(found, expected, strict=True))


def test_sorting_by_keyboard(browser, page):
    browser.get(page)
    browser.execute_script("document.querySelector('#runs-table th:first-child button').focus()")
    browser.switch_to.active_element.send_keys("\ue007")
    names = column(browser, 0)
    assert names == sorted(names)


def test_the_filter_hides_rows_and_says_how_many_are_left(browser, page, study):
    browser.get(page)
    browser.find_element("id", "filter").send_keys("finetune vgg16")
    assert len(column(browser, 0)) == 3
    assert browser.find_element("id", "matching").text == f"3 of {len(study)} runs"


def test_the_first_stop_of_the_keyboard_skips_to_the_content(browser, page):
    browser.get(page)
    browser.find_element("tag name", "body").send_keys("\ue004")
    assert browser.switch_to.active_element.get_attribute("href").endswith("#content")


def test_hostile_names_stay_text(browser, made_up, tmp_path):
    paths = [f"{HOSTILE[place % 4]}{place}" for place in range(8)]
    arguments = {"classes": HOSTILE, "paths": paths, "notes": HOSTILE, "backbone": HOSTILE[0], "source": HOSTILE[1]}
    runs = [made_up([True, False] * 4, head=head, **arguments) for head in HOSTILE]
    browser.get_log("browser")
    browser.get(report(runs, tmp_path / "report.html").as_uri())
    browser.find_element("css selector", "#runs-table th button").click()
    assert browser.execute_script("return window.pwned") is None
    assert browser.execute_script("return document.querySelectorAll('script:not([type])').length") == 1
    assert (
        browser.execute_script(
            "return document.querySelectorAll('img, iframe, object, embed, link:not([rel=icon])').length"
        )
        == 0
    )
    assert HOSTILE[1] in browser.find_element("tag name", "main").text
    assert browser.get_log("browser") == []


def test_the_policy_stops_a_script_that_got_in(browser, page):
    browser.get(page)
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 3'; document.body.append(s)"
    )
    assert browser.execute_script("return window.pwned") is None
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]


def test_without_scripts_everything_can_be_read(browser, page, study):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page)
        root = browser.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
        html = browser.execute_cdp_cmd("DOM.getOuterHTML", {"nodeId": root})["outerHTML"]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "<button" not in html
    assert 'class="tools" hidden' in html
    assert all(run.id[:16] in html for run in study)


def test_the_page_prints(browser, page):
    browser.get(page)
    assert len(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]) > 50_000
