"""The pictures of the README: what a browser shows of the report and of the review of the demo's digits.

Usage: python tests/pictures.py docs/images, or `make pictures`. Beside the pictures lies a hash of what the pages are
made of; tests/test_docs.py fails when the pages have changed since.
"""

import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import chromium
from PIL import Image

import fc7
from fc7 import cli

SOURCES = {"report.png": ("reports", "pages"), "review.png": ("reviews/page", "pages")}
WIDTH, HEIGHT, COLOURS = 1280, 860, 128
WEIGHTS = ("--backbone", "timm:tf_efficientnet_lite0", "--weights", "efficientnet-lite")


def structure(wings):
    """Return the hash of the templates, styles and scripts of these wings."""
    root = Path(fc7.__file__).parent / "classify"
    files = [path for wing in wings for path in sorted((root / wing).iterdir())]
    files = [path for path in files if path.suffix in (".jinja", ".css", ".js")]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def picture(browser, path):
    """Write what the browser shows, with as few bytes as the eye allows."""
    shown = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    shown.crop((0, 0, WIDTH, HEIGHT)).quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def main(folder):
    """Run the demo, and take the pictures."""
    with tempfile.TemporaryDirectory() as name:
        demo = Path(name) / "fc7-demo"
        cache = ("--cache", f"{name}/cache")
        cli.main(["demo", "-o", str(demo), *cache])
        cli.main(["report", str(demo / "runs"), "-o", str(demo / "report.html")])
        browser = chromium.start(f"{name}/profile")
        browser.set_window_size(WIDTH, HEIGHT + 200)
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False},
        )
        browser.get((demo / "report.html").as_uri())
        picture(browser, folder / "report.png")
        command = [sys.executable, "-m", "fc7", "review", str(demo / "digits"), *WEIGHTS, *cache]
        with subprocess.Popen([*command, "-o", f"{name}/labels.csv"], stderr=subprocess.PIPE, text=True) as review:
            browser.get(next(found[0] for line in review.stderr if (found := re.search(r"http://\S+", line))))
            chromium.wait_for_images(browser)
            picture(browser, folder / "review.png")
            review.terminate()
        browser.quit()
    hashes = {name: structure(wings) for name, wings in SOURCES.items()}
    (folder / "structure.json").write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
