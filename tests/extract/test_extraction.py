import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBackbone, draw

from fc7.cache import Store
from fc7.errors import CacheError, DataError, Interrupted
from fc7.extract import extract, fill, load_backbone, read_manifest
from fc7.extract.engines.local import cores


def counts(done):
    return {name: getattr(done, name) for name in ("seen", "ok", "duplicate", "rejected", "computed", "reused")}


def test_run_once_then_cached(pictures, cache_dir, fake):
    manifest = read_manifest(pictures)
    table = extract(manifest, fake)
    assert fake.batches == 3
    again = extract(manifest, fake)
    assert fake.batches == 3
    np.testing.assert_array_equal(table.vectors, again.vectors)


def test_vectors_are_those_of_their_paths(pictures, cache_dir, fake):
    table = extract(read_manifest(pictures), fake)
    assert table.vectors.dtype == np.float16
    for path, label, vector in zip(table.paths, table.labels, table.vectors, strict=True):
        shade = (120 + 10 * int(path.split("/")[-1].split(".")[0])) / 255
        expected = [shade, 0, 0] if label == "red" else [0, 0, shade]
        np.testing.assert_allclose(vector, expected * 4, atol=1e-3)
    assert table.split.tolist() == ["train"] * 6 + ["val"] * 4
    assert table.classes == ("blue", "red")


def test_growing_renaming_editing_deleting(pictures, cache_dir, fake):
    fill(read_manifest(pictures), [fake])
    for number in range(3):
        draw(pictures / "train/red" / f"new{number}.png", (number, 250, 0))
    assert fill(read_manifest(pictures), [fake])[0].computed == 3
    (pictures / "train/red/1.png").rename(pictures / "train/red/other name.png")
    assert fill(read_manifest(pictures), [fake])[0].computed == 0
    (pictures / "train/red/new0.png").unlink()
    assert fill(read_manifest(pictures), [fake])[0].computed == 0
    draw(pictures / "train/red/new1.png", (7, 7, 7))
    assert fill(read_manifest(pictures), [fake])[0].computed == 1


def test_every_file_is_counted_once(pictures, cache_dir, fake):
    red = pictures / "train" / "red"
    (red / "text.png").write_text("hello")
    (red / "empty.jpg").touch()
    (red / "no.gif").write_bytes(b"GIF89a")
    shutil.copy(red / "1.png", red / "copy.png")
    shutil.copy(red / "text.png", red / "text2.png")
    manifest = read_manifest(pictures)
    done = fill(manifest, [fake])[0]
    assert counts(done) == dict(seen=15, ok=10, duplicate=1, rejected=4, computed=10, reused=0)
    assert {reject.path.split("/")[-1]: reject.reason.split()[0] for reject in done.rejects} == {
        "no.gif": "suffix",
        "text.png": "not",
        "text2.png": "not",
        "empty.jpg": "empty",
    }
    batches = fake.batches
    again = fill(manifest, [fake])[0]
    assert counts(again) == counts(done) | dict(computed=0, reused=10)
    assert again.rejects == done.rejects
    assert fake.batches == batches, "known rejects are not decoded again"
    assert len(extract(manifest, fake)) == 11


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_rejected_and_tried_again(pictures, cache_dir, fake):
    path = pictures / "train/red/1.png"
    path.chmod(0)
    assert fill(read_manifest(pictures), [fake])[0].rejected == 1
    path.chmod(0o644)
    assert fill(read_manifest(pictures), [fake])[0].rejected == 0


def test_a_file_that_changes_while_it_is_read_is_rejected_and_not_remembered(pictures, cache_dir, fake, monkeypatch):
    from fc7.cache.index import Index

    real = Index.hashes

    def then_changed(self, paths, **options):
        yield from real(self, paths, **options)
        draw(pictures / "train/red/1.png", (1, 2, 3))

    with monkeypatch.context() as patch:
        patch.setattr(Index, "hashes", then_changed)
        done = fill(read_manifest(pictures), [fake])[0]
    assert [(reject.path, reject.reason) for reject in done.rejects] == [
        ("train/red/1.png", "not readable: changed while it was being read")
    ]
    assert counts(fill(read_manifest(pictures), [fake])[0]) == dict(
        seen=10, ok=10, duplicate=0, rejected=0, computed=1, reused=9
    )


def test_rows_that_are_not_finite_are_rejected(pictures, cache_dir):
    class Overflowing(FakeBackbone):
        def forward(self, batch):
            rows = super().forward(batch)[0]
            rows[rows[:, 0] > 0.8] = 1e9  # beyond float16
            return [rows]

    done = fill(read_manifest(pictures), [Overflowing()])[0]
    assert done.ok + done.rejected == 10
    assert {reject.reason for reject in done.rejects} == {"its embedding is not finite in float16"}
    assert fill(read_manifest(pictures), [Overflowing(dtype="float32", weights="0" * 64)])[0].rejected == 0


def test_nothing_usable_is_an_error_not_an_empty_result(tmp_path, cache_dir, fake):
    for label in "ab":
        (tmp_path / "d" / label).mkdir(parents=True)
        (tmp_path / "d" / label / "1.png").write_text(f"no image {label}")
    with pytest.raises(DataError, match=r"None of 2 images .* not an image"):
        extract(read_manifest(tmp_path / "d"), fake)


def test_several_backbones_are_fed_by_one_decode(pictures, cache_dir, monkeypatch):
    from fc7.extract.decoding import views

    decoded = []
    real = views.decode
    monkeypatch.setattr(views, "decode", lambda *given: (decoded.append(1), real(*given))[1])
    first, second = FakeBackbone(batch_size=4), FakeBackbone(weights="0" * 64, batch_size=3, crop=4)
    done = fill(read_manifest(pictures), [first, second])
    assert [one.computed for one in done] == [10, 10]
    assert len(decoded) == 10
    third = FakeBackbone(weights="1" * 64)
    assert [one.computed for one in fill(read_manifest(pictures), [first, third])] == [0, 10]
    assert len(decoded) == 20


def test_batch_size_and_workers_change_nothing(pictures, tmp_path):
    manifest = read_manifest(pictures)
    tables = [
        extract(manifest, FakeBackbone(batch_size=size), cache=tmp_path / f"{size}", workers=size)
        for size in (1, 3, 64)
    ]
    for table in tables[1:]:
        np.testing.assert_array_equal(table.vectors, tables[0].vectors)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7])
def test_a_resumed_run_gives_the_same_bits(pictures, tmp_path, cut):
    """SqueezeNet for real: padded to the fixed batch size, rows do not depend on where a run stopped."""
    manifest = read_manifest(pictures)

    def backbone():
        return load_backbone("squeezenet1_1", weights="random:0", batch_size=4, dtype="float32", device="cpu")

    whole = extract(manifest, backbone(), cache=tmp_path / "whole").vectors
    calls = []
    stopped = backbone()
    forward = stopped.forward

    def until_the_cut(batch):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return forward(batch)

    stopped.forward = until_the_cut
    with pytest.raises(Interrupted, match="images are computed and kept"):
        fill(manifest, [stopped], cache=tmp_path / "cut", unit_rows=cut, workers=1)
    done = fill(manifest, [backbone()], cache=tmp_path / "cut")[0]
    assert done.reused == min(cut, 4)
    assert done.computed == 10 - done.reused
    np.testing.assert_array_equal(extract(manifest, backbone(), cache=tmp_path / "cut").vectors, whole)


def test_a_failing_commit_ends_the_run_and_keeps_what_was_committed(pictures, cache_dir, fake, monkeypatch):
    append = Store.append
    made = []

    def fails_the_second_time(self, shard):
        if made:
            raise CacheError("disk full")
        made.append(append(self, shard))
        return made[0]

    with monkeypatch.context() as patch, pytest.raises(CacheError, match="disk full"):
        patch.setattr(Store, "append", fails_the_second_time)
        fill(read_manifest(pictures), [fake], unit_rows=2)
    assert fill(read_manifest(pictures), [fake])[0].reused == 2


SLOW = """
import os, sys, time
sys.path.insert(0, sys.argv[3])
from fc7.extract import fill, read_manifest
from fakes import FakeBackbone
fake = FakeBackbone(batch_size=1)
fake.on_forward = lambda: (time.sleep(0.05), os.write(1, b"batch\\n"))
fill(read_manifest(sys.argv[1]), [fake], cache=sys.argv[2], unit_rows=2, workers=2)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_keeps_its_units(pictures, tmp_path, sent):
    arguments = [sys.executable, "-c", SLOW, str(pictures), str(tmp_path / "cache"), str(Path(__file__).parents[1])]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for _ in range(6):
        assert process.stdout.readline() == "batch\n"
    process.send_signal(sent)
    process.wait(timeout=30)
    process.stdout.close()
    fake = FakeBackbone(batch_size=1)
    done = fill(read_manifest(pictures), [fake], cache=tmp_path / "cache")[0]
    assert done.ok == 10
    assert done.reused >= (5 if sent == signal.SIGINT else 2)
    assert fake.batches == done.computed
    expected = extract(read_manifest(pictures), FakeBackbone(batch_size=1), cache=tmp_path / "other").vectors
    np.testing.assert_array_equal(extract(read_manifest(pictures), fake, cache=tmp_path / "cache").vectors, expected)


def test_seconds_are_kept_with_the_rows(pictures, cache_dir, fake):
    fake.on_forward = lambda: time.sleep(0.02)
    manifest = read_manifest(pictures)
    cost = extract(manifest, fake).seconds
    assert cost >= 0.06 / cores()
    assert extract(manifest, fake).seconds == pytest.approx(cost)
