"""Arrays: what several wings call the same, and rows of unit length."""

from typing import Any

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.intp]


Floats = npt.NDArray[np.float64]


def unit(rows: npt.NDArray[Any], out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    """Divide rows by their length, in place if they are also ``out``; a row of zeros stays one."""
    length = np.sqrt(np.vecdot(rows, rows))[:, None]
    return np.asarray(np.divide(rows, np.where(length == 0, 1, length), out=out))


def single(rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return rows as float32, by torch: it has the processor turn float16, which NumPy does number by number."""
    import torch

    return np.asarray(torch.from_numpy(rows).float().numpy())
