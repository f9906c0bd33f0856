"""Embeddings inside a scikit-learn pipeline: image paths in, rows from the cache out."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from ..errors import DataError, UsageError
from .backbones.backbone import Backbone, load_backbone
from .manifest.given import column_name, many
from .manifest.hashing import Hashed
from .manifest.manifest import Manifest
from .manifest.paths import Reject
from .new_images import cached_vectors


class EmbeddingTransformer(TransformerMixin, BaseEstimator):
    """Image paths to embeddings, through the cache: each image is computed once, whatever folds are cut afterwards.

    It learns nothing from the images, so that ``Pipeline([("embed", EmbeddingTransformer()), ("head", ...)])`` may be
    searched and cross-validated as it is. Rows keep their order; equal images share one row of the cache.

    Parameters
    ----------
    image_transform
        `transform` of :func:`fc7.extract.load_backbone`; here this is the name of a method.
    backbone, layer, weights, precision, dtype, image_size, resize, mirror, device, batch_size, cache
        As in :func:`fc7.extract.load_backbone`.
    workers
        As in :func:`fc7.extract.fill`.
    """

    def __init__(
        self,
        backbone: str = "vgg16",
        layer: str | None = None,
        *,
        weights: str | None = None,
        precision: str = "fp32",
        dtype: str = "float16",
        image_transform: Any = None,
        image_size: tuple[int, int | None] | None = None,
        resize: str | None = None,
        mirror: bool = False,
        device: str = "auto",
        batch_size: int | None = None,
        cache: Path | str | None = None,
        workers: int | None = None,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.weights = weights
        self.precision = precision
        self.dtype = dtype
        self.image_transform = image_transform
        self.image_size = image_size
        self.resize = resize
        self.mirror = mirror
        self.device = device
        self.batch_size = batch_size
        self.cache = cache
        self.workers = workers

    def __sklearn_tags__(self) -> Any:
        """Say that it takes paths and learns nothing, as scikit-learn's vectorisers of text do."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string, tags.requires_fit = False, True, False
        return tags

    def fit(self, X: Iterable[Path | str], y: Any = None) -> "EmbeddingTransformer":
        """Learn nothing but the name of the column, where `X` is a table."""
        self.n_features_in_ = 1
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.array([column_name(X)], object)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: nothing need be learned."""
        return True

    def transform(self, X: Iterable[Path | str]) -> npt.NDArray[np.float32]:
        """Return ``(n, dim)`` for ``n`` paths or URLs of image files.

        Parameters
        ----------
        X
            A list, a Series, an array ``(n,)`` or ``(n, 1)``, or a table with one column.

        Raises
        ------
        DataError
            There are none, or some are no acceptable images: a pipeline cannot leave rows out.
        UsageError
            `X` is one path, or something else than paths.
        """
        paths = _paths(X)
        hashed = Hashed.of(Manifest.of_files(paths), self.cache)
        _require_none(hashed.rejects(), len(paths))
        backbone = self._backbone()
        rejects, blocks = cached_vectors(hashed, [backbone], workers=self.workers)
        _require_none(rejects, len(paths))
        # float16 overflows where the next step squares it, as Normalizer does.
        return np.concatenate([vectors[backbone.recipes[0]].astype(np.float32) for _, vectors in blocks])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``(dim,)`` names of columns, such as ``alexnet_fc7_0``; the weights are hashed to know `dim`."""
        (recipe,) = self._backbone().recipes
        return np.array([f"{recipe.backbone}_{recipe.layer}_{place}" for place in range(recipe.dim)], object)

    def _backbone(self) -> Backbone:
        settings = {name: value for name, value in self.get_params().items() if name not in ("backbone", "workers")}
        return load_backbone(self.backbone, transform=settings.pop("image_transform"), **settings)


def _paths(X: Any) -> list[str]:
    paths = many(X)
    if not paths:
        raise DataError("There are no images to embed: the list is empty.")
    for row, path in enumerate(paths):
        if not isinstance(path, str | os.PathLike):
            raise UsageError(f"Row {row} is of type {type(path).__name__}, {path!r:.80}, not the path of an image.")
    return [os.fsdecode(path) for path in paths]


def _require_none(rejects: Sequence[Reject], asked: int) -> None:
    if rejects:
        raise DataError(
            f"{len(rejects)} of {asked} files are no images that can be read; the first is {rejects[0].path}: "
            f"{rejects[0].reason}. Leave them out."
        )
