"""A data set in a tar or zip, or in several: folders as they were packed, or WebDataset shards with labels beside."""

import glob
import itertools
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..archives.directory import TAR, ZIP, Archive
from ..text import is_unicode, plain
from .columns import Found, ImageEntry, Images
from .folder import read_names, visible, without_tables
from .layout import split_of
from .left_out import is_left_out
from .members import split as split_address
from .paths import SPLITS, Reject, refusal_by_name
from .table import text_of

logger = logging.getLogger(__name__)

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
_MOST_SHARDS = 100_000
_MOST_LABEL = 2**20  # bytes of a file that holds a label
_LABELS = (".cls", ".json", ".txt")  # whose names are those of images, up to the first dot
_FIELDS = ("label", "class", "cls")  # of a .json


def archives_of(data: Path) -> list[str]:
    """Return the archives that a data set consists of, sorted; none if it is something else.

    That is a tar or zip; a part of one, ``photos.tar!/photos``; a pattern, ``shards-{000..009}.tar`` or
    ``shards-*.tar``; a folder with nothing but shards.

    Raises
    ------
    DataError
        Some of those that a pattern names do not exist.
    """
    text = str(data)
    if inside := split_address(text)[0]:
        return [inside]
    if not _is_archive(text) or os.path.isdir(data):  # noqa: PTH112 - False for any error
        return _inside(data)
    if os.path.lexists(data) or not (_BRACES.search(text) or glob.has_magic(text)):
        return [text]
    names = list(itertools.islice(_expanded(text), _MOST_SHARDS + 1))
    if len(names) > _MOST_SHARDS:
        raise DataError(f"{data} stands for more than {_MOST_SHARDS} files.")
    found = {name: sorted(glob.glob(name)) if glob.has_magic(name) else [name] for name in names}  # noqa: PTH207
    absent = [name for name, files in found.items() if not files or not os.path.lexists(files[0])]
    if absent:
        raise DataError(f"{data}: {len(absent)} of {len(names)} files do not exist, the first is {absent[0]}.")
    return sorted(set(itertools.chain.from_iterable(found.values())))


def read_archives(data: Path, archives: Sequence[str]) -> tuple[Found, Path]:
    """Return what :func:`fc7.extract.manifest.folder.sorted_images` returns, of archives; and their :func:`root_of`.

    Labels are those beside the images, as WebDataset has them (``a.jpg``, ``a.cls``), else those of class folders. An
    archive that holds one folder stands for that folder. Shards are splits if all of them are called so.

    Raises
    ------
    DataError
        One cannot be read, or has a label that cannot be.
    """
    found = _Found(data, archives)
    return (found.labelled() if any(found.labels.values()) else found.in_folders()), found.root


def root_of(data: Path, archives: Sequence[str]) -> Path:
    """Return what paths are relative to: the folder of archives, or the one archive and the one folder in it."""
    if os.path.isdir(data):  # noqa: PTH112 - False for any error
        return data
    if len(archives) > 1:
        return Path(os.path.commonpath([Path(path).parent for path in archives]))
    with _opened(archives[0]) as archive:
        inside = split_address(f"{data}/")[1].rstrip("/") or _one_folder(archive.directory.names)
    return Path(f"{archives[0]}!", inside)


def each_member(archives: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the address of each image in archives, and why it cannot be one; nothing, if it can."""
    for path in archives:
        try:
            with Archive(path) as archive:
                names = without_tables(path, _sorted(visible(path, archive.directory.names))[0])
                refused = [reject for reject in archive.directory.refused if _is_shown(reject[0])]
        except (DataError, OSError) as error:
            yield path, str(error) if isinstance(error, DataError) else f"not readable: {error.strerror}"
            continue
        yield from ((f"{path}!/{name}", refusal_by_name(name)) for name in names)
        yield from ((f"{path}!/{name}", reason) for name, reason in refused)


class _Found:
    """What is in archives.

    Attributes
    ----------
    root
        What paths are relative to: the folder of the archives, or the one archive and perhaps a folder in it.
    names
        Of the images and of what is no image, sorted, by archive. What belongs to an image is not among them.
    labels
        Of images that have one beside them, by archive and name.
    rejects
        What is not read, whatever it is called.
    """

    def __init__(self, data: Path, archives: Sequence[str]) -> None:
        self.names: dict[str, list[str]] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.rejects: list[Reject] = []
        captions: dict[str, dict[str, str]] = {}
        refused, broken = [], []
        self.root = root_of(data, archives)
        # Of a folder, the paths have the names of its archives, however many they are.
        self._only = len(archives) == 1 and not os.path.isdir(data)  # noqa: PTH112
        self._start = split_address(f"{self.root}/")[1] if self._only else ""
        self._short = (
            {} if self._only else {path: Path(os.path.relpath(path, self.root)).as_posix() for path in archives}
        )
        for path in archives:
            with _opened(path) as archive:
                names = [name for name in archive.directory.names if name.startswith(self._start)]
                names, beside = _sorted(visible(path, names))
                self.names[path] = without_tables(path, names)
                self.labels[path], captions[path], unreadable = _labels(archive, beside)
                broken += [(path, *reject) for reject in unreadable]
                refused += [(path, *reject) for reject in archive.directory.refused if self._is_here(reject[0])]
        if not any(self.labels.values()):
            self.labels = _if_classes(captions)
        for path, labels in self.labels.items():
            strange = (name for name, label in labels.items() if not is_unicode(label))
            broken += [(path, name, "its label is not UTF-8") for name in strange]
        for path in {path for path, _, _ in broken}:
            gone = {name for at, name, _ in broken if at == path}
            self.names[path] = [name for name in self.names[path] if name not in gone]
        self.rejects = [Reject(self.path(path, name), reason) for path, name, reason in [*refused, *broken]]
        self._splits = _splits(archives)

    def _is_here(self, name: str) -> bool:
        """Return whether a refused member is in the part of the archive that is read, or in none."""
        return _is_shown(name) and (name.startswith(self._start) or _leads_out(name))

    def path(self, archive: str, name: str) -> str:
        """Return the path of a member, relative to the root."""
        if self._only:
            return name.removeprefix(self._start)
        return f"{self._short[archive]}!/{name}"

    def labelled(self) -> Found:
        """Return the images with the labels beside them, and the rejects."""
        images, rejects = Images(), list(self.rejects)
        for archive, names in self.names.items():
            for name in names:
                if reason := refusal_by_name(name):
                    rejects.append(Reject(self.path(archive, name), reason))
                else:
                    label = self.labels[archive].get(name, "")
                    images.append(ImageEntry(self.path(archive, name), label, self._splits.get(archive, "")))
        return Found(images, rejects)

    def in_folders(self) -> Found:
        """Return the images with the labels of class folders, and the rejects; archives share their folders."""
        if self._only:
            archive, names = next(iter(self.names.items()))
            found = read_names(str(self.root), [self.path(archive, name) for name in names])
            return found._replace(rejects=[*self.rejects, *found.rejects])
        archives = list(self.names)

        def apart(number: int, name: str) -> str:
            """Return a name that no other archive has, in the same folder."""
            folder, _, rest = name.rpartition("/")
            return "/".join(filter(None, (self._splits.get(archives[number]), folder, f"{number}!{rest}")))

        def back(path: str) -> str:
            folder, _, rest = path.rpartition("/")
            number, _, rest = rest.partition("!")
            archive = archives[int(number)]
            folder = f"{folder}/".removeprefix(f"{self._splits.get(archive)}/") if folder else ""
            return self.path(archive, folder + rest)

        names = [apart(number, name) for number, archive in enumerate(archives) for name in self.names[archive]]
        found = read_names(str(self.root), sorted(names))
        rejects = [*self.rejects, *(Reject(back(path), reason) for path, reason in found.rejects)]
        images = Images(image._replace(path=back(image.path)) for image in found.images)
        return found._replace(images=images, rejects=rejects)


def _one_folder(names: Sequence[str]) -> str:
    """Return the folder that holds all of an archive, if it is no split."""
    tops = {name.partition("/")[:2] for name in names}
    (top, slash), *others = [(top, slash) for top, slash in tops if not is_left_out(top)] or [("", "")]
    return top if slash and not others and top not in SPLITS else ""


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def _is_shown(name: str) -> bool:
    """Return whether a refused member is said: what is hidden or a system's own is not, whatever is wrong with it."""
    return _leads_out(name) or not any(map(is_left_out, name.split("/")))


def _opened(path: str) -> Archive:
    try:
        return Archive(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _sorted(names: Iterable[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Return the names without those that belong to images; and these by suffix, by image."""
    names = list(names)
    # By the name with a small suffix: WebDataset itself takes no regard of case there.
    possible = {_small(name): name for name in names if name.lower().endswith(_LABELS)}
    beside: dict[str, dict[str, str]] = {}
    if possible:
        for name in names:
            if not refusal_by_name(name):
                start = name.rfind("/") + 1
                key = name[:start] + name[start:].partition(".")[0]
                if mine := {suffix: possible[key + suffix] for suffix in _LABELS if key + suffix in possible}:
                    beside[name] = mine
    taken = {name for mine in beside.values() for name in mine.values()}
    return [name for name in names if name not in taken], beside


def _small(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}{dot}{suffix.lower()}"


def _labels(archive: Archive, beside: dict[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, str], list[Reject]]:
    """Return the labels of images; the texts of those that have nothing else, which may be captions; the unreadable."""
    labels, captions = dict[str, str](), dict[str, str]()
    unreadable, no_text = list[Reject](), list[str]()
    for image, files in beside.items():
        for suffix, name in files.items():
            try:
                label = _label(archive.read(name, _MOST_LABEL), suffix)
            except (OSError, ValueError, RecursionError) as error:
                reason = getattr(error, "strerror", None) or error
                unreadable.append(Reject(image, f"its label {name} cannot be read: {reason}"))
                break
            if isinstance(label, list | dict):
                no_text.append(name)
            elif label := " ".join(text_of(label).split()):
                (captions if suffix == ".txt" else labels)[image] = label
                break
    if no_text:
        logger.warning(
            "fc7: %s: the images beside %d files have no label, as it is a list or an object there; the first is %s.",
            *(plain(archive.path), len(no_text), plain(no_text[0])),
        )
    return labels, captions, unreadable


def _label(data: bytes, suffix: str) -> Any:
    """Return what a file beside an image says; letters that are not UTF-8 are refused later, if it is no caption."""
    if suffix != ".json":
        return data.decode("utf-8-sig", "surrogateescape")
    value = json.loads(data)
    return next((value[field] for field in _FIELDS if field in value), None) if isinstance(value, dict) else value


def _if_classes(captions: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return texts if they are classes: captions differ from image to image."""
    count = sum(map(len, captions.values()))
    different = len({text for texts in captions.values() for text in texts.values()})
    if 2 * different <= count:
        return captions
    numbers = f"{different:,} different texts beside {count:,} images"
    logger.info("fc7: %s are taken for captions, not for labels.", numbers)
    return {archive: {} for archive in captions}


def _splits(archives: Sequence[str]) -> dict[str, str]:
    """Return the split of each archive, if all are called like one, and not all like the same."""
    splits = {path: split_of(Path(path).stem) for path in archives}
    return splits if "" not in splits.values() and len(set(splits.values())) > 1 else {}


def _inside(folder: Path) -> list[str]:
    """Return the archives in a folder, if no images and no folders are in it."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_left_out(entry.name):
                    continue
                if entry.is_dir() or not refusal_by_name(entry.name):
                    return []
                if _is_archive(entry.name):
                    found.append(entry.path)
    except (OSError, ValueError):  # whoever reads the folder says why
        return []
    return sorted(found)


def _expanded(text: str) -> Iterator[str]:
    """Yield what a shell makes of braces."""
    braces = _BRACES.search(text)
    if not braces:
        yield text
        return
    first, last, words = braces.groups()
    width = len(first or "")
    within = words.split(",") if words else (f"{number:0{width}}" for number in range(int(first), int(last) + 1))
    for word in within:
        yield from (text[: braces.start()] + word + rest for rest in _expanded(text[braces.end() :]))


def _is_archive(path: str) -> bool:
    return path.lower().endswith((TAR, ZIP))
