"""The members of a bundle's file: a zip whose format, sizes and checksums are looked at before anything else."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ...cache.files import open_regular
from ...errors import BundleError
from ...extract.text import few

FORMAT = 5  # raise it when a member or key changes its meaning; other formats are refused
MAX_BYTES = 2**30
MEMBERS = ("bundle.json", "abstention.safetensors", "head.skops", "sha256.json")
FITTED = "fitted.safetensors"  # of bundles that keep the fitted images


def packed(members: Mapping[str, bytes]) -> bytes:
    """Return the file of these members, the same bytes every time, with their checksums."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**members, "sha256.json": json.dumps(digests, indent=1).encode()}.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def read_members(path: Path) -> dict[str, bytes]:
    """Return the members by name; raises BundleError if they are not those of a bundle, whole and of a sane size."""
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        require_small(path, archive)
        names = archive.namelist()
        if "bundle.json" in names:  # the format first: other formats have other members
            version = json.loads(archive.read("bundle.json"))["format"]
            if version != FORMAT:
                raise BundleError(
                    f"{path} has bundle format {version}, this version of fc7 reads {FORMAT}. Fit again (the cache "
                    f"makes that cheap): fc7 fit DATA -o {path.name}"
                )
        if sorted(names) not in (sorted(MEMBERS), sorted([*MEMBERS, FITTED])):
            raise BundleError(f"{path} has the members {few(names)}, a bundle has {list(MEMBERS)}.")
        members = {name: archive.read(name) for name in names}
    _require_intact(path, members)
    return members


def require_small(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive that would be large once unpacked."""
    size = sum(info.file_size for info in archive.infolist())
    if size > MAX_BYTES:
        raise BundleError(f"{path} declares {size} bytes once unpacked, more than {MAX_BYTES}.")


def _require_intact(path: Path, members: Mapping[str, bytes]) -> None:
    recorded = json.loads(members["sha256.json"])
    for name in sorted(members.keys() - {"sha256.json"}):
        digest = hashlib.sha256(members[name]).hexdigest()
        if digest != recorded[name]:
            raise BundleError(f"{path} is damaged: its {name} has sha256 {digest[:16]}.., not the recorded one.")
