"""Parquet files, read by pyarrow, which comes with an extra."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import DataError, MissingExtra


def require_pyarrow() -> Any:
    """Return pyarrow's module for parquet; raises MissingExtra."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "tables") from error
    return pyarrow.parquet


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """Open a file as pyarrow's ``ParquetFile``, until the end of the block.

    Raises
    ------
    MissingExtra
        pyarrow is not installed.
    DataError
        It is no parquet, or cannot be read.
    """
    parquet = require_pyarrow()
    from pyarrow import ArrowException

    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file: {' '.join(str(error).split())[:300]}") from error
