"""Strict reader of flat ``.h5`` files from elsewhere: refuses them before anything in them can do harm.

HDF5 is a file system in a file. A dataset may lie in another file, unpack to a million times its size, or be code to
load. So the structure is checked first, then the sizes, and only then are rows read:

- the members of an embeddings file and no others, each a dataset linked once and directly;
- nothing kept in other files: no external storage, no virtual datasets, no soft or external links;
- no filters but shuffle, deflate, lzf and fletcher32, and no chunk that unpacks to more than it declares;
- ranks, types and numbers of rows as expected, and sizes in proportion to what is stored.

The parser is no security boundary: a file that exploits a flaw of libhdf5 is not stopped here.
"""

import json
import math
import mmap
import stat
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CacheError, DataError
from .format import KEY_BYTES
from .hdf5 import h5py
from .recipe import read_recipe

MAX_BYTES = 64 * 2**30
MAX_CHUNK_BYTES = 64 * 2**20
MAX_RATIO = 200
MAX_TEXT = 4096  # bytes of one label or path
MAX_ATTRIBUTE = 4 * 2**20

RANKS = {"embeddings": 2, "sha256": 2, "labels": 1, "paths": 1, "split": 1, "group": 1}
SPLITS = {"", "train", "val", "test"}

_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_DEFLATE, _LZF = 1, 32000
_LZF_CHUNK = 2 * 2**20  # lzf unpacks to 90 times at most; unlike deflate, it cannot be test-unpacked with a limit
_HEAP = b"GCOL\x01\0\0\0"  # first bytes of a string heap
_SMALL = 2**24  # bytes that do no harm, whatever the proportion
_BLOCK = 4096  # rows checked at a time
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])  # of a string, in the file

# What h5py raises on damaged files, and what values too large for memory or an integer raise.
_FAILURES = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, EOFError, zlib.error)


def read_flat(path: Path | str) -> dict[str, Any]:
    """Read a flat embeddings file after checking all of it.

    Returns
    -------
    dict
        The arguments of :class:`fc7.cache.Embeddings`.

    Raises
    ------
    DataError
        The file is not what it should be; the message says which part.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would block
            raise DataError(f"{path} is not a regular file.")
        with h5py.File(path, "r", locking=False) as file:  # HDF5 would refuse a file on a mount without locks
            if file.userblock_size:
                raise DataError(f"{path} begins with {file.userblock_size} bytes that are not HDF5's.")
            _check_members(path, file)
            _check_heaps(path, file)
            contents = _read_attributes(path, file) | _read_columns(path, file)
            contents["sha256"] = file["sha256"][:]
            contents["vectors"] = file["embeddings"][:]
    except (*_FAILURES, CacheError) as error:
        line = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"{path} is not a readable embeddings file: {line}") from error
    check_content(path, contents)
    return contents


def _check_members(path: Path, file: Any) -> None:
    if len(file) > len(RANKS):
        raise DataError(f"{path} has {len(file)} members; an embeddings file has {sorted(RANKS)}.")
    for name in file:
        _check_link(path, file, name)
        _check_dataset(f"{path}: {name}", file[name], RANKS[name])
    absent = sorted(RANKS.keys() - {"group"} - set(file))
    if absent:
        raise DataError(f"{path}: {absent} absent; an embeddings file has {sorted(RANKS)}.")
    lengths = {name: file[name].shape[0] for name in file}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: rows differ: {lengths}.")
    if file["embeddings"].dtype not in (np.float16, np.float32) or 0 in file["embeddings"].shape:
        raise DataError(f"{path}: embeddings must be float16 or float32 with at least one row and column.")
    if file["sha256"].dtype != np.uint8 or file["sha256"].shape[1] != KEY_BYTES:
        raise DataError(f"{path}: sha256 must be (n, {KEY_BYTES}) uint8.")


def _check_link(path: Path, file: Any, name: str) -> None:
    if name not in RANKS:
        raise DataError(f"{path}: unexpected member {name[:60]!r}; an embeddings file has {sorted(RANKS)}.")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise DataError(f"{path}: {name} is a link to elsewhere, which fc7 does not follow.")
    if file.get(name, getclass=True) is not h5py.Dataset:
        raise DataError(f"{path}: {name} is not a dataset.")
    if h5py.h5o.get_info(file[name].id).rc != 1:
        raise DataError(f"{path}: {name} is linked more than once.")


def _check_dataset(place: str, dataset: Any, rank: int) -> None:
    filters = _check_storage(place, dataset)  # first: for the shape of a virtual dataset, HDF5 opens the other files
    if dataset.ndim != rank or dataset.shape is None:
        raise DataError(f"{place} has rank {dataset.ndim}, expected {rank}.")
    if dataset.id.get_type().committed():
        raise DataError(f"{place} has a named type.")
    if rank == 1:
        _check_text_type(place, dataset)
    elif dataset.id.get_type().get_class() not in (h5py.h5t.FLOAT, h5py.h5t.INTEGER):
        raise DataError(f"{place} must hold numbers, found {dataset.dtype}.")
    _check_size(place, dataset)
    if dataset.chunks:
        _check_chunks(place, dataset, filters)


def _check_storage(place: str, dataset: Any) -> list[int]:
    """Refuse data in other files and filters that are not allowed; return the numbers of the filters."""
    plist = dataset.id.get_create_plist()
    if plist.get_external_count() or plist.get_layout() == h5py.h5d.VIRTUAL:
        raise DataError(f"{place} keeps its data in other files, which fc7 does not open.")
    filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
    unknown = sorted(set(filters) - _FILTERS.keys())
    if unknown:
        raise DataError(f"{place} uses filters {unknown}; allowed: {list(_FILTERS.values())}.")
    if len(filters) > len(set(filters)) or {_DEFLATE, _LZF} <= set(filters):
        raise DataError(f"{place} is packed more than once.")
    return filters


def _check_text_type(place: str, dataset: Any) -> None:
    text = h5py.check_string_dtype(dataset.dtype)
    if text is None:
        raise DataError(f"{place} must hold strings, found {dataset.dtype}.")
    if (text.length or 0) > MAX_TEXT:
        raise DataError(f"{place} has strings of {text.length} bytes, more than {MAX_TEXT}.")


def _check_size(place: str, dataset: Any) -> None:
    stored = dataset.id.get_storage_size()
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if dataset.nbytes > MAX_BYTES or chunk > MAX_CHUNK_BYTES:
        raise DataError(f"{place} declares {dataset.nbytes} bytes in chunks of {chunk}: too large to be opened safely.")
    if dataset.nbytes > _in_proportion(stored):
        raise DataError(f"{place} declares {dataset.nbytes} bytes but stores {stored}.")


def _in_proportion(stored: int) -> int:
    return MAX_RATIO * max(stored, 4096)


def _check_chunks(place: str, dataset: Any, filters: list[int]) -> None:
    """Refuse a chunk that unpacks to more than it declares: HDF5 unpacks it completely before it compares sizes."""
    declared = math.prod(dataset.chunks) * max(dataset.dtype.itemsize, _REFERENCE.itemsize)
    if _LZF in filters and declared > _LZF_CHUNK:
        raise DataError(f"{place} has lzf chunks of {declared} bytes, more than {_LZF_CHUNK}.")
    deflated = 1 << filters.index(_DEFLATE) if _DEFLATE in filters else 0
    for number in range(dataset.id.get_num_chunks() if filters else 0):
        info = dataset.id.get_chunk_info(number)
        if info.size > declared + declared // 64 + 1024:
            raise DataError(f"{place} has a chunk of {info.size} bytes that declares {declared}.")
        if deflated and not info.filter_mask & deflated:
            _, packed = dataset.id.read_direct_chunk(info.chunk_offset)
            if _unpacked(packed, declared) > declared + 4:  # and perhaps a checksum
                raise DataError(f"{place} has a chunk that unpacks to more than the {declared} bytes it declares.")


def _unpacked(packed: bytes, limit: int) -> int:
    """Return the unpacked size, without keeping the bytes and without going far beyond the limit."""
    unpack, size = zlib.decompressobj(), 0
    while packed and not unpack.eof and size <= limit + 4:
        size += len(unpack.decompress(packed, 2**20))
        packed = unpack.unconsumed_tail
    return size


def _check_heaps(path: Path, file: Any) -> None:
    """Refuse a string heap that its objects do not fill: libhdf5 loops forever on an empty one."""
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise DataError(f"{path} has addresses of another width than 8 bytes.")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(_HEAP)
        while start >= 0:
            _check_heap(path, data, start)
            start = data.find(_HEAP, start + 1)


def _check_heap(path: Path, data: mmap.mmap, start: int) -> None:
    (size,) = struct.unpack_from("<Q", data, start + 8) if start + 16 <= len(data) else (0,)
    end, place = start + size, start + 16
    while end <= len(data) and place + 16 <= end:
        index, length = struct.unpack_from("<H6xQ", data, place)
        step = 16 + (length + 7) // 8 * 8 if index else length  # object 0 is the free space
        if index and length > MAX_ATTRIBUTE:
            raise DataError(f"{path} has a string of {length} bytes where {MAX_ATTRIBUTE} is the most.")
        if step < 16:
            break
        place += step
    if end > len(data) or not end - 16 < place <= end:
        raise DataError(f"{path} is damaged: the heap of its strings at byte {start} does not hold together.")


def _read_columns(path: Path, file: Any) -> dict[str, npt.NDArray[np.str_]]:
    names = [name for name, rank in RANKS.items() if rank == 1]
    columns = {name: _read_text(f"{path}: {name}", path, file[name]) for name in names if name in file}
    return {"group": np.full(len(file["labels"]), "")} | columns


def _read_text(place: str, path: Path, dataset: Any) -> npt.NDArray[np.str_]:
    """Read strings. Variable-length rows are a length and an address: all may point to the same large string."""
    rows = len(dataset)
    block = _BLOCK if _are_short(path, dataset) else 8  # of 4 MiB each at most: no heap has larger ones
    values: list[str] = []
    total = longest = 0
    for start in range(0, rows, block):
        texts = dataset.asstr()[start : start + block].tolist()
        sizes = [len(value) for value in texts]
        longest, total = max([longest, *sizes]), total + sum(sizes)
        if longest > MAX_TEXT:
            raise DataError(f"{place} has a string of {longest} characters, more than {MAX_TEXT}.")
        values += texts
    wide = rows * longest * 4  # as an array, all are as wide as the longest
    if wide > max(_SMALL, _in_proportion(rows * _REFERENCE.itemsize + total)):
        raise DataError(f"{place} has {rows} strings, one of them of {longest} characters: out of proportion.")
    return np.array(values, dtype=np.str_)


def _are_short(path: Path, dataset: Any) -> bool:
    """Return whether all strings are known to be short before any is read; otherwise few are read at a time."""
    if h5py.check_string_dtype(dataset.dtype).length is not None:
        return True
    offset, size = dataset.id.get_offset(), len(dataset) * _REFERENCE.itemsize
    if offset is None or dataset.id.get_storage_size() != size:
        return False
    with path.open("rb") as file:
        file.seek(offset)
        references = np.frombuffer(file.read(size), _REFERENCE)
    return bool(references["length"].max(initial=0) <= MAX_TEXT)


def _read_attributes(path: Path, file: Any) -> dict[str, Any]:
    values = {name: _read_attribute(path, file, name) for name in ("recipe", "classes")}
    for name, default in (("weights_source", ""), ("name", ""), ("seconds", 0.0)):
        values[name] = _read_attribute(path, file, name) if name in file.attrs else default
    return {
        "recipe": read_recipe(str(values["recipe"])),
        "classes": read_classes(path, str(values["classes"])),
        "weights_source": str(values["weights_source"]),
        "name": Path(str(values["name"])).name,  # only the last part, if another tool wrote a path
        "seconds": float(values["seconds"]),
    }


def _read_attribute(path: Path, file: Any, name: str) -> Any:
    """Return one string or number; anything else is refused unread."""
    attribute = h5py.h5a.open(file.id, name.encode())
    kind = attribute.get_type().get_class()
    size = attribute.get_storage_size()
    if attribute.get_space().get_simple_extent_type() != h5py.h5s.SCALAR or size > MAX_ATTRIBUTE:
        raise DataError(f"{path}: the attribute {name} must be one value of at most {MAX_ATTRIBUTE} bytes.")
    if kind not in ((h5py.h5t.FLOAT, h5py.h5t.INTEGER) if name == "seconds" else (h5py.h5t.STRING,)):
        raise DataError(f"{path}: the attribute {name} has an unexpected type.")
    value = file.attrs[name]
    if isinstance(value, str) and len(value) > MAX_ATTRIBUTE:
        raise DataError(f"{path}: the attribute {name} has {len(value)} characters, more than {MAX_ATTRIBUTE}.")
    return value


def read_classes(where: Path | str, text: str) -> tuple[str, ...]:
    """Return the names of classes from a JSON list of them; raises DataError if it is none."""
    try:
        classes = json.loads(text)
    except ValueError:
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"{where}: classes is not a JSON list of names.")
    return tuple(classes)


def check_content(where: Path | str, contents: Mapping[str, Any]) -> None:
    """Refuse content that can be read but is inconsistent.

    Parameters
    ----------
    contents
        The arguments of :class:`fc7.cache.Embeddings`.

    Raises
    ------
    DataError
        Labels, classes, splits, vectors and recipe cannot belong together.
    """
    vectors, classes = contents["vectors"], contents["classes"]
    unknown = sorted(set(contents["labels"].tolist()) - {"", *classes})
    if unknown or vectors.shape[1] != contents["recipe"].dim:
        raise DataError(
            f"{where} contradicts itself: labels {unknown[:5]} are not among its classes, or its vectors "
            f"have {vectors.shape[1]} dimensions where its recipe says {contents['recipe'].dim}."
        )
    if len(set(classes)) < len(classes):
        raise DataError(f"{where} names a class twice.")
    unknown_splits = sorted(set(contents["split"].tolist()) - SPLITS)
    if unknown_splits:
        raise DataError(f"{where} has the splits {unknown_splits[:5]}; allowed are train, val, test or none.")
    starts = range(0, len(vectors), _BLOCK)
    bad = sum(int((~np.isfinite(vectors[start : start + _BLOCK]).all(axis=1)).sum()) for start in starts)
    if bad:
        raise DataError(f"{where}: {bad} of {len(vectors)} rows are not finite. Leave them out of the file.")
