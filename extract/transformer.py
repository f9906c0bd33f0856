"""Embeddings inside a scikit-learn pipeline: image paths in, rows from the cache out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from ..errors import DataError
from .backbones.backbone import load_backbone
from .manifest.manifest import Manifest
from .new_images import cached_vectors


class EmbeddingTransformer(TransformerMixin, BaseEstimator):
    """Image paths to embeddings, through the cache: each image is computed once, whatever folds are cut afterwards.

    It learns nothing from the images, so that ``Pipeline([("embed", EmbeddingTransformer()), ("head", ...)])`` may be
    searched and cross-validated as it is. Rows keep their order; equal images share one row of the cache.

    Parameters
    ----------
    image_transform
        `transform` of :func:`fc7.extract.load_backbone`; here this is the name of a method.
    backbone, layer, weights, precision, dtype, image_size, mirror, device, batch_size, cache
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
        self.mirror = mirror
        self.device = device
        self.batch_size = batch_size
        self.cache = cache
        self.workers = workers

    def fit(self, X: Iterable[Path | str], y: Any = None) -> "EmbeddingTransformer":
        """Learn nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: nothing need be learned."""
        return True

    def transform(self, X: Iterable[Path | str]) -> npt.NDArray[Any]:
        """Return ``(n, dim)`` in the stored dtype for ``n`` paths or URLs of image files.

        Raises
        ------
        DataError
            Some of them are no acceptable images: a pipeline cannot leave rows out.
        """
        paths = [str(path) for path in X]
        manifest = Manifest.of_files(paths)
        _require_none(manifest.rejects, len(paths))
        settings = {name: value for name, value in self.get_params().items() if name not in ("backbone", "workers")}
        backbone = load_backbone(self.backbone, transform=settings.pop("image_transform"), **settings)
        reasons, blocks = cached_vectors(manifest, [backbone], cache=self.cache, workers=self.workers)
        _require_none([*reasons.items()], len(paths))
        return np.concatenate([views[0][0] for views in blocks])


def _require_none(rejects: Sequence[tuple[str, str]], asked: int) -> None:
    for path, reason in rejects:
        raise DataError(
            f"{len(rejects)} of {asked} files are no images that can be read; the first is {path}: {reason}. "
            "Leave them out."
        )
