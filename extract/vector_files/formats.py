"""The kinds of files of vectors, by suffix."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ...cache.embeddings import VectorTable
from ...cache.output_file import OutputFile, kind_by_suffix
from ...errors import DataError, UsageError
from ..archives.parquet import require_pyarrow
from ..coordinates import require_method
from . import csv_file, numpy_files, parquet, safetensors_file

Write = Callable[[VectorTable, Path], None]


class Format(NamedTuple):
    """A kind of file.

    Attributes
    ----------
    write
        Write embeddings at a path.
    require
        Refuse where a library for it is not installed.
    beside
        What is written in files of the same name with other suffixes.
    """

    write: Write
    require: Callable[[], Any] = lambda: None
    beside: Mapping[str, Write] = {}


FORMATS = {
    ".parquet": Format(parquet.write, require_pyarrow),
    ".csv": Format(csv_file.write),
    ".h5": Format(VectorTable.write_h5),
    ".npz": Format(numpy_files.write_npz),
    ".safetensors": Format(safetensors_file.write),
    ".npy": Format(numpy_files.write_npy, beside={".csv": csv_file.write_texts, ".json": numpy_files.write_metadata}),
}


class VectorFile:
    """A file for the vectors of a data set, checked before anything is computed.

    Parameters
    ----------
    path
        Its suffix names the kind of file, one of :data:`FORMATS`.
    method
        Of the coordinates that a parquet file has, too.

    Attributes
    ----------
    outputs
        The file and those beside it.

    Raises
    ------
    UsageError
        There is no such kind of file.
    MissingExtra
        A library that writes it is not installed.
    DataError
        It cannot be written; see :class:`fc7.cache.output_file.OutputFile`.
    """

    def __init__(self, path: Path | str, method: str | None = None) -> None:
        path = Path(path)
        kind = FORMATS[kind_by_suffix(path, FORMATS)]
        kind.require()
        if method:
            if kind.write is not parquet.write:
                raise UsageError(f"{path.name} has no columns x and y: --map {method} takes a file .parquet.")
            require_method(method)
            kind = kind._replace(write=partial(parquet.write, method=method))
        # The file itself comes last: where it is, the others are.
        self._writers = {OutputFile(path.with_suffix(suffix)): write for suffix, write in kind.beside.items()}
        self._writers[OutputFile(path)] = kind.write
        others = [output.path for output in self._writers if output.path != path and output.path.exists()]
        if others and not path.exists():
            raise DataError(f"{others[0]} is there, and {path} is not: it would be replaced. Name another file.")

    @property
    def outputs(self) -> list[OutputFile]:
        """The files that are written."""
        return list(self._writers)

    def write(self, rows: VectorTable) -> list[Path]:
        """Write rows, each file whole or not at all, and return the paths.

        Raises DataError if one cannot be written.
        """
        for output, write in self._writers.items():
            with output.temporary() as path:
                write(rows, path)
        return [output.path for output in self._writers]
