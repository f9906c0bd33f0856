"""A real browser: Debian's chromium and chromium-driver, headless."""

import json
import shutil

import pytest

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
    features = [{"name": "prefers-color-scheme", "value": colours}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


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
