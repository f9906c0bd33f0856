"""The bytes of images in a column of parquet, row by row: at most some are in memory, however large a row group is."""

import bisect
import errno
import itertools
import os
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ...cache.index import stat_line
from ...cache.processes import Lock
from .parquet import require_pyarrow

_BATCH = 16  # rows that are decoded at once
_KEPT = 2**27  # bytes of the rows that were read last, of each column
_BUFFER = 2**20  # bytes that are read at once; without it, a row group's whole column


def read_cell(table: str, column: str, row: int, most: int) -> bytes:
    """Return the bytes of one image.

    Parameters
    ----------
    column
        Of bytes, or of structures with a field ``bytes``, as Hugging Face's ``datasets`` writes images.

    Raises
    ------
    OSError
        The cell is empty, has more than `most` bytes, or cannot be read.
    MissingExtra
        pyarrow is not installed.
    """
    data = _column(table, column, stat_line(os.stat(table))).read(row)  # noqa: PTH116
    if data is None:
        raise FileNotFoundError(errno.ENOENT, "the cell is empty")
    if len(data) > most:
        raise OSError(errno.EFBIG, f"{len(data)} bytes, more than {most}")
    return data


class _Column:
    """A column that is read from front to back, as often as needed; who asks for rows in order reads it once."""

    def __init__(self, table: str, column: str) -> None:
        parquet = require_pyarrow()
        from pyarrow import ArrowInvalid

        try:
            self._file = parquet.ParquetFile(table, buffer_size=_BUFFER)
            kind = self._file.schema_arrow.field(column).type
        except (ArrowInvalid, KeyError) as error:
            raise OSError(errno.EIO, f"no parquet with a column {column!r}") from error
        self._name, self._nested = column, hasattr(kind, "fields") and kind.num_fields > 0
        groups = (self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups))
        self._starts = [0, *itertools.accumulate(groups)]
        self._rows: Iterator[tuple[int, bytes | None]] = iter(())
        self._next, self._lock = 0, Lock()
        self._kept: OrderedDict[int, bytes | None] = OrderedDict()
        self._size = 0

    def read(self, row: int) -> bytes | None:
        """Return the bytes of one row."""
        if not 0 <= row < self._starts[-1]:
            raise FileNotFoundError(errno.ENOENT, f"there is no row {row} in the table")
        with self._lock:
            if row not in self._kept:
                self._go_to(row)
                for number, data in self._rows:
                    self._keep(number, data)
                    if number == row:
                        break
                else:  # it ended where a row before this one could not be read
                    raise OSError(errno.EIO, "the table is damaged before this row")
            return self._kept[row]

    def _go_to(self, row: int) -> None:
        """Go on where the last row was read, if that is before this one and in its row group."""
        group = bisect.bisect(self._starts, row) - 1
        if not self._starts[group] < self._next <= row:
            self._rows = self._each(group)

    def _each(self, group: int) -> Iterator[tuple[int, bytes | None]]:
        from pyarrow import ArrowException

        row = self._starts[group]
        name = f"{self._name}.bytes" if self._nested else self._name
        try:
            for batch in self._file.iter_batches(_BATCH, row_groups=[group], columns=[name], use_threads=False):
                cells: Any = batch.column(0)
                cells = cells.field("bytes") if self._nested else cells
                yield from enumerate((cell.as_py() for cell in cells), row)
                row += len(cells)
        except (ArrowException, OSError) as error:
            raise OSError(errno.EIO, f"the table is damaged: {error}") from error

    def _keep(self, row: int, data: bytes | None) -> None:
        self._next = row + 1
        if row not in self._kept:
            self._kept[row] = data
            self._size += len(data or b"")
        while self._size > _KEPT and len(self._kept) > 1:
            self._size -= len(self._kept.popitem(last=False)[1] or b"")


@lru_cache(4)
def _column(table: str, column: str, identity: str) -> _Column:
    return _Column(table, column)
