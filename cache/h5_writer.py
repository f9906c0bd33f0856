"""Writer of flat ``.h5`` files: what :mod:`fc7.cache.flat_h5` and any HDF5 library read."""

import shutil
from pathlib import Path

from ..errors import DataError
from .hdf5 import h5py
from .vector_table import COLUMNS, VectorTable


def write_h5(table: VectorTable, path: Path) -> None:
    """Write the datasets embeddings, sha256, labels, paths, split and group, and everything else as attributes.

    Raises
    ------
    DataError
        The disk has no room for it. (HDF5 crashes on a disk that fills up.)
    OSError
        It cannot be written.
    """
    _require_room(path, table.nbytes)
    try:
        with h5py.File(path, "w", libver=("v110", "v110")) as file:
            _write(table, file)
    except RuntimeError as error:  # HDF5 has no other name for most failures
        raise OSError(str(error)) from error


def _write(table: VectorTable, file: h5py.File) -> None:
    rows = file.create_dataset("embeddings", table.vectors.shape, table.vectors.dtype)
    texts = {name: file.create_dataset(plural, len(table), h5py.string_dtype()) for name, plural in COLUMNS.items()}
    file["sha256"] = table.keys.matrix
    for span in table.spans():
        rows[span] = table.vectors[span]
        for name, dataset in texts.items():
            dataset[span] = table.texts(name, span)
    for name, text in table.metadata.items():
        file.attrs[name] = float(text) if name == "seconds" else text


def _require_room(path: Path, size: int) -> None:
    size += size // 100 + 2**20
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise DataError(
            f"The file would take {size} bytes, the disk of {path.parent} has {free} free. Make room, or name another."
        )
