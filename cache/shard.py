"""One shard: an immutable HDF5 file that checks itself before HDF5 parses a byte of it.

The first 512 bytes are an HDF5 user block with one JSON line, the :class:`Header`: what everything after it must hash
to, and where in it the rows and keys are. ``h5py.File(shard)["embeddings"][:]`` works on it as on any HDF5 file.

Its rows are contiguous, so that once the bytes are checked they are read by the system straight into the array that
was asked for, in any order, without HDF5. Not mapped: a file cut short or a bad sector under a mapping is a signal that
ends the process, under a read it is an error with a name.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..errors import CacheError, CorruptShard
from .file_blocks import blocks
from .format import HEADER_BYTES, KEY_BYTES, VERSION
from .index import ShardEntry, stat_line
from .keys import Keys
from .recipe import Recipe

VECTOR = 1024  # buffers in one preadv, the IOV_MAX of every system that has it


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


class Header(NamedTuple):
    """The first line of a shard.

    Attributes
    ----------
    format
        :data:`~fc7.cache.format.VERSION`.
    recipe
        The recipe's id.
    rows, dim, dtype
        Of ``embeddings``.
    rejected
        How many keys are those of no image.
    seconds
        What computing the shard cost.
    embeddings, keys
        Where the two data sets begin in the file, in bytes; they are contiguous.
    size
        Of the file, in bytes.
    sha256
        Of everything after the header, in hex.
    """

    format: int
    recipe: str
    rows: int
    dim: int
    dtype: str
    rejected: int
    seconds: float
    embeddings: int
    keys: int
    size: int
    sha256: str

    def encode(self) -> bytes:
        """Return the whole user block: the line, a checksum of its own, and padding."""
        line = json.dumps(self._asdict())
        return json.dumps([self._asdict(), _checksum(line)]).encode().ljust(HEADER_BYTES - 1) + b"\n"

    @classmethod
    def decode(cls, block: bytes) -> Self:
        """Read what :meth:`encode` made.

        Raises
        ------
        CorruptShard
            A bit is not as it was written.
        """
        try:
            values, _ = json.loads(block)
            header = cls(**values)
        except (ValueError, TypeError) as error:
            raise CorruptShard(f"its header is not readable ({error})") from error
        if header.encode() != block:
            raise CorruptShard("its header is not as it was written")
        return header


def unit_id(recipe_id: str, keys: Iterable[bytes]) -> str:
    """Return the shard's name: two workers on the same keys make the same one."""
    return hashlib.sha256(recipe_id.encode() + b"".join(sorted(keys))).hexdigest()


def encode(shard: Shard, recipe: Recipe) -> bytes:
    """Return the whole file, header included.

    The file is built in memory because a disk that fills up inside libhdf5 kills the interpreter. ``v110`` because its
    metadata carry checksums; contiguous because nothing reads faster.
    """
    from .hdf5 import h5py

    with h5py.File("shard", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        file["embeddings"] = shard.embeddings
        file["keys"] = Keys.of(shard.keys).matrix
        file["rejected_keys"] = Keys.of(shard.rejected).matrix
        file.create_dataset("rejected_reasons", data=list(shard.rejected.values()), dtype=h5py.string_dtype())
        file.attrs["recipe"] = recipe.to_json()
        for name, value in shard.provenance.items():
            file.attrs[name] = value
        file.flush()
        embeddings, keys = (HEADER_BYTES + (file[name].id.get_offset() or 0) for name in ("embeddings", "keys"))
        body: bytes = file.id.get_file_image()
    header = Header(
        format=VERSION,
        recipe=recipe.id,
        rows=len(shard.keys),
        dim=shard.embeddings.shape[1],
        dtype=str(shard.embeddings.dtype),
        rejected=len(shard.rejected),
        seconds=float(shard.provenance.get("seconds", 0)),
        embeddings=embeddings,
        keys=keys,
        size=HEADER_BYTES + len(body),
        sha256=hashlib.sha256(body).hexdigest(),
    )
    return header.encode() + body


def check(data: bytes) -> Header:
    """Compare a shard's bytes with its header and return it.

    Raises
    ------
    CorruptShard
        One bit or more is not as committed.
    """
    header = _header(data[:HEADER_BYTES])
    _compare(header, len(data), hashlib.sha256(memoryview(data)[HEADER_BYTES:]))
    return header


def _checked(opened: FileIO) -> tuple[Header, Keys]:
    """Return the header and the keys of a shard whose bytes are as committed; its rows are hashed and let go."""
    first = opened.read(HEADER_BYTES)
    header = _header(first)
    found = bytearray(header.rows * KEY_BYTES)
    sha, place = hashlib.sha256(), len(first)
    for block in blocks(opened):
        sha.update(block)
        start, end = max(header.keys, place), min(header.keys + len(found), place + len(block))
        if start < end:
            found[start - header.keys : end - header.keys] = block[start - place : end - place]
        place += len(block)
    _compare(header, place, sha)
    return header, Keys.from_bytes(found)


def _header(first: bytes) -> Header:
    header = Header.decode(first)
    if header.format != VERSION:
        raise CorruptShard(f"its format is {header.format}, this version of fc7 reads {VERSION}")
    return header


def _compare(header: Header, size: int, sha: Any) -> None:
    if header.size != size:
        raise CorruptShard(f"it has {size} bytes, its header says {header.size}")
    found = sha.hexdigest()
    if found != header.sha256:
        raise CorruptShard(f"its sha256 is {found[:12]}.., its header says {header.sha256[:12]}..")


def decode(data: bytes) -> Shard:
    """Check a shard's bytes, then read all of them as HDF5.

    Raises
    ------
    CorruptShard
        One bit or more is not as committed (HDF5 never sees such bytes), or HDF5 reads other than the header says.
    """
    with _opened(data) as (header, file):
        provenance = {name: str(value) for name, value in file.attrs.items() if name != "recipe"}
        shard = Shard(Keys(file["keys"][:]), file["embeddings"][:], _rejected(file), provenance)
        places = {name: file[name].id.get_offset() for name in ("embeddings", "keys")}
    said = (header.rows, header.dim), header.dtype, header.rejected
    if (shard.embeddings.shape, str(shard.embeddings.dtype), len(shard.rejected)) != said:
        raise CorruptShard("its rows are not what its header says")
    if header.rows and places != {"embeddings": header.embeddings, "keys": header.keys}:
        raise CorruptShard("its rows are not where its header says")
    return shard


def check_file(path: Path, recipe_id: str, *, deep: bool = False) -> ShardEntry:
    """Check a shard's bytes and that they belong where they lie, and return what the index keeps of it.

    Parameters
    ----------
    deep
        Also read it as HDF5 and look at every number: rows must be finite.

    Raises
    ------
    CorruptShard
        A bit is not as committed, or the shard is of another recipe or under another name.
    OSError
        The file cannot be read.
    """
    with FileIO(path) as opened:
        stat = stat_line(os.fstat(opened.fileno()))
        header, keys = _checked(opened)
    if header.recipe != recipe_id:
        raise CorruptShard(f"it is of recipe {header.recipe[:12]}, not of this folder's")
    rejected: dict[bytes, str] = {}
    if header.rejected:
        with _opened(path.read_bytes()) as (_, file):
            rejected = _rejected(file)
    if path.stem != unit_id(recipe_id, [*keys, *rejected]):
        raise CorruptShard("its name is not the one of the keys in it")
    if deep:
        _look_at_every_number(decode(path.read_bytes()), keys)
    return ShardEntry(stat, header.embeddings, header.seconds, keys, rejected)


def _look_at_every_number(shard: Shard, keys: Keys) -> None:
    if shard.keys != keys:
        raise CorruptShard("HDF5 reads other keys than are where its header says")
    if not np.isfinite(shard.embeddings).all():
        raise CorruptShard("it has rows that are not finite")


def recipe_of(path: Path) -> Recipe:
    """Return the recipe that a shard says it is of, for the case that the folder's description is lost.

    Raises
    ------
    CorruptShard
        A bit is not as committed.
    """
    with _opened(path.read_bytes()) as (_, file):
        try:
            return Recipe.from_json(str(file.attrs["recipe"]))
        except CacheError as error:
            raise CorruptShard(f"its recipe is not readable ({error})") from error


def read_rows(
    path: Path,
    entry: ShardEntry,
    rows: npt.NDArray[np.intp],
    numbers: npt.NDArray[np.intp],
    target: npt.NDArray[Any],
) -> None:
    """Read ``rows`` of a checked shard into the rows ``numbers`` of an array, without a copy between.

    Parameters
    ----------
    rows
        Ascending, each once.
    target
        ``(n, dim)``, C-contiguous.

    Raises
    ------
    CorruptShard
        The file is not the one that was checked, or ends early.
    OSError
        The file cannot be read.
    """
    width = target.shape[1] * target.itemsize
    flat = target.reshape(-1).view("u1").data
    with path.open("rb", buffering=0) as opened:
        descriptor = opened.fileno()
        if stat_line(os.fstat(descriptor)) != entry.stat:
            raise CorruptShard("it is not the file that was checked")
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
            places = numbers[run] * width
            cuts = np.flatnonzero(np.diff(places) != width) + 1
            starts = places[np.concatenate([[0], cuts])].tolist()
            ends = (places[np.concatenate([cuts - 1, [-1]])] + width).tolist()
            buffers = [flat[start:end] for start, end in zip(starts, ends, strict=True)]
            _fill(descriptor, buffers, entry.offset + int(rows[run[0]]) * width)


def _fill(descriptor: int, buffers: list[memoryview], offset: int) -> None:
    """Fill buffers one after the other from the file, however little the system gives at a time."""
    for start in range(0, len(buffers), VECTOR):
        some = buffers[start : start + VECTOR]
        while some:
            got = os.preadv(descriptor, some, offset)
            if not got:
                raise CorruptShard("it ends early")
            offset += got
            while some and got >= len(some[0]):
                got -= len(some.pop(0))
            if got:
                some[0] = some[0][got:]


def _checksum(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[tuple[Header, Any]]:
    """Check a shard's bytes and open them; whatever HDF5 then objects to is a damaged shard, too."""
    from .hdf5 import h5py

    header = check(data)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield header, file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CorruptShard(f"HDF5 does not read it ({error})") from error


def _rejected(file: Any) -> dict[bytes, str]:
    reasons = [reason.decode() for reason in file["rejected_reasons"][:]]
    return dict(zip(Keys(file["rejected_keys"][:]), reasons, strict=True))
