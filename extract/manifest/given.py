"""What callers give as images: many of them. One path is not walked letter by letter, nor one picture row by row."""

import codecs
import io
import os
import sys
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from ...errors import DataError, UsageError
from ..text import few

LISTED = Path("-")  # paths on standard input

_ONE = "Put one image into a list: [image]."


def many(images: Any) -> list[Any]:
    """Return the images that a caller gives, in their order.

    Parameters
    ----------
    images
        A list, a tuple, an iterator, which is consumed; an array ``(n,)`` or ``(n, 1)`` of paths; a Series, or a
        DataFrame with one column, of paths; an array ``(n, height, width)`` or ``(n, height, width, channels)`` of
        pictures. One with three axes, of which the last has 4 or less, is one picture.

    Raises
    ------
    UsageError
        One path, one picture, or what has no order or no images.
    """
    if isinstance(images, str | os.PathLike):
        raise UsageError(f"One path, {os.fspath(images)!r}, where a list of images belongs. {_ONE}")
    if isinstance(images, bytes | bytearray | memoryview | io.IOBase):
        raise UsageError(f"One {type(images).__name__} where a list of images belongs. {_ONE}")
    if isinstance(images, Mapping | Set):
        raise UsageError(
            f"A {type(images).__name__} where a list of images belongs: it has no order of images. Give a list."
        )
    if hasattr(images, "columns") and hasattr(images, "shape"):
        return list(images[column_name(images)])  # its own elements are names of columns
    shape = getattr(images, "shape", None)
    if isinstance(shape, tuple):
        return _elements(images, shape)
    if not isinstance(images, Iterable):
        raise UsageError(f"One {type(images).__name__} where a list of images belongs. {_ONE}")
    return list(images)


def column_name(table: Any) -> Any:
    """Return the name of the one column of a DataFrame; raises UsageError if there are more."""
    names = list(table.columns)
    if len(names) != 1:
        raise UsageError(
            f"A table with {len(names)} columns, {few(list(map(str, names)))}, where one column of paths belongs. "
            "Choose one: table['path']"
        )
    return names[0]


def _elements(array: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return the elements of an array or a Series, or the pictures in a stack of them."""
    axes = len(shape)
    if axes == 2 and shape[1] == 1 and getattr(array.dtype, "kind", "") in "OUST":
        return [row[0] for row in array]
    if axes == 1 or axes > 3 or (axes == 3 and shape[-1] > 4):
        return list(array)
    raise UsageError(f"One array of shape {shape} where a list of images belongs. {_ONE}")


def paths_on_stdin(command: str) -> list[str]:
    """Return the paths on standard input: one in a line, or separated by null bytes as find -print0 writes them.

    Raises
    ------
    UsageError
        Standard input is closed, or its text is in UTF-16: names would fall into letters, and ``/`` is a folder.
    """
    if sys.stdin is None:
        raise UsageError("- stands for a list on standard input, which is closed. Name the images.")
    try:
        data = sys.stdin.buffer.read()
    except OSError as error:
        raise UsageError(f"The list on standard input cannot be read: {error.strerror or error}.") from error
    nulls = data.count(b"\0")
    # Between paths that end in the suffix of an image there is one in six bytes at most.
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 5 * nulls > len(data):
        raise UsageError(
            "The list on standard input is text in UTF-16, not in UTF-8. Convert it: iconv -f UTF-16 -t UTF-8 LIST | "
            f"{command}"
        )
    data = data.removeprefix(codecs.BOM_UTF8)
    names = data.split(b"\0") if nulls else data.splitlines()
    return [os.fsdecode(name) for name in names if name.strip()]


def read_paths() -> list[str]:
    """Return the paths on standard input; raises as :func:`paths_on_stdin`, and DataError if there is none."""
    paths = paths_on_stdin("fc7 extract -")
    if not paths:
        raise DataError(
            "There are no paths on standard input: write one a line, as in: find pictures -name '*.jpg' | fc7 extract -"
        )
    return paths
