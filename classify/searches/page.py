"""The page of similar images: each image beside those nearest to it."""

from pathlib import Path

from ...cache.embeddings import Embeddings
from ...cache.output_file import OutputFile
from ...cache.tables import counted
from ...cache.urls import Location
from ...extract.manifest.paths import located
from ...extract.progress import Progress, silent
from ..pages.gallery import Gallery, Shown, Tile
from ..pages.page import PAGES, render, write
from ..pages.pictures import pictures
from ..pages.text import without_folders
from ..records.schema import KEY_DIGITS
from .similar import Similar


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
    output = path if isinstance(path, OutputFile) else OutputFile(path, kinds=PAGES)
    shown = similar[:top]
    paths: dict[str, str] = {}
    tiles = []
    for one in shown:
        key = one.key[:KEY_DIGITS]
        keys = [one.rows.sha256[place].tobytes().hex()[:KEY_DIGITS] for place in one.places]
        near = [
            Shown(image.path, image.label or "no label", f"{image.score:.3f}", key)
            for image, key in zip(one.neighbours, keys, strict=True)
        ]
        tiles.append(Tile((Shown(one.path, one.label or "asked about", key=key), *near)))
        paths |= {} if images is None else {image.key: located(images, image.path) for image in near}
        paths |= {} if asked is None else {key: located(asked, one.path)}
    with pictures(output, paths, filter(None, [images]), progress=progress) as sources:
        gallery = Gallery("Images, each with those most like it", tiles, sources, layout="rows")
        values = {
            "gallery": gallery,
            "shown": len(shown),
            "total": len(similar),
            "size": f"{embeddings.name or 'data'}: {counted(len(embeddings), 'image')}",
            "recipe": embeddings.recipe,
            "source": without_folders(embeddings.weights_source),
            "records": {"queries": len(similar), "shown": len(shown)},
        }
        return write(output, render("searches/similar.html.jinja", values, gallery))
