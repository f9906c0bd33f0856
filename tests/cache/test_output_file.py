"""Output files: what is replaced, what is written through, and what stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fc7.cache.output_file import OutputFile, remove_leftovers, require_apart, require_folder
from fc7.cache.processes import Process
from fc7.errors import BundleError, DataError

DESCRIPTOR = "from fc7.cache.output_file import OutputFile; OutputFile('/dev/stdout').write(b'two\\n'); print('three')"


def test_a_new_file_and_its_folder_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    output = OutputFile(path)
    assert list(tmp_path.iterdir()) == [], "nothing before it is written"
    assert output.write(b"x") == path
    assert path.read_bytes() == b"x"
    assert [one.name for one in path.parent.iterdir()] == ["c.txt"]


@pytest.mark.parametrize("append", [False, True])
def test_a_redirected_stream_is_written_at_its_place(tmp_path, append):
    """As ``fc7 ... -o /dev/stdout >> file``: neither replaced nor overwritten."""
    path = tmp_path / "out.txt"
    path.write_bytes(b"one\n")
    inode = path.stat().st_ino
    with path.open("ab" if append else "r+b") as stdout:
        stdout.seek(0, os.SEEK_END)
        subprocess.run([sys.executable, "-c", DESCRIPTOR], stdout=stdout, check=True, cwd=tmp_path)
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert path.stat().st_ino == inode


def test_a_piped_stream_is_written_through(tmp_path):
    done = subprocess.run([sys.executable, "-c", DESCRIPTOR], stdout=subprocess.PIPE, check=True, cwd=tmp_path)
    assert done.stdout == b"two\nthree\n"


@pytest.mark.parametrize("fail", [False, True])
def test_a_temporary_file_becomes_the_file_or_goes(tmp_path, fail):
    path = tmp_path / "link"
    (tmp_path / "target").write_bytes(b"old")
    path.symlink_to("target")
    try:
        with OutputFile(path).temporary() as temporary:
            temporary.write_bytes(b"new")
            if fail:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fail
    assert path.is_symlink()
    assert path.read_bytes() == (b"old" if fail else b"new")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "target"]


def test_the_error_is_of_the_class_that_was_asked_for(tmp_path):
    with pytest.raises(BundleError, match="it is a folder"):
        OutputFile(tmp_path, BundleError)
    with pytest.raises(DataError, match="cannot be written"):
        require_folder("/proc/fc7-writes-here")
    with pytest.raises(DataError, match="cannot be written"):
        require_folder(__file__)


def test_what_killed_writers_left_goes_and_what_is_being_written_stays(tmp_path):
    path = tmp_path / "out.csv"
    gone, mine = Process.mine()._replace(pid=2**22 + 1), Process.mine()
    names = {"gone": gone.token, "mine": mine.token, "old": mine.token, "other": "x"}
    files = {name: tmp_path / f".out.csv.{token}.{number:08x}" for number, (name, token) in enumerate(names.items())}
    for file in files.values():
        file.touch()
    os.utime(files["old"], times=(time.time() - 2 * 24 * 3600,) * 2)
    remove_leftovers(path)
    assert {name for name, file in files.items() if file.exists()} == {"mine", "other"}


@pytest.mark.parametrize("name", ["labels.csv", "link.csv", "here/../labels.csv"])
def test_an_output_is_apart_from_what_is_read(tmp_path, name):
    read = tmp_path / "labels.csv"
    read.write_text("path,label\n")
    (tmp_path / "link.csv").symlink_to(read)
    (tmp_path / "here").mkdir()
    with pytest.raises(DataError, match=r"is what is read.* Name another file\."):
        require_apart(None, OutputFile(tmp_path / name), read=[read])
    require_apart(OutputFile(tmp_path / "other.csv"), read=[read, "s3://bucket/labels.csv"])


def test_two_outputs_are_apart(tmp_path):
    with pytest.raises(DataError, match="two outputs"):
        require_apart(OutputFile(tmp_path / "x"), OutputFile(tmp_path / "x"))


def test_two_outputs_may_be_one_stream(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    require_apart(OutputFile(fifo), OutputFile(fifo), read=[fifo])
    os.close(reader)


@pytest.mark.parametrize("inner", ["", "runs", "ants/runs"])
def test_a_folder_for_results_is_not_in_the_data_set(tmp_path, inner):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for data in ("data", "link"):
        with pytest.raises(DataError, match=r"would change the data set\. Name one beside it"):
            require_folder(tmp_path / "data" / inner, tmp_path / data)
    require_folder(tmp_path / "data-runs" / inner, tmp_path / "data")


@pytest.mark.parametrize("path", ["s3://bucket/x.csv", Path("s3://bucket/x.csv")])
def test_a_url_is_no_folder_here(path):
    for refuse in (OutputFile, require_folder):
        with pytest.raises(DataError, match=r"^s3://bucket/x\.csv is not on this machine"):
            refuse(path)
