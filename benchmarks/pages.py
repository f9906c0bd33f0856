"""Claim: pages over 100,000 images open in Chromium in under 3 s and scroll without a task over 100 ms; maps are moved.

    python benchmarks/pages.py

Pictures are made up: 64 different ones, under 100,000 names in the folder beside the page. A task is what the browser's
PerformanceObserver calls a long task. It scrolls from the top to the end, turns over 20 windows, and searches, filters
and sorts once; these three are shown by themselves. The audit has 50,000 pairs of near-duplicates. A map of 20,000
points of 10 and of 1,000 classes is dragged for a second at 390 px, as a phone of three pixels to each, and at 1,280:
shown are the ms between two frames, and those of one movement of the pointer without a button. Needs selenium,
chromium and chromedriver.
"""

import contextlib
import io
import sys
import tempfile
import time
import unittest.mock
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import chromium
import report as fifty

from fc7.cache import Embeddings, Recipe
from fc7.cache.output_file import OutputFile
from fc7.classify.audits.audit import audit
from fc7.classify.audits.findings import AuditedImage, ImagePair, Suspect
from fc7.classify.audits.page import write_audit
from fc7.classify.bundles import page as predictions_page
from fc7.classify.bundles.prediction import Prediction
from fc7.classify.pages.pictures import Pictures, folder_beside
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
DRAG = """const [done, over] = [arguments[0], document.querySelector('.map .over')];
const box = over.getBoundingClientRect();
const send = (type, x, y) => over.dispatchEvent(new PointerEvent(type, {
  pointerId: 1, clientX: box.x + x, clientY: box.y + y, bubbles: true, pointerType: 'mouse' }));
over.setPointerCapture = () => {};
const times = [];
let last = 0;
send('pointerdown', 100, 100);
const step = (now) => {
  if (last) times.push(now - last);
  last = now;
  if (times.length < 60) { send('pointermove', 100 + times.length, 100); return requestAnimationFrame(step); }
  send('pointerup', 160, 100);
  const start = performance.now();
  for (let i = 0; i < 200; i++) send('pointermove', 50 + i, 120);
  done([times, (performance.now() - start) / 200]);
};
requestAnimationFrame(step);"""
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
    with unittest.mock.patch.object(
        predictions_page, "pictures", lambda *_, **__: contextlib.nullcontext(Pictures(sources))
    ):
        predictions_page.write_predictions(predictions, OutputFile(page))
    return page


def reported(folder: Path) -> Path:
    """Write a report."""
    fifty.IMAGES, fifty.CLASSES = IMAGES, CLASSES
    runs: list[Run] = [fifty.made_up(number) for number in range(3)]
    return report(runs, folder / "report.html")


def audited(folder: Path, classes: int) -> Path:
    """Write an audit of 50,000 pairs, with a map on which every twentieth image is ringed."""
    generator = np.random.default_rng(0)
    codes = np.arange(IMAGES) % classes
    names = np.array([f"class {code:04}" for code in range(classes)])
    rows = Embeddings(
        vectors=(generator.standard_normal((classes, 8))[codes] + 0.2 * generator.standard_normal((IMAGES, 8))).astype(
            np.float16
        ),
        labels=names[codes],
        paths=np.array([f"{names[code]}/img_{place:08}.jpg" for place, code in enumerate(codes)]),
        split=np.full(IMAGES, ""),
        group=np.full(IMAGES, ""),
        sha256=generator.integers(0, 256, (IMAGES, 32), dtype=np.uint8),
        classes=tuple(names.tolist()),
        recipe=Recipe("made-up", "fc7", 8, "0" * 64),
        name="made-up",
    )
    images = [
        AuditedImage(path, label, "", key.hex())
        for path, label, key in zip(rows.paths.tolist(), rows.labels.tolist(), rows.keys, strict=True)
    ]
    pairs = [ImagePair("near-duplicate", *images[place : place + 2], 0.97, 0.9) for place in range(0, IMAGES, 2)]
    suspects = [
        Suspect(image, 0.05, str(names[(code + 1) % classes]), 0.95, off_diagonal=True)
        for image, code in zip(images[::20], codes[::20], strict=True)
    ]
    found = replace(audit(rows[:200]), images=rows, near_duplicates=pairs, suspects=suspects)
    return write_audit(found, folder / f"audit-{classes}.html")


def dragged(driver: webdriver.Chrome, page: Path) -> None:
    """Drag the map of a page, and print how long its pictures took."""
    for pixels, scale in ((390, 3), (1280, 1)):
        metrics = {"width": pixels, "height": 844, "deviceScaleFactor": scale, "mobile": pixels < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(page.as_uri())
        driver.execute_script("document.querySelector('[data-map]').scrollIntoView()")
        driver.execute_async_script(PAINTED)
        frames, hover = driver.execute_async_script(DRAG)
        said = f"median {np.median(frames):.0f} ms, 95 % {np.quantile(frames, 0.95):.0f} ms, worst {max(frames):.0f} ms"
        print(f"  map at {pixels} px: between frames {said}; a movement of the pointer {hover:.2f} ms")
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


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
        chooser = driver.find_element("css selector", f".shown select.{kind}")
        if chooser.is_displayed():  # pairs have no class and no order
            chooser.find_element("css selector", f"option:nth-child({number})").click()
            driver.execute_async_script(PAINTED)
    choosing = max(driver.execute_script(TASKS), default=0)
    print(f"  a letter in the search {search:.0f} ms, a class and an order {choosing:.0f} ms")


def main() -> None:
    """Measure and print."""
    pages = predicted, reported, partial(audited, classes=10), partial(audited, classes=1000)
    with tempfile.TemporaryDirectory() as name, chromium.start(f"{name}/profile") as driver:
        driver.set_window_size(1280, 900)
        driver.set_script_timeout(120)
        for write in pages:
            start = time.perf_counter()
            page = write(Path(name))
            print(f"{page.name}: made in {time.perf_counter() - start:.1f} s")
            measured(driver, page)
            if page.name.startswith("audit"):
                dragged(driver, page)


if __name__ == "__main__":
    main()
