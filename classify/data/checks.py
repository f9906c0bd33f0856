"""What is wrong with rows before anything is fitted on them."""

import numpy as np

from ...cache.embeddings import Embeddings, chunks
from ...errors import DataError
from ..arrays import Positions


def require_finite(embeddings: Embeddings, rows: Positions) -> None:
    """Refuse rows that hold numbers that are not finite.

    Raises
    ------
    DataError
        The message has how many, and the path of the first.
    """
    for vectors in (embeddings.vectors, *embeddings.views):
        parts = [some[~np.isfinite(vectors[some]).all(axis=1)] for some in chunks(vectors, rows)]
        odd = np.concatenate(parts)
        if len(odd):
            raise DataError(
                f"{len(odd)} of {len(rows)} embeddings hold numbers that are not finite; the first is that of "
                f"{embeddings.paths[odd[0]]}. Extract them again, or leave these images out."
            )
