import tarfile

import numpy as np
import pytest

from fc7.extract import fill, read_manifest
from fc7.extract.extraction import read
from fc7.extract.manifest.hashing import Hashed
from fc7.extract.manifest.manifest import Manifest


def test_where_images_are_is_known_of_those_that_are_there(pictures, cache_dir):
    manifest = read_manifest(pictures)
    hashed = Hashed.of(manifest)
    assert hashed.files(list(hashed.keys)) == manifest.files
    with pytest.raises(KeyError):
        hashed.files([hashed.keys[0], bytes(32)])


def test_what_is_hashed_is_handed_on(pictures, tmp_path, fake):
    hashed = Hashed.of(read_manifest(pictures), tmp_path / "here")
    assert Hashed.of(hashed, tmp_path / "elsewhere") is hashed
    assert fill(hashed, [fake])[0].computed == 10
    assert len(hashed.store(fake.recipes[0])) == 10, "the rows that were computed are listed"
    assert np.array_equal(read(hashed, fake.recipes[0]).sha256, hashed.keys.matrix)
    assert not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_hashed_has_its_reason(tmp_path, cache_dir):
    (tmp_path / "folder.png").mkdir()
    files = [str(tmp_path / name) for name in ("folder.png", "absent.png", "notes.txt", "a\0b.png")]
    reasons = dict(Hashed.of(Manifest.of_files(files)).rejects())
    assert reasons[files[0]] == "not a regular file"
    assert reasons[files[1]] == "not readable: No such file or directory"
    assert "suffix" in reasons[files[2]]
    assert "null" in reasons[files[3]]


def test_images_inside_of_files_are_read_from_front_to_back(pictures, tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(pictures, "")
    inside = Hashed.of(read_manifest(tmp_path / "photos.tar"))
    assert inside.files(list(inside.in_reading_order(inside.images))) == inside.manifest.files
    some = inside.images[np.array([7, 2, 5])]
    assert sorted(inside.in_reading_order(some)) == sorted(some)
    outside = Hashed.of(read_manifest(pictures))
    assert outside.in_reading_order(outside.images) is outside.images


@pytest.mark.parametrize("columns", ["path,sha256,label,group,bad,reviewed", "path,sha256,label"])
def test_a_label_that_was_reviewed_is_that_of_the_bytes(pictures, cache_dir, columns):
    """Two images that swap their names are rejects, and do not swap their labels; a table of others says no more."""
    manifest = read_manifest(pictures)
    rows = [
        f"{image.path},{key.hex()},{image.label},,," if "bad" in columns else f"{image.path},{key.hex()},{image.label}"
        for image, key in zip(manifest.images, Hashed.of(manifest).keys, strict=True)
    ]
    rows[0] = rows[0].replace(rows[0].split(",")[1], "")  # not read at the time
    table = pictures.parent / "pictures-labels.csv"
    table.write_text("\n".join([columns, *(f"{pictures.name}/{row}" for row in rows)]))
    assert not Hashed.of(read_manifest(table)).unreadable
    red, blue = (pictures / path for path in (manifest.images.paths[1], manifest.images.paths[-1]))
    red.rename(pictures / "x")
    blue.rename(red)
    (pictures / "x").rename(blue)
    hashed = Hashed.of(read_manifest(table))
    if "reviewed" in columns:
        assert [reason.partition(",")[0] for reason in hashed.unreadable.values()] == [
            "other bytes than those that were reviewed"
        ] * 2
        assert {reject.path for reject in hashed.rejects()} == {
            f"{pictures.name}/{path.relative_to(pictures)}" for path in (red, blue)
        }
        assert len(hashed.rows) == len(hashed.images) == 8
    else:
        assert not hashed.unreadable
