"""Embeddings inside a scikit-learn pipeline: image paths in, rows from the cache out."""

import inspect
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from ..cache.arguments import shown
from ..errors import DataError, UsageError
from .backbones.backbone import Backbone
from .backbones.published import load_backbone
from .manifest.given import column_name, many
from .manifest.hashing import Hashed
from .manifest.manifest import Manifest
from .manifest.paths import Reject, located
from .new_images import cached_vectors

logger = logging.getLogger(__name__)

# What a backbone that was made before has decided already.
_OF_BACKBONE = (
    "layer", "weights", "precision", "dtype", "image_transform", "image_size", "resize", "mirror", "device",
    "batch_size",
)  # fmt: skip
_OTHERS = ("backbone", "workers", "on_reject")  # parameters that are none of load_backbone


class EmbeddingTransformer(TransformerMixin, BaseEstimator):
    """Image paths to embeddings, through the cache: each image is computed once, whatever folds are cut afterwards.

    It learns nothing from the images, so that ``Pipeline([("embed", EmbeddingTransformer()), ("head", ...)])`` may be
    searched and cross-validated as it is. Rows keep their order; equal images share one row of the cache.

    Parameters
    ----------
    backbone
        A name for :func:`fc7.extract.load_backbone`; or a :class:`fc7.extract.Backbone` with one layer and no further
        views, which leaves nothing to say of layer, weights, precision, dtype, image, resize, mirror, device and batch
        size.
    image_transform
        `transform` of :func:`fc7.extract.load_backbone`; here this is the name of a method.
    layer, weights, precision, dtype, image_size, resize, mirror, device, batch_size, cache
        As in :func:`fc7.extract.load_backbone`.
    workers
        As in :func:`fc7.extract.fill`.
    on_reject
        ``raise``: what is no image that can be read is an error, as a pipeline cannot leave rows out. ``nan``: its row
        is NaN, and a line of the log says how many there are.
    """

    def __init__(
        self,
        backbone: str | Backbone = "vgg16",
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
        on_reject: str = "raise",
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
        self.on_reject = on_reject

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
        """Return ``(n, dim)`` float32 for ``n`` paths or URLs of image files.

        Parameters
        ----------
        X
            A list, a Series, an array ``(n,)`` or ``(n, 1)``, or a table with one column.

        Raises
        ------
        DataError
            There are none, or some are no acceptable images and `on_reject` is ``raise``.
        UsageError
            `X` is one path, or something else than paths; or a parameter makes no sense.
        """
        if self.on_reject not in ("raise", "nan"):
            raise UsageError(f"on_reject={self.on_reject!r}: must be 'raise' or 'nan'.")
        paths = _paths(X)
        hashed = Hashed.of(Manifest.of_files(paths), self.cache)
        self._account(hashed.rejects(), len(paths), quiet=True)
        backbone = self._backbone()
        (recipe,) = backbone.recipes
        rejects, blocks = cached_vectors(hashed, [backbone], workers=self.workers)
        self._account(rejects, len(paths))
        refused = {reject.path for reject in rejects}
        accepted = np.flatnonzero([path not in refused for path in paths])
        # float16 overflows where the next step squares it, as Normalizer does.
        rows = np.full((len(paths), recipe.dim), np.nan, np.float32)
        for block, vectors in blocks:
            rows[accepted[block]] = vectors[recipe]
        return rows

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``(dim,)`` names of columns, such as ``alexnet_fc7_0``; the weights are hashed to know `dim`."""
        (recipe,) = self._backbone().recipes
        return np.array([f"{recipe.backbone}_{recipe.layer}_{place}" for place in range(recipe.dim)], object)

    def _account(self, rejects: Sequence[Reject], asked: int, *, quiet: bool = False) -> None:
        """Raise where files were rejected, or log how many."""
        if not rejects:
            return
        first = f"the first is {rejects[0].path}: {rejects[0].reason}"
        no_images = "is not an image" if len(rejects) == 1 else "are not images"
        said = f"{len(rejects)} of {asked} files {no_images} that can be read; {first}."
        if self.on_reject == "raise":
            raise DataError(f"{said} Leave them out, or take rows of NaN for them: on_reject='nan'")
        if not quiet:
            logger.warning("%s Their rows are NaN.", said)

    def _backbone(self) -> Backbone:
        if isinstance(self.backbone, Backbone):
            self._require_alone(self.backbone)
            return self.backbone
        settings = {name: value for name, value in self.get_params().items() if name not in _OTHERS}
        return load_backbone(self.backbone, transform=settings.pop("image_transform"), **settings)

    def _require_alone(self, backbone: Backbone) -> None:
        """Refuse a backbone that gives several vectors, and what would have to be decided before it was made."""
        if len(backbone.recipes_of_views) != 1:
            raise UsageError(f"{backbone!r} gives several vectors for an image: a transformer takes one layer.")
        defaults = inspect.signature(type(self).__init__).parameters
        given = [name for name in _OF_BACKBONE if getattr(self, name) != defaults[name].default]
        if given:
            raise UsageError(f"{given[0]} is what {backbone!r} has decided already: give it to load_backbone.")


def _paths(X: Any) -> list[str]:
    paths = many(X)
    if not paths:
        raise DataError("There are no images to embed: the list is empty.")
    for row, path in enumerate(paths):
        if not isinstance(path, str | os.PathLike):
            raise UsageError(f"Row {row} is of type {type(path).__name__}, {shown(path)}, not the path of an image.")
    return [located(Path(), os.fsdecode(path)) for path in paths]
