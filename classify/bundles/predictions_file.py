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
from .prediction import Prediction, predictions_csv, predictions_table

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
                _write_parquet(predictions_table(predictions, top), path)
            return self.output.path
        if self._suffix == ".html":
            write_predictions(predictions, self.output, self._read, progress=progress)
            return self.output.path
        text = json.dumps(answer, indent=1) if self._suffix == ".json" else predictions_csv(predictions, top)
        return self.output.write(f"{text}\n".encode("utf-8", "surrogateescape"))


def _write_parquet(table: Mapping[str, list[Any]], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as files

    arrays = {}
    for name, values in table.items():
        if name in ("sure", "unlike"):
            arrays[name] = pa.array(values, pa.bool_())
        elif name == "distance" or name.startswith(("probability", "neighbour_score")):
            arrays[name] = pa.array(values, pa.float64())
        else:
            arrays[name] = pa.array([unicode(value) for value in values], pa.string())
    files.write_table(pa.table(arrays), path)
