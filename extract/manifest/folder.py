"""A folder of images: train, val and test with class folders, class folders alone, or images without labels."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ...errors import DataError
from .columns import Images
from .layout import Contents, Layout, Undecided, layout, require_classes
from .left_out import LeftOut
from .paths import Reject
from .walk import Walk


def read_folder(root: Path) -> tuple[Images, list[Reject], str]:
    """Return what :func:`sorted_images` returns, of a folder.

    What is left out, because it is hidden, a system's own or beside splits, is logged.
    """
    walk = Walk(root, LeftOut())

    def contents(folder: str) -> Contents:
        try:
            return walk.listing(folder).contents()
        except OSError as error:
            raise DataError(f"The folder {root / folder} cannot be listed: {error.strerror}.") from error

    nothing = Contents((), ())
    found = sorted_images(str(root), contents, walk.below, lambda folder: walk.contents.get(folder, nothing))
    walk.left_out.log(root)
    return found


def sorted_images(
    where: str,
    contents: Callable[[str], Contents],
    below: Callable[[str], Iterable[tuple[str, str]]],
    outline: Callable[[str], Contents],
) -> tuple[Images, list[Reject], str]:
    """Return the images of a folder, class by class and then those without a label; the rejects; what is no data set.

    The last is why no head can be fitted on it, if folders are no classes as they are: where nothing tells classes from
    splits, no image has a label. It is empty if there is nothing to say.

    Parameters
    ----------
    where, contents
        As for :func:`layout`.
    below
        Yields each path below a folder and why it is no image; empty if it is one.
    outline
        Contents of a folder that `below` has gone through; empty if it has no folders.
    """
    images, rejects = Images(), list[Reject]()

    def sound(folder: str) -> Iterator[str]:
        return _sound(where, folder, below(folder), rejects)

    unclear, empty = "", []
    found = Layout([], [("", "")], [])  # where nothing can be decided, everything below has no label
    try:
        found = layout(where, contents)
        for split, label in found.classes:
            folder = f"{split}/{label}" if split else label
            if not images.extend(sound(folder), label, split):
                empty.append(folder)
        require_classes(where, found.classes, outline)
    except Undecided as error:
        unclear = f"{error} Until then the images have no label."
        images, without = Images(), images
        images.extend(without.paths, "", "")
    labelled = 0 if unclear else len(images)
    for split, folder in found.unlabelled:
        images.extend(sound(folder), "", split)
    for split, path in found.loose:
        images.extend([path], "", split)
    if empty and labelled:
        unclear = (
            f"The class folder {where}/{empty[0]} has no images. Remove it or put images in it: an empty class would "
            "shift the order of the others."
        )
    return images, rejects, unclear


def _sound(where: str, folder: str, paths: Iterable[tuple[str, str]], rejects: list[Reject]) -> Iterator[str]:
    """Yield the paths of images, and add all others to the rejects."""
    for path, reason in paths:
        if path == folder:
            raise DataError(f"The folder {where}/{folder} cannot be used: {reason}.")
        if reason:
            rejects.append(Reject(path, reason))
        else:
            yield path
