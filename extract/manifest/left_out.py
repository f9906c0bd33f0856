"""What lies beside images: hidden files, bins of storage devices, tables. Left out, counted and said."""

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
# What is written about images, by fc7 and by others: a file of vectors that lies beside the images is none in the next
# run, and what cameras and downloads note in a file for each image is counted under one name.
_TABLES = (".csv", ".tsv", ".parquet")
_ABOUT = (".npz", ".npy", ".h5", ".safetensors", ".fc7", ".html", ".json", ".jsonl")
_MOST = 5  # names that are said


def is_system(name: str) -> bool:
    """Return whether a file or folder is a system's own, though it is not hidden."""
    return name.lower() in _SYSTEM


def is_left_out(name: str) -> bool:
    """Return whether a file or folder is hidden or a system's own."""
    return name[:1] == "." or is_system(name)


def is_about_images(name: str) -> bool:
    """Return whether a file that is no image tells of images: a table, vectors, a page."""
    return name.lower().endswith((*_TABLES, *_ABOUT))


def is_cache(folder: str) -> bool:
    """Return whether a folder is a cache of fc7."""
    try:
        return Path(folder, "FORMAT").read_bytes().startswith(b"fc7-cache ")
    except (OSError, ValueError):
        return False


class LeftOut:
    """What is left out of one data set, counted by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.about_images: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count one file or folder."""
        if name[:1] != "." and is_about_images(name):
            suffix = name[name.rindex(".") :].lower()
            self.about_images[name if suffix in _TABLES else f"*{suffix}"] += 1
            return
        family = _FAMILIES.match(name)
        self.counts[f"{family[0]}*" if family else name] += 1

    def log(self, where: object) -> None:
        """Say in a line each what was left out and what only tells of images, if there was any."""
        if self.counts:
            reasons = "as hidden, a system's own or a cache of fc7"
            logger.info("fc7: left out of %s, %s: %s.", plain(str(where)), reasons, _said(self.counts))
        if self.about_images:
            logger.info(
                "fc7: tables, vectors and notes in %s are not read as images: %s. To read a table, name it in place of "
                "the folder.",
                *(plain(str(where)), _said(self.about_images)),
            )


def say_tables(folder: Path) -> None:
    """Say which tables and notes lie in a folder of archives, or of nothing else, and are not read."""
    left_out = LeftOut()
    for path in folder.iterdir():
        if not is_left_out(path.name) and is_about_images(path.name):
            left_out.add(path.name)
    left_out.log(folder)


def _said(counts: Counter[str]) -> str:
    most = counts.most_common(_MOST)
    rest = counts.total() - sum(count for _, count in most)
    return ", ".join([*(f"{count} {plain(name)}" for name, count in most), *([f"{rest} more"] if rest else [])])
