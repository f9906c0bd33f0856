"""Bundles taken apart and put together again, as an attacker would."""

import hashlib
import json
import warnings
import zipfile

import pytest

from fc7.classify import Bundle
from fc7.errors import BundleError


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, head=None, **changes):
    """Put another head or other entries into a bundle, with a matching sha256: as an attacker would."""
    parts = members(path)
    about = json.loads(parts["bundle.json"])
    if head is not None:
        parts["head.skops"] = head
    parts["bundle.json"] = json.dumps(about | changes).encode()
    return write(path, sealed(parts).items())


def sealed(parts):
    """Return members with the sha256 of each as it is now."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items() if name != "sha256.json"}
    return parts | {"sha256.json": json.dumps(sums).encode()}


def write(path, parts):
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name occurs twice
        for name, data in parts:
            archive.writestr(name, data)
    return path


def refused(path, match=None):
    with pytest.raises(BundleError, match=match) as caught:
        Bundle.load(path)
    assert path.name in str(caught.value)
    return str(caught.value)
