"""Decoding in processes: the same pixels, the same refusals, and nobody left behind."""

import hashlib
import logging
import os
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBackbone, draw
from PIL import Image
from waiting import until

from fc7.cache import Store
from fc7.cache.recipe import DECODES, Input, Transform
from fc7.errors import ImageRejected
from fc7.extract import child_process, extract, fill, read_manifest
from fc7.extract.decoding import decode, memory_budget, worker_process
from fc7.extract.decoding.decode_pool import DecodePool
from fc7.extract.decoding.shared_pixels import Layout, SharedPixels
from fc7.extract.decoding.views import read_views
from fc7.extract.decoding.worker_process import DecodeProcess, Request
from fc7.extract.engines import local
from fc7.extract.engines.accounting import Clock
from fc7.extract.engines.unit_loop import Plan
from fc7.extract.manifest.hashing import Hashed

CENTRE = Input(Transform(20, 16), DECODES["exact"], 0)
VIEWS = (CENTRE, Input(Transform(40, 32), DECODES["scaled"], 0), Input(Transform(20, 16), DECODES["exact"], 3))


def keyed(path):
    return str(path), hashlib.sha256(path.read_bytes()).digest()


def runs(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def a_slot(wanted=VIEWS):
    """Return memory with one batch of four images, full of what was there before."""
    shared = SharedPixels(Layout(wanted, rows=4, slots=1))
    for pixels in shared.slots[0].pixels.values():
        pixels[:] = 7
    return shared


def ask(process, *files, wanted=VIEWS):
    """Return what failed, by its row."""
    return process.decode(Request(0, wanted, [(row, *file) for row, file in enumerate(files)]))


def pixels_of(process, wanted=CENTRE):
    return process._shared.slots[0].pixels[wanted]


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux's list of processes")


@pytest.fixture
def process():
    one = DecodeProcess(a_slot())
    yield one
    last = one._process
    one.close()
    assert last is None or last.returncode == 0


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_image_in_an_archive_has_the_same_pixels(process, tmp_path, suffix):
    path, key = keyed(draw(tmp_path / "a.png", "red", size=(40, 30)))
    if suffix == ".tar":
        with tarfile.open(tmp_path / "photos.tar", "w") as archive:
            archive.add(path, "ants/a.png")
    else:
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            archive.write(path, "ants/a.png")
    inside = f"{tmp_path}/photos{suffix}!/"
    failures = ask(process, (inside + "ants/a.png", key), (inside + "b.png", key), (inside + "ants/a.png", bytes(32)))
    for wanted, expected in read_views(path, key, VIEWS).items():
        np.testing.assert_array_equal(pixels_of(process, wanted)[0], expected)
    assert [*failures] == [1, 2]
    assert "no such member" in str(failures[1])
    assert "changed while" in str(failures[2])


def test_pixels_are_those_of_a_thread_to_the_bit(process, photo):
    started = []
    for _ in range(2):
        assert ask(process, keyed(photo), keyed(photo)) == {}
        started.append(process._process.pid)
        for wanted, expected in read_views(*keyed(photo), VIEWS).items():
            for row in range(2):
                np.testing.assert_array_equal(pixels_of(process, wanted)[row], expected)
    assert started[0] == started[1]


def test_only_the_views_that_are_wanted_are_made(process, photo):
    assert ask(process, keyed(photo), wanted=VIEWS[:1]) == {}
    assert (pixels_of(process, VIEWS[1]) == 7).all()


def test_refusals_are_those_of_a_thread(process, photo, tmp_path):
    (tmp_path / "rubbish.jpg").write_bytes(b"\xff\xd8rubbish")
    (tmp_path / "empty.png").write_bytes(b"")
    bad = [keyed(tmp_path / "rubbish.jpg"), keyed(tmp_path / "empty.png"), (str(photo), b"other"), (str(tmp_path), b"")]
    failures = ask(process, *bad)
    for row, file in enumerate(bad):
        with pytest.raises((ImageRejected, OSError)) as here:
            read_views(*file, VIEWS)
        assert type(failures[row]) is (ImageRejected if row < 2 else OSError)
        if row < 2:
            assert str(failures[row]) == str(here.value)
        else:
            assert (failures[row].errno, failures[row].strerror) == (here.value.errno or 0, here.value.strerror)
        assert not any(pixels_of(process, wanted)[row].any() for wanted in VIEWS)
    assert ask(process, keyed(photo)) == {}, "it goes on"


def test_a_process_that_is_killed_at_an_image_costs_that_image(photo, monkeypatch):
    process = DecodeProcess(a_slot())
    asked = []

    def killed_once(self, request, slot, real=DecodeProcess._ask):
        asked.append([row for row, *_ in request.files])
        if len(asked) == 1:  # as if it had come so far
            self._shared.slots[0].states[:3] = worker_process.DONE, worker_process.AT_WORK, worker_process.FAILED
            self._process.kill()
        return real(self, request, slot)

    monkeypatch.setattr(DecodeProcess, "_ask", killed_once)
    failures = ask(process, *[keyed(photo)] * 4)
    assert asked == [[0, 1, 2, 3], [2, 3]]
    assert [*failures] == [1]
    assert str(failures[1]) == "[Errno 0] the process that decoded it ended (signal 9)"
    assert not any(pixels_of(process, wanted)[1].any() for wanted in VIEWS)
    np.testing.assert_array_equal(pixels_of(process)[3], read_views(*keyed(photo), [CENTRE])[CENTRE])
    assert ask(process, *[keyed(photo)] * 4) == {}
    process.close()


@linux
def test_a_process_that_comes_no_further_costs_an_image_and_is_replaced(photo, monkeypatch):
    """As one that is stopped, or whose read never ends."""
    monkeypatch.setattr(worker_process, "STUCK", 0.2)
    process, found = DecodeProcess(a_slot()), []
    assert ask(process, keyed(photo)) == {}
    first = process._process
    os.kill(first.pid, signal.SIGSTOP)
    asking = threading.Thread(target=lambda: found.append(ask(process, *[keyed(photo)] * 3)), daemon=True)
    asking.start()
    until(lambda: process.end_if_stuck() or first.poll() is not None)
    assert until(lambda: found) == [{}], "it had begun none"
    process.close()


def test_a_process_that_waits_for_memory_is_not_stuck(process, photo, monkeypatch):
    monkeypatch.setattr(worker_process, "STUCK", -1.0)
    assert ask(process, keyed(photo)) == {}
    process._working = None  # as while it waits
    for _ in range(3):
        process.end_if_stuck()
    assert process._process.poll() is None


def test_a_process_that_is_killed_between_two_batches_costs_nothing(process, photo):
    assert ask(process, keyed(photo)) == {}
    process._process.kill()
    assert ask(process, keyed(photo)) == {}


def test_large_images_share_the_budget_of_the_threads(process, tmp_path):
    draw(tmp_path / "large.png", (1, 2, 3), (3000, 3000))
    assert 3000 * 3000 * decode._ORDINARY > memory_budget.SMALL
    memory_budget._budget.take(memory_budget.BUDGET)
    waiting = threading.Thread(target=ask, args=(process, *[keyed(tmp_path / "large.png")] * 2), daemon=True)
    waiting.start()
    waiting.join(1)
    assert waiting.is_alive()
    memory_budget._budget.give_back(memory_budget.BUDGET)
    waiting.join(20)
    assert not waiting.is_alive()
    assert not memory_budget._budget._taken
    assert pixels_of(process)[1].any()


def test_a_process_that_is_killed_gives_its_memory_back(process, photo, monkeypatch):
    assert ask(process, keyed(photo)) == {}
    memory_budget.lend(100)
    process._lent = 100
    process._process.kill()
    assert ask(process, keyed(photo)) == {}
    assert not memory_budget._budget._taken


def test_what_goes_wrong_there_is_decoded_here(photo):
    """A fault that is not the image's comes out of the process that people look at."""
    impossible = Input(Transform(20, 16, interpolation="none"), DECODES["exact"], 0)
    process = DecodeProcess(a_slot((CENTRE, impossible)))
    assert ask(process, keyed(photo), wanted=[CENTRE, impossible]) == {0: None}
    assert ask(process, keyed(photo), wanted=[CENTRE]) == {}
    process.close()


@pytest.mark.parametrize(
    ("executable", "program", "why"),
    [
        ("/nowhere/python", "", "No such file or directory: '/nowhere/python'"),
        (sys.executable, "import sys; sys.stdin.buffer.read(1); sys.exit(3)", "it ended with exit code 3"),
        (sys.executable, "import os; os.kill(os.getpid(), 9)", "it ended with exit code -9"),
    ],
)
def test_where_there_can_be_none_all_is_decoded_here(photo, monkeypatch, executable, program, why):
    """And it is not tried again for every batch."""
    said = []
    monkeypatch.setattr(worker_process.logger, "info", lambda message, *words: said.append(message % words))
    monkeypatch.setattr(child_process, "_PROGRAM", program)
    monkeypatch.setattr(sys, "executable", executable)
    process = DecodeProcess(a_slot())
    for _ in range(2):
        assert ask(process, keyed(photo), keyed(photo)) == {0: None, 1: None}
    assert len(said) == 1
    assert said[0].endswith(why)


@linux
def test_it_loads_neither_torch_nor_scikit_learn(process, photo):
    ask(process, keyed(photo))
    maps = Path(f"/proc/{process._process.pid}/maps").read_text()
    assert "PIL/_imaging" in maps
    assert not [name for name in ("torch", "sklearn", "scipy", "h5py") if f"site-packages/{name}/" in maps]


@linux
def test_it_ends_when_we_are_killed(photo):
    code = f"""
import sys
from fc7.cache.recipe import DECODES, Input, Transform
from fc7.extract.decoding.shared_pixels import Layout, SharedPixels
from fc7.extract.decoding.worker_process import DecodeProcess, Request
wanted = Input(Transform(20, 16), DECODES["exact"], 0)
one = DecodeProcess(SharedPixels(Layout((wanted,), 1, 1)))
assert one.decode(Request(0, [wanted], [(0, {str(photo)!r}, {keyed(photo)[1]!r})])) == {{}}
print(one._process.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as us:
        pid = int(us.stdout.readline())
        assert runs(pid)
        us.kill()
    until(lambda: not runs(pid))


@pytest.mark.parametrize("without", [(), ("memfd_create",), ("memfd_create", "posix_fallocate")])
def test_the_memory_is_shared_whatever_the_system_has(photo, monkeypatch, without):
    for name in without:
        monkeypatch.delattr(os, name)
    process = DecodeProcess(a_slot())
    assert ask(process, keyed(photo)) == {}
    np.testing.assert_array_equal(pixels_of(process)[0], read_views(*keyed(photo), [CENTRE])[CENTRE])
    process.close()


# In an extraction


@pytest.fixture
def pools(monkeypatch):
    """Treat a fake as if a device computed, and its few images as many; collects the pools."""

    class Device:
        type = "cuda"

    class Collected(DecodePool):
        def __init__(self, processes):
            super().__init__(processes)
            made.append(self)

    made = []
    monkeypatch.setattr(FakeBackbone, "device", Device())
    monkeypatch.setattr(local, "STARTING", 1)
    monkeypatch.setattr(local, "DecodePool", Collected)
    return made


def test_an_extraction_gives_the_same_with_them(pictures, tmp_path, pools, monkeypatch):
    (pictures / "train" / "red" / "rubbish.png").write_bytes(b"rubbish")
    fake = FakeBackbone(views=1)
    at_work = set()
    fake.on_forward = lambda: at_work.update(one._process.pid for one in pools[0]._all if one._process)
    there = fill(read_manifest(pictures), [fake], cache=tmp_path / "there", workers=2)
    assert len(pools) == 1
    assert at_work
    assert not any(map(runs, at_work))
    monkeypatch.setattr(local, "STARTING", 100)
    here = fill(read_manifest(pictures), [fake], cache=tmp_path / "here", workers=2)
    assert len(pools) == 1
    for one, other in zip(there, here, strict=True):
        assert (one.ok, one.rejects) == (other.ok, other.rejects)
        assert one.rejected == 1
    tables = [extract(read_manifest(pictures), FakeBackbone(), cache=tmp_path / c).vectors for c in ("there", "here")]
    np.testing.assert_array_equal(*tables)


def test_an_image_whose_process_is_killed_is_computed_by_the_same_command(pictures, tmp_path, pools, monkeypatch):
    fake = FakeBackbone(batch_size=4)
    killed = []

    def killed_once(self, request, slot, real=DecodeProcess._ask):
        if not killed:
            killed.append(request.files[1])
            self._shared.slots[request.slot].states[1] = worker_process.AT_WORK
            self._process.kill()
        return real(self, request, slot)

    monkeypatch.setattr(DecodeProcess, "_ask", killed_once)
    manifest = read_manifest(pictures)
    first = fill(manifest, [fake], cache=tmp_path / "cache", workers=1)[0]
    assert [reject.reason for reject in first.rejects] == ["not readable: the process that decoded it ended (signal 9)"]
    assert first.rejects[0].path in killed[0][1]
    again = fill(manifest, [fake], cache=tmp_path / "cache", workers=1)[0]
    assert (again.ok, again.computed, again.rejects) == (10, 1, [])


def test_without_memory_to_share_the_threads_decode(pictures, tmp_path, pools, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "fc7")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    done = fill(read_manifest(pictures), [FakeBackbone()], cache=tmp_path / "cache", workers=2)[0]
    assert (done.ok, done.computed) == (10, 10)
    assert not pools[0]._all
    assert "images are decoded without processes of their own: " in caplog.text


def test_where_processes_cannot_start_the_threads_decode(pictures, tmp_path, pools, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    done = fill(read_manifest(pictures), [FakeBackbone()], cache=tmp_path / "cache", workers=2)[0]
    assert (done.ok, done.computed) == (10, 10)


def test_processes_that_are_there_are_used_again_and_left_as_they_are(pictures, tmp_path, pools):
    """As a worker on Ray has them, for one unit after the other."""
    manifest, fake = read_manifest(pictures), FakeBackbone(batch_size=1)
    pids = set()
    with DecodePool(1) as mine:
        for name in ("one", "other"):
            store = Store(fake.recipes[0], tmp_path / name)
            hashed = Hashed.of(manifest, tmp_path / name)
            plan = Plan([fake], [store], hashed.files, Clock())
            work = local.Pipeline(plan, workers=1, decoders=mine)
            assert not work.run(list(hashed.images), 4)
            assert not list(store.missing(hashed.images))
            pids.add(mine._all[0]._process.pid)
    assert len(pids) == 1
    assert not pools
    assert not any(map(runs, pids))
