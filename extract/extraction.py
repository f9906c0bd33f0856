"""Extraction: finds the keys of a manifest, computes those that the cache lacks, and reads the rows of all.

:mod:`fc7.extract.engines.local` computes them; it is imported only if some are missing.
"""

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.directory import open_directory
from ..cache.index import Index
from ..cache.recipe import Recipe
from ..cache.urls import address
from ..errors import DataError
from .backbones.backbone import Backbone
from .computing import computing
from .engines.accounting import Clock, Extraction, account
from .manifest.manifest import Manifest
from .progress import Progress, silent

if TYPE_CHECKING:  # numpy comes with the first key, not with the first word of help
    from ..cache.embeddings import Embeddings, Rows
    from ..cache.keys import Keys
    from ..cache.store import Store
    from .engines.ray_engine import RayEngine
    from .engines.unit_loop import UnitLoop

logger = logging.getLogger(__name__)


def extract(
    manifest: Manifest,
    backbone: Backbone,
    *,
    cache: Path | str | None = None,
    workers: int | None = None,
    engine: "RayEngine | None" = None,
    progress: Progress = silent,
) -> "Embeddings":
    """Return the embeddings of all images of a manifest, computing only those that the cache does not have.

    Parameters
    ----------
    manifest
        From :func:`fc7.extract.read_manifest`.
    backbone
        Tapped at one layer.
    cache
        Directory; default ``$FC7_CACHE`` or the user's cache folder.
    workers
        Threads that decode and compute; default one per core.
    engine
        :class:`fc7.extract.RayEngine`; default this process.
    progress
        Called with a stage, images done and images to do.

    Raises
    ------
    DataError
        No image could be embedded.
    CacheError
        The cache refuses; what was committed before is kept.
    Interrupted
        Ctrl-C; what was computed is kept.
    """
    if len(backbone.recipes) != 1:
        raise ValueError(f"{backbone.name} is tapped at {len(backbone.recipes)} layers; extract takes one, fill any.")
    done = fill(manifest, [backbone], cache=cache, workers=workers, engine=engine, progress=progress)[0]
    if not done.ok:
        source = address(manifest.root) or manifest.root
        raise DataError(f"None of {done.seen} images of {source} could be embedded: {done.rejects[0].reason}")
    return read(
        manifest, backbone.recipes[0], cache=cache, weights_source=backbone.weights_source, views=backbone.views
    )


def read(
    manifest: Manifest,
    recipe: Recipe,
    *,
    cache: Path | str | None = None,
    weights_source: str = "",
    views: int = 0,
    max_ram: int | None = None,
) -> "Embeddings":
    """Return the embeddings of all images of a manifest from the cache alone; rejected images are left out.

    Parameters
    ----------
    recipe
        Of view 0.
    views
        How many random views to read beside it.
    max_ram
        Bytes that fitting may take. Vectors that would take more stay on disk, and heads that can stream them; a head
        that would take more is refused.

    Raises
    ------
    CacheError
        Some images have neither a row nor a recorded rejection.
    """
    from ..cache.disk_vectors import StoredVectors
    from ..cache.embeddings import Embeddings, Rows
    from ..cache.keys import Keys, Table
    from ..cache.store import Store

    stores = [Store(replace(recipe, view=view), cache) for view in range(1 + views)]
    rows = hashed(manifest, cache=cache)
    for store in stores:
        rows = rows[Table(Keys.of(store.rejected)).find(rows.keys) < 0]
    keys = rows.keys
    stays = max_ram is not None and _in_memory(len(keys) * len(stores), recipe) > max_ram
    vectors = [StoredVectors(store, keys, max_ram or 0) if stays else store.rows(keys) for store in stores]
    return Embeddings(
        **{field.name: getattr(rows, field.name) for field in fields(Rows)},
        vectors=vectors[0],
        recipe=recipe,
        weights_source=weights_source,
        seconds=sum(store.seconds(keys) for store in stores),
        views=tuple(vectors[1:]),
        max_ram=max_ram,
    )


def _in_memory(rows: int, recipe: Recipe) -> int:
    """Return about how many bytes fitting on rows in memory takes: stored, as float32 twice, and squares in float64."""
    return rows * recipe.dim * (8 + (2 if recipe.dtype == "float16" else 4)) + 24 * min(rows, recipe.dim) ** 2


def hashed(manifest: Manifest, *, cache: Path | str | None = None) -> "Rows":
    """Return the readable images of a manifest with the sha256 of their bytes, without vectors.

    Only files that the cache's index has not seen are read.
    """
    import numpy as np

    from ..cache.embeddings import Rows
    from .manifest.hashing import hash_files

    files = hash_files(manifest, Index(open_directory(cache)))
    images = manifest.images
    rows = Rows(
        labels=np.array(list(images.labels), np.str_),
        paths=np.array(list(images.paths), np.str_),
        split=np.array(list(images.splits), np.str_),
        group=np.array(list(images.groups), np.str_),
        sha256=files.keys.matrix,
        classes=manifest.classes,
        name=manifest.name,
    )
    return rows[files.readable] if files.unreadable else rows


def without_rejects(manifest: Manifest, rows: "Rows", suspects: Sequence[int], *, workers: int | None = None) -> "Rows":
    """Return rows of a manifest without those of the suspects, positions among them, that are no images."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from ..errors import ImageRejected
    from .decoding.views import read_image
    from .manifest.paths import located

    first = {rows.keys[row]: str(rows.paths[row]) for row in suspects}

    def is_image(key: bytes) -> bool:
        try:
            read_image(located(manifest.root, first[key]), key)
        except (ImageRejected, OSError):
            return False
        return True

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        rejected = {key for key, sound in zip(first, pool.map(is_image, first), strict=True) if not sound}
    return rows[np.array([key not in rejected for key in rows.keys], bool)] if rejected else rows


@computing(threads=False)
def fill(
    manifest: Manifest,
    backbones: Sequence[Backbone],
    *,
    cache: Path | str | None = None,
    workers: int | None = None,
    unit_rows: int | None = None,
    rehash: bool = False,
    retry_rejected: bool = False,
    engine: "RayEngine | None" = None,
    progress: Progress = silent,
) -> list[Extraction]:
    """Compute what the cache lacks, for any number of backbones and layers, decoding each image once.

    Parameters
    ----------
    unit_rows
        Rows committed together; by default about 20 seconds of work.
    rehash
        Read every file again, even those that look unchanged since they were last read.
    retry_rejected
        Look again at images of the manifest that were rejected in an earlier run. What has a row then is no longer
        rejected; all other rejections stand.
    engine
        As for :func:`extract`; `workers` are then the threads of each of its workers, by default 1.

    Returns
    -------
    list of Extraction
        One per recipe, in the order of backbones, views and layers. Raises what :func:`extract` raises.
    """
    from ..cache.keys import Keys
    from ..cache.store import Store
    from .manifest.hashing import Files, hash_files

    clock = Clock()
    stores = [Store(recipe, cache) for backbone in backbones for recipe in backbone.recipes_of_views]
    with clock("hash"):
        hashed = hash_files(manifest, stores[0].index, rehash=rehash, progress=progress)
    retried = [store.reopen(hashed.images) if retry_rejected else 0 for store in stores]
    before = [store.missing(hashed.images) for store in stores]
    unreadable: dict[bytes, str] = {}
    keys = Keys.joined(before).unique() if len(before) > 1 else before[0]
    if keys:
        _point_out_relatives(stores, before)
        files = Files(manifest, hashed).of
        from .engines.unit_loop import Plan

        plan = Plan(backbones, stores, files, clock, progress)
        pipeline: UnitLoop
        if engine is None:
            from .engines.local import Pipeline

            pipeline = Pipeline(plan, workers=workers)
        else:
            from .engines.ray_pipeline import RayPipeline

            pipeline = RayPipeline(engine, plan, workers=workers)
        unreadable = pipeline.run(keys, unit_rows)
    clock.stop()
    return [
        account(manifest, hashed, store, lacked=lacked, unreadable=unreadable, retried=number, clock=clock)
        for store, lacked, number in zip(stores, before, retried, strict=True)
    ]


def _point_out_relatives(stores: Sequence["Store"], missing: Sequence["Keys"]) -> None:
    """Log how a recipe without rows differs from a similar one that has rows of the same images."""
    from ..cache.cache_miss import explain

    for store, lacked in zip(stores, missing, strict=True):
        if lacked and not len(store):
            explanation = explain(store.directory, store.recipe, lacked)
            if explanation:
                logger.info("fc7: %d images to compute. %s", len(lacked), explanation.strip())
