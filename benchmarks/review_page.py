"""How long a key takes in the page of a review, in a real browser, with few images and classes and with many.

    python benchmarks/review_page.py [--keys 30]

Made-up embeddings of 512 numbers and small pictures; all images are in one list, and the keyboard gives classes to one
after another. From the key, as it is pressed, to the tile that shows the decision: in the page (waiting for other work
of the page, script, layout), and in all, with the way to the server and its answer. Medians and the worst, in ms; of
the worst, which key it was and what its time went to; the longest task of the page, 0 where none took 50 ms; and the
ratio of the page's median to that with few. Without classes the images have no label, and get one of ten that are
typed in the page. The memory is that of Python with the server, and that of the page's script. Needs Chromium and
selenium, as the browser tests do.
"""

import argparse
import hashlib
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fc7.cache import Embeddings, Recipe
from fc7.classify.reviews.labels import Labels
from fc7.classify.reviews.review import Review
from fc7.classify.reviews.server import Server
from fc7.extract.manifest.columns import ImageEntry
from fc7.extract.manifest.manifest import Manifest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import chromium

SIZES = ((60, 5), (3000, 1000), (20_000, 0))  # images and classes
TYPED = 10  # classes of images without labels
WATCH = """
window.spent = [];
window.longest = 0;
let key = null;
const real = window.fetch;
window.fetch = async (...all) => {
  if (all[0] !== "decide" || !key) return real(...all);
  key.asked = performance.now();
  const answer = await real(...all);
  const json = await answer.json();
  key.answered = performance.now();
  return { ok: answer.ok, json: async () => json };
};
const hear = (event) => { key = { pressed: event.timeStamp, begun: performance.now() }; };
document.addEventListener("keydown", hear, true);
new MutationObserver((changes) => {
  const drawn = changes.some((change) => [...change.addedNodes].some((node) => node.querySelector?.(".flag.good")));
  if (!drawn || !key?.answered) return;
  const { pressed, begun, asked, answered } = key;
  key = null;
  const shown = performance.now();
  document.body.offsetHeight;
  const end = performance.now();
  const all = end - pressed;
  window.spent.push([all - (answered - asked), all, begun - pressed, shown - answered, end - shown]);
}).observe(document.getElementById("grid"), { childList: true, subtree: true });
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask" });
"""

# The key of the class that an image is of, if its tile has one.
KEY = """const number = parseInt(document.activeElement.querySelector(".where").textContent) % arguments[0];
return document.activeElement.querySelector(`[data-label="class ${number}"] small`)?.textContent;"""


def begin(folder, count, classes):
    """Return a review of made-up images."""
    generator = np.random.default_rng(0)
    y = np.arange(count) % (classes or TYPED)
    rows = generator.normal(size=(count, 512)) + 2 * generator.normal(size=(classes or TYPED, 512))[y]
    names = [f"{number:05d}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        colour = tuple(int(part) for part in hashlib.sha256(name.encode()).digest()[:3])
        Image.new("RGB", (64, 48), colour).save(folder / name, comment=str(number).encode())
    keys = [hashlib.sha256((folder / name).read_bytes()).digest() for name in names]
    labels = [f"class {code:04d}" if classes else "" for code in y]
    embeddings = Embeddings(
        vectors=rows.astype(np.float16),
        labels=np.array(labels),
        paths=np.array(names),
        split=np.full(count, ""),
        group=np.full(count, ""),
        sha256=np.array([list(key) for key in keys], np.uint8),
        classes=tuple(sorted(set(labels) - {""})),
        recipe=Recipe("made-up", "fc7", 512, "0" * 64),
        name="made-up",
    )
    images = tuple(ImageEntry(name, label, "") for name, label in zip(names, labels, strict=True))
    manifest = Manifest(folder, images, embeddings.classes, (), "made-up")
    return Review(embeddings, Labels(manifest, embeddings.keys, folder.parent / "labels.csv"))


def pressed(browser, address, keys, kind):
    """Return ``(keys, 5)`` ms: in the page, in all; and of the page until the key is heard, of script, of layout."""
    browser.get(address)
    ready = "return document.querySelectorAll('#grid > li .where').length > 5 && !('busy' in document.body.dataset)"
    wait(browser, ready)
    browser.find_element("id", f"tab-{kind}").click()
    wait(browser, ready + f" && document.getElementById('grid').dataset.list === '{kind}'")
    for number in range(TYPED if kind == "unlabelled" else 0):
        browser.find_element("id", "class").send_keys(f"class {number}\n")
    browser.execute_script(WATCH)
    browser.execute_script("document.querySelector('#grid > li').focus()")
    for number in range(keys):
        key = "1"
        if kind == "unlabelled":  # as a person sees it
            key = browser.execute_script(KEY, TYPED) or "1"
        browser.switch_to.active_element.send_keys(key)
        wait(browser, f"return window.spent.length > {number} && !('busy' in document.body.dataset)")
    return np.array(browser.execute_script("return window.spent"))


def wait(browser, script):
    """Wait until a script is true."""
    end = time.monotonic() + 120
    while not browser.execute_script(script):
        if time.monotonic() > end:
            raise SystemExit(f"The page never came so far: {script}")
        time.sleep(0.02)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=30)
    arguments = parser.parse_args()
    few = None
    print("| images | classes | in the page, median ms | worst | waiting, script, layout | longest task |", end="")
    print(" with the server, median ms | worst | to few | MB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for count, classes in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "pictures"
            folder.mkdir()
            server = Server(begin(folder, count, classes), folder)
            thread = threading.Thread(target=server.run)
            thread.start()
            browser = chromium.start(Path(name) / "profile")
            try:
                kind = "all" if classes else "unlabelled"
                keys = min(arguments.keys, count - 1)  # each key goes on to the next image
                spent = pressed(browser, server.address, keys, kind)
                longest = browser.execute_script("return window.longest")
                script = browser.execute_script("return performance.memory.usedJSHeapSize")
            finally:
                browser.quit()
                server.stop()
                thread.join()
        page, whole = spent[:, :2].T
        few, worst = np.median(page) if few is None else few, int(page.argmax())
        where = ", ".join(f"{part:.0f}" for part in spent[worst, 2:])
        figures = f"{np.median(page):.1f} | {page.max():.1f} (key {worst + 1}) | {where} | {longest:.0f}"
        figures += f" | {np.median(whole):.1f} | {whole.max():.1f}"
        memory = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} and {script / 2**20:.0f}"
        print(f"| {count:,} | {classes:,} | {figures} | {np.median(page) / few:.1f} | {memory} |", flush=True)


if __name__ == "__main__":
    main()
