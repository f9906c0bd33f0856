import io
import itertools
import json
import logging
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from packed import packed

from fc7.errors import DataError
from fc7.extract import fill, read_manifest
from fc7.extract.manifest.hashing import Hashed
from fc7.extract.manifest.shards import archives_of, each_member, root_of


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.fixture(params=["photos.tar", "photos.zip"])
def archive(request, pictures, tmp_path):
    return packed(tmp_path / request.param, files_of(pictures))


def test_an_archive_is_the_folder_that_it_holds(archive, pictures, fake):
    folder, inside = read_manifest(pictures), read_manifest(archive)
    assert list(inside.images) == list(folder.images)
    assert inside.classes == folder.classes
    assert inside.root == Path(f"{archive}!")
    assert Hashed.of(inside).keys.tobytes() == Hashed.of(folder).keys.tobytes()
    assert fill(folder, [fake])[0].computed == 10
    assert fill(inside, [fake])[0].computed == 0


@pytest.mark.parametrize("name", ["photos.tar", "photos.zip"])
def test_an_archive_of_one_folder_stands_for_it(tmp_path, pictures, name):
    files = {f"./photos/{path}": data for path, data in files_of(pictures).items()}
    archive = packed(tmp_path / name, files | {"__MACOSX/photos/._1.png": b"", ".hidden": b""})
    for data in (archive, f"{archive}!/photos"):
        manifest = read_manifest(data)
        assert manifest.root == Path(f"{archive}!/photos")
        assert list(manifest.images) == list(read_manifest(pictures).images)
        assert not manifest.rejects
    assert not Hashed.of(manifest).unreadable


def test_names_that_lead_elsewhere_and_what_is_no_file_are_rejects(tmp_path, pictures):
    path = packed(tmp_path / "photos.tar", files_of(pictures) | {"../up.png": b"", "/etc/x.png": b"", "a.txt": b""})
    with tarfile.open(path, "a") as archive:
        for name, kind in {
            "soft.png": tarfile.SYMTYPE,
            "hard.png": tarfile.LNKTYPE,
            "fifo.png": tarfile.FIFOTYPE,
        }.items():
            member = tarfile.TarInfo(f"train/red/{name}")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    manifest = read_manifest(path)
    reasons = dict(manifest.rejects)
    assert "out of the archive" in reasons["../up.png"]
    assert "out of the archive" in reasons["/etc/x.png"]
    assert "link" in reasons["train/red/soft.png"]
    assert "link" in reasons["train/red/hard.png"]
    assert reasons["train/red/fifo.png"] == "not a regular file"
    assert len(manifest) == 10


def test_zips_may_hold_what_is_not_read(tmp_path, pictures):
    path = packed(tmp_path / "photos.zip", files_of(pictures))
    link = zipfile.ZipInfo("train/red/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("train/red/lzma.png", b"x" * 100, zipfile.ZIP_LZMA)
    reasons = dict(read_manifest(path).rejects)
    assert "link" in reasons["train/red/link.png"]
    assert "method 14" in reasons["train/red/lzma.png"]


@pytest.mark.filterwarnings("ignore:Duplicate name")  # of the module that writes it
@pytest.mark.parametrize("name", ["photos.tar", "photos.zip"])
def test_of_members_with_one_name_the_last_is_read_and_the_others_are_said(tmp_path, pictures, name):
    path = packed(tmp_path / name, files_of(pictures))
    twin, *others = files_of(pictures)
    for data in (b"first", b"second", (pictures / others[0]).read_bytes()):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(f"./{twin}", data)
                archive.writestr(".hidden", data)
        else:
            with tarfile.open(path, "a") as archive:
                member = tarfile.TarInfo(f"./{twin}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    manifest = read_manifest(path)
    assert manifest.rejects == ((twin, "a later member of the archive has the same name"),) * 3
    keys = dict(zip(manifest.images.paths, Hashed.of(manifest).keys, strict=True))
    assert keys[twin] == keys[others[0]]
    found = [address for address, reason in each_member([str(path)]) if not reason]
    assert len(found) == len(manifest) == 10


def test_a_zip_that_says_less_than_it_holds_is_damaged(tmp_path, pictures):
    path = packed(tmp_path / "photos.zip", files_of(pictures))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/red/bomb.png", bytes(10**7))
    data = path.read_bytes()
    path.write_bytes(data.replace((10**7).to_bytes(4, "little"), (10**3).to_bytes(4, "little")))
    hashed = Hashed.of(read_manifest(path))
    assert len(hashed.unreadable) == 1
    assert "damaged in the archive" in next(iter(hashed.unreadable.values()))


@pytest.mark.parametrize("name", ["photos.tar", "photos.zip"])
@pytest.mark.parametrize("cut", [0, 100, 700])
def test_a_damaged_archive_is_refused(tmp_path, pictures, name, cut):
    path = packed(tmp_path / name, files_of(pictures))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=f"{name} cannot be read: .*damaged"):
        read_manifest(path)


def test_a_damaged_header_is_not_the_end(tmp_path, pictures):
    path = packed(tmp_path / "photos.tar", files_of(pictures))
    with tarfile.open(path) as archive:
        middle = archive.getmembers()[5].offset
    data = bytearray(path.read_bytes())
    data[middle] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"damaged at byte {middle}"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("name", "command"),
    {
        "photos.tar.gz": "gunzip -k",
        "photos.tgz": "gunzip -k",
        "photos.tar.zst": "unzstd",
        "photos.tar.xz": "unxz -k",
        "photos.7z": "name the folder",
    }.items(),
)
def test_a_compressed_archive_has_its_command(tmp_path, name, command):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=command):
        read_manifest(tmp_path / name)


def samples(pictures, suffix, content):
    """Return the pictures as a WebDataset has them, with labels beside them."""
    found = {}
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        found[f"{number:06d}.png"] = path.read_bytes()
        found[f"{number:06d}{suffix}"] = content(path.parent.name)
    return found


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".cls", str.encode),
        (".cls", lambda label: f"{label}\n".encode()),
        (".CLS", str.encode),
        (".txt", str.encode),
        (".json", lambda label: json.dumps({"label": label, "width": 3}).encode()),
        (".json", lambda label: json.dumps({"class": label}).encode()),
    ],
)
def test_labels_lie_beside_the_images(tmp_path, pictures, suffix, content):
    manifest = read_manifest(packed(tmp_path / "shard.tar", samples(pictures, suffix, content)))
    assert manifest.classes == ("blue", "red")
    assert not manifest.rejects
    assert [image.label for image in manifest.images] == [path.parent.name for path in sorted(pictures.rglob("*.png"))]


@pytest.mark.parametrize(
    ("suffix", "data", "reason"),
    [
        (".cls", b"\xff\xfer\0e\0d\0", "its label is not UTF-8"),
        (".json", b"{", "its label 000000.json cannot be read: Expecting"),
        (".json", b"[" * 100_000, "its label 000000.json cannot be read: "),
        (".json", b"9" * 5_000, "its label 000000.json cannot be read: "),
        (".json", b'{"label": "\\ud800"}', "its label is not UTF-8"),
        (".json", b"\xff", "its label 000000.json cannot be read: "),
        (".cls", bytes(2**20 + 1), "its label 000000.cls cannot be read: 1048577 bytes, more than 1048576"),
    ],
)
def test_an_image_whose_label_cannot_be_read_is_a_reject(tmp_path, pictures, suffix, data, reason):
    files = samples(pictures, suffix, lambda label: json.dumps(label).encode())
    path = packed(tmp_path / "shard.tar", files | {f"000000{suffix}": data})
    manifest = read_manifest(path)
    assert len(manifest) == 9
    assert [reject.path for reject in manifest.rejects] == ["000000.png"]
    assert manifest.rejects[0].reason.startswith(reason)


def test_if_no_label_can_be_read_the_first_is_said(tmp_path, pictures):
    path = packed(tmp_path / "shard.tar", samples(pictures, ".json", lambda _: b"{"))
    with pytest.raises(DataError, match=r"10 other files, the first 000000.png: its label 000000.json"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (b'{"label": 3.5}', "3.5"),
        (b'{"label": true}', "True"),
        (b'"a  b"', "a b"),
        (b"\xef\xbb\xbf3", "3"),
        (b'{"label": null}', ""),
        (b"{}", ""),
        (b'{"class": 0}', "0"),
    ],
)
def test_what_a_json_says_is_the_label(tmp_path, pictures, content, label):
    manifest = read_manifest(packed(tmp_path / "shard.zip", samples(pictures, ".json", lambda _: content)))
    assert set(manifest.images.labels) == {label}


def test_a_list_of_labels_is_none_and_said(tmp_path, pictures, log):
    path = packed(tmp_path / "shard.tar", samples(pictures, ".json", lambda label: json.dumps([label]).encode()))
    assert set(read_manifest(path).images.labels) == {""}
    assert "the images beside 10 files have no label, as it is a list or an object there" in log.text


def test_captions_may_be_in_any_encoding(tmp_path, pictures):
    number = itertools.count()
    path = packed(tmp_path / "s.tar", samples(pictures, ".txt", lambda _: f"caf\xe9 {next(number)}".encode("latin-1")))
    manifest = read_manifest(path)
    assert (len(manifest), manifest.rejects) == (10, ())


def shards(folder, files, names):
    """Write samples to several tars, in turn."""
    by_key = [list(sample) for _, sample in itertools.groupby(files.items(), lambda file: file[0].rpartition(".")[0])]
    for number, name in enumerate(names):
        packed(folder / name, dict(itertools.chain.from_iterable(by_key[number :: len(names)])))


def test_shards_are_one_data_set(tmp_path, pictures, monkeypatch, fake):
    folder = tmp_path / "shards"
    folder.mkdir()
    names = [f"part-{number:03d}.tar" for number in range(9, 12)]
    shards(folder, samples(pictures, ".cls", str.encode), names)
    (folder / "part-009_stats.json").write_text("{}")
    expected = read_manifest(folder)
    assert len(expected) == 10
    assert expected.images.paths[0] == "part-009.tar!/000000.png"
    for pattern in ("part-{009..011}.tar", "part-*.tar", "part-{009,010,011}.tar"):
        assert list(read_manifest(folder / pattern).images) == list(expected.images)
    assert fill(read_manifest(pictures), [fake])[0].computed == 10
    assert fill(expected, [fake])[0].computed == 0
    monkeypatch.chdir(folder)
    assert list(read_manifest("part-{009..011}.tar").images) == list(expected.images)


def test_tables_beside_shards_are_said(tmp_path, pictures, log):
    folder = tmp_path / "shards"
    folder.mkdir()
    packed(folder / "shard.tar", files_of(pictures))
    (folder / "vectors.parquet").write_text("")
    assert len(read_manifest(folder)) == 10
    assert "1 vectors.parquet. To read a table, name it" in log.text


def test_an_archive_in_a_folder_of_images_is_a_reject_that_says_how_it_is_read(pictures):
    packed(pictures / "train/red/more.zip", {})
    ((path, reason),) = read_manifest(pictures).rejects
    assert path == "train/red/more.zip"
    assert reason.endswith("; name it to read what is in it")


def test_missing_shards_are_said(tmp_path, pictures):
    packed(tmp_path / "part-0.tar", files_of(pictures))
    with pytest.raises(DataError, match=r"2 of 3 files do not exist, the first is .*part-1\.tar"):
        read_manifest(tmp_path / "part-{0..2}.tar")


def test_shards_of_class_folders_share_them(tmp_path, pictures):
    folder = tmp_path / "shards"
    folder.mkdir()
    shards(folder, files_of(pictures), ["a.tar", "b.zip", "c.tar"])
    manifest = read_manifest(folder)
    assert manifest.classes == ("blue", "red")
    assert len(manifest) == 10
    assert sorted(Path(path.partition("!/")[2]).as_posix() for path in manifest.images.paths) == sorted(
        read_manifest(pictures).images.paths
    )
    assert {image.split for image in manifest.images} == {"train", "val"}
    assert not Hashed.of(manifest).unreadable


def test_shards_are_splits_if_all_are_called_so(tmp_path, pictures):
    folder = tmp_path / "shards"
    folder.mkdir()
    for split, name in {"train": "imagenet-train-0.tar", "val": "imagenet-validation-0.tar"}.items():
        packed(folder / name, files_of(pictures / split))
    assert [(image.label, image.split) for image in read_manifest(folder).images] == [
        (image.label, image.split) for image in read_manifest(pictures).images
    ]


def test_captions_are_no_labels(tmp_path, pictures, caplog):
    number = itertools.count()
    path = packed(tmp_path / "shard.tar", samples(pictures, ".txt", lambda _: f"a photo {next(number)}".encode()))
    with caplog.at_level(logging.INFO, "fc7"):
        manifest = read_manifest(path)
    assert "captions" in caplog.text
    assert set(manifest.images.labels) == {""}
    assert not manifest.rejects


def test_a_folder_with_images_is_no_set_of_shards(tmp_path, pictures):
    packed(pictures / "old.tar", {})
    assert archives_of(pictures) == []
    assert archives_of(tmp_path / "absent") == []


def test_images_to_predict_may_be_in_archives(tmp_path, pictures):
    path = packed(tmp_path / "photos.tar", samples(pictures, ".cls", str.encode) | {"a.doc": b""})
    found = dict(each_member([str(path), "absent.zip"]))
    assert len(found) == 12
    assert found[f"{path}!/000000.png"] == ""
    assert "suffix" in found[f"{path}!/a.doc"]
    assert "No such file" in found["absent.zip"]


def test_a_second_run_reads_no_member(archive, monkeypatch, fake):
    os.utime(archive, (1, 1))
    fill(read_manifest(archive), [fake])
    monkeypatch.setattr("fc7.extract.manifest.members.read_member", None)
    assert fill(read_manifest(archive), [fake])[0].computed == 0


@pytest.mark.parametrize("name", ["photos.tar", "photos.zip"])
def test_images_need_no_labels(tmp_path, pictures, name):
    flat = {f"photos/{path.name}": path.read_bytes() for path in sorted(pictures.rglob("*.png"))}
    manifest = read_manifest(packed(tmp_path / name, flat))
    assert manifest.images.paths[0] == "0.png"
    assert (len(manifest), manifest.classes) == (10, ())


def test_the_folder_of_an_archive_is_known(archive, pictures, tmp_path):
    shards = [str(archive), str(packed(tmp_path / "more.tar", {}))]
    assert root_of(archive, [str(archive)]) == read_manifest(archive).root
    assert root_of(tmp_path, shards) == tmp_path


def test_what_is_refused_has_its_plain_name_and_its_place(tmp_path, pictures):
    """As ``tar cf x.tar .`` writes names; a part of the archive does not have what is refused in another."""
    path = packed(tmp_path / "x.tar", {f"./{name}": data for name, data in files_of(pictures).items()})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("./val/ants/link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "x.jpg"
        archive.addfile(link)
    assert [reject.path for reject in read_manifest(path).rejects] == ["val/ants/link.jpg"]
    assert [reject.path for reject in read_manifest(f"{path}!/val").rejects] == ["ants/link.jpg"]
    assert read_manifest(f"{path}!/train").rejects == ()
