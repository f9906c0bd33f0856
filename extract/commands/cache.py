"""The verb ``cache``: its own verbs, each with its page of help, and the table of them."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ...cache.tables import counted
from ...errors import UsageError
from ..progress import Progress
from ..text import plain
from . import options, vectors
from .hints import command
from .options import Arguments
from .terminal import Answer, table

TEXT = """
Look after the cache of embeddings. None of this is needed in daily use: the cache repairs itself as it is used, and
any number of processes may share it. `fc7 cache VERB --help` has the options and examples of a verb.
"""
EXAMPLES = """
# what is in it, and whether it is sound
fc7 cache info
fc7 cache verify

# make room
fc7 cache gc --dry-run
fc7 cache gc
"""

DAMAGED = 1  # exit code of verify where something is not as it was committed

_RECIPE = "the beginning of a recipe's id, see cache info: remove all its rows (default: what nobody reads)"

INFO_TEXT = """
Say where the cache is, which recipes it holds (backbone, layer, weights, transform), and how many rows and bytes of
each.
"""
INFO_EXAMPLES = """
# the default cache
fc7 cache info

# another one, for a program
fc7 cache info --cache /data/fc7 --json
"""


def run_info(arguments: Arguments, progress: Progress) -> Answer:
    """Say what the cache holds."""
    from ...cache import verify
    from ...cache.directory import open_directory
    from ...cache.replica import Replica

    directory = open_directory(arguments.cache, new=False)
    replica = Replica.of(directory)
    where = replica.url if replica else str(directory)
    recipes = verify.info(directory)
    survives = verify.durability(directory)
    payload = {"directory": where, "survives": survives, "recipes": [recipe.to_dict() for recipe in recipes]}
    text = table(where, verify.COLUMNS, [recipe.row() for recipe in recipes])
    if survives != "power loss":
        text += "\nThis file system cannot sync folders: rows survive a crash of the process, not a power loss."
    return Answer(payload, text)


VERIFY_TEXT = """
Check that every shard is as it was committed, and change nothing. A shard that was read and has not changed since
is not read again, unless --deep is given.

Exits 1 if something is damaged.
"""
VERIFY_EXAMPLES = """
# what has changed since it was last read
fc7 cache verify

# every byte of every shard
fc7 cache verify --deep
"""


def add_verify_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache verify."""
    parser.add_argument("--deep", action="store_true", help="believe nothing: read every byte of every shard")
    options.add_cache(parser)


def run_verify(arguments: Arguments, progress: Progress) -> Answer:
    """Check the cache and change nothing."""
    from ...cache.directory import default_directory
    from ...cache.urls import URL
    from ...cache.verify import verify

    check = verify(arguments.cache, deep=arguments.deep)
    lines = [f"damaged  {damage.file}: {damage.reason}" for damage in check.damaged]
    if isinstance(arguments.cache or default_directory(), URL):
        remedy = "Delete those objects; the next extract computes their rows again."
    else:
        remedy = f"Put it right with: {command(arguments, 'cache repair')}" if check.damaged else ""
    unchanged = check.shards - check.read - sum(damage.file.endswith(".h5") for damage in check.damaged)
    lines.append(
        f"{counted(check.recipes, 'recipe')}, {counted(check.shards, 'shard')}, {counted(check.rows, 'row')}: "
        + (f"{len(check.damaged)} damaged. {remedy}" if check.damaged else "sound")
    )
    if unchanged:
        lines.append(f"{counted(unchanged, 'shard')} unchanged since they were read; --deep reads them again")
    return Answer(check.to_dict(), "\n".join(map(plain, lines)), DAMAGED if check.damaged else 0)


REPAIR_TEXT = """
Set damaged shards aside and put right what can be. The next extract computes the rows that were in them. A shard that
cannot be read now (too many open files, a missing permission) is not damaged: repair ends and changes nothing.
"""
REPAIR_EXAMPLES = """
# look first, then mend, then compute what is missing
fc7 cache verify
fc7 cache repair
fc7 extract my_pictures --backbone vgg16
"""


def run_repair(arguments: Arguments, progress: Progress) -> Answer:
    """Set aside what is damaged, so that the next extract computes it."""
    from ...cache.verify import repair

    repairs = repair(arguments.cache)
    lines = [f"put right  {each.file}: {each.reason}" for each in repairs]
    lines += ["The next extract computes the rows that were set aside." if repairs else "Nothing to repair."]
    return Answer({"repaired": [each._asdict() for each in repairs]}, "\n".join(map(plain, lines)))


GC_TEXT = """
Remove what nobody will read: what killed processes left, damaged shards that were set aside, rows that are kept
twice. With --recipe, remove all rows of one recipe, which an extract would have to compute again. Others may extract
and read meanwhile. What is not fc7's is left, with a warning.
"""
GC_EXAMPLES = """
# what would go, then let it go
fc7 cache gc --dry-run
fc7 cache gc

# all rows of one recipe; the first letters of its id will do
fc7 cache gc --recipe 3fa94c --dry-run
"""


def add_gc_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache gc."""
    parser.add_argument("--recipe", metavar="ID", help=_RECIPE)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    options.add_cache(parser)


def run_gc(arguments: Arguments, progress: Progress) -> Answer:
    """Remove what nobody will read."""
    from ...cache.maintenance import gc

    removed = gc(arguments.cache, recipe=arguments.recipe, dry_run=arguments.dry_run)
    size = sum(each.bytes for each in removed)
    verb = "would remove" if arguments.dry_run else "removed"
    lines = [f"{verb}  {each.file}: {each.reason}" for each in removed]
    lines.append(f"{verb} {counted(len(removed), 'file or folder', 'files and folders')}, {size / 1e6:.1f} MB")
    payload = {"removed": [each._asdict() for each in removed], "bytes": size, "dry_run": arguments.dry_run}
    return Answer(payload, "\n".join(map(plain, lines)))


COMPACT_TEXT = """
Merge small shards, which many short runs leave, into full ones. Rows keep their bits, and a reader finds every row
at every moment.
"""
COMPACT_EXAMPLES = """
# and see what is left
fc7 cache compact
fc7 cache info
"""


def run_compact(arguments: Arguments, progress: Progress) -> Answer:
    """Merge small shards."""
    from ...cache.maintenance import compact

    merged = compact(arguments.cache)
    parts = [
        {"recipe_id": each.recipe.id, "backbone": each.recipe.backbone, "layer": each.recipe.layer}
        | {"before": each.before, "after": each.after}
        for each in merged
    ]
    lines = [
        f"{each.recipe.backbone} {each.recipe.layer}: {counted(each.before, 'shard')} -> {each.after}"
        for each in merged
    ]
    return Answer({"recipes": parts}, "\n".join(lines) or "The cache is empty.")


EXPORT_TEXT = """
Write the embeddings of a data set as one file: embeddings, labels, paths, splits, the sha256 of each image, and the
recipe. They must be in the cache; `fc7 extract DATA -o FILE` computes them and writes the same file. The suffix decides
what is written; parquet needs the extra fc7[tables]. `fc7 fit`, `compare` and `audit` take all of them but the csv in
place of a folder.
"""
EXPORT_EXAMPLES = """
# the embeddings must be in the cache
fc7 extract my_pictures --backbone vgg16 --layer fc6
fc7 cache export my.h5 my_pictures --backbone vgg16 --layer fc6

# on a machine without the images
fc7 compare my.h5 -o h5-runs

# for a notebook: pandas.read_parquet("my.parquet")
fc7 cache export my.parquet my_pictures --backbone vgg16
"""


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache export."""
    parser.add_argument("output", type=Path, metavar="FILE", help=vectors.FILE)
    options.add_map(parser, None, vectors.MAP)
    options.add_data(parser, f"{options.FOLDER}; its embeddings must be in the cache")
    options.add_backbone(parser)


def run_export(arguments: Arguments, progress: Progress) -> Answer:
    """Write one file of vectors for other tools."""
    from ..manifest.hashing import Hashed
    from ..manifest.manifest import read_manifest
    from ..manifest.members import require_outside
    from ..vector_files.cached import CachedRows

    output = vectors.opened(arguments)
    backbone = options.require_single(options.backbones(arguments, progress))
    if backbone.views and "views" not in arguments.of_file:
        raise UsageError(f"An exported file has the centre crops only; leave out --views {backbone.views}.")
    manifest = read_manifest(arguments.data, columns=options.columns(arguments))
    require_outside(*output.outputs, files=manifest.each_file())
    hashed = Hashed.of(manifest, arguments.cache, progress=progress)
    payload, text = vectors.write(
        output, CachedRows(hashed, backbone.recipes[0], weights_source=backbone.weights_source)
    )
    return Answer(payload | {"dim": backbone.recipes[0].dim, "recipe_id": backbone.recipes[0].id}, text)


IMPORT_TEXT = """
Take the rows of a file that `fc7 cache export` wrote into the cache. The file is checked before it is read, and its
recipe is believed.
"""
IMPORT_EXAMPLES = """
# on the machine that computed, then on this one
fc7 cache export my.h5 my_pictures --backbone vgg16
fc7 cache import my.h5
"""


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of cache import."""
    parser.add_argument("file", type=Path, metavar="FILE.h5", help="what cache export wrote; its recipe is believed")
    options.add_cache(parser)


def run_import(arguments: Arguments, progress: Progress) -> Answer:
    """Take the rows of an exported file into the cache."""
    from ...cache.embeddings import Embeddings
    from ...cache.maintenance import import_rows

    rows = Embeddings.from_h5(arguments.file)
    added = import_rows(rows, arguments.cache)
    recipe = rows.recipe
    payload = {"file": str(arguments.file), "rows": len(rows), "added": added, "recipe_id": recipe.id}
    text = (
        f"{recipe.backbone} {recipe.layer}: took {added} of {counted(len(rows), 'row')} from {arguments.file} "
        f"(recipe {recipe.id[:12]}); the cache had the others"
    )
    return Answer(payload, plain(text))


class Verb(NamedTuple):
    """One verb of ``fc7 cache``; `summary` is its line in the table of help."""

    summary: str
    text: str
    examples: str
    run: Callable[[Arguments, Progress], Answer]
    add_options: Callable[[argparse.ArgumentParser], None] = options.add_cache


VERBS = {
    "info": Verb("what the cache holds", INFO_TEXT, INFO_EXAMPLES, run_info),
    "verify": Verb(
        "check that every shard is as it was committed", VERIFY_TEXT, VERIFY_EXAMPLES, run_verify, add_verify_options
    ),
    "repair": Verb(
        "set damaged shards aside, so that the next extract computes their rows",
        REPAIR_TEXT,
        REPAIR_EXAMPLES,
        run_repair,
    ),
    "gc": Verb(
        "remove what nobody will read: leftovers, damaged shards, rows kept twice, or a whole recipe",
        GC_TEXT,
        GC_EXAMPLES,
        run_gc,
        add_gc_options,
    ),
    "compact": Verb("merge small shards into full ones", COMPACT_TEXT, COMPACT_EXAMPLES, run_compact),
    "export": Verb(
        "write embeddings as parquet, csv, h5, npz, npy or safetensors",
        EXPORT_TEXT,
        EXPORT_EXAMPLES,
        run_export,
        add_export_options,
    ),
    "import": Verb(
        "take the rows of such a file into the cache", IMPORT_TEXT, IMPORT_EXAMPLES, run_import, add_import_options
    ),
}
