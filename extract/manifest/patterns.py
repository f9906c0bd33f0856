"""Patterns such as ``new/**/*.jpg``: what a shell would name, and the images in folders that it would name."""

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .left_out import LeftOut, is_system
from .paths import above, refusal_by_name
from .walk import Walk

_ANY = "**"


def is_pattern(path: str) -> bool:
    """Return whether a path is a pattern; a file of that name comes first."""
    return glob.has_magic(path) and not os.path.lexists(path)


def images_below(folder: str, left_out: LeftOut) -> Iterator[tuple[str, str]]:
    """Yield each path below a folder and why it is no image; empty if it is one."""
    walk = Walk(Path(folder), left_out)
    for path, reason in walk.below(""):
        yield walk.above + path if path else folder, reason


def matching(pattern: str, left_out: LeftOut) -> Iterator[tuple[str, str]]:
    """Yield what a pattern matches, sorted, each path once, and why it is no image; empty if it is one.

    Hidden files and a system's own match only if the pattern names them.
    """
    base, rest = _split(Path(pattern))
    place = rest.index(_ANY) if _ANY in rest else len(rest)
    above_all = glob.escape(above(base))
    heads = sorted(glob.glob(os.path.join(above_all, *rest[:place]) or os.curdir))  # noqa: PTH118, PTH207
    seen = set()
    for head in heads:
        strange = [name for name in Path(head).parts if is_system(name) and name not in Path(pattern).parts]
        if strange:
            left_out.add(strange[0])
            continue
        for path, reason in _under(head, rest[place:], left_out):
            if path not in seen:
                seen.add(path)
                yield path, reason


def _split(pattern: Path) -> tuple[Path, Sequence[str]]:
    """Return the folders of a pattern that are there as they are called, brackets included, and what comes after."""
    base, names = Path(pattern.anchor), pattern.parts[1 if pattern.anchor else 0 :]
    for place, name in enumerate(names):
        if name == _ANY or (glob.has_magic(name) and not os.path.lexists(base / name)):
            return base, names[place:]
        base /= name
    return base, ()


def _under(head: str, tail: Sequence[str], left_out: LeftOut) -> Iterator[tuple[str, str]]:
    if not os.path.isdir(head):  # noqa: PTH112 - False for any error
        if not tail:
            yield head, refusal_by_name(head)
        return
    start = len(Path(head).parts) if head != os.curdir else 0
    for path, reason in images_below(head, left_out):
        parts = Path(path).parts[start:]
        # What is in a folder that matches was named, too. A folder that cannot be listed may hold what was named.
        named = not tail or any(_match(parts[:end], tail) for end in range(1, len(parts) + 1))
        if named or (reason.startswith("not readable") and os.path.isdir(path)):  # noqa: PTH112
            yield path, reason


def _match(parts: Sequence[str], tail: Sequence[str]) -> bool:
    if not tail:
        return not parts
    if tail[0] == _ANY:
        return any(_match(parts[skipped:], tail[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], tail[0]) and _match(parts[1:], tail[1:])
