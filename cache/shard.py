"""One shard: an immutable HDF5 file that checks itself before HDF5 parses a byte of it.

The first 512 bytes are an HDF5 user block with one JSON line ``{"format", "rows", "bytes", "sha256"}``, where sha256
covers everything after it. ``h5py.File(shard)["embeddings"][:]`` works on it as on any HDF5 file.
"""

import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CorruptShard
from .format import HEADER_BYTES, KEY_BYTES, VERSION


@dataclass(frozen=True)
class Shard:
    """What one shard holds.

    Attributes
    ----------
    keys
        ``n`` keys of 32 bytes, one per row.
    embeddings
        ``(n, dim)``, float16 or float32.
    rejected
        Keys of bytes that are not an acceptable image, with the reason.
    provenance
        Library versions, device, batch size: facts about the making that do not decide a vector.
    """

    keys: Sequence[bytes]
    embeddings: npt.NDArray[Any]
    rejected: Mapping[bytes, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


def unit_id(recipe_id: str, keys: Iterable[bytes]) -> str:
    """Return the shard's name: two workers on the same keys make the same one."""
    return hashlib.sha256(recipe_id.encode() + b"".join(sorted(keys))).hexdigest()


def encode(shard: Shard, recipe_json: str) -> bytes:
    """Return the whole file, header included.

    The file is built in memory because a disk that fills up inside libhdf5 kills the interpreter. ``v110`` because its
    metadata carry checksums; contiguous because nothing reads faster.
    """
    import h5py

    with h5py.File("shard", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        file["embeddings"] = shard.embeddings
        file["keys"] = _key_matrix(shard.keys)
        file["rejected_keys"] = _key_matrix(list(shard.rejected))
        file.create_dataset("rejected_reasons", data=list(shard.rejected.values()), dtype=h5py.string_dtype())
        file.attrs["recipe"] = recipe_json
        for name, value in shard.provenance.items():
            file.attrs[name] = value
        file.flush()
        body: bytes = file.id.get_file_image()
    return _header(len(shard.keys), HEADER_BYTES + len(body), hashlib.sha256(body).hexdigest()) + body


def check(data: bytes) -> int:
    """Compare a shard's bytes with its header and return the number of rows that the header states.

    Raises
    ------
    CorruptShard
        One bit or more is not as committed.
    """
    try:
        header = json.loads(bytes(data[:HEADER_BYTES]))
        rows, size, sha256 = header["rows"], header["bytes"], header["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptShard(f"its header is not readable ({error})") from error
    if size != len(data):
        raise CorruptShard(f"it has {len(data)} bytes, its header says {size}")
    found = hashlib.sha256(memoryview(data)[HEADER_BYTES:]).hexdigest()
    if found != sha256:
        raise CorruptShard(f"its sha256 is {found[:12]}.., its header says {str(sha256)[:12]}..")
    if bytes(data[:HEADER_BYTES]) != _header(rows, size, sha256):  # the padding and the rest of the line count, too
        raise CorruptShard("its header is not as it was written")
    return int(rows)


def decode(data: bytes) -> Shard:
    """Check a shard's bytes, then read them.

    Raises
    ------
    CorruptShard
        One bit or more is not as committed; HDF5 never sees such bytes.
    """
    import h5py

    rows = check(data)
    with h5py.File(io.BytesIO(data), "r") as file:
        reasons = [reason.decode() for reason in file["rejected_reasons"][:]]
        rejected = dict(zip(_key_list(file["rejected_keys"][:]), reasons, strict=True))
        provenance = {name: str(value) for name, value in file.attrs.items() if name != "recipe"}
        shard = Shard(_key_list(file["keys"][:]), file["embeddings"][:], rejected, provenance)
    if len(shard.keys) != rows:
        raise CorruptShard(f"it has {len(shard.keys)} rows, its header says {rows}")
    return shard


def commit(data: bytes, final: Path, temporary: Path) -> bool:
    """Make ``data`` appear at ``final``, whole and durable, or not at all.

    Temporary file, fsync, link to the final name, fsync of the folder. Only when this returns may the rows be called
    done.

    Returns
    -------
    bool
        False if the name was already there: another writer made the same unit, which is success.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    own = temporary / f"{final.stem}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    try:
        _write_durably(own, data)
        try:
            os.link(own, final)
            made = True
        except FileExistsError:
            made = False
    finally:
        own.unlink(missing_ok=True)
    for folder in (final.parent, final.parent.parent):
        fsync_folder(folder)
    return made


def _header(rows: int, size: int, sha256: str) -> bytes:
    line = json.dumps({"format": VERSION, "rows": rows, "bytes": size, "sha256": sha256})
    return (line.encode() + b"\n").ljust(HEADER_BYTES)


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _key_matrix(keys: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES)


def _key_list(matrix: npt.NDArray[np.uint8]) -> list[bytes]:
    return [row.tobytes() for row in matrix]
