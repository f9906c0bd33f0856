"""Files are read if they are regular, without waiting for others, and written whole or not at all."""

import errno
import os
import socket
import stat
import sys

import pytest

from fc7.cache import files
from fc7.cache.files import open_regular, require_fetched
from fc7.errors import DataError

DATA = bytes(range(256)) * 40


@pytest.fixture
def final(tmp_path):
    return tmp_path / "shards" / "ab" / "x.h5"


@pytest.fixture
def temporary(tmp_path):
    return tmp_path / "tmp"


def test_a_file_appears_whole_and_leaves_nothing_behind(final, temporary):
    files.publish(DATA, final, temporary)
    assert final.read_bytes() == DATA
    assert list(temporary.iterdir()) == []


def test_a_name_that_is_there_is_left_as_it_is(final, temporary):
    files.publish(b"first", final, temporary)
    files.publish(DATA, final, temporary)
    assert final.read_bytes() == b"first"


def test_short_writes_are_continued(final, temporary, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, view: write(descriptor, bytes(view[:100])))
    files.publish(DATA, final, temporary)
    assert final.read_bytes() == DATA


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
def test_a_file_system_without_hard_links_renames(final, temporary, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    files.publish(DATA, final, temporary)
    assert final.read_bytes() == DATA
    assert list(temporary.iterdir()) == []


def test_a_file_system_that_cannot_sync_folders_is_said_so(tmp_path, monkeypatch):
    assert files.sync_folder(tmp_path) is True

    def refuse(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    assert files.sync_folder(tmp_path) is False


def test_synced_before_it_is_visible_and_its_folder_before_it_is_done(final, temporary, monkeypatch):
    files.make_folder(final.parent)
    files.make_folder(temporary)
    calls = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "link", lambda source, target: (calls.append("link"), link(source, target)))
    files.publish(DATA, final, temporary)
    assert calls == ["fsync", "link", "fsync"]


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_failing_call_leaves_no_file_and_no_temporary(final, temporary, monkeypatch, call):
    files.make_folder(final.parent)
    files.make_folder(temporary)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        files.publish(DATA, final, temporary)
    assert not final.exists()
    assert list(temporary.iterdir()) == []


def test_replacing_shows_the_old_or_the_new_content(tmp_path, monkeypatch):
    path = tmp_path / "recipe.json"
    files.replace(path, b"old")
    files.replace(path, b"new")
    assert path.read_bytes() == b"new"

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        files.replace(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.json"]


@pytest.fixture
def synced(monkeypatch):
    folders = []
    real = files.sync_folder
    monkeypatch.setattr(files, "sync_folder", lambda folder: (folders.append(folder), real(folder)))
    monkeypatch.setattr(files, "_synced", set())
    return folders


def test_every_folder_that_is_made_is_synced_into_the_one_above(tmp_path, synced):
    files.make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path.parent, tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_a_folder_that_is_there_is_synced_once_because_its_maker_may_have_been_killed(tmp_path, synced):
    (tmp_path / "a").mkdir()
    files.make_folder(tmp_path / "a")
    files.make_folder(tmp_path / "a")
    assert synced == [tmp_path]


def test_a_folder_above_that_may_not_be_listed_is_no_obstacle(tmp_path, monkeypatch, synced):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "sync_folder", refuse)
    files.make_folder(tmp_path)
    with pytest.raises(PermissionError):
        files.make_folder(tmp_path / "a")


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_umask_and_folder_decide_who_may_use_what_is_written(tmp_path, umask, mask):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o2775)
    umask(mask)
    files.publish(DATA, folder / "shards" / "x.h5", folder / "tmp")
    files.replace(folder / "recipe.json", b"{}")
    for path in (folder / "shards" / "x.h5", folder / "recipe.json"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    for path in (folder / "shards", folder / "tmp"):
        assert path.stat().st_mode & 0o777 == 0o777 & ~mask
        assert path.stat().st_mode & stat.S_ISGID or sys.platform != "linux"  # elsewhere it is inherited without a bit


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
