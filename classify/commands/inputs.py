"""Inputs: what a verb is given as DATA, as embeddings and as the folder of the images."""

import logging
import os
from typing import TYPE_CHECKING

import numpy as np

from ...cache.embeddings import Embeddings
from ...cache.tables import counted
from ...cache.urls import URL, Location
from ...errors import UsageError
from ...extract.commands import options
from ...extract.commands.hints import command
from ...extract.commands.options import Arguments
from ...extract.extraction import fill, read, why_not_decoded
from ...extract.manifest.hashing import Hashed
from ...extract.manifest.manifest import Manifest, read_manifest
from ...extract.manifest.paths import LISTS_ALL, described
from ...extract.manifest.shards import archives_of, root_of
from ...extract.manifest.table import PARQUET, TEXTS, is_vectors
from ...extract.manifest.tables import parquet_root
from ...extract.progress import Progress
from ...extract.text import plain
from ...extract.vector_files.reading import read_vectors
from ..data.checks import labelled, labelled_images, require_classes, say_missing
from ..data.joint import in_common, join
from ..data.splits import disputed, protocol
from ..settings import ProtocolSettings

if TYPE_CHECKING:
    from ...extract.backbones.backbone import Backbone
    from ...extract.engines.ray_engine import RayEngine

logger = logging.getLogger(__name__)


def embeddings(
    arguments: Arguments,
    progress: Progress,
    engine: "RayEngine | None" = None,
    *,
    only: bool = False,
) -> list[Embeddings]:
    """Return one table per backbone and layer, computing what the cache lacks; or the one of an exported file."""
    if is_vectors(arguments.data, arguments.columns):
        options.refuse_backbone(arguments)
        if arguments.max_ram is not None:
            raise UsageError(f"{arguments.data} is read whole. To stream an .h5: fc7 cache import {arguments.data}")
        return [read_vectors(arguments.data, arguments.columns).in_key_order()]
    manifest = read_manifest(arguments.data, columns=options.columns(arguments))
    return tables(manifest, arguments, progress, engine, only=only)


def fitted_embeddings(
    arguments: Arguments, progress: Progress, engine: "RayEngine | None" = None, *, only: bool = False
) -> tuple[list[Embeddings], int]:
    """Return what :func:`embeddings` returns, of the images that have a label, and the number of those that have none.

    What is wrong with the data set is said before anything is computed.
    """
    if is_vectors(arguments.data, arguments.columns):
        rows = embeddings(arguments, progress, engine)[0]
        require_classes(rows.labels.tolist(), "A column of labels has a usual name, or is named: --columns label=NAME")
        say_missing(rows.labels.tolist(), rows.group.tolist())
        with_label = labelled(rows)
        return [with_label], len(rows) - len(with_label)
    manifest, unlabelled = labelled_manifest(arguments)
    hashed = Hashed.of(manifest, arguments.cache, progress=progress)
    _require_sound(hashed, arguments)
    return tables(hashed, arguments, progress, engine, only=only), unlabelled


def labelled_manifest(arguments: Arguments) -> tuple[Manifest, int]:
    """Return what :func:`fc7.classify.data.checks.labelled_images` returns, and say which images a review lacks."""
    manifest = read_manifest(arguments.data, columns=options.columns(arguments))
    _say_newcomers(arguments)
    return labelled_images(manifest)


def _say_newcomers(arguments: Arguments) -> None:
    """Say what lies among the images of a review's csv and is not in it, with the command that takes it in."""
    from ..reviews.not_in_table import newcomers

    new = newcomers(arguments.data)
    if new:
        then = "Add them to the table that was reviewed, and review that again."
        if new.folder is not None:
            then = f"Take them in: {command(arguments, 'review', data=new.folder, output=arguments.data)}"
        logger.warning(
            "fc7: %s lacks %s that lie beside its own, the first is %s. %s",
            plain(str(arguments.data)),
            counted(len(new.paths), "image"),
            plain(new.paths[0]),
            plain(then),
        )


def _require_sound(hashed: Hashed, arguments: Arguments) -> None:
    """Refuse a data set that no head can be fitted on; what is no image conflicts with nothing."""
    rows = hashed.rows
    suspects = disputed(rows)
    if len(suspects):
        reasons = why_not_decoded(hashed.manifest.root, rows[suspects], arguments.workers)
        rows = rows[np.delete(np.arange(len(rows)), suspects[np.array(reasons) != ""])]
    protocol(rows.in_key_order(), ProtocolSettings(**options.given_settings(arguments, ProtocolSettings)))


def tables(
    hashed: Manifest | Hashed,
    arguments: Arguments,
    progress: Progress,
    engine: "RayEngine | None" = None,
    *,
    only: bool = False,
    backbones: "list[Backbone] | None" = None,
) -> list[Embeddings]:
    """Return one table per backbone and layer, computing what the cache lacks; of `only` one there must be no more."""
    hashed = Hashed.of(hashed, arguments.cache, progress=progress)
    backbones = options.backbones(arguments, progress) if backbones is None else backbones
    if only:
        options.require_single(backbones)
    extractions = fill(hashed, backbones, workers=arguments.workers, engine=engine, progress=progress)
    for line in described(list(dict.fromkeys(reject for done in extractions for reject in done.rejects)), LISTS_ALL):
        logger.warning("rejected %s", line)
    loaded = []
    for backbone in backbones:
        settings = {"weights_source": backbone.weights_source, "views": backbone.views, "max_ram": arguments.max_ram}
        loaded += [read(hashed, recipe, **settings).in_key_order() for recipe in backbone.recipes]
    loaded = in_common(loaded)
    return [join(loaded)] if arguments.concatenate else loaded


def images_folder(arguments: Arguments) -> Location | None:
    """Return the folder that the paths of a data set are relative to; an exported file has no images."""
    data: Location = arguments.data
    if is_vectors(data, arguments.columns):
        return None
    if isinstance(data, URL):
        return data.parent if data.suffix.lower() in TEXTS else data
    if data.suffix.lower() == PARQUET and data.is_file():
        return parquet_root(data, options.columns(arguments))
    if os.path.isdir(data):  # noqa: PTH112 - False for any error
        return data
    archives = archives_of(data)
    return root_of(data, archives) if archives else data.parent
