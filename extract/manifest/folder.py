"""A folder of images, on disk or as a listing of names: splits with class folders, class folders, or images alone."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ...errors import DataError
from .columns import Found, Images
from .layout import Contents, Layout, Undecided, layout, require_classes
from .left_out import LeftOut, is_about_images, is_left_out
from .paths import Reject, refusal_by_name
from .walk import Walk


def read_folder(root: Path) -> Found:
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
    if not found.images:  # tables may be the data set
        walk.left_out.about_images.clear()
    walk.left_out.log(root)
    return found


def visible(where: str, names: Iterable[str]) -> list[str]:
    """Return the names in a listing that are not left out; what is left out is said.

    Left out is what is hidden, a system's own, or in a cache of fc7.
    """
    names = list(names)
    caches = {name.removesuffix("/FORMAT") for name in names if name.endswith("/FORMAT")}
    caches &= {name.partition("/recipes/")[0] for name in names if "/recipes/" in name} if caches else set()
    known: dict[str, str] = {"": ""}

    def reason(path: str) -> str:
        """Return the folder or file because of which a path is left out; empty if it is not."""
        parent, _, name = path.rpartition("/")
        if parent not in known:
            known[parent] = reason(parent)
        return known[parent] or (path if is_left_out(name) or path in caches else "")

    gone = {name: above for name in names if (above := reason(name))}
    left_out = LeftOut()
    for above in dict.fromkeys(gone.values()):
        left_out.add(above.rpartition("/")[2])
    left_out.log(where)
    return [name for name in names if name not in gone]


def without_tables(where: str, names: Iterable[str]) -> list[str]:
    """Return the names in a listing that do not tell of images; those that do are said."""
    left_out, found = LeftOut(), []
    for name in names:
        if is_about_images(name):
            left_out.add(name.rpartition("/")[2])
        else:
            found.append(name)
    left_out.log(where)
    return found


def read_names(where: str, names: Iterable[str]) -> Found:
    """Return what :func:`sorted_images` returns, of a listing: objects below a URL, or members of an archive.

    What is left out, because it is hidden, a system's own or beside splits, is logged.
    """
    shown = without_tables(where, visible(where, names))
    paths = [path for path in shown if not path.endswith("/")]  # consoles make objects of empty folders
    contents = _contents(paths)

    def below(folder: str) -> Iterator[tuple[str, str]]:
        if not folder:
            return ((path, refusal_by_name(path)) for path in paths)
        inside = paths[bisect_left(paths, f"{folder}/") : bisect_left(paths, f"{folder}0")]  # which follows the slash
        return ((path, refusal_by_name(path)) for path in inside)

    return sorted_images(where, contents, below, contents)


def sorted_images(
    where: str,
    contents: Callable[[str], Contents],
    below: Callable[[str], Iterable[tuple[str, str]]],
    outline: Callable[[str], Contents],
) -> Found:
    """Return the images of a folder, class by class and then those without a label, and the rejects.

    Where nothing tells classes from splits, no image has a label.

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
    return Found(images, rejects, unclear=unclear)


def _sound(where: str, folder: str, paths: Iterable[tuple[str, str]], rejects: list[Reject]) -> Iterator[str]:
    """Yield the paths of images, and add all others to the rejects."""
    for path, reason in paths:
        if path == folder:
            raise DataError(f"The folder {where}/{folder} cannot be used: {reason}.")
        if reason:
            rejects.append(Reject(path, reason))
        else:
            yield path


def _contents(paths: Iterable[str]) -> Callable[[str], Contents]:
    """Return a function that returns what is in a folder."""
    folders: dict[str, dict[str, None]] = {"": {}}
    images: dict[str, list[str]] = defaultdict(list)

    def add(folder: str) -> None:
        if folder not in folders:
            parent, _, name = folder.rpartition("/")
            folders[folder] = {}
            add(parent)
            folders[parent][name] = None

    for path in paths:
        folder, _, name = path.rpartition("/")
        add(folder)
        if not refusal_by_name(name):
            images[folder].append(name)
    return lambda folder: Contents(list(folders.get(folder, ())), images.get(folder, ()))
