"""One shard: an immutable HDF5 file that is checked before HDF5 parses a byte of it.

The first 512 bytes are an HDF5 user block with one JSON line, the :class:`Header`. It holds the sha256 of the rest, and
the offsets of rows and keys. ``h5py.File(shard)["embeddings"][:]`` works as on any HDF5 file.

Rows are contiguous, so that checked bytes can be read straight into the result array, in any order, without HDF5. Why
not mmap: a truncated file or a bad sector is then a signal that ends the process; under a read it is an error.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..errors import CacheError, CorruptShard
from .files import blocks, open_regular
from .format import HEADER_BYTES, KEY_BYTES, VERSION
from .index import ShardEntry, stat_line
from .keys import Keys, Positions
from .recipe import Recipe, sha256_of
from .system import read_at
from .tables import counted

MAX_BUFFERS = 1024  # buffers in one preadv, the IOV_MAX of every system that has it


@dataclass(frozen=True)
class Shard:
    """The content of one shard.

    Attributes
    ----------
    keys
        ``n`` keys of 32 bytes, one per row.
    embeddings
        ``(n, dim)``, float16 or float32.
    rejected
        Keys of bytes that are not an acceptable image, with the reason. A key with a row, here or in another shard, is
        not rejected: it was looked at again.
    provenance
        Library versions, device, batch size: facts about the computation that do not decide a vector.
    """

    keys: Sequence[bytes]
    embeddings: npt.NDArray[Any]
    rejected: Mapping[bytes, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


class Header(NamedTuple):
    """The first line of a shard."""

    format: int  # `VERSION`
    recipe: str  # its id
    # Of `embeddings`.
    rows: int
    dim: int
    dtype: str
    rejected: int  # number of rejected keys
    seconds: float  # computing time of the shard
    # Offsets of the two contiguous data sets in the file, in bytes.
    embeddings: int
    keys: int
    size: int  # of the file, in bytes
    sha256: str  # of everything after the header, in hex

    def encode(self) -> bytes:
        """Return the user block: the line, its own checksum, and padding."""
        checksum = sha256_of(json.dumps(self._asdict()))[:16]
        return json.dumps([self._asdict(), checksum]).encode().ljust(HEADER_BYTES - 1) + b"\n"

    @classmethod
    def decode(cls, block: bytes) -> Self:
        """Read the user block of :meth:`encode`.

        Raises
        ------
        CorruptShard
            A bit has changed, or the format is another.
        """
        try:
            values, _ = json.loads(block)
            header = cls(**values)
        except (ValueError, TypeError) as error:
            raise CorruptShard(f"its header is not readable ({error})") from error
        if header.encode() != block:
            raise CorruptShard("its header is not as it was written")
        if header.format != VERSION:
            raise CorruptShard(f"its format is {header.format}, this version of fc7 reads {VERSION}")
        return header


def unit_id(recipe_id: str, keys: Iterable[bytes]) -> str:
    """Return the shard's name; two workers on the same keys get the same name."""
    return hashlib.sha256(recipe_id.encode() + b"".join(sorted(keys))).hexdigest()


def answering(shard: Shard, reopened: Mapping[bytes, str]) -> Shard:
    """Return a shard of images that were looked at again, beside the rejections that are recorded already.

    A row answers a rejection for every reader, and stands beside it, so that the shard has another name than the one of
    the same images that holds the rejection. Rejections that stand are left out.
    """
    answered = {key: reopened[key] for key in shard.keys if key in reopened}
    new = {key: reason for key, reason in shard.rejected.items() if key not in reopened}
    return replace(shard, rejected=answered | new)


def encode(shard: Shard, recipe: Recipe) -> bytes:
    """Return the complete file, including its header.

    It is built in memory because a disk that fills up inside libhdf5 kills the interpreter. Contiguous data sets are
    the fastest to read. Why not the image of an open file: that of HDF5 1.14 has a wrong checksum.

    Raises
    ------
    CacheError
        The HDF5 that is installed does not read what it has written.
    """
    from .hdf5 import create, h5py

    written = {"embeddings": shard.embeddings, "keys": Keys.of(shard.keys).matrix}
    built = io.BytesIO()
    with create(built) as file:
        for name, rows in written.items():
            file[name] = rows
        file["rejected_keys"] = Keys.of(shard.rejected).matrix
        file.create_dataset("rejected_reasons", data=list(shard.rejected.values()), dtype=h5py.string_dtype())
        file.attrs["recipe"] = recipe.to_json()
        for name, value in shard.provenance.items():
            file.attrs[name] = value
    body = built.getvalue()
    embeddings, keys = (HEADER_BYTES + place for place in _places_of(body, written, shard.rejected))
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


def _places_of(body: bytes, written: Mapping[str, npt.NDArray[Any]], rejected: Mapping[bytes, str]) -> list[int]:
    """Open a file that was just built with the parser, and return where in it the arrays are that were written."""
    places = []
    try:
        with _hdf5(body) as file:
            for name, rows in written.items():
                dataset = file[name]
                places.append(dataset.id.get_offset() or 0)
                found = np.frombuffer(body, np.uint8, rows.nbytes, places[-1])
                same = np.array_equal(found, np.ascontiguousarray(rows).reshape(-1).view(np.uint8))
                if not same or (dataset.dtype, dataset.shape) != (rows.dtype, rows.shape):
                    raise CorruptShard(f"HDF5 reads other {name} than it wrote")
            if rejected and _rejected(file) != rejected:
                raise CorruptShard("HDF5 reads other rejections than it wrote")
    except CorruptShard as error:
        raise CacheError(
            f"A shard of {counted(len(written['keys']), 'row')} was built and not kept: {error}. "
            "Install another h5py: pip install --upgrade h5py, then run again."
        ) from error
    return places


def check(data: bytes) -> Header:
    """Compare a shard's bytes with its header and return it; raises CorruptShard if they are not as committed."""
    return _checked(io.BytesIO(data))[0]


def _checked(opened: BinaryIO) -> tuple[Header, Keys]:
    """Check a shard's bytes and return its header and keys; rows are hashed, not kept."""
    user_block = opened.read(HEADER_BYTES)
    header = Header.decode(user_block)
    keys = bytearray(header.rows * KEY_BYTES)
    sha, place = hashlib.sha256(), len(user_block)
    for block in blocks(opened):
        sha.update(block)
        start, end = max(header.keys, place), min(header.keys + len(keys), place + len(block))
        if start < end:
            keys[start - header.keys : end - header.keys] = block[start - place : end - place]
        place += len(block)
    if header.size != place:
        raise CorruptShard(f"it has {place} bytes, its header says {header.size}")
    if header.sha256 != sha.hexdigest():
        raise CorruptShard(f"its sha256 is {sha.hexdigest()[:12]}.., its header says {header.sha256[:12]}..")
    return header, Keys.from_bytes(keys)


def decode(data: bytes) -> Shard:
    """Check a shard's bytes, then read them as HDF5.

    Raises
    ------
    CorruptShard
        The bytes are not as committed (HDF5 never sees such bytes), or HDF5 and the header disagree.
    """
    with _opened(data) as (header, file):
        provenance = {name: str(value) for name, value in file.attrs.items() if name != "recipe"}
        shard = Shard(Keys(file["keys"][:]), file["embeddings"][:], _rejected(file), provenance)
        places = {name: file[name].id.get_offset() for name in ("embeddings", "keys")}
    declared = (header.rows, header.dim), header.dtype, header.rejected
    if (shard.embeddings.shape, str(shard.embeddings.dtype), len(shard.rejected)) != declared:
        raise CorruptShard("its rows are not what its header says")
    if header.rows and places != {"embeddings": header.embeddings, "keys": header.keys}:
        raise CorruptShard("its rows are not where its header says")
    return shard


def check_file(path: Path, recipe_id: str, *, deep: bool = False) -> ShardEntry:
    """Check a shard's bytes, recipe and name, and return its entry for the index.

    Parameters
    ----------
    deep
        Also read it as HDF5 and check that every number is finite.

    Raises
    ------
    CorruptShard
        The bytes are not as committed, or the shard has another recipe or name.
    FileNotFoundError
        There is no such file.
    CacheError
        It cannot be read now. That is not damage.
    """
    with readable(path):
        with open_regular(path, buffering=0) as opened:
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
            shard = decode(path.read_bytes())
            if shard.keys != keys:
                raise CorruptShard("HDF5 reads other keys than are where its header says")
            if not np.isfinite(shard.embeddings).all():
                raise CorruptShard("it has rows that are not finite")
    return ShardEntry(stat, header.embeddings, header.seconds, keys=keys, rejected=rejected)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what hinders a shard's reader now, but for its absence, into a CacheError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        advice = "Put that right, then run again."
        if error.errno == errno.EIO:
            advice = "Run again. If that goes on, delete the file, and compute its rows again with: fc7 extract DATA"
        raise CacheError(f"The shard {path} cannot be read: {error.strerror or error}. {advice}") from error


def recipe_of(path: Path) -> Recipe:
    """Return the recipe stored in a sound shard, for a folder whose description is lost."""
    with _opened(path.read_bytes()) as (_, file):
        try:
            return Recipe.from_json(str(file.attrs["recipe"]))
        except CacheError as error:
            raise CorruptShard(f"its recipe is not readable ({error})") from error


def read_rows(path: Path, entry: ShardEntry, rows: Positions, numbers: Positions, target: npt.NDArray[Any]) -> None:
    """Read ``rows`` of a checked shard straight into the rows ``numbers`` of an array.

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
        # One read for each run of rows on disk, into as many buffers as it is torn into in memory.
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
            places = numbers[run] * width
            cuts = np.flatnonzero(np.diff(places) != width) + 1
            starts = places[np.concatenate([[0], cuts])].tolist()
            ends = (places[np.concatenate([cuts - 1, [-1]])] + width).tolist()
            buffers = [flat[start:end] for start, end in zip(starts, ends, strict=True)]
            _fill(descriptor, buffers, entry.offset + int(rows[run[0]]) * width)


def _fill(descriptor: int, buffers: list[memoryview], offset: int) -> None:
    """Fill buffers one after the other from the file; a single read may return less than asked for."""
    for start in range(0, len(buffers), MAX_BUFFERS):
        pending = buffers[start : start + MAX_BUFFERS]
        while pending:
            count = read_at(descriptor, pending, offset)
            if not count:
                raise CorruptShard("it ends early")
            offset += count
            while pending and count >= len(pending[0]):
                count -= len(pending.pop(0))
            if count:
                pending[0] = pending[0][count:]


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[tuple[Header, Any]]:
    """Check a shard's bytes and open them."""
    header = check(data)
    with _hdf5(data) as file:
        yield header, file


@contextlib.contextmanager
def _hdf5(data: bytes) -> Iterator[Any]:
    """Open bytes as HDF5; what HDF5 cannot read is a damaged shard."""
    from .hdf5 import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CorruptShard(f"HDF5 does not read it ({error})") from error


def _rejected(file: Any) -> dict[bytes, str]:
    reasons = [reason.decode() for reason in file["rejected_reasons"][:]]
    return dict(zip(Keys(file["rejected_keys"][:]), reasons, strict=True))
