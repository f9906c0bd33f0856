"""Claim: pages over 100,000 images open in Chromium in under 3 s and scroll without a task over 100 ms.

    python benchmarks/pages.py

Pictures are made up: 64 different ones, under 100,000 names in the folder beside the page. A task is what the browser's
PerformanceObserver calls a long task. It scrolls from the top to the end, turns over 20 windows, and searches, filters
and sorts once; these three are shown by themselves. Needs selenium, chromium and chromedriver.
"""

import contextlib
import io
import shutil
import tempfile
import time
import unittest.mock
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver

from fc7.cache.output_file import OutputFile
from fc7.classify.bundles import page as predictions_page
from fc7.classify.bundles.prediction import Prediction
from fc7.classify.pages.thumbnails import folder_beside
from fc7.classify.records.runs import Run
from fc7.classify.reports.report import report

IMAGES, CLASSES = 100_000, 100
OBSERVE = """window.tasks = [];
new PerformanceObserver(list => list.getEntries().forEach(entry => window.tasks.push(entry.duration)))
    .observe({ type: 'longtask', buffered: true });"""
SCROLL = """const done = arguments[0];
const step = () => {
  scrollBy(0, innerHeight / 2);
  if (scrollY + innerHeight < document.documentElement.scrollHeight - 2) requestAnimationFrame(step);
  else requestAnimationFrame(() => requestAnimationFrame(done));
};
scrollTo(0, 0);
step();"""
PAINTED = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0)))"
TASKS = "const all = window.tasks; window.tasks = []; return all"


def thumbnail(number: int) -> bytes:
    """Return a small picture."""
    generator, buffer = np.random.default_rng(number), io.BytesIO()
    noise = Image.fromarray(generator.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    noise.resize((96, 72), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def predicted(folder: Path) -> Path:
    """Write a page of predictions."""
    generator = np.random.default_rng(0)
    page = folder / "predictions.html"
    beside = folder_beside(page)
    beside.mkdir()
    sure = generator.random(IMAGES).tolist()
    predictions = [
        Prediction(f"class {place % CLASSES:02}/img_{place:08}.jpg", f"class {place % CLASSES:02}", p, {}, sure=p > 0.2)
        for place, p in enumerate(sure)
    ]
    pictures = [thumbnail(number) for number in range(64)]
    sources = {}
    for place, prediction in enumerate(predictions):
        key = predictions_page._key(prediction.path)
        (beside / f"{key}.jpg").write_bytes(pictures[place % 64])
        sources[key] = f"{beside.name}/{key}.jpg"
    with unittest.mock.patch.object(predictions_page, "pictures", lambda *_, **__: contextlib.nullcontext(sources)):
        predictions_page.write_predictions(predictions, OutputFile(page))
    return page


def reported(folder: Path) -> Path:
    """Write a report."""
    import report as fifty

    fifty.IMAGES, fifty.CLASSES = IMAGES, CLASSES
    runs: list[Run] = [fifty.made_up(number) for number in range(3)]
    return report(runs, folder / "report.html")


def measured(driver: webdriver.Chrome, page: Path) -> None:
    """Open a page, use it, and print what took long."""
    start = time.perf_counter()
    driver.get(page.as_uri())
    driver.execute_async_script(PAINTED)
    opened = time.perf_counter() - start
    driver.execute_script(OBSERVE)
    elements = driver.execute_script("return document.querySelectorAll('*').length")
    loading = max(driver.execute_script(TASKS), default=0)
    print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB, opened in {opened:.2f} s, {elements} elements")
    driver.execute_async_script(SCROLL)
    longest = [max(driver.execute_script(TASKS), default=0)]
    for _ in range(20):
        driver.execute_script("document.querySelectorAll('.pager button')[1].click()")
        driver.execute_async_script(PAINTED)
    driver.execute_async_script(SCROLL)
    longest.append(max(driver.execute_script(TASKS), default=0))
    print(f"  longest task: loading {loading:.0f} ms, scrolling {longest[0]:.0f} ms, 20 windows {longest[1]:.0f} ms")
    driver.find_element("css selector", ".shown input").send_keys("9")
    driver.execute_async_script(PAINTED)
    search = max(driver.execute_script(TASKS), default=0)
    for kind, number in (("classes", 2), ("order", 2)):
        driver.find_element("css selector", f".shown select.{kind} option:nth-child({number})").click()
        driver.execute_async_script(PAINTED)
    choosing = max(driver.execute_script(TASKS), default=0)
    print(f"  a letter in the search {search:.0f} ms, a class and an order {choosing:.0f} ms")


def main() -> None:
    """Measure and print."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with tempfile.TemporaryDirectory() as name, webdriver.Chrome(options=options, service=service) as driver:
        for write in (predicted, reported):
            start = time.perf_counter()
            page = write(Path(name))
            print(f"{page.name}: made in {time.perf_counter() - start:.1f} s")
            measured(driver, page)


if __name__ == "__main__":
    main()
