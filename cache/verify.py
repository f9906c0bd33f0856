"""What a cache directory holds, without opening a backbone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CacheError
from .format import open_directory
from .recipe import Recipe
from .store import Store

COLUMNS = ("backbone", "layer", "dim", "precision", "dtype", "rows", "rejected", "shards", "MB", "set aside", "recipe")


@dataclass(frozen=True)
class Contents:
    """One recipe's part of a cache.

    Attributes
    ----------
    rows, rejected
        Images with a row, and images known to be no image.
    shards, bytes
        Files, and their size.
    quarantined
        Files set aside because their bytes were not as committed.
    """

    recipe: Recipe
    rows: int
    rejected: int
    shards: int
    bytes: int
    quarantined: int

    def row(self) -> list[str]:
        """Return the cells under :data:`COLUMNS`."""
        recipe = self.recipe
        identity = [recipe.backbone, recipe.layer, str(recipe.dim), recipe.precision, recipe.dtype]
        counts = [self.rows, self.rejected, self.shards, round(self.bytes / 1e6, 1), self.quarantined]
        return [*identity, *map(str, counts), recipe.id[:12]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return vars(self) | {"recipe": self.recipe.to_dict()}


def info(directory: Path) -> list[Contents]:
    """Return what a cache holds, one entry per recipe; shards seen for the first time are checked.

    Raises
    ------
    CacheError
        There is no cache, or a recipe's description is damaged.
    """
    if not (directory / "FORMAT").exists():
        raise CacheError(f"There is no fc7 cache in {directory}. Fill one with: fc7 extract DATA --cache {directory}")
    open_directory(directory)
    found = [_contents(directory, path) for path in sorted(directory.glob("recipes/*/recipe.json"))]
    return [one for one in found if one.shards or one.quarantined]  # a run that failed early leaves a name only


def _contents(directory: Path, path: Path) -> Contents:
    recipe = Recipe.from_json(path.read_text(encoding="utf-8"))
    if recipe.id != path.parent.name:
        raise CacheError(f"{path} does not describe its folder: it is recipe {recipe.id[:12]}... Delete that folder.")
    store = Store(recipe, directory)
    files = list(path.parent.glob("shards/??/*.h5"))
    return Contents(
        recipe,
        rows=len(store),
        rejected=len(store.rejected),
        shards=len(files),
        bytes=sum(file.stat().st_size for file in files),
        quarantined=len(list(path.parent.glob("quarantine/*"))),
    )
