"""Similar images: those of a data set nearest to each of its own, or to new ones, by the cosine of their embeddings."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.arguments import checked
from ...cache.embeddings import Embeddings, EqualByNumber, Rows
from ...cache.tables import Table
from ...errors import UsageError
from ...extract.computing import computing
from ...extract.progress import Progress, silent
from ...extract.text import csv_text
from ...extract.vector_files.columns import as_table
from ..arrays import Floats, Positions
from ..data.checks import require_finite
from ..data.neighbour import Neighbour
from ..fitting.device import MANY, heads_device
from ..solvers.lapack import threads
from ..solvers.nearest import nearest

if TYPE_CHECKING:
    import torch

K = 10
COLUMNS = ("path", "rank", "neighbour", "score", "label")
_MANY = 2**35  # multiplications that are worth a start of CUDA


@dataclass(frozen=True, eq=False)
class SimilarImages(EqualByNumber):
    """An image, and those nearest to it.

    Attributes
    ----------
    path, label, key
        Of the image; its label may be empty, its key is the sha256 of its bytes in hex.
    rows
        Of the data set that was searched.
    places, cosines
        Of those nearest to it among these, the nearest first.
    """

    path: str
    label: str
    key: str
    rows: Rows = field(repr=False)
    places: Positions = field(repr=False)
    cosines: Floats = field(repr=False)

    @property
    def neighbours(self) -> list[Neighbour]:
        """The nearest images, the nearest first."""
        return [
            Neighbour.of(self.rows.paths[place], cosine, self.rows.labels[place])
            for place, cosine in zip(self.places, self.cosines, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"path": self.path, "neighbours": [neighbour.to_dict() for neighbour in self.neighbours]}


class Similar(Table[SimilarImages]):
    """Images with those nearest to each; as a table, a row for each neighbour."""

    shown = COLUMNS

    def to_dicts(self, first: int | None = None) -> list[dict[str, Any]]:
        """Return a row for each neighbour of the first images, by default of all."""
        return [
            dict(zip(COLUMNS, (image.path, rank, near.path, round(near.score, 6), near.label), strict=True))
            for image in self[:first]
            for rank, near in enumerate(image.neighbours, start=1)
        ]

    def to_csv(self, **options: Any) -> str:
        """Return csv with a row for each neighbour; the last row has no end. Options: see :func:`csv_text`."""
        return csv_text(COLUMNS, self.to_dicts(), **options).removesuffix("\n")


@checked
@computing()
def similar(
    embeddings: Any,
    to: Any = None,
    *,
    k: int = K,
    device: str = "auto",
    progress: Progress = silent,
) -> Similar:
    """Find the images of a data set that are most like each of its own, or like others.

    The search is exact: as all cosines in float64 would have it. Ties are in the order of the keys of images.

    Parameters
    ----------
    embeddings
        Of the data set, or what else :func:`fc7.classify.fit` takes; vectors on disk are read in blocks.
    to
        Embeddings of other images under the same recipe, or a matrix ``(q, dim)``. By default each image of the data
        set; it is not its own neighbour, but its copies are.
    k
        How many; fewer if the data set has fewer.
    device
        Of torch, where cosines are computed; ``auto`` is CUDA where there is enough to compute. Apple's has no float64:
        there the processor computes.
    progress
        As for :func:`fc7.extract.extract`.

    Returns
    -------
    Similar
        In the order of the images asked about.

    Raises
    ------
    UsageError
        `k` is less than 1, torch has no such device, or the vectors are of another recipe or length.
    DataError
        Embeddings that are not finite; or see :func:`fc7.extract.vector_files.columns.from_memory`.
    """
    if k < 1:
        raise UsageError(f"-k {k}: at least 1 is needed.")
    given = as_table(embeddings, "similar")
    rows, asked = given.in_key_order(), None if to is None else _asked(to, given)
    for table in (rows, asked):
        if table is not None:
            require_finite(table, np.arange(len(table)))
    images = rows if asked is None else asked
    chosen = _device(device, len(rows) * len(images) * rows.vectors.shape[1])
    queries = None if asked is None else np.asarray(asked)
    with threads(len(rows)):
        found = nearest(rows.vectors, k, queries=queries, device=chosen, progress=progress)
    texts = zip(images.paths.tolist(), images.labels.tolist(), [key.hex() for key in images.keys], strict=True)
    answers = [
        SimilarImages(*text, rows=rows, places=places, cosines=cosines)
        for text, places, cosines in zip(texts, found.places, found.cosines, strict=True)
    ]
    if asked is None:  # back in the order that was given
        order = np.argsort(given.key_order())
        return Similar(answers[place] for place in order)
    return Similar(answers)


def _asked(to: Any, rows: Embeddings) -> Embeddings:
    """Return the images asked about, with vectors that can be compared with those of the data set."""
    is_matrix = not isinstance(to, Embeddings | tuple) and getattr(to, "ndim", None) == 2
    asked = as_table((to, None) if is_matrix and not hasattr(to, "columns") else to, "similar")
    if asked.vectors.shape[1] != rows.vectors.shape[1]:
        raise UsageError(
            f"The images asked about have vectors of {asked.vectors.shape[1]} numbers, those of the data set "
            f"{rows.vectors.shape[1]}: take the same backbone and layer for both."
        )
    if isinstance(to, Embeddings) and asked.recipe.parts and rows.recipe.parts and asked.recipe != rows.recipe:
        raise UsageError(
            f"The images asked about have vectors of {asked.recipe.backbone} {asked.recipe.layer}, those of the data "
            f"set of {rows.recipe.backbone} {rows.recipe.layer}, or of other weights: take the same recipe for both."
        )
    return asked


def _device(name: str, multiplications: int) -> "torch.device | None":
    return None if name == "auto" and multiplications < _MANY else heads_device(name, MANY)
