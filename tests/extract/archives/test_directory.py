"""Archives of others: whatever is damaged in one is an error that says so, and takes no memory that is not there."""

import io
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.errors import DataError
from fc7.extract.archives import directory as module
from fc7.extract.archives.directory import Archive

FILES = {f"a/{'x' * length}é.jpg": bytes(range(200)) * 3 for length in (1, 5, 150)}


def tar(form):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return buffer.getvalue()


ARCHIVES = {"pax.tar": tar(tarfile.PAX_FORMAT), "gnu.tar": tar(tarfile.GNU_FORMAT), "a.zip": zipped()}
SIZES = [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"\x80" + bytes(6) + b"\1" + bytes(4)]


def with_header(data, block, size, kind):
    """Return a tar with another size and kind in a block, and the checksum that goes with them."""
    start = block * 512
    header = bytearray(data[start : start + 512])
    header[124:136], header[156:157], header[148:156] = size, kind, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:start] + bytes(header) + data[start + 512 :]


@st.composite
def mutated(draw):
    name = draw(st.sampled_from([*ARCHIVES]))
    data = ARCHIVES[name]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["set", "cut", "end", "header"]))
        if kind == "set":
            data = data[:place] + draw(st.binary(min_size=1, max_size=8)) + data[place + 1 :]
        elif kind == "cut":
            data = data[:place] + data[place + draw(st.integers(1, 600)) :]
        elif kind == "end":
            data = data[:place]
        elif name.endswith(".tar") and len(data) >= 512:
            block = draw(st.integers(0, len(data) // 512 - 1))
            data = with_header(
                data, block, draw(st.sampled_from(SIZES)), draw(st.sampled_from([b"0", b"x", b"L", b"S"]))
            )
        data = data or b"x"
    return name, data


@settings(max_examples=40)
@given(mutated())
def test_damage_is_said(tmp_path_factory, archive):
    name, data = archive
    path = tmp_path_factory.mktemp("archive") / name
    path.write_bytes(data)
    try:
        with Archive(str(path)) as opened:
            for member in opened.directory.names:
                try:
                    assert len(opened.read(member, 10_000)) <= 10_000
                except OSError as error:
                    assert error.strerror
    except DataError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("name", ARCHIVES)
def test_names_take_no_more_memory_than_can_be(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_bytes(ARCHIVES[name])
    monkeypatch.setattr(module, "MOST_MEMBERS", 2)
    with pytest.raises(DataError, match="more than 2 members"):
        Archive(str(path))
    monkeypatch.setattr(module, "_MOST_HEADERS", 100)
    with pytest.raises(DataError, match="list of names has more than"):
        Archive(str(path))


def test_only_some_archives_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_KEPT", 7)
    for number in range(5):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(ARCHIVES["a.zip"])
        with Archive(str(path)) as archive:
            assert archive.directory.names == sorted(FILES)
        assert sum(map(len, module._kept.values())) <= 7


@pytest.mark.parametrize(("said", "expected"), [(True, "Ärger/日.jpg"), (False, "Ärger/日.jpg"), (None, "Ärger/x.jpg")])
def test_a_zip_has_the_names_that_its_writer_meant(tmp_path, said, expected):
    """UTF-8, said as most do or not said as macOS does; else the DOS code page (None)."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(expected, b"x")
    if not said:
        raw, data = expected.encode(), path.read_bytes()
        written = raw if said is False else expected.encode("cp437").ljust(len(raw), b"!")
        data = data.replace(raw, written)
        for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            place = data.index(header) + flags
            data = data[:place] + b"\0\0" + data[place + 2 :]
        path.write_bytes(data)
    with Archive(str(path)) as archive:
        (name,) = archive.directory.names
        assert name.rstrip("!") == expected
        assert archive.read(name, 1) == b"x"
