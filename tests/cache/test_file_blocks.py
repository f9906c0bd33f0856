"""Files that are read: regular ones only, without waiting for the others."""

import os
import socket

import pytest

from fc7.cache.file_blocks import open_regular, require_fetched
from fc7.errors import DataError


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "null byte", "absent"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match=r"regular file|null (byte|character)|No such file"):
        open_regular(path if kind != "null byte" else "a\0b")


def test_a_stream_is_read_where_it_may_be_one(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with open_regular(path, streams=True) as nobody:
        assert nobody.read() == b""
    with pytest.raises(OSError, match="regular file"):
        open_regular("/dev/zero", streams=True)
    reader, writer = os.pipe()
    os.write(writer, b"path,label\n")
    os.close(writer)
    with open_regular(f"/dev/fd/{reader}", streams=True) as piped:
        assert piped.read() == b"path,label\n"
    os.close(reader)
    one, other = socket.socketpair()
    with one, other, pytest.raises(OSError, match=r"regular file|No such device"):
        open_regular(f"/dev/fd/{one.fileno()}", streams=True)


def test_a_pointer_of_git_lfs_is_not_the_file(tmp_path):
    path = tmp_path / "x.tar"
    require_fetched(path)
    path.write_bytes(b"version 2")
    require_fetched(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n")
    with pytest.raises(DataError, match=r"x\.tar is a pointer of Git LFS, and not the file\. Fetch it: git lfs pull"):
        require_fetched(path)
