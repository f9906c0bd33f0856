"""Which folders are splits and which are classes, judged by their names and by what is in them."""

import logging
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from ..text import listed, plain
from .paths import SPLIT_NAMES, SPLITS

logger = logging.getLogger(__name__)

_ROLE = re.compile(rf"({'|'.join(SPLIT_NAMES)})(set|data|images|imgs)?")
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+")
_CSV = "name them in a csv, path,label[,split]"
_few = partial(listed, most=4)


class Contents(NamedTuple):
    """The names of the folders and of the images in a folder, sorted."""

    folders: Sequence[str]
    images: Sequence[str]


class Undecided(Exception):
    """Folders may be classes or splits, and nothing tells which: the images in them have no label."""


class Layout(NamedTuple):
    """Where the images of a data set lie; a split is empty where there are none."""

    classes: list[tuple[str, str]]  # the split and the name of each class folder, in a fixed order
    unlabelled: list[tuple[str, str]]  # the split and the path of each folder of images that has no class folders
    # The split and the path of each image that lies beside class folders, or beside splits.
    loose: list[tuple[str, str]]


def layout(where: str, contents: Callable[[str], Contents]) -> Layout:
    """Return which folders are splits and which are classes.

    Images beside class folders, and folders beside splits, which are left out, are said.

    Parameters
    ----------
    where
        The data set, for messages.
    contents
        Of a folder, by its path in the data set.

    Raises
    ------
    Undecided
        Folders look like splits and are not called so, or a folder called like a split may be a class.
    """
    top = contents("")
    splits = [split for split in SPLITS if split in top.folders]
    _require_no_strays(where, top.folders, splits, contents)
    inside = {split: contents(split) for split in splits} or {"": top}
    classes = [(split, label) for split, found in inside.items() for label in found.folders]
    unlabelled = [(split, split) for split, found in inside.items() if not found.folders]
    loose = [("", image) for image in top.images] if splits or classes else []
    loose += [
        (split, f"{split}/{image}") for split in splits if inside[split].folders for image in inside[split].images
    ]
    others = [name for name in top.folders if name not in splits] if splits else []
    if not classes and any(any(contents(name)) for name in others):
        raise Undecided(
            f"{where}: {_few(splits)} holds images and no class folders, beside {_few(others)}. If {splits[0]} is a "
            f"class like these, {_CSV}; if it is a split, move its images to {where}/{splits[0]}/<class>/."
        )
    if loose:
        logger.warning(
            "fc7: %s: images in no class folder have no label: %d, the first is %s.",
            *(plain(where), len(loose), plain(loose[0][1])),
        )
    if others:
        logger.warning(
            "fc7: left out of %s: folders beside %s: %s.", plain(where), " and ".join(splits), plain(_few(others))
        )
    return Layout(classes, unlabelled, loose)


def require_classes(where: str, labels: Sequence[tuple[str, str]], contents: Callable[[str], Contents]) -> None:
    """Refuse class folders that hold the same folders, as splits do: classes have one folder in common at most.

    A single class folder that holds the classes is refused, too. `contents` may be empty of a folder that has no
    folders.

    Raises
    ------
    Undecided
        The message has the commands that rename them, where their names say what they are.
    """
    for split in dict.fromkeys(split for split, _ in labels):
        tops = [f"{split}/{label}" if split else label for at, label in labels if at == split]
        outlines = [found for top in tops if (found := _outline(top, contents)).folders]
        if split in ("", "train") and len(tops) == len(outlines) == 1 < len(outlines[0].folders):
            _refuse_the_only(where, split, outlines[0])
        _require_different(f"{where}/{split}" if split else where, outlines)


def _require_different(where: str, outlines: "Sequence[_Outline]") -> None:
    holders: dict[str, list[int]] = defaultdict(list)
    for number, outline in enumerate(outlines):
        shared = Counter(other for name in outline.folders for other in holders[name])
        for other, count in shared.items():
            if count > 1 and _alike(outlines[other], outline, count):
                _refuse(where, outlines[other], outlines)
        for name in outline.folders:
            holders[name].append(number)


class _Outline(NamedTuple):
    """What a class folder holds; ``path`` is that folder, or the one folder in it that holds all."""

    top: str
    path: str
    folders: Sequence[str]
    images: Sequence[str]


def _outline(top: str, contents: Callable[[str], Contents]) -> _Outline:
    outline, path = _Outline(top, top, (), ()), top
    while (inside := contents(path)).folders:
        outline = _Outline(top, path, *inside)
        if len(inside.folders) > 1 or inside.images:
            break
        path = f"{path}/{inside.folders[0]}"
    return outline


def _alike(one: _Outline, other: _Outline, shared: int) -> bool:
    """Return whether two folders hold the same folders: one may lack some, and images beside them are a class's."""
    return 2 * shared >= min(len(one.folders), len(other.folders)) and not (one.images and other.images)


def _refuse_the_only(where: str, split: str, outline: _Outline) -> None:
    inside = f"{where}/{outline.path}"
    cure = f"move them: {shlex.join(['mv', inside])}/* {shlex.quote(f'{where}/{split}')}" if split else f"name {inside}"
    raise Undecided(
        f"{where} has one class only, {outline.top}, with the folders {_few(outline.folders)}. If these are splits or "
        f"classes, {cure}."
    )


def _refuse(where: str, first: _Outline, outlines: Sequence[_Outline]) -> None:
    alike = [one for one in outlines if len(set(one.folders) & set(first.folders)) > 1]
    shared = [name for name in first.folders if all(name in one.folders for one in alike)] or first.folders
    names = [one.top.rpartition("/")[2] for one in alike]
    if all(_role(name)[0] for name in shared):
        raise Undecided(
            f"{where}: {_few(names)} hold {_few(shared)}, but splits come before classes: {shared[0]}/{names[0]}, "
            f"not {names[0]}/{shared[0]}. Move them, or {_CSV}."
        )
    renames = _renames(where, alike, ())
    raise Undecided(
        f"{where}: {_few(names)} hold the same folders ({_few(shared)}), as splits do, not classes. Splits are called "
        f"train, val and test: rename them{renames}. If they are classes, {_CSV}."
    )


def _require_no_strays(
    where: str, folders: Collection[str], splits: Collection[str], contents: Callable[[str], Contents]
) -> None:
    """Refuse two folders or more whose names differ by the word for a split only."""
    families: dict[str, list[str]] = defaultdict(list)
    for name in folders:
        role, rest = _role(name)
        if role:
            families[rest].append(name)
    for names in families.values():
        if len(names) < 2:
            continue
        strays = sorted(name for name in names if name not in splits and any(contents(name)))
        if strays:
            renames = _renames(where, [_outline(name, contents) for name in strays], splits)
            raise Undecided(
                f"{where} has folders that look like splits, {_few(strays)}. Splits are called train, val and test: "
                f"rename them{renames}. If they are classes, {_CSV}."
            )


def split_of(name: str) -> str:
    """Return the split that a name means, empty if none."""
    return _role(name)[0]


def _role(name: str) -> tuple[str, str]:
    """Return the split that a name means, empty if none, and the rest of the name.

    >>> _role("seg_train"), _role("TestImages"), _role("valid"), _role("contest")
    (('train', 'seg'), ('test', 'images'), ('val', ''), ('', 'contest'))
    """
    role, rest = "", []
    for word in _WORD.findall(name):
        found = _ROLE.fullmatch(word.lower())
        if found and not role:
            role = SPLIT_NAMES[found[1]]
            rest += [found[2]] if found[2] else []
        else:
            rest.append(word.lower())
    return role, " ".join(rest)


def _renames(where: str, outlines: Sequence[_Outline], taken: Collection[str]) -> str:
    """Return the commands that rename folders to splits; empty where names do not say to which."""
    roles = [_role(outline.top.rpartition("/")[2])[0] for outline in outlines]
    if not all(roles) or len({*roles, *taken}) < len(roles) + len(taken) or "://" in where:
        return ""
    moves = [
        shlex.join(["mv", f"{where}/{outline.path if len(outline.folders) > 1 else outline.top}", f"{where}/{role}"])
        for outline, role in zip(outlines, roles, strict=True)
    ]
    return f": {'; '.join(moves)}"
