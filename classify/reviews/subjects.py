"""The images of a review: each once, whatever copies it has, with the label that these agree on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...cache.embeddings import Embeddings
from ...extract.manifest.manifest import Manifest
from .labels import Decision

UNDECIDED = ""  # the label of an image whose copies contradict each other, or that has none


@dataclass(frozen=True)
class Subject:
    """The present state of an image."""

    image: int  # its number
    paths: list[str]  # of the image and its copies
    # The present label, and that of the data set; it is empty if copies contradict each other, or there is none.
    decision: Decision
    given: Decision
    splits: list[str]  # the splits of the image and its copies
    reviewed: bool  # whether a person has decided
    contradicted: bool  # whether copies have different labels in the data set
    # Classes and their probabilities by the fit of all other images, the most probable first; empty while too few
    # images have a label.
    likely: list[tuple[str, float]]


class ReviewedImage(NamedTuple):
    """An image and its copies; paths, splits and given are those of :class:`Subject`."""

    key: str  # sha256 in hex
    row: int  # the first one
    paths: list[str]
    splits: list[str]
    given: Decision
    contradicted: bool  # whether copies have different labels
    fitted: bool  # whether heads are fitted on it: it is in train, or the data set has no splits


def reviewed_images(embeddings: Embeddings, manifest: Manifest) -> list[ReviewedImage]:
    """Return the images of a data set, in the order of the embeddings."""
    keys = dict(zip(embeddings.paths.tolist(), embeddings.keys, strict=True))
    rows: dict[bytes, int] = {}
    for row, key in enumerate(embeddings.keys):
        rows.setdefault(key, row)
    copies = defaultdict(list)
    for entry in manifest.images:  # in this order copies are named
        if entry.path in keys:
            copies[keys[entry.path]].append(entry)
    images = []
    for key, row in rows.items():
        paths = list(dict.fromkeys(entry.path for entry in copies[key]))
        splits = {entry.split for entry in copies[key]}
        given = agreed([Decision(entry.label, entry.bad) for entry in copies[key]])
        several = given.label == UNDECIDED and any(entry.label for entry in copies[key])
        fitted = bool(splits & {"train", ""})
        images.append(ReviewedImage(key.hex(), row, paths, sorted(splits - {""}), given, several, fitted))
    return images


def agreed(copies: Sequence[Decision]) -> Decision:
    """Return the common decision of copies: bad only if all are, without a label if labels differ or none has one."""
    usable = [copy for copy in copies if not copy.bad] or copies
    labels = {copy.label for copy in usable if copy.label}
    return Decision(labels.pop() if len(labels) == 1 else UNDECIDED, all(copy.bad for copy in copies))
