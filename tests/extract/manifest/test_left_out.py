"""What systems put beside images is no image: left out at every depth, in extract and in predict, and said."""

import pytest
from fakes import touch
from packed import packed

from fc7.errors import DataError
from fc7.extract import read_manifest
from fc7.extract.manifest.left_out import LeftOut, is_left_out
from fc7.extract.new_images import expand

FOLDERS = [
    "@eaDir",
    "@EADIR",
    "#recycle",
    "#snapshot",
    "@Recycle",
    "@Recently-Snapshot",
    "@__thumb",
    "lost+found",
    "LOST+FOUND",
    "$RECYCLE.BIN",
    "$Recycle.Bin",
    "System Volume Information",
    "__MACOSX",
    ".thumbnails",
    ".Trash-1000",
    ".Trashes",
    ".picasaoriginals",
    ".fseventsd",
    ".git",
]
FILES = ["Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r", "._1.jpg", ".DS_Store"]


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_it_is_left_out_at_every_depth(tmp_path, name, log):
    within = f"{name}/1.jpg" if name in FOLDERS else name
    images = ["a/1.jpg", "a/deep/er/2.jpg", "b/1.jpg"]
    touch(tmp_path, *images, *(f"{above}{within}" for above in ("", "a/", "a/deep/er/")))
    manifest = read_manifest(tmp_path)
    assert list(manifest.images.paths) == images
    assert manifest.rejects == ()
    assert manifest.classes == ("a", "b")
    if name in FOLDERS or name[0] == ".":
        (said,) = log.messages
        assert "3 " in said.partition(": left out")[2]
    assert list(expand([tmp_path])) == [(f"{tmp_path}/{image}", "") for image in images]
    split = touch(tmp_path / "split", *(f"{split}/{image}" for split in ("train", "val") for image in images))
    touch(split, f"train/{within}", f"val/a/{within}")
    assert read_manifest(split).classes == ("a", "b")
    assert len(read_manifest(split)) == 6


def test_names_that_only_resemble_are_classes(tmp_path):
    names = ["eaDir", "recycle", "recycled", "thumbnails", "Trash", "lost", "snapshot", "@home", "#1"]
    assert read_manifest(touch(tmp_path, *(f"{name}/1.jpg" for name in names))).classes == tuple(sorted(names))


def test_a_folder_that_is_asked_for_by_its_name_is_walked(tmp_path):
    touch(tmp_path, "@eaDir/1.jpg", "@eaDir/@eaDir/2.jpg", ".hidden/3.jpg")
    assert list(expand([tmp_path / "@eaDir"])) == [(f"{tmp_path}/@eaDir/1.jpg", "")]
    assert list(expand([tmp_path / ".hidden"])) == [(f"{tmp_path}/.hidden/3.jpg", "")]
    assert list(expand([tmp_path / "@eaDir" / "@eaDir" / "2.jpg"])) == [(f"{tmp_path}/@eaDir/@eaDir/2.jpg", "")]


def test_a_cache_of_fc7_is_no_class(tmp_path, log):
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "cache/recipes/x/recipe.json")
    (tmp_path / "cache" / "FORMAT").write_text("fc7-cache 1\n")
    assert read_manifest(tmp_path).classes == ("a", "b")
    assert "1 cache" in log.text


def test_counts_are_said_by_name_and_families_as_one(log):
    left_out = LeftOut()
    for name in ["._1.jpg", "._2.jpg", "@eaDir", "a\x1b", *(f".{number}" for number in range(9))]:
        assert is_left_out(name) or name == "a\x1b"
        left_out.add(name)
    left_out.log("DATA")
    LeftOut().log("nothing")
    (said,) = log.messages
    assert "2 ._*, 1 @eaDir, 1 a\\x1b" in said
    assert said.endswith("7 more.")


@pytest.mark.parametrize("above", ["", "train/"])
def test_tables_and_results_beside_images_are_no_images_and_no_rejects(tmp_path, above, log):
    """The file of vectors that one run writes into the folder is nothing of the next; a table of labels is said."""
    beside = ["vectors.parquet", "metadata.csv", "v.NPZ", "v.npy", "v.json", "1.jpg.json", "my.fc7", "page.html"]
    root = touch(tmp_path, f"{above}1.jpg", f"{above}2.txt", *(f"{above}{name}" for name in beside))
    manifest = read_manifest(root)
    assert list(manifest.images.paths) == [f"{above}1.jpg"]
    assert [reject.path for reject in manifest.rejects] == [f"{above}2.txt"]
    (said,) = log.messages
    assert "1 metadata.csv" in said
    assert "2 *.json" in said
    assert "name it in place of the folder" in said
    assert dict(expand([root])).keys() == {f"{root}/{above}{name}" for name in ("1.jpg", "2.txt")}


@pytest.mark.parametrize("name", ["photos.tar", "photos.zip"])
def test_tables_in_archives_are_no_rejects(tmp_path, name, log):
    path = packed(tmp_path / name, {"a/1.jpg": b"1", "b/2.jpg": b"2", "a/list.csv": b"", "a/x.txt": b""})
    assert [reject.path for reject in read_manifest(path).rejects] == ["a/x.txt"]
    assert log.text.count("1 list.csv") == 1


def test_a_folder_of_notes_alone_has_no_images_and_says_so(tmp_path, log):
    with pytest.raises(DataError, match="No images in"):
        read_manifest(touch(tmp_path, "a.json"))
    assert "1 *.json" in log.text
