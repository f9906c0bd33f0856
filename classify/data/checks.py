"""Checks of embeddings before anything is fitted on them."""

import numpy as np

from ...cache.embeddings import Embeddings, chunks
from ...errors import DataError
from ..arrays import Positions


def require_finite(embeddings: Embeddings, rows: Positions) -> None:
    """Refuse rows with numbers that are not finite.

    Raises
    ------
    DataError
        Some rows have such numbers; the message has their number, and the path of the first.
    """
    for vectors in (embeddings.vectors, *embeddings.views):
        bad = [chunk[~np.isfinite(vectors[chunk]).all(axis=1)] for chunk in chunks(vectors, rows)]
        bad_rows = np.concatenate(bad)
        if len(bad_rows):
            raise DataError(
                f"{len(bad_rows)} of {len(rows)} embeddings hold numbers that are not finite; the first is that of "
                f"{embeddings.paths[bad_rows[0]]}. Extract them again, or leave these images out."
            )
