"""Array types and conversions that several folders share."""

from typing import Any

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


def unit(rows: npt.NDArray[Any], out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    """Divide each row by its length, in place if `out` is `rows`; a row of zeros stays as it is."""
    length = np.sqrt(np.vecdot(rows, rows))[:, None]
    return np.asarray(np.divide(rows, np.where(length == 0, 1, length), out=out))


def single(rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return rows as float32. Torch converts float16 by processor instructions, NumPy number by number."""
    import torch

    return np.asarray(torch.from_numpy(rows).float().numpy())
