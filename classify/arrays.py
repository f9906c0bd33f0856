"""Array types and conversions that several folders share."""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

MANY = 2**20  # numbers in a block for which torch is worth loading

Positions = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


def unit(rows: npt.NDArray[Any], out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    """Divide each row by its length, in place if `out` is `rows`; a row of zeros stays as it is."""
    with np.errstate(over="ignore", under="ignore"):
        square = np.vecdot(rows, rows)
    limits = np.finfo(rows.dtype)
    odd = np.flatnonzero(~((square > limits.tiny / limits.eps) & (square <= limits.max)))  # zeros, or no such square
    largest = np.abs(rows[odd]).max(axis=1, keepdims=True, initial=0)
    shrunk = np.divide(rows[odd], largest, out=np.zeros(rows[odd].shape, rows.dtype), where=largest > 0)
    square[odd] = 1
    result = np.asarray(np.divide(rows, np.sqrt(square)[:, None], out=out))
    result[odd] = shrunk / np.sqrt(np.maximum(np.vecdot(shrunk, shrunk), 1))[:, None]
    return result


def single(rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return rows as float32.

    Torch converts float16 by processor instructions, NumPy number by number. Torch itself takes more memory than small
    blocks are meant to take, and seconds to load.
    """
    if rows.size < MANY and "torch" not in sys.modules:
        return rows.astype(np.float32)
    import torch

    return np.asarray(torch.from_numpy(rows).float().numpy())


def plain_numbers(item: Any) -> Any:
    """Return NumPy's numbers, also those in a dict, as Python's, which JSON can hold."""
    if isinstance(item, dict):
        return {name: plain_numbers(value) for name, value in item.items()}
    return item.item() if isinstance(item, np.generic) else item
