import pytest

from fc7.cache.index import Index
from fc7.extract import read_manifest
from fc7.extract.manifest.hashing import Files, hash_files


def test_where_images_are_is_known_of_those_that_are_there(pictures, cache_dir):
    manifest = read_manifest(pictures)
    hashed = hash_files(manifest, Index(cache_dir))
    files = Files(manifest, hashed)
    found = files.of(list(hashed.keys))
    assert found == manifest.files
    with pytest.raises(KeyError):
        files.of([hashed.keys[0], bytes(32)])
