"""Predictions as a file of their own: csv, JSON, parquet or a page, by its suffix."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cache.output_file import OutputFile, kind_by_suffix
from ...cache.tables import unicode
from ...extract.archives.parquet import require_pyarrow
from ...extract.progress import Progress, silent
from ..pages.page import environment
from .page import write_predictions
from .prediction import Prediction, predictions_csv, table_columns, table_row

GROUP = 1024  # rows that are made at once for parquet
SUFFIXES = (".csv", ".json", ".parquet", ".html")


class PredictionsFile:
    """A file for predictions, checked before anything is computed.

    Parameters
    ----------
    path
        Its suffix names the kind of file, one of :data:`SUFFIXES`.
    read
        The files and folders that are predicted, in which a page puts no pictures.

    Raises
    ------
    UsageError
        There is no such kind of file.
    MissingExtra
        pyarrow, which writes parquet, or Jinja2, which writes pages, is not installed.
    DataError
        It cannot be written; see :class:`fc7.cache.output_file.OutputFile`.
    """

    def __init__(self, path: Path, read: Sequence[str] = ()) -> None:
        self._suffix = kind_by_suffix(path, SUFFIXES)
        if self._suffix == ".parquet":
            require_pyarrow()
        elif self._suffix == ".html":
            environment()
        self._read = read
        self.as_json = self._suffix == ".json"
        self.output = OutputFile(path)

    def write(
        self,
        predictions: Sequence[Prediction],
        answer: Mapping[str, Any],
        top: int | None = None,
        *,
        progress: Progress = silent,
    ) -> Path:
        """Write predictions, whole or not at all, and return the path.

        Parameters
        ----------
        answer
            What a JSON holds.
        top
            Columns of a table for the most probable classes; by default one for each class.

        Raises
        ------
        DataError
            It cannot be written.
        """
        if self._suffix == ".parquet":
            with self.output.temporary() as path:
                _write_parquet(predictions, top, path)
            return self.output.path
        if self._suffix == ".html":
            write_predictions(predictions, self.output, self._read, progress=progress)
            return self.output.path
        text = json.dumps(answer, indent=1) if self.as_json else predictions_csv(predictions, top)
        return self.output.write(f"{text}\n".encode("utf-8", "surrogateescape"))


def _write_parquet(predictions: Sequence[Prediction], top: int | None, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as files

    def kind(name: str) -> pa.DataType:
        if name in ("sure", "unlike"):
            return pa.bool_()
        return pa.float64() if name.startswith(("distance", "probability", "neighbour_score")) else pa.string()

    columns = table_columns(predictions, top)
    schema = pa.schema([(name, kind(name)) for name in columns])
    with files.ParquetWriter(path, schema) as writer:
        for first in range(0, len(predictions), GROUP):
            rows = [table_row(prediction, top) for prediction in predictions[first : first + GROUP]]
            values = {name: [unicode(row.get(name)) for row in rows] for name in columns}
            writer.write_table(pa.table(values, schema))
