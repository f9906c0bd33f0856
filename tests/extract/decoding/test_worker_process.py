"""Decoding in processes: the same pixels, the same refusals, and nobody left behind."""

import hashlib
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
from fc7.extract import extract, fill, read_manifest
from fc7.extract.decoding import decode, memory_budget, worker_process
from fc7.extract.decoding.views import read_views
from fc7.extract.decoding.worker_process import DecodeProcess
from fc7.extract.engines import local
from fc7.extract.engines.accounting import Clock
from fc7.extract.engines.unit_loop import Plan
from fc7.extract.manifest.hashing import Hashed

CENTRE = Input(Transform(20, 16), DECODES["exact"], 0)
VIEWS = (CENTRE, Input(Transform(40, 32), DECODES["scaled"], 0), Input(Transform(20, 16), DECODES["exact"], 3))


def keyed(path):
    return str(path), hashlib.sha256(path.read_bytes()).digest()


def rows(wanted=VIEWS):
    return {one: np.full((one.transform.crop, one.transform.crop, 3), 7, np.uint8) for one in wanted}


def runs(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_image_in_an_archive_has_the_same_pixels(tmp_path, suffix):
    path, key = keyed(draw(tmp_path / "a.png", "red", size=(40, 30)))
    if suffix == ".tar":
        with tarfile.open(tmp_path / "photos.tar", "w") as archive:
            archive.add(path, "ants/a.png")
    else:
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            archive.write(path, "ants/a.png")
    with DecodeProcess() as process:
        there = rows()
        process.decode(f"{tmp_path}/photos{suffix}!/ants/a.png", key, there)
        here = read_views(path, key, VIEWS)
        assert all(np.array_equal(there[wanted], here[wanted]) for wanted in VIEWS)
        with pytest.raises(OSError, match="no such member"):
            process.decode(f"{tmp_path}/photos{suffix}!/b.png", key, rows())
        with pytest.raises(OSError, match="changed while"):
            process.decode(f"{tmp_path}/photos{suffix}!/ants/a.png", bytes(32), rows())


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux's list of processes")


@pytest.fixture
def process():
    with DecodeProcess() as one:
        yield one
        last = one._process
    assert last is None or last.returncode == 0


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_pixels_are_those_of_a_thread_to_the_bit(process, photo):
    found, started = rows(), []
    for _ in range(2):
        process.decode(*keyed(photo), found)
        started.append(process._process.pid)
        for one, expected in read_views(*keyed(photo), VIEWS).items():
            np.testing.assert_array_equal(found[one], expected)
    assert started[0] == started[1]


def test_refusals_are_those_of_a_thread(process, photo, tmp_path):
    (tmp_path / "rubbish.jpg").write_bytes(b"\xff\xd8rubbish")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("rubbish.jpg", "empty.png"):
        with pytest.raises(ImageRejected) as here:
            read_views(*keyed(tmp_path / name), VIEWS)
        with pytest.raises(ImageRejected) as there:
            process.decode(*keyed(tmp_path / name), rows())
        assert str(there.value) == str(here.value)
    for path, key in ((str(photo), b"other"), (str(tmp_path / "gone.png"), b""), (str(tmp_path), b"")):
        with pytest.raises(OSError) as here:
            read_views(path, key, VIEWS)
        with pytest.raises(OSError) as there:
            process.decode(path, key, rows())
        assert (there.value.errno, there.value.strerror) == (here.value.errno, here.value.strerror)
    process.decode(*keyed(photo), rows())  # it goes on


def test_a_process_that_was_killed_costs_one_image(process, photo):
    process.decode(*keyed(photo), rows())
    process._process.kill()
    found = rows()
    with pytest.raises(OSError, match=r"^\[Errno 0\] the process that decoded it ended \(signal 9\)$"):
        process.decode(*keyed(photo), found)
    assert not any(pixels.any() for pixels in found.values())
    process.decode(*keyed(photo), found)
    np.testing.assert_array_equal(found[CENTRE], read_views(*keyed(photo), [CENTRE])[CENTRE])


def test_large_images_share_the_budget_of_the_threads(process, tmp_path):
    draw(tmp_path / "large.png", (1, 2, 3), (3000, 3000))
    assert 3000 * 3000 * decode._ORDINARY > memory_budget.SMALL
    memory_budget._budget.take(memory_budget.BUDGET)
    waiting = threading.Thread(target=process.decode, args=(*keyed(tmp_path / "large.png"), rows()), daemon=True)
    waiting.start()
    waiting.join(1)
    assert waiting.is_alive()
    memory_budget._budget.give_back(memory_budget.BUDGET)
    waiting.join(20)
    assert not waiting.is_alive()
    assert not memory_budget._budget._taken


def test_what_goes_wrong_there_goes_wrong_here(process, photo):
    """A fault that is not the image's comes out of the process that people look at."""
    with pytest.raises(AttributeError):
        process.decode(*keyed(photo), {Input(None, DECODES["exact"], 0): rows()[CENTRE]})
    process.decode(*keyed(photo), rows())


@pytest.mark.parametrize(
    ("executable", "program", "why"),
    [
        ("/nowhere/python", "", "No such file or directory: '/nowhere/python'"),
        (sys.executable, "import sys; sys.stdin.buffer.read(1); sys.exit(3)", "it ended with exit code 3"),
    ],
)
def test_where_there_can_be_none_the_thread_decodes(photo, monkeypatch, executable, program, why):
    """And does not try again for every image."""
    said = []
    monkeypatch.setattr(worker_process.logger, "info", lambda message, *words: said.append(message % words))
    monkeypatch.setattr(worker_process, "_PROGRAM", program)
    monkeypatch.setattr(sys, "executable", executable)
    with DecodeProcess() as process:
        for _ in range(2):
            found = rows()
            process.decode(*keyed(photo), found)
            np.testing.assert_array_equal(found[CENTRE], read_views(*keyed(photo), [CENTRE])[CENTRE])
    assert len(said) == 1
    assert said[0].endswith(why)


@linux
def test_it_loads_neither_torch_nor_scikit_learn(process, photo):
    process.decode(*keyed(photo), rows())
    maps = Path(f"/proc/{process._process.pid}/maps").read_text()
    assert "PIL/_imaging" in maps
    assert not [name for name in ("torch", "sklearn", "scipy", "h5py") if f"site-packages/{name}/" in maps]


@linux
def test_it_ends_when_we_are_killed(photo):
    code = f"""
import sys
from fc7.cache.recipe import DECODES, Input, Transform
from fc7.extract.decoding.worker_process import DecodeProcess
import numpy as np
one, wanted = DecodeProcess(), Input(Transform(20, 16), DECODES["exact"], 0)
one.decode({str(photo)!r}, {keyed(photo)[1]!r}, {{wanted: np.zeros((16, 16, 3), np.uint8)}})
print(one._process.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as us:
        pid = int(us.stdout.readline())
        assert runs(pid)
        us.kill()
    until(lambda: not runs(pid))


# In an extraction


@pytest.fixture
def decoders(monkeypatch):
    """Treat a fake as if a device computed, and its few images as many; collects the processes."""

    class Device:
        type = "cuda"

    class Collected(DecodeProcess):
        def __init__(self):
            super().__init__()
            made.append(self)

    made = []
    monkeypatch.setattr(FakeBackbone, "device", Device())
    monkeypatch.setattr(local, "STARTING", 1)
    monkeypatch.setattr(local, "DecodeProcess", Collected)
    return made


def test_an_extraction_gives_the_same_with_them(pictures, tmp_path, decoders, monkeypatch):
    (pictures / "train" / "red" / "rubbish.png").write_bytes(b"rubbish")
    fake = FakeBackbone(views=1)
    at_work = set()
    fake.on_forward = lambda: at_work.update(one._process.pid for one in decoders if one._process)
    there = fill(read_manifest(pictures), [fake], cache=tmp_path / "there", workers=2)
    assert len(decoders) == 2
    assert at_work
    assert not any(one._process for one in decoders)
    monkeypatch.setattr(local, "STARTING", 100)
    here = fill(read_manifest(pictures), [fake], cache=tmp_path / "here", workers=2)
    assert len(decoders) == 2
    for one, other in zip(there, here, strict=True):
        assert (one.ok, one.rejects) == (other.ok, other.rejects)
        assert one.rejected == 1
    tables = [extract(read_manifest(pictures), FakeBackbone(), cache=tmp_path / c).vectors for c in ("there", "here")]
    np.testing.assert_array_equal(*tables)


def test_an_image_whose_process_is_killed_is_computed_by_the_same_command(pictures, tmp_path, decoders):
    fake = FakeBackbone(batch_size=1)
    killed = []

    def kill_once():
        if not killed:
            decoders[0]._process.kill()
            killed.append(decoders[0])

    fake.on_forward = kill_once
    manifest = read_manifest(pictures)
    first = fill(manifest, [fake], cache=tmp_path / "cache", workers=1)[0]
    assert len(killed) == 1
    assert [reject.reason for reject in first.rejects] == ["not readable: the process that decoded it ended (signal 9)"]
    again = fill(manifest, [fake], cache=tmp_path / "cache", workers=1)[0]
    assert (again.ok, again.computed, again.rejects) == (10, 1, [])


def test_processes_that_are_there_are_used_again_and_left_as_they_are(pictures, tmp_path, decoders):
    """As a worker on Ray has them, for one unit after the other."""
    manifest, fake = read_manifest(pictures), FakeBackbone(batch_size=1)
    pids = set()
    with DecodeProcess() as mine:
        for name in ("one", "other"):
            store = Store(fake.recipes[0], tmp_path / name)
            hashed = Hashed.of(manifest, tmp_path / name)
            plan = Plan([fake], [store], hashed.files, Clock())
            work = local.Pipeline(plan, workers=1, decoders=[mine])
            assert not work.run(list(hashed.images), 4)
            assert not list(store.missing(hashed.images))
            pids.add(mine._process.pid)
    assert len(pids) == 1
    assert not decoders
