"""The fitted images in a bundle, if they were asked for: vectors, paths and labels, as evidence of predictions."""

import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings, EqualByNumber
from ...cache.tables import counted
from ...errors import DataError, UsageError
from ..arrays import Positions
from ..data.neighbour import Neighbour
from ..solvers.nearest import nearest

MAX_BYTES = 2**29  # of vectors in a bundle


@dataclass(frozen=True, eq=False)
class FittedImages(EqualByNumber):
    """Images that a head was fitted on, in the order of keys.

    Attributes
    ----------
    vectors
        ``(n, dim)`` float16 or float32.
    paths, labels
        Relative to the data set, and the classes; ``n`` each.
    """

    vectors: npt.NDArray[Any]
    paths: tuple[str, ...]
    labels: tuple[str, ...]

    def __repr__(self) -> str:
        return f"FittedImages({counted(len(self.paths), 'image')})"

    @classmethod
    def of(cls, embeddings: Embeddings, rows: Positions) -> Self:
        """Return some rows of embeddings, which are in the order of keys.

        Raises DataError if they are too large for a bundle.
        """
        size = len(rows) * embeddings.vectors.shape[1] * embeddings.vectors.dtype.itemsize
        if size > MAX_BYTES:
            raise DataError(
                f"--with-neighbours: the vectors of {len(rows)} fitted images take {size} bytes, a bundle holds "
                f"{MAX_BYTES}. Leave it out, and look for neighbours with: fc7 similar DATA"
            )
        vectors = np.asarray(embeddings.vectors[np.sort(rows)])
        names = (getattr(embeddings, name)[np.sort(rows)].tolist() for name in ("paths", "labels"))
        return cls(vectors, *map(tuple, names))

    def nearest(self, vectors: npt.NDArray[Any], count: int) -> list[list[Neighbour]]:
        """Return the nearest images to each embedding ``(n, dim)``, the nearest first."""
        found = nearest(self.vectors, count, queries=vectors)
        return [
            [
                Neighbour.of(self.paths[place], cosine, self.labels[place])
                for place, cosine in zip(places, cosines, strict=True)
            ]
            for places, cosines in zip(found.places, found.cosines, strict=True)
        ]

    def to_bytes(self) -> bytes:
        """Return all of it as safetensors."""
        from safetensors.numpy import save

        names = np.frombuffer(json.dumps([self.paths, self.labels]).encode(), np.uint8)
        return save({"vectors": np.ascontiguousarray(self.vectors), "names": names})

    @classmethod
    def from_bytes(cls, data: bytes, dim: int, classes: tuple[str, ...]) -> Self:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        ValueError
            It holds no images of ``dim``-d embeddings and these classes.
        """
        from safetensors.numpy import load

        arrays = load(data)
        vectors, (paths, labels) = arrays["vectors"], json.loads(arrays["names"].tobytes())
        paths, labels = (tuple(str(name) for name in names) for names in (paths, labels))
        if vectors.shape != (len(paths), dim) or vectors.dtype.name not in ("float16", "float32"):
            raise ValueError(f"its fitted images have {vectors.dtype} vectors of shape {vectors.shape}")
        if len(labels) != len(paths) or not set(labels) <= set(classes):
            raise ValueError("its fitted images have labels that are none of its classes")
        if not np.isfinite(vectors).all():
            raise ValueError("its fitted images have numbers that are not finite")
        return cls(vectors, paths, labels)


def require_kept(images: FittedImages | None, neighbours: int | None) -> None:
    """Refuse to name so many neighbours of a bundle without fitted images, or fewer than one."""
    if neighbours is None:
        return
    if neighbours < 1:
        raise UsageError(f"--neighbours {neighbours}: at least 1 is needed.")
    if images is None:
        raise DataError(
            "This bundle does not have the fitted images, which --neighbours names. Fit it again: fc7 fit DATA "
            "--with-neighbours -o FILE.fc7"
        )
