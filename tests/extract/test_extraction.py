import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBackbone, draw, noisy
from PIL import Image, ImageFile
from waiting import LONG, spend

from fc7.cache import Store
from fc7.cache.maintenance import compact, gc
from fc7.cache.shard import Shard
from fc7.cache.verify import verify
from fc7.errors import CacheError, DataError, FC7Error, Interrupted
from fc7.extract import extract, fill, load_backbone, read_manifest
from fc7.extract.backbones.architectures import USUAL_BATCH, architecture
from fc7.extract.machine import cores
from fc7.extract.manifest.manifest import Manifest


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


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root and Windows read everything")
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


class Scaled(FakeBackbone):
    """Its rows are multiplied where the first number is above a limit."""

    def __init__(self, factor, above=-1.0, **options):
        super().__init__(**options)
        self.factor, self.above = factor, above

    def forward(self, batch):
        rows = super().forward(batch)[0]
        rows[rows[:, 0] > self.above] *= self.factor
        return [rows]


def test_rows_that_are_not_finite_are_rejected(pictures, cache_dir):
    done = fill(read_manifest(pictures), [Scaled(np.nan, above=0.8)])[0]
    assert done.ok + done.rejected == 10
    assert {reject.reason for reject in done.rejects} == {"its embedding is not finite"}
    assert fill(read_manifest(pictures), [Scaled(np.nan, above=0.8)])[0].rejected_before == done.rejected


@pytest.mark.parametrize("factor", [1e-9, 1e-30, 1e9])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_type_that_cannot_hold_the_first_rows_ends_the_run_before_it_commits(pictures, cache_dir, factor, workers):
    store = Store(FakeBackbone().recipes[0], cache_dir)
    with pytest.raises(FC7Error, match=r"float16 cannot hold fake tiles: .* Extract with dtype float32") as raised:
        fill(read_manifest(pictures), [Scaled(factor)], workers=workers, unit_rows=3)
    assert type(raised.value) is FC7Error
    store.refresh()
    assert not store.entries
    assert not list((cache_dir / "claims").iterdir())
    done = fill(read_manifest(pictures), [Scaled(factor, dtype="float32")])[0]
    assert done.ok == 10
    vectors = extract(read_manifest(pictures), Scaled(factor, dtype="float32")).vectors
    assert np.abs(vectors).max(axis=1).min() > 0


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_a_later_row_that_the_type_cannot_hold_is_unreadable_for_now(pictures, cache_dir, factor):
    manifest = read_manifest(pictures)
    fill(manifest, [FakeBackbone()])
    draw(pictures / "train" / "red" / "new.png", (255, 1, 1))
    manifest, lossy = read_manifest(pictures), Scaled(factor)
    for _ in range(2):
        done = fill(manifest, [lossy])[0]
        assert (done.ok, done.rejected, done.rejected_before) == (10, 1, 0)
        assert "float16 cannot hold its embedding" in done.rejects[0].reason
        assert "dtype float32" in done.rejects[0].reason
        assert lossy.batches, "looked at in every run"
        lossy.batches = 0
    assert len(Store(lossy.recipes[0], cache_dir).rejected) == 0


def test_the_rows_of_other_backbones_are_kept(pictures, cache_dir):
    lossy = Scaled(1e-9, layer="lossy")
    fill(read_manifest(pictures), [FakeBackbone(layer="lossy")])
    draw(pictures / "train" / "red" / "new.png", (255, 1, 1))
    first, second = fill(read_manifest(pictures), [lossy, FakeBackbone()])
    assert (first.ok, first.rejected) == (10, 1)
    assert (second.ok, second.rejected) == (11, 0)


def test_ordinary_rows_next_to_zeros_raise_no_alarm(pictures, cache_dir):
    assert fill(read_manifest(pictures), [Scaled(0.0, above=0.6)])[0].ok == 10


def test_numpy_that_raises_changes_no_row(pictures, cache_dir, tmp_path):
    plain = extract(read_manifest(pictures), FakeBackbone())
    with np.errstate(all="raise"):
        strict = extract(read_manifest(pictures), FakeBackbone(), cache=tmp_path / "other")
    assert np.array_equal(plain.vectors, strict.vectors)


# What passes is not recorded


def short_of_memory(*_, **__):
    raise MemoryError


def test_what_passes_is_not_recorded_and_looked_at_again(pictures, cache_dir, fake):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fc7.extract.decoding.pillow.Image.Image.resize", short_of_memory)
        done = fill(read_manifest(pictures), [fake])[0]
    assert done.rejected == 10
    assert {reject.reason.partition(".")[0] for reject in done.rejects} == {
        "not readable: there is not enough memory to decode it"
    }
    store = Store(fake.recipes[0], cache_dir)
    assert not store.entries, "a unit without a verdict commits nothing"
    done = fill(read_manifest(pictures), [fake])[0]
    assert (done.ok, done.computed, done.rejected) == (10, 10, 0)


def test_switches_of_pillow_and_truncated_files(pictures, cache_dir, fake, monkeypatch):
    half = noisy(pictures / "train" / "red" / "half.png", (200, 10, 10), 0)
    half.write_bytes(half.read_bytes()[:900])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    done = fill(read_manifest(pictures), [fake])[0]
    assert (done.ok, done.rejected) == (10, 1)
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (1, True)


# Looking at rejected images again


def reject(store, *paths):
    """Record rejections as an earlier version did, in one shard with what else there is."""
    keys = [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    nothing = np.empty((0, store.recipe.dim), store.recipe.dtype)
    store.append(Shard([], nothing, dict.fromkeys(keys, "damaged: MemoryError")))


@pytest.fixture
def sick(pictures, cache_dir):
    """A cache in which two good pictures and a bad one are rejected: alone, together and beside rows."""
    bad = pictures / "train" / "red" / "bad.png"
    bad.write_bytes(b"no image")
    store = Store(FakeBackbone().recipes[0], cache_dir)
    reject(store, pictures / "train" / "red" / "1.png")
    reject(store, pictures / "train" / "blue" / "0.png", bad)
    fill(read_manifest(pictures), [FakeBackbone()])
    return read_manifest(pictures)


def test_rejected_images_are_looked_at_again(sick, cache_dir, fake):
    done = fill(sick, [fake])[0]
    assert (done.ok, done.rejected, done.rejected_before, done.retried, fake.batches) == (8, 3, 3, 0, 0)
    done = fill(sick, [fake], retry_rejected=True)[0]
    assert counts(done) == dict(seen=11, ok=10, duplicate=0, rejected=1, computed=2, reused=8)
    assert (done.retried, done.rejected_before) == (3, 0)
    assert done.rejects[0].path == "train/red/bad.png"
    for again in (False, True):
        done = fill(sick, [fake], retry_rejected=again)[0]
        assert (done.ok, done.computed, done.rejected, done.retried) == (10, 0, 1, again)
    files = sorted(cache_dir.rglob("*.h5"))
    assert extract(sick, fake).vectors.shape == (10, 12)
    assert sorted(cache_dir.rglob("*.h5")) == files, "a rejection that stands is not written again"
    assert verify(deep=True).damaged == []


def test_rows_of_images_that_were_rejected_survive_maintenance(sick, cache_dir, fake):
    fill(sick, [fake], retry_rejected=True)
    before = extract(sick, fake).vectors
    for tidy in (gc, compact, gc, compact):
        tidy(cache_dir)
        store = Store(fake.recipes[0], cache_dir)
        assert (len(store), len(store.rejected)) == (10, 1)
        assert np.array_equal(extract(sick, fake).vectors, before)
        assert fill(sick, [fake])[0].computed == 0
    assert len(store.entries) == 1
    (entry,) = store.entries.values()
    assert len(entry.rejected) == 1, "what a row answers is gone"


def test_a_retry_looks_only_at_its_own_images(sick, fake):
    red = replace(sick, images=sick.images.where(["red/1.png" in path for path in sick.images.paths]))
    assert fill(red, [fake], retry_rejected=True)[0].retried == 1
    assert fill(sick, [fake])[0].rejected_before == 2


def test_a_retry_that_cannot_read_leaves_the_rejection(sick, fake, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("fc7.extract.decoding.pillow.Image.Image.resize", short_of_memory)
        done = fill(sick, [fake], retry_rejected=True)[0]
    assert (done.ok, done.rejected) == (8, 3)
    assert sum("not enough memory" in reject.reason for reject in done.rejects) == 2
    assert fill(sick, [fake])[0].rejected_before == 3
    assert fill(sick, [fake], retry_rejected=True)[0].ok == 10


def test_a_retry_of_several_backbones_and_views(sick, fake):
    other = FakeBackbone(layer="other", views=1)
    first, *rest = fill(sick, [fake, other], retry_rejected=True)
    assert [each.retried for each in (first, *rest)] == [3, 0, 0]
    assert [each.ok for each in (first, *rest)] == [10, 10, 10]
    assert first.computed == 2


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


def test_few_images_are_shared_by_the_cores(pictures, tmp_path):
    """Two batches are computed at once, where one of 16 images had left a core without work."""
    both = threading.Barrier(2, timeout=LONG)

    class Together(FakeBackbone):
        def forward(self, batch):
            both.wait()
            return super().forward(batch)

    backbone = Together(batch_size=USUAL_BATCH)
    manifest = read_manifest(pictures)
    (done,) = fill(Manifest(manifest.root, manifest.images[: 2 * USUAL_BATCH], manifest.classes), [backbone], workers=2)
    assert done.computed == 2 * USUAL_BATCH
    names = ("alexnet", "vgg16", "squeezenet1_1", "resnet18", "vgg11")
    assert [architecture(name).batch for name in names] == [8, 8, 4, 4, 8]


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    options = {"weights": "random:0", "image_size": (64, 64), "batch_size": 4, "dtype": "float32", "device": "cpu"}
    return load_backbone("squeezenet1_1", "gap", cache=tmp_path_factory.mktemp("squeezenet"), **options)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7])
def test_a_resumed_run_gives_the_same_bits(pictures, tmp_path, squeezenet, monkeypatch, cut):
    """SqueezeNet for real: padded to the fixed batch size, rows do not depend on where a run stopped."""
    manifest, forward, calls = read_manifest(pictures), squeezenet.forward, []
    whole = extract(manifest, squeezenet, cache=tmp_path / "whole").vectors

    def until_the_cut(batch):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return forward(batch)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match=r"images (is|are) computed and kept"):
        patch.setattr(squeezenet, "forward", until_the_cut)
        fill(manifest, [squeezenet], cache=tmp_path / "cut", unit_rows=cut, workers=1)
    done = fill(manifest, [squeezenet], cache=tmp_path / "cut")[0]
    assert done.reused == min(cut, 4)
    assert done.computed == 10 - done.reused
    np.testing.assert_array_equal(extract(manifest, squeezenet, cache=tmp_path / "cut").vectors, whole)


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
import os, sys
sys.path.insert(0, sys.argv[3])
from fc7.extract import fill, read_manifest
from fakes import FakeBackbone
from waiting import spend
fake = FakeBackbone(batch_size=1)
fake.on_forward = lambda: (spend(0.05), os.write(1, b"batch\\n"))
fill(read_manifest(sys.argv[1]), [fake], cache=sys.argv[2], unit_rows=2, workers=2)
"""


@pytest.mark.parametrize("sent", [getattr(signal, "SIGKILL", signal.SIGTERM), signal.SIGINT])
def test_a_killed_run_keeps_its_units(pictures, tmp_path, sent):
    arguments = [sys.executable, "-c", SLOW, str(pictures), str(tmp_path / "cache"), str(Path(__file__).parents[1])]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for _ in range(6):
        assert process.stdout.readline() == "batch\n"
    process.send_signal(sent)
    process.wait(timeout=LONG)
    process.stdout.close()
    fake = FakeBackbone(batch_size=1)
    done = fill(read_manifest(pictures), [fake], cache=tmp_path / "cache")[0]
    assert done.ok == 10
    assert done.reused >= (5 if sent == signal.SIGINT else 2)
    assert fake.batches == done.computed
    expected = extract(read_manifest(pictures), FakeBackbone(batch_size=1), cache=tmp_path / "other").vectors
    np.testing.assert_array_equal(extract(read_manifest(pictures), fake, cache=tmp_path / "cache").vectors, expected)


def test_seconds_are_kept_with_the_rows(pictures, cache_dir, fake):
    fake.on_forward = lambda: spend(0.02)
    manifest = read_manifest(pictures)
    cost = extract(manifest, fake).seconds
    assert cost >= 0.06 / cores()
    assert extract(manifest, fake).seconds == pytest.approx(cost)
