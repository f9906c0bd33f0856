"""The verbs of ``fc7 cache``. Each returns an answer; cli.py prints it."""

import argparse
from pathlib import Path

from ...cache import maintenance
from ...cache import verify as sound
from ...cache.directory import default_directory, existing_directory
from ...cache.replica import Replica
from ...cache.urls import address
from ...errors import UsageError
from ..extraction import read
from ..manifest.manifest import read_manifest
from ..progress import Progress
from ..text import plain
from . import options
from .options import Arguments
from .terminal import Answer, table

_RECIPE = "the beginning of a recipe's id, see cache info: remove all its rows (default: what nobody reads)"

DAMAGED = 1  # exit code of verify where something is not as it was committed


def add_cache_info(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache info."""
    options.add_cache(parser)


def run_cache_info(arguments: Arguments, progress: Progress) -> Answer:
    """Say what the cache holds."""
    directory = existing_directory(arguments.cache)
    replica = Replica.of(directory)
    where = replica.url if replica else str(directory)
    found = sound.info(directory)
    survives = sound.durability(directory)
    payload = {"directory": where, "survives": survives, "recipes": [one.to_dict() for one in found]}
    text = table(where, sound.COLUMNS, [one.row() for one in found])
    if survives != "power loss":
        text += "\nThis file system cannot sync folders: rows survive a crash of the process, not a power loss."
    return Answer(payload, text)


def add_cache_verify(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache verify."""
    parser.add_argument("--deep", action="store_true", help="believe nothing: read every byte of every shard")
    options.add_cache(parser)


def run_cache_verify(arguments: Arguments, progress: Progress) -> Answer:
    """Check the cache and change nothing."""
    found = sound.verify(arguments.cache, deep=arguments.deep)
    lines = [f"damaged  {one.file}: {one.reason}" for one in found.damaged]
    remedy = "Put it right with: fc7 cache repair"
    if address(arguments.cache or default_directory()):
        remedy = "Delete those objects, then compute their rows again with: fc7 extract"
    before = found.shards - found.read - sum(one.file.endswith(".h5") for one in found.damaged)
    lines.append(
        f"{_count(found.recipes, 'recipe')}, {_count(found.shards, 'shard')}, {_count(found.rows, 'row')}: "
        + (f"{len(found.damaged)} damaged. {remedy}" if found.damaged else "sound")
    )
    if before:
        lines.append(f"{_count(before, 'shard')} unchanged since they were read; --deep reads them again")
    return Answer(found.to_dict(), "\n".join(map(plain, lines)), DAMAGED if found.damaged else 0)


def add_cache_repair(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache repair."""
    options.add_cache(parser)


def run_cache_repair(arguments: Arguments, progress: Progress) -> Answer:
    """Set aside what is damaged, so that the next extract computes it."""
    done = sound.repair(arguments.cache)
    lines = [f"put right  {one.file}: {one.reason}" for one in done]
    lines += ["Rows that were set aside are computed by the next: fc7 extract" if done else "Nothing to repair."]
    return Answer({"repaired": [one._asdict() for one in done]}, "\n".join(map(plain, lines)))


def add_cache_gc(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache gc."""
    parser.add_argument("--recipe", metavar="ID", help=_RECIPE)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    options.add_cache(parser)


def run_cache_gc(arguments: Arguments, progress: Progress) -> Answer:
    """Remove what nobody will read."""
    found = maintenance.gc(arguments.cache, recipe=arguments.recipe, dry_run=arguments.dry_run)
    size = sum(one.bytes for one in found)
    verb = "would remove" if arguments.dry_run else "removed"
    lines = [f"{verb}  {one.file}: {one.reason}" for one in found]
    lines.append(f"{verb} {_count(len(found), 'file or folder', 'files and folders')}, {size / 1e6:.1f} MB")
    payload = {"removed": [one._asdict() for one in found], "bytes": size, "dry_run": arguments.dry_run}
    return Answer(payload, "\n".join(map(plain, lines)))


def add_cache_compact(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache compact."""
    options.add_cache(parser)


def run_cache_compact(arguments: Arguments, progress: Progress) -> Answer:
    """Merge small shards."""
    done = maintenance.compact(arguments.cache)
    parts = [
        {"recipe_id": one.recipe.id, "backbone": one.recipe.backbone, "layer": one.recipe.layer}
        | {"before": one.before, "after": one.after}
        for one in done
    ]
    lines = [f"{one.recipe.backbone} {one.recipe.layer}: {one.before} shards -> {one.after}" for one in done]
    return Answer({"recipes": parts}, "\n".join(lines) or "The cache is empty.")


def add_cache_export(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache export."""
    parser.add_argument("output", type=Path, metavar="FILE.h5", help="the file to write")
    options.add_data(parser, f"{options.FOLDER}; its embeddings must be in the cache")
    options.add_backbone(parser)


def run_cache_export(arguments: Arguments, progress: Progress) -> Answer:
    """Write one flat .h5 for other tools."""
    backbone = options.require_single(options.backbones(arguments, progress))
    if backbone.views:
        raise UsageError(f"An exported file has the centre crops only; leave out --views {backbone.views}.")
    source = backbone.weights_source
    rows = read(read_manifest(arguments.data), backbone.recipes[0], cache=arguments.cache, weights_source=source)
    path = rows.to_h5(arguments.output)
    payload = {"file": str(path), "rows": len(rows), "dim": rows.recipe.dim, "recipe_id": rows.recipe.id}
    return Answer(payload, f"Wrote {len(rows)} x {rows.recipe.dim} embeddings to {plain(str(path))}")


def add_cache_import(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache import."""
    parser.add_argument("file", type=Path, metavar="FILE.h5", help="what cache export wrote; its recipe is believed")
    options.add_cache(parser)


def run_cache_import(arguments: Arguments, progress: Progress) -> Answer:
    """Take the rows of an exported file into the cache."""
    from ...cache.embeddings import Embeddings

    rows = Embeddings.from_h5(arguments.file)
    added = maintenance.import_rows(rows, arguments.cache)
    recipe = rows.recipe
    payload = {"file": str(arguments.file), "rows": len(rows), "added": added, "recipe_id": recipe.id}
    text = (
        f"{recipe.backbone} {recipe.layer}: took {added} of {_count(len(rows), 'row')} from {arguments.file} "
        f"(recipe {recipe.id[:12]}); the cache had the others"
    )
    return Answer(payload, plain(text))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
