"""Extraction: computes what the cache lacks of hashed images, and reads the rows of all.

:mod:`fc7.extract.engines.local` computes them; it is imported only if some are missing.
"""

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache.arguments import checked
from ..cache.cache_miss import explain
from ..cache.embeddings import Embeddings, Rows
from ..cache.keys import Keys, Table
from ..cache.recipe import Recipe
from ..cache.store import Store, StoredVectors
from ..cache.tables import counted
from ..cache.urls import Location
from ..errors import DataError, UsageError, words
from .backbones.backbone import Backbone
from .computing import computing
from .engines.accounting import Clock, Extraction, account
from .manifest.hashing import Hashed
from .progress import Progress, silent
from .text import plain

if TYPE_CHECKING:
    from .engines.ray_engine import RayEngine
    from .engines.several_devices import SeveralDevices
    from .engines.unit_loop import UnitLoop

logger = logging.getLogger(__name__)


@checked
def extract(
    manifest: Any,
    backbone: Backbone,
    *,
    cache: Path | str | None = None,
    workers: int | None = None,
    engine: "RayEngine | None" = None,
    progress: Progress = silent,
) -> Embeddings:
    """Return the embeddings of all images of a manifest, computing only those that the cache does not have.

    Parameters
    ----------
    manifest
        From :func:`fc7.extract.read_manifest`, or what that takes: a folder, a csv, a URL.
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
        raise UsageError(
            f"{backbone.name} has {len(backbone.recipes)} layers to read: extract takes one, fill takes several."
        )
    hashed = Hashed.of(manifest, cache, progress=progress)
    done = fill(hashed, [backbone], workers=workers, engine=engine, progress=progress)[0]
    if not done.ok:
        root, reason = hashed.manifest.root, done.rejects[0].reason
        raise DataError(f"None of {counted(done.seen, 'image')} of {root} could be embedded: {reason}")
    return read(hashed, backbone.recipes[0], weights_source=backbone.weights_source, views=backbone.views)


@checked
def read(
    manifest: Any,
    recipe: Recipe,
    *,
    cache: Path | str | None = None,
    weights_source: str = "",
    views: int = 0,
    max_ram: int | None = None,
) -> Embeddings:
    """Return the embeddings of all images of a manifest from the cache alone; rejected images are left out.

    Parameters
    ----------
    manifest
        As for :func:`extract`. If it is hashed, `cache` is not asked for: it has its own.
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
    hashed = Hashed.of(manifest, cache)
    rows, stores = hashed.rows, [hashed.store(replace(recipe, view=view)) for view in range(1 + views)]
    for store in stores:
        if store.rejected:
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


def why_not_decoded(root: Location, rows: Rows, workers: int | None = None) -> list[str]:
    """Return for each row of a data set why its file is no image, or cannot be read now; empty if it is one."""
    from concurrent.futures import ThreadPoolExecutor

    from ..errors import ImageRejected
    from .decoding.views import read_image
    from .machine import cores
    from .manifest.paths import located

    def reason(path: str, key: bytes) -> str:
        try:
            read_image(located(root, path), key)
        except ImageRejected as error:
            return str(error)
        except OSError as error:
            return f"not readable: {error.strerror or error}"
        return ""

    with ThreadPoolExecutor(workers or cores()) as pool:
        return list(pool.map(reason, map(str, rows.paths), rows.keys))


@checked
@computing(threads=False)
def fill(
    manifest: Any,
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
    manifest
        As for :func:`extract`. If it is hashed, `cache` and `rehash` are not asked for.
    backbones
        At least one; each has one recipe for each layer and view.
    cache, workers, progress
        As for :func:`extract`.
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
        One per recipe.

    Raises
    ------
    UsageError
        No backbone, or a number out of range.
    FC7Error
        What :func:`extract` raises.
    """
    if not backbones:
        raise UsageError("There is no backbone to compute with: the list is empty.")
    hashed = Hashed.of(manifest, cache, rehash=rehash, progress=progress)
    if hashed.manifest.unclear:
        logger.warning("fc7: %s", plain(hashed.manifest.unclear))
    clock = Clock(hashing=hashed.seconds)
    recipes = [recipe for backbone in backbones for recipe in backbone.recipes_of_views]
    stores = {recipe: hashed.store(recipe) for recipe in recipes}
    retried = {recipe: store.reopen(hashed.images) if retry_rejected else 0 for recipe, store in stores.items()}
    lacked = {recipe: store.missing(hashed.images) for recipe, store in stores.items()}
    unreadable: dict[bytes, str] = {}
    keys = Keys.joined(lacked.values()).unique() if len(lacked) > 1 else lacked[recipes[0]]
    if keys:
        for recipe, store in stores.items():
            _point_out_relatives(store, lacked[recipe])
        from .engines.unit_loop import Plan

        plan = Plan(backbones, [stores[recipe] for recipe in recipes], hashed.files, clock, progress)
        pipeline: UnitLoop | SeveralDevices
        if engine is None:
            from .engines.several_devices import on_this_machine

            pipeline = on_this_machine(plan, workers)
        else:
            from .engines.ray_pipeline import RayPipeline

            pipeline = RayPipeline(engine, plan, workers=workers)
        unreadable = pipeline.run(hashed.in_reading_order(keys), unit_rows)
    clock.stop()
    return [
        account(hashed, stores[recipe], lacked[recipe], unreadable, retried=retried[recipe], clock=clock)
        for recipe in recipes
    ]


def _point_out_relatives(store: Store, lacked: Keys) -> None:
    """Log how a recipe without rows differs from a similar one that has rows of the same images."""
    explanation = words(explain(store.directory, store.recipe, lacked)) if lacked and not len(store) else ""
    if explanation:
        logger.info("fc7: %s to compute. %s", counted(len(lacked), "image"), explanation.strip())
