"""Inputs: what a verb is given as DATA, as embeddings and as the folder of the images."""

import logging
from typing import TYPE_CHECKING

from ...cache.embeddings import Embeddings
from ...cache.urls import URL, Location, is_h5
from ...errors import UsageError
from ...extract.commands import options
from ...extract.commands.options import Arguments, given
from ...extract.extraction import fill, hashed, read, without_rejects
from ...extract.manifest.manifest import Manifest, read_manifest
from ...extract.progress import Progress
from ...extract.text import plain
from ..data.joint import join
from ..data.splits import disputed, protocol

if TYPE_CHECKING:
    from ...extract.engines.ray_engine import RayEngine

logger = logging.getLogger(__name__)


def embeddings(
    arguments: Arguments,
    progress: Progress,
    engine: "RayEngine | None" = None,
    *,
    only: bool = False,
    sound: bool = True,
) -> list[Embeddings]:
    """Return one table per backbone and layer, computing what the cache lacks; or the one of an exported file.

    What is wrong with the data set is said before anything is computed, unless it need not be `sound`.
    """
    if is_h5(arguments.data):
        options.refuse_backbone(arguments)
        if arguments.max_ram is not None:
            raise UsageError(f"{arguments.data} is read whole. To stream it: fc7 cache import {arguments.data}")
        return [Embeddings.from_h5(arguments.data).in_key_order()]
    manifest = read_manifest(arguments.data)
    if sound:
        settings = given(arguments, "on", "cross_validate", "folds", "random_state", "allow_leakage")
        rows = hashed(manifest, cache=arguments.cache)
        suspects = disputed(rows).tolist()
        rows = without_rejects(manifest, rows, suspects, **given(arguments, "workers")) if suspects else rows
        protocol(rows.in_key_order(), **settings)
    return tables(manifest, arguments, progress, engine, only=only)


def tables(
    manifest: Manifest,
    arguments: Arguments,
    progress: Progress,
    engine: "RayEngine | None" = None,
    *,
    only: bool = False,
) -> list[Embeddings]:
    """Return one table per backbone and layer, computing what the cache lacks; of `only` one there must be no more."""
    backbones = options.backbones(arguments, progress)
    if only:
        options.require_single(backbones)
    extractions = fill(manifest, backbones, engine=engine, progress=progress, **given(arguments, "cache", "workers"))
    for reject in extractions[0].rejects:
        logger.warning("rejected %s: %s", plain(reject.path), reject.reason)
    settings = given(arguments, "cache", "max_ram")
    loaded = [
        read(manifest, recipe, weights_source=backbone.weights_source, views=backbone.views, **settings).in_key_order()
        for backbone in backbones
        for recipe in backbone.recipes
    ]
    return [join(loaded)] if arguments.concatenate else loaded


def images_folder(data: Location) -> Location | None:
    """Return the folder that the paths of a data set are relative to; an exported file has no images."""
    if is_h5(data):
        return None
    if isinstance(data, URL):
        return data.parent if data.suffix.lower() == ".csv" else data
    return data if data.is_dir() else data.parent
