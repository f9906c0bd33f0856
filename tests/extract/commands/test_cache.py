"""The cache verbs: plain words, one JSON object, exit codes."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from command_line import SQUEEZENET
from fakes import noisy, one_line

from fc7.cache.processes import Process
from fc7.cache.shard import decode


@pytest.fixture
def data(tmp_path):
    for number in range(6):
        noisy(tmp_path / "data" / ("red" if number % 2 else "blue") / f"{number}.png", (40 * number, 9, 90), number)
    return tmp_path / "data"


@pytest.fixture
def filled(fc7, data, cache_dir):
    """A cache with six rows in one shard; returns the shard."""
    assert fc7("extract", data, *SQUEEZENET, "--quiet")[0] == 0
    (path,) = cache_dir.glob("recipes/*/shards/*/*.h5")
    return path


def flip(path):
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)


def test_a_sound_cache_is_said_to_be_so(fc7, fc7_json, filled):
    assert fc7("cache", "verify") == (
        0,
        "1 recipe, 1 shard, 6 rows: sound\n1 shard unchanged since they were read; --deep reads them again\n",
        "",
    )
    answer = fc7_json("cache", "verify", "--deep")
    assert answer == {"recipes": 1, "shards": 1, "rows": 6, "read": 1, "damaged": []}
    assert fc7("cache", "repair") == (0, "Nothing to repair.\n", "")


def test_damage_is_found_put_right_and_computed_again(fc7, fc7_json, filled, data, cache_dir):
    before = decode(filled.read_bytes()).embeddings
    flip(filled)
    code, out, err = fc7("cache", "verify")
    assert (code, err) == (1, "")
    assert re.search(r"^damaged  recipes/.*\.h5: its sha256 is", out)
    assert out.splitlines()[-1].endswith("Put it right with: fc7 cache repair")
    assert filled.exists()
    (fixed,) = fc7_json("cache", "repair")["repaired"]
    assert fixed["file"] == filled.relative_to(cache_dir).as_posix()
    assert not filled.exists()
    assert fc7_json("extract", data, *SQUEEZENET, "--quiet")["computed"] == 6
    assert (decode(filled.read_bytes()).embeddings == before).all()
    answer = fc7_json("cache", "gc", "--dry-run")
    assert [entry["reason"] for entry in answer["removed"]] == ["a damaged shard, set aside"]
    code, out, _ = fc7("cache", "gc")
    assert code == 0
    assert out.splitlines()[-1].startswith("removed 1 file or folder")
    assert fc7("cache", "gc")[1] == "removed 0 files and folders, 0.0 MB\n"


def test_a_recipe_is_removed_by_the_beginning_of_its_id(fc7, fc7_json, filled, data):
    recipe = filled.parents[2].name
    code, _, err = fc7("cache", "gc", "--recipe", "xyz")
    assert code == 1
    assert "fc7 cache info" in one_line(err)
    assert fc7_json("cache", "gc", "--recipe", recipe[:8])["bytes"] > 0
    assert fc7_json("extract", data, *SQUEEZENET, "--quiet")["computed"] == 6


def test_compact_merges_what_growing_left(fc7, fc7_json, filled, data, tmp_path):
    noisy(tmp_path / "data" / "red" / "new.png", (250, 0, 0), 99)
    assert fc7_json("extract", data, *SQUEEZENET, "--quiet")["computed"] == 1
    (done,) = fc7_json("cache", "compact")["recipes"]
    assert (done["before"], done["after"]) == (2, 1)
    assert fc7("cache", "compact") == (0, "squeezenet1_1 gap: 1 shard -> 1\n", "")
    assert fc7_json("extract", data, *SQUEEZENET, "--quiet")["computed"] == 0


def test_an_exported_file_fills_another_cache(fc7, fc7_json, filled, data, tmp_path):
    path = tmp_path / "flat.h5"
    assert fc7("cache", "export", path, data, *SQUEEZENET, "--quiet")[0] == 0
    there = ["--cache", tmp_path / "another"]
    assert fc7_json("cache", "import", path, *there) == {
        "file": str(path),
        "rows": 6,
        "added": 6,
        "recipe_id": filled.parents[2].name,
    }
    code, out, _ = fc7("cache", "import", path, *there)
    assert code == 0
    assert "took 0 of 6 rows" in out
    answer = fc7_json("extract", data, *SQUEEZENET, *there, "--quiet")
    assert (answer["computed"], answer["reused"]) == (0, 6)


def test_importing_what_is_no_export_is_one_line(fc7, filled, tmp_path):
    (tmp_path / "x.h5").write_bytes(b"no hdf5")
    code, out, err = fc7("cache", "import", tmp_path / "x.h5")
    assert (code, out) == (1, "")
    assert "x.h5" in one_line(err)


def test_what_is_not_of_fc7_is_said_in_one_line_each_and_blocks_nothing(fc7, filled, cache_dir):
    odd = [cache_dir / "claims" / "notes", filled.parents[2] / "tmp" / "notes", cache_dir / "recipes" / "@eaDir"]
    for path in odd:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (cache_dir / "claims" / "dead").symlink_to(f"{Process.mine()._replace(pid=10**30).token}")
    code, out, err = fc7("cache", "gc")
    assert (code, out.splitlines()[0]) == (0, "removed  claims/dead: a claim of a process that is gone")
    assert sorted(err.splitlines()) == sorted(
        f"fc7: {path} is not fc7's and is left. If nothing needs it: rm -r {path}" for path in odd
    )
    for verb in ("info", "verify", "compact", "repair"):
        code, _, err = fc7("cache", verb)
        assert (code, err) == (0, "")


def test_an_index_that_is_a_folder_is_one_line(fc7, filled, cache_dir):
    (cache_dir / "index.sqlite").unlink()
    (cache_dir / "index.sqlite").mkdir()
    code, out, err = fc7("cache", "repair")
    assert (code, out) == (1, "")
    assert "index.sqlite cannot be deleted" in one_line(err)
    assert "fc7 cache repair" in err


@pytest.mark.parametrize("verb", ["info", "verify", "repair", "gc", "compact"])
def test_without_a_cache_every_verb_says_how_to_make_one(fc7, verb, tmp_path):
    code, out, err = fc7("cache", verb, "--cache", tmp_path / "nowhere")
    assert (code, out) == (1, "")
    assert "fc7 extract DATA --cache" in one_line(err)
    assert not (tmp_path / "nowhere").exists()


def test_another_recipe_of_the_same_images_explains_itself(fc7, filled, data, monkeypatch):
    monkeypatch.setattr(
        "fc7.extract.backbones.torch_runtime.bfloat16_gain", lambda: 2.0
    )  # no warning, whatever the processor
    code, _, err = fc7("extract", data, *SQUEEZENET, "--precision", "bf16")
    assert code == 0
    assert "precision is fp32 there, bf16 here. To use those, change --precision." in one_line(err)
    assert fc7("extract", data, *SQUEEZENET, "--precision", "bf16")[2] == ""


def test_what_does_not_change_a_vector_computes_nothing(fc7_json, filled, data):
    words = ["extract", data, *SQUEEZENET[:4], "--quiet"]
    for change in (["--batch-size", "3"], ["--workers", "1"], ["--device", "cpu"], ["--rehash"]):
        assert fc7_json(*words, *change)["computed"] == 0


def test_rehash_reads_every_file_again(fc7_json, filled, data, monkeypatch):
    from fc7.cache import index

    read, real = [], index.hash_file
    monkeypatch.setattr(index, "hash_file", lambda path: (read.append(path), real(path))[1])
    monkeypatch.setattr(index, "YOUNG_NS", 0)
    words = ["extract", data, *SQUEEZENET, "--quiet"]
    fc7_json(*words)
    read.clear()
    fc7_json(*words)
    assert read == []
    fc7_json(*words, "--rehash")
    assert len(read) == 6


REPEATED = """
import sys
from fc7.cli import main

words = ["extract", sys.argv[1], "--backbone", "squeezenet1_1", "--weights", sys.argv[2]]
assert main(words) == 0
print("LOADED", *[name for name in ("torch", "h5py", "PIL", "rich", "ssl") if name in sys.modules])
"""


def test_a_repeated_extract_loads_nothing_heavy(fc7, data, tmp_path):
    from torch import save
    from torchvision.models import squeezenet1_1

    weights = tmp_path / "weights.pth"
    save(squeezenet1_1().state_dict(), weights)
    os.utime(weights, (1, 1))
    for picture in data.rglob("*.png"):
        os.utime(picture, (1, 1))
    assert "6 computed" in fc7("extract", data, "--backbone", "squeezenet1_1", "--weights", f"file:{weights}")[1]
    command = [sys.executable, "-c", REPEATED, str(data), f"file:{weights}"]
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "0 computed" in again
    assert again.rpartition("LOADED")[2].split() == []


@pytest.mark.usefixtures("shared_cache")
def test_cache_info(fc7, fc7_json, shared_home, bundle):
    answer = fc7_json("cache", "info")
    assert answer["directory"] == str(shared_home / "cache")
    recipe = next(entry for entry in answer["recipes"] if entry["recipe"]["layer"] == "gap" and entry["rows"] >= 24)
    assert recipe["recipe"]["backbone"] == "squeezenet1_1"
    assert recipe["quarantined"] == 0
    code, out, err = fc7("cache", "info")
    assert (code, err) == (0, "")
    assert re.search(r"squeezenet1_1 +gap +512 +fp32 +float16", out)


@pytest.mark.usefixtures("shared_cache")
def test_export_of_what_is_not_in_the_cache_names_the_next_command(fc7, data, tmp_path):
    code, out, err = fc7("cache", "export", tmp_path / "x.h5", data, *SQUEEZENET, "--cache", tmp_path / "cache")
    assert (code, out) == (1, "")
    words = shlex.join(map(str, ["extract", data, *SQUEEZENET, "--cache", tmp_path / "cache"]))
    assert one_line(err).endswith(f"Compute them with: fc7 {words}")


@pytest.mark.usefixtures("shared_cache")
def test_a_cache_that_is_not_there_names_the_next_command(fc7, tmp_path):
    code, out, err = fc7("cache", "info", "--cache", tmp_path / "absent")
    assert (code, out) == (1, "")
    assert "fc7 extract" in one_line(err)
    assert not (tmp_path / "absent").exists()
