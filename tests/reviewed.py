"""Data to review."""

from dataclasses import replace

import numpy as np

from fc7.cache.keys import Keys
from fc7.classify.reviews.labels import Labels
from fc7.extract.manifest.columns import ImageEntry
from fc7.extract.manifest.manifest import Manifest


def reviewed(table, folder, counts=(20, 20), *, flipped=(), labels=None, **options):
    """Embeddings, and the manifest they are of, with files that are there."""
    rows = table(counts, val=4, spread=0.7, seed=3, **options)
    if flipped:
        codes = rows.y
        codes[list(flipped)] = (codes[list(flipped)] + 1) % len(counts)
        rows = replace(rows, labels=np.array(rows.classes)[codes])
    if labels is not None:
        rows = replace(rows, labels=np.array(labels(rows), np.str_))
    columns = zip(rows.paths.tolist(), rows.labels.tolist(), rows.split.tolist(), rows.group.tolist(), strict=True)
    images = tuple(ImageEntry(*row) for row in columns)
    for image in images:
        (folder / image.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / image.path).touch()
    return rows, Manifest(folder, images, rows.classes, (), "pictures")


def labels_of(rows, manifest, file):
    """The csv of a review of the images that have these rows; what has no row could not be read."""
    keys = dict(zip(rows.paths.tolist(), rows.keys, strict=True))
    return Labels(
        manifest, Keys.from_bytes(b"".join(keys.get(path, bytes(32)) for path in manifest.images.paths)), file
    )


def state(review):
    return review.counts, review.judged.suspects.tolist(), review.judged.agreement, review.decided
