"""The map of a data set: points for images by their embeddings, and the images nearest to some; kept beside records."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from ...cache.embeddings import Embeddings, select
from ...cache.output_file import OutputFile
from ...extract.coordinates import coordinates
from ...extract.progress import Progress, silent
from ..arrays import Positions
from ..pages.pictures import Pictures
from ..pages.point_map import MOST, Near, PointMap
from ..pages.text import relative
from ..records.schema import KEY_DIGITS
from ..solvers.nearest import nearest

logger = logging.getLogger(__name__)

FOLDER = "maps"  # below that of the records
NEAREST = 6  # images beside one that is opened

_FORMAT = 1


@dataclass(frozen=True)
class ImageMap:
    """Points for images of a data set."""

    # What the points are, for people; and by which method.
    words: str
    method: str
    # Of the images; keys are the first digits of the sha256 of their bytes.
    keys: list[str]
    paths: list[str]
    labels: list[str]
    # Of their points.
    x: list[float]
    y: list[float]
    # Key, path, label and cosine of the images nearest to some, by the keys of these, the nearest first.
    near: dict[str, list[tuple[str, str, str, float]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        embeddings: Embeddings,
        asked: Positions,
        among: Positions,
        *,
        method: str = "pca",
        progress: Progress = silent,
    ) -> Self:
        """Return the map of a data set; of more than 20,000 images, that of so many, drawn by their keys.

        Parameters
        ----------
        asked
            The rows to name the nearest images of.
        among
            The rows that these are sought among; an image is not near itself.
        method
            See :func:`fc7.extract.coordinates.coordinates`.
        """
        shown = np.sort(embeddings.key_order()[:MOST])
        place = coordinates(select(embeddings.vectors, shown), method)
        words = place.words
        if len(shown) < len(embeddings):
            words += f"; {len(shown):,} of {len(embeddings):,} images, drawn at random"
        x, y = np.round(place.points.astype(float), 5).T.tolist()
        return cls(
            words=words,
            method=method,
            keys=_keys(embeddings, shown),
            paths=embeddings.paths[shown].tolist(),
            labels=embeddings.labels[shown].tolist(),
            x=x,
            y=y,
            near=_nearest(embeddings, asked, among, progress),
        )

    def save(self, folder: Path, recipe: str, data: str) -> None:
        """Write it below the folder of the records, under the id of its recipe and the fingerprint of its data set."""
        OutputFile(_file(folder, recipe, data)).write(json.dumps({"format": _FORMAT} | asdict(self)).encode())

    @classmethod
    def load(cls, folder: Path, recipe: str, data: str) -> Self | None:
        """Return what a folder of records has for a recipe and a data set; None if it has none that can be read."""
        path = _file(folder, recipe, data)
        if not (recipe + data).isalnum() or not path.exists():  # a record must not choose which file is read
            return None
        try:
            values = json.loads(path.read_bytes())
            if values.pop("format") != _FORMAT:
                return None
            return cls(**values)._checked()
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            logger.warning("left out: %s is not a map that can be read (%s)", path.name, type(error).__name__)
            return None

    def _checked(self) -> Self:
        for texts in (self.keys, self.paths, self.labels):
            if len(texts) != len(self.x) or not all(isinstance(text, str) for text in texts):
                raise ValueError("columns that do not fit")
        if not np.isfinite(np.array([self.x, self.y], float)).all():
            raise ValueError("a number that is not finite")
        for *texts, cosine in self.neighbours:
            if len(texts) != 3 or not all(isinstance(text, str) for text in texts) or not abs(cosine) <= 2:
                raise ValueError("a neighbour that is none")
        if not isinstance(self.words, str):
            raise TypeError("words that are none")
        return self

    @property
    def neighbours(self) -> list[tuple[str, str, str, float]]:
        """Key, path, label and cosine of each image that is near one."""
        return [one for found in self.near.values() for one in found]

    def drawn(
        self,
        others: Mapping[str, str],
        *,
        before: str,
        ringed: str,
        title: str,
        pictures: Pictures,
    ) -> PointMap:
        """Return what a page draws.

        Parameters
        ----------
        others
            Classes that speak against the label, by key.
        pictures
            Addresses of pictures by key.
        before, ringed, title
            See :class:`fc7.classify.pages.point_map.PointMap`.
        """
        place = {key: number for number, key in enumerate(self.keys)}
        near = []
        for key, found in self.near.items():
            if key in place:
                label, path = self.labels[place[key]], self.paths[place[key]]
                other = f", {before} {others[key]}" if others.get(key, label) != label else ""
                nearest = [(path, label, cosine) for _, path, label, cosine in found]
                near.append(Near(path, label, f"{label or 'no label'}{other}", nearest))
        return PointMap(
            points=np.array([self.x, self.y]).T.reshape(-1, 2),
            paths=self.paths,
            labels=self.labels,
            others=[others.get(key, "") for key in self.keys],
            words=f"{self.words}.",
            before=before,
            ringed=ringed,
            near=near,
            title=title,
            pictures=Pictures(*(self._by_path(sources) for sources in (pictures.small, pictures.large))),
        )

    def _by_path(self, sources: Mapping[str, str]) -> dict[str, str]:
        """Return the addresses of pictures by path, but for paths that a page would show as that of another image."""
        names = Counter(relative(path) for path in self.shown.values())
        return {path: sources[key] for key, path in self.shown.items() if key in sources and names[relative(path)] == 1}

    @property
    def shown(self) -> dict[str, str]:
        """The paths of all images by key, first of those near others."""
        return {key: path for key, path, *_ in self.neighbours} | dict(zip(self.keys, self.paths, strict=True))


def _keys(embeddings: Embeddings, rows: Positions) -> list[str]:
    return [key.tobytes().hex()[:KEY_DIGITS] for key in embeddings.sha256[rows]]


def _nearest(
    embeddings: Embeddings, asked: Positions, among: Positions, progress: Progress
) -> dict[str, list[tuple[str, str, str, float]]]:
    """Return key, path, label and cosine of the images nearest to some, by key."""
    if not len(asked) or not len(among):
        return {}
    queries = np.asarray(select(embeddings.vectors, asked)[:])
    found = nearest(select(embeddings.vectors, among), NEAREST + 1, queries=queries, progress=progress)
    near = {}
    for row, key, places, cosines in zip(asked, _keys(embeddings, asked), found.places, found.cosines, strict=True):
        others = among[places]
        kept = np.flatnonzero(others != row)[:NEAREST]
        columns = embeddings.paths[others[kept]].tolist(), embeddings.labels[others[kept]].tolist()
        rounded = np.round(cosines[kept].astype(float), 4).tolist()
        near[key] = list(zip(_keys(embeddings, others[kept]), *columns, rounded, strict=True))
    return near


def _file(folder: Path, recipe: str, data: str) -> Path:
    return folder / FOLDER / f"{recipe[:KEY_DIGITS]}-{data[:KEY_DIGITS]}.json"
