"""A real browser: Debian's chromium and chromium-driver, headless."""

import json
import shutil

import pytest
from waiting import spend

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def start(profile):
    """Return a driver, or skip the test where there is no browser."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install 'fc7[dev]'")
    chromium, driver = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium or chromedriver is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def width(browser, pixels, colours="light"):
    """Give the page a width, and a preference for light or dark."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": pixels, "height": 844, "deviceScaleFactor": 1, "mobile": pixels < 500},
    )
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": pixels < 500})
    features = [{"name": "prefers-color-scheme", "value": colours}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def touch(browser, kind, *points):
    """Send what fingers do: ``touchStart`` and ``touchMove`` at places of the window, ``touchEnd`` without any."""
    points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def lift(browser, place):
    """Rest a finger that has moved, and lift it: else a page goes on moving, and a tap only stops it."""
    spend(0.3)
    touch(browser, "touchMove", place)
    spend(0.1)
    touch(browser, "touchEnd")


def tap(browser, element):
    """Tap on the middle of an element, which is scrolled into sight first."""
    script = """arguments[0].scrollIntoView({ block: "center", behavior: "instant" });
        const box = arguments[0].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2]"""
    touch(browser, "touchStart", browser.execute_script(script, element))
    touch(browser, "touchEnd")


def lasso(browser, element):
    """Draw around the inside of an element with a finger; return by how much the page scrolled meanwhile."""
    script = """arguments[0].scrollIntoView({ block: "center", behavior: "instant" });
        const box = arguments[0].getBoundingClientRect();
        return [box.x + 6, box.y + 6, box.right - 6, box.bottom - 6, scrollY]"""
    left, top, right, bottom, before = browser.execute_script(script, element)
    touch(browser, "touchStart", (left, top))
    for corner in ((right, top), (right, bottom), (left, bottom)):
        touch(browser, "touchMove", corner)
    after = browser.execute_script("return scrollY")
    lift(browser, (left, bottom))
    return after - before


def asked(browser):
    """Return the addresses that pages have asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    found = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    # chrome:// is the browser's own first tab, which may still be loading.
    return [address for address in found if not address.startswith(("data:", "chrome://"))]


def wait_for_images(browser):
    """Wait until the page shows its images."""
    ready = "return document.images.length > 0 && [...document.images].every(image => image.complete)"
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
    wait(browser, 120).until(lambda browser: browser.execute_script(ready))
