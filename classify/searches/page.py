"""The page of similar images: each image beside those nearest to it."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from ...cache.embeddings import Embeddings
from ...cache.output_file import OutputFile
from ...cache.tables import counted
from ...cache.urls import Location
from ...extract.progress import Progress, silent
from ..pages.page import render, write
from ..pages.text import without_folders
from ..pages.thumbnails import embedded, write_thumbnails
from ..records.schema import KEY_DIGITS
from .similar import Similar, SimilarImages


def write_similar(
    similar: Similar,
    path: Path | str | OutputFile,
    embeddings: Embeddings,
    images: Location | None = None,
    *,
    asked: Location | None = None,
    top: int = 20,
    progress: Progress = silent,
) -> Path:
    """Write one self-contained page and return its path.

    Parameters
    ----------
    embeddings
        Of the data set that was searched.
    images, asked
        The folders that paths of the data set, and of the images asked about, are relative to. Without them, or if an
        image is missing, its name is shown.
    top
        How many of the images asked about are shown.

    Raises
    ------
    DataError, MissingExtra
        See :mod:`fc7.classify.pages.page`.
    """
    output = path if isinstance(path, OutputFile) else OutputFile(path)
    shown = similar[:top]
    with TemporaryDirectory() as folder:
        paths: dict[str, str] = {}
        for root, found in ((images, _neighbours(shown)), (asked, {one.key[:KEY_DIGITS]: one.path for one in shown})):
            paths |= found
            if root is not None:
                write_thumbnails(found, root, folder, progress=progress)
        sources = embedded(Path(folder), _by_turns(shown))
    values = {
        "shown": shown,
        "total": len(similar),
        "size": f"{embeddings.name or 'data'}: {counted(len(embeddings), 'image')}",
        "recipe": embeddings.recipe,
        "source": without_folders(embeddings.weights_source),
        "picture_of": lambda key: sources.get(key[:KEY_DIGITS], ""),
        "key_of": _key,
        "records": {"queries": len(similar), "shown": len(shown)},
    }
    return write(output, render("searches/similar.html.jinja", values))


def _neighbours(shown: Similar) -> Mapping[str, str]:
    return {
        _key(one, rank)[:KEY_DIGITS]: neighbour.path for one in shown for rank, neighbour in enumerate(one.neighbours)
    }


def _key(one: SimilarImages, rank: int) -> str:
    return str(one.rows.sha256[one.places[rank]].tobytes().hex())


def _by_turns(shown: Similar) -> list[str]:
    """Return keys in the order in which they get a place in the page, should there be too many for it."""
    return [
        key[:KEY_DIGITS] for one in shown for key in (one.key, *(_key(one, rank) for rank in range(len(one.places))))
    ]
