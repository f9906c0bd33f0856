"""Parts are disjoint, together everything, and stay what they are in any order, under any mount, while data grows."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBackbone, draw, one_line
from hypothesis import given
from hypothesis import strategies as st
from waiting import LONG

from fc7.cache import Store
from fc7.errors import UsageError
from fc7.extract import extract, fill, read_manifest
from fc7.extract.manifest.columns import ImageEntry
from fc7.extract.manifest.manifest import Manifest
from fc7.extract.manifest.partition import Partition
from fc7.extract.manifest.paths import Reject

TEXT = st.text(st.characters(), max_size=20)  # with surrogates, as names on a disk may have them


@given(st.lists(TEXT, unique=True), st.integers(1, 12))
def test_every_path_is_in_one_part(paths, of):
    parts = [Partition(number, of) for number in range(1, of + 1)]
    assert all(sum(part.has(path) for part in parts) == 1 for path in paths)


@given(st.permutations([f"class {number % 7}/{number}.jpg" for number in range(60)]), st.integers(1, 9), st.data())
def test_parts_of_a_manifest_in_any_order_and_growing(paths, of, data):
    def manifest(root, some):
        images = [ImageEntry(path, path.split("/")[0], "train") for path in some if not path.endswith("7.jpg")]
        return Manifest(Path(root), images, ("a", "b"), tuple(Reject(p, "no") for p in some if p.endswith("7.jpg")))

    grown = manifest("/here", paths)
    before = manifest("/there", sorted(paths[: data.draw(st.integers(0, 60))]))
    seen = Counter()
    for number in range(1, of + 1):
        now, then = (one.part(Partition(number, of)) for one in (grown, before))
        assert set(then.images) <= set(now.images)
        assert set(then.rejects) <= set(now.rejects)
        assert (now.root, now.classes) == (grown.root, grown.classes)
        seen += Counter([*now.images, *now.rejects])
    assert seen == Counter([*grown.images, *grown.rejects])


def test_parts_are_about_equal():
    sizes = [sum(Partition(number, 8).has(f"train/dog/{row}.jpg") for row in range(8000)) for number in range(1, 9)]
    assert min(sizes) > 900


ARRAY = {
    "SLURM_ARRAY_TASK_ID": "13",
    "SLURM_ARRAY_TASK_MIN": "10",
    "SLURM_ARRAY_TASK_MAX": "16",
    "SLURM_ARRAY_TASK_COUNT": "3",
    "SLURM_ARRAY_TASK_STEP": "3",
}
STEP = {"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        (ARRAY, "2/3"),
        ({**ARRAY, "SLURM_ARRAY_TASK_ID": "10"}, "1/3"),
        ({**ARRAY, "SLURM_ARRAY_TASK_MAX": "12", "SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_STEP": "1"}, "3/3"),
        (STEP, "3/4"),
        ({**STEP, "SLURM_NTASKS": "9"}, "3/4"),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, "2/2"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, "1/1"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "1/2"),
        ({**STEP, "RANK": "7", "WORLD_SIZE": "8"}, "8/8"),
        (ARRAY | STEP, "7/12"),
        (ARRAY | {"SLURM_PROCID": "0"}, "2/3"),
    ],
)
def test_the_part_that_a_scheduler_says(environment, part):
    assert str(Partition.of_environment(environment)) == part
    assert Partition.parse(part) == Partition.of_environment(environment)


def test_processes_of_an_array_with_steps_are_all_parts():
    found = [
        Partition.of_environment({**ARRAY, **STEP, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_PROCID": str(rank)})
        for task in (10, 13, 16)
        for rank in range(4)
    ]
    assert found == [Partition(number, 12) for number in range(1, 13)]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "finds neither"),
        ({"RANK": "1"}, "WORLD_SIZE is ''"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2, WORLD_SIZE 2"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, "not started by srun"),
        ({**ARRAY, "SLURM_ARRAY_TASK_MAX": "40"}, "evenly spaced"),
        ({**ARRAY, "SLURM_ARRAY_TASK_ID": "11"}, "evenly spaced"),
        ({**ARRAY, "SLURM_ARRAY_TASK_COUNT": "many"}, "'many', not a number"),
    ],
)
def test_what_a_scheduler_does_not_say_is_refused(environment, said):
    with pytest.raises(UsageError, match=said):
        Partition.of_environment(environment)


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "/", "3/0", "-1/8", "a/b", "1/2/3", "", "1.5/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UsageError, match="from 1 to N"):
        Partition.parse(text)


PROCESS = """
import sys
sys.path.insert(0, sys.argv[4])
from fc7.extract import fill, read_manifest
from fc7.extract.manifest.partition import Partition
from fakes import FakeBackbone
part = Partition.parse(sys.argv[3])
done = fill(read_manifest(sys.argv[1]).part(part), [FakeBackbone()], cache=sys.argv[2], unit_rows=3)[0]
print(done.seen, done.ok + done.duplicate + done.rejected, done.computed)
"""


@pytest.fixture
def many(tmp_path):
    """Sixty pictures, two of them the same, and what is none."""
    root = tmp_path / "many"
    for number in range(60):
        draw(root / "ab"[number % 2] / f"{number}.png", (number, 3 * number, 99))
    shutil.copy(root / "a/0.png", root / "a/copy.png")
    (root / "a" / "broken.png").write_bytes(b"no picture")
    return root


def run(root, cache, parts):
    tests = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", PROCESS, str(root), str(cache)]
    started = [subprocess.Popen([*command, part, tests], stdout=subprocess.PIPE, text=True) for part in parts]
    answers = [process.communicate(timeout=LONG)[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * len(parts)
    return [[int(number) for number in answer] for answer in answers]


def same_as_alone(root, cache):
    """Check rows against those of one process, and that nothing is missing; return how many rows lie on disk."""
    manifest = read_manifest(root)
    done = fill(manifest, [FakeBackbone()], cache=cache)[0]
    assert (done.computed, done.ok, done.duplicate, done.rejected) == (0, 60, 1, 1)
    alone = extract(manifest, FakeBackbone(), cache=cache.with_name("alone"))
    np.testing.assert_array_equal(extract(manifest, FakeBackbone(), cache=cache).vectors, alone.vectors)
    store = Store(FakeBackbone().recipes[0], cache)
    assert store.keys == Store(FakeBackbone().recipes[0], cache.with_name("alone")).keys
    return sum(len(entry.keys) for entry in store.entries.values())


def test_a_part_after_the_other(many, tmp_path):
    manifest, parts = read_manifest(many), [Partition(number, 3) for number in (1, 2, 3)]
    done = [fill(manifest.part(part), [FakeBackbone()], cache=tmp_path / "cache")[0] for part in parts]
    assert sum(one.seen for one in done) == 62
    assert all(one.seen == one.ok + one.duplicate + one.rejected for one in done)
    assert sum(one.computed for one in done) == 60, "a copy in a later part is found in the cache"
    assert same_as_alone(many, tmp_path / "cache") == 60


def test_parts_of_different_numbers_at_once(many, tmp_path):
    """They overlap, and may compute an image twice; readers see it once, and compact leaves it once."""
    from fc7.cache.maintenance import compact

    answers = run(many, tmp_path / "cache", ["1/2", "2/2", "2/3"])
    assert all(seen == counted for seen, counted, _ in answers)
    assert same_as_alone(many, tmp_path / "cache") >= 60
    compact(tmp_path / "cache")
    assert same_as_alone(many, tmp_path / "cache") == 60


def test_caches_of_machines_that_share_no_disk_are_merged_by_copying(many, tmp_path):
    for number in (1, 2):
        part = read_manifest(many).part(Partition(number, 2))
        fill(part, [FakeBackbone()], cache=tmp_path / f"machine {number}")
        shutil.copytree(tmp_path / f"machine {number}" / "recipes", tmp_path / "cache/recipes", dirs_exist_ok=True)
    (tmp_path / "cache" / "FORMAT").write_bytes((tmp_path / "machine 1" / "FORMAT").read_bytes())
    assert same_as_alone(many, tmp_path / "cache") in (60, 61)


SQUEEZENET = ["--backbone", "squeezenet1_1", "--weights", "random:0", "--device", "cpu"]


def test_the_verb_counts_its_part_only(fc7, fc7_json, pictures):
    found = [fc7_json("extract", pictures, *SQUEEZENET, "--shard", f"{number}/2") for number in (1, 2)]
    assert [one["shard"] for one in found] == ["1/2", "2/2"]
    assert sum(one["seen"] for one in found) == 10
    assert all(one["seen"] == one["computed"] for one in found)
    whole = fc7_json("extract", pictures, *SQUEEZENET)
    assert (whole["computed"], whole["ok"]) == (0, 10)
    assert "shard" not in whole
    _, out, _ = fc7("extract", pictures, *SQUEEZENET, "--shard", "2/2")
    assert out.startswith("part 2 of 2, counting its own files:\n")


def test_a_part_without_files_is_no_error(fc7, fc7_json, pictures):
    files = [image.path for image in read_manifest(pictures).images]
    empty = next(number for number in range(1, 1000) if not any(Partition(number, 1000).has(path) for path in files))
    found = fc7_json("extract", pictures, *SQUEEZENET, "--shard", f"{empty}/1000")
    assert (found["seen"], found["ok"], found["computed"]) == (0, 0, 0)


def test_the_verb_takes_its_part_from_the_scheduler(fc7, fc7_json, pictures, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert fc7_json("extract", pictures, *SQUEEZENET, "--shard", "auto")["shard"] == "2/4"
    assert fc7_json("extract", pictures, *SQUEEZENET, "--shard", "1/4")["shard"] == "1/4", "what is named wins"
    monkeypatch.setenv("RANK", "4")
    code, out, err = fc7("extract", pictures, *SQUEEZENET, "--shard", "auto")
    assert (code, out) == (2, "")
    assert "RANK is 4" in one_line(err)


@pytest.mark.parametrize("verb", ["fit", "compare"])
def test_fit_and_compare_want_all_of_it(fc7, pictures, tmp_path, verb):
    assert fc7(verb, pictures, *SQUEEZENET, "-o", tmp_path / "x", "--shard", "1/2")[0] == 2
