"""A folder of images: train, val and test with class folders, or class folders alone."""

from collections.abc import Iterator
from pathlib import Path

from ...errors import DataError
from .columns import Images
from .layout import Contents, class_folders, require_classes
from .left_out import LeftOut
from .paths import Reject
from .walk import Walk


def read_folder(root: Path) -> tuple[Images, list[Reject]]:
    """Return the images of a folder, in a fixed order, and the rejects.

    What is left out, because it is hidden, a system's own or in no class folder, is logged.
    """
    walk = Walk(root, LeftOut())

    def contents(folder: str) -> Contents:
        try:
            return walk.listing(folder).contents()
        except OSError as error:
            raise DataError(f"The folder {root / folder} cannot be listed: {error.strerror}.") from error

    images, rejects = Images(), list[Reject]()
    labels = class_folders(str(root), contents)
    for split, label in labels:
        folder = f"{split}/{label}" if split else label
        if not images.extend(_images_below(walk, folder, rejects), label, split):
            raise DataError(
                f"The class folder {root / folder} has no images. Remove it or put images in it: an empty class would "
                "shift the order of the others."
            )
    require_classes(str(root), labels, lambda folder: walk.contents.get(folder, Contents((), ())))
    walk.left_out.log(root)
    return images, rejects


def _images_below(walk: Walk, folder: str, rejects: list[Reject]) -> Iterator[str]:
    """Yield the paths of the images of a class, and append the others to the rejects."""
    for path, reason in walk.below(folder):
        if path == folder:
            raise DataError(f"The class folder {walk.root / folder} cannot be used: {reason}.")
        if reason:
            rejects.append(Reject(path, reason))
        else:
            yield path
