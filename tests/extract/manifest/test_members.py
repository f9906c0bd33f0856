import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed import tar, zipped

from fc7.cache.index import Index
from fc7.extract.manifest.members import Members, is_member, read_member, split, spool

MOST = 2**20
NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=20)
FILES = st.dictionaries(
    st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join),
    st.binary(max_size=2000),
    min_size=1,
    max_size=5,
)


def table(path, column, rows_in_group=2):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"image": column}), path, row_group_size=rows_in_group)
    return path


WRITERS = {".tar": tar, ".zip": zipped}


def test_addresses_are_told_from_paths():
    assert split("/a/photos.tar!/ants/1.jpg") == ("/a/photos.tar", "ants/1.jpg")
    assert split("Photos.ZIP!/1.jpg") == ("Photos.ZIP", "1.jpg")
    assert split("x.parquet!/image/17") == ("x.parquet", "image/17")
    assert split("outer.tar!/inner.zip!/1.jpg") == ("outer.tar", "inner.zip!/1.jpg"), "the first one leads"
    for path in ("/a/ants!/1.jpg", "photos.tar", "photos.tar/1.jpg", "photos.tar!", "photos.tar!/", ".tar!/a", "!/"):
        assert not is_member(path)


@pytest.mark.parametrize("suffix", WRITERS)
@settings(max_examples=40)
@given(files=FILES)
def test_members_are_read_back(tmp_path_factory, suffix, files):
    path = WRITERS[suffix](tmp_path_factory.mktemp("archive") / f"photos{suffix}", files)
    for name, data in files.items():
        assert read_member(f"{path}!/{name}", MOST) == data


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_is_too_large_or_absent_is_an_error_of_the_system(tmp_path, suffix):
    path = WRITERS[suffix](tmp_path / f"photos{suffix}", {"a.jpg": b"12345"})
    assert read_member(f"{path}!/a.jpg", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, more than 4"):
        read_member(f"{path}!/a.jpg", 4)
    with pytest.raises(FileNotFoundError, match="no such member"):
        read_member(f"{path}!/b.jpg", MOST)
    with pytest.raises(FileNotFoundError):
        read_member(f"{tmp_path}/absent{suffix}!/b.jpg", MOST)


@pytest.mark.parametrize("suffix", WRITERS)
def test_an_archive_that_changed_is_listed_again(tmp_path, suffix):
    path = tmp_path / f"photos{suffix}"
    WRITERS[suffix](path, {"a.jpg": b"old"})
    assert read_member(f"{path}!/a.jpg", MOST) == b"old"
    path.unlink()
    WRITERS[suffix](path, {"0.jpg": b"before it", "a.jpg": b"newer"})
    assert read_member(f"{path}!/a.jpg", MOST) == b"newer"


@pytest.mark.parametrize("suffix", WRITERS)
def test_many_threads_read_at_once(tmp_path, suffix):
    files = {f"{number}.jpg": os.urandom(3000) for number in range(50)}
    path = WRITERS[suffix](tmp_path / f"photos{suffix}", files)
    wrong = []

    def read():
        wrong.extend(name for name, data in files.items() if read_member(f"{path}!/{name}", MOST) != data)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("nested", [False, True])
def test_cells_of_a_table(tmp_path, nested):
    images = [os.urandom(100) for _ in range(37)]
    images[5] = None
    column = [{"bytes": data, "path": None} for data in images] if nested else images
    path = table(tmp_path / "images.parquet", column, rows_in_group=20)
    for row in [*range(37), 3, 36, 20, 19]:
        if images[row] is not None:
            assert read_member(f"{path}!/image/{row}", MOST) == images[row]
    for address, reason in {
        "image/5": "empty",
        "image/37": "no row 37",
        "image/x": "is named like table.parquet",
        "absent/1": "no parquet with a column 'absent'",
    }.items():
        with pytest.raises(OSError, match=reason):
            read_member(f"{path}!/{address}", MOST)
    with pytest.raises(OSError, match="more than 99"):
        read_member(f"{path}!/image/0", 99)


def test_a_table_keeps_few_of_its_rows(tmp_path, monkeypatch):
    from fc7.extract.archives import parquet_cells

    monkeypatch.setattr(parquet_cells, "_KEPT", 1000)
    images = [bytes([row]) * 100 for row in range(200)]
    path = table(tmp_path / "images.parquet", images, rows_in_group=200)
    column = parquet_cells._Column(str(path), "image")
    for row in [*range(200), 0, 199, 100]:
        assert column.read(row) == images[row]
        assert len(column._kept) <= 10


def test_rows_behind_damage_in_a_table_are_unreadable_and_no_others(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    images, path = [os.urandom(500) for _ in range(200)], tmp_path / "images.parquet"
    parquet.write_table(
        pyarrow.table({"image": images}), path, row_group_size=100, data_page_size=4096, use_dictionary=False
    )
    place = path.read_bytes().find(images[60])  # in a page of the first group, behind the header of that
    with path.open("r+b") as file:
        file.seek(place - 3000)
        file.write(b"\xff" * 3000)
    hashes = Members(MOST)
    found = [hashes.sha256(f"{path}!/image/{row}") for row in range(200)]
    sound = [row for row, image in enumerate(images) if found[row] == hashlib.sha256(image).digest()]
    assert {*range(32), *range(100, 200)} <= set(sound)
    lost = [found[row] for row in {*range(200)} - set(sound)]
    assert lost
    assert all("damaged" in error.strerror for error in lost)


def test_a_second_run_opens_no_archive(tmp_path, monkeypatch):
    path = tar(tmp_path / "photos.tar", {"a.jpg": b"1", "b.jpg": b"2"})
    os.utime(path, (1, 1))
    files = [f"{path}!/a.jpg", f"{path}!/b.jpg", f"{path}!/c.jpg", str(path)]
    first = Index(tmp_path).hashes(files, looked=Members(MOST))
    hashes = next(first)
    assert hashes[:2] == [hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()]
    assert isinstance(hashes[2], FileNotFoundError)
    assert hashes[3] == hashlib.sha256(path.read_bytes()).digest(), "files are hashed as ever"
    monkeypatch.setattr("fc7.extract.manifest.members.read_member", None)
    assert next(Index(tmp_path).hashes(files[:2], looked=Members(MOST))) == hashes[:2]
    path.unlink()
    assert isinstance(next(Index(tmp_path).hashes(files[:1], looked=Members(MOST)))[0], FileNotFoundError)


def test_a_spool_lives_as_long_as_its_process():
    program = (
        "from fc7.extract.manifest.members import spool, read_member\n"
        "path = spool([('a.png', b'1'), ('b.png', b'2')])\n"
        "assert read_member(f'{path}!/b.png', 9) == b'2'\n"
        "import os\n"
        "child = os.fork()\n"
        "if not child: raise SystemExit\n"
        "os.waitpid(child, 0)\n"
        "assert path.is_file()\n"
        "print(path)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).parent.exists()


def test_a_spool_is_not_remembered(tmp_path):
    address = f"{spool([('a.png', b'1')])}!/a.png"
    identity = Members(MOST).identity(address)
    assert int(identity.split()[1]) == 2**63
