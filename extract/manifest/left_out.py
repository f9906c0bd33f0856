"""What systems put beside images: hidden files, thumbnails and bins of storage devices. Left out, counted and said."""

import logging
import re
from collections import Counter
from pathlib import Path

from ..text import plain

logger = logging.getLogger(__name__)

# Compared without regard to case, of which Windows and macOS take none.
_SYSTEM = frozenset(
    {
        "#recycle",  # Synology
        "#snapshot",
        "@eadir",  # its thumbnails are called like images
        "@tmp",
        "@__thumb",  # QNAP
        "@recently-snapshot",
        "@recycle",
        "@transcode",
        "~snapshot",  # NetApp
        "$extend",  # Windows
        "$recycle.bin",
        "recycler",
        "_vti_cnf",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "system volume information",
        "thumbs.db",
        "__macosx",  # macOS
        "icon\r",
        "network trash folder",
        "temporary items",
        "lost+found",  # Linux
    }
)
_FAMILIES = re.compile(r"\._|\.trash-|\.fuse_hidden|\.nfs", re.IGNORECASE)  # counted under one name
_MOST = 5  # names that are said


def is_system(name: str) -> bool:
    """Say whether a file or folder is a system's own, though it is not hidden."""
    return name.lower() in _SYSTEM


def is_left_out(name: str) -> bool:
    """Say whether a file or folder is hidden or a system's own."""
    return name[:1] == "." or is_system(name)


def is_cache(folder: str) -> bool:
    """Say whether a folder is a cache of fc7."""
    try:
        return Path(folder, "FORMAT").read_bytes().startswith(b"fc7-cache ")
    except (OSError, ValueError):
        return False


class LeftOut:
    """What is left out of one data set, counted by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count one file or folder."""
        family = _FAMILIES.match(name)
        self.counts[f"{family[0]}*" if family else name] += 1

    def log(self, where: object) -> None:
        """Say in one line what was left out, if anything was."""
        if not self.counts:
            return
        most = self.counts.most_common(_MOST)
        rest = self.counts.total() - sum(count for _, count in most)
        said = [*(f"{count} {plain(name)}" for name, count in most), *([f"{rest} more"] if rest else [])]
        reasons = "as hidden, a system's own or a cache of fc7"
        logger.info("fc7: left out of %s, %s: %s.", plain(str(where)), reasons, ", ".join(said))
