"""A folder of images: train, val and test with class folders, or class folders alone."""

from collections.abc import Callable, Iterable, Iterator
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

    nothing = Contents((), ())
    found = read_classes(str(root), contents, walk.below, lambda folder: walk.contents.get(folder, nothing))
    walk.left_out.log(root)
    return found


def read_classes(
    where: str,
    contents: Callable[[str], Contents],
    below: Callable[[str], Iterable[tuple[str, str]]],
    outline: Callable[[str], Contents],
) -> tuple[Images, list[Reject]]:
    """Return the images in class folders, class by class, and the rejects.

    Parameters
    ----------
    where, contents
        As for :func:`class_folders`.
    below
        Yields each path below a folder and why it is no image; empty if it is one.
    outline
        Contents of a folder that `below` has gone through; empty if it has no folders.
    """
    images, rejects = Images(), list[Reject]()
    labels = class_folders(where, contents)

    def sound(folder: str) -> Iterator[str]:
        for path, reason in below(folder):
            if path == folder:
                raise DataError(f"The class folder {where}/{folder} cannot be used: {reason}.")
            if reason:
                rejects.append(Reject(path, reason))
            else:
                yield path

    for split, label in labels:
        folder = f"{split}/{label}" if split else label
        if not images.extend(sound(folder), label, split):
            raise DataError(
                f"The class folder {where}/{folder} has no images. Remove it or put images in it: an empty class would "
                "shift the order of the others."
            )
    require_classes(where, labels, outline)
    return images, rejects
