"""A prefix of an object store, read as a folder of images: it has no empty folders, and no links."""

from collections.abc import Iterable

from ..errors import DataError
from .folder import require_no_strays
from .images import Image, Images
from .paths import SPLITS, Reject, refusal_by_name


def visible(names: Iterable[str]) -> list[str]:
    """Return the names in which no part begins with a dot: what is hidden is not looked at."""
    return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]


def read_objects(url: str, names: Iterable[str]) -> tuple[Images, list[Reject]]:
    """Return the images among the objects below a URL, by their names, and what is none; hidden ones are left out.

    Raises
    ------
    DataError
        A class without images, or folders that look like splits.
    """
    paths = visible(names)
    tops = dict.fromkeys(path.partition("/")[0] for path in paths if "/" in path)
    splits = {split for split in SPLITS if split in tops}
    require_no_strays(url, list(tops), splits)
    images, rejects = Images(), list[Reject]()
    found: dict[tuple[str, str], int] = {}
    for path in paths:
        parts = path.split("/")
        split = parts.pop(0) if splits else ""
        if len(parts) < 2 or (splits and split not in splits) or path.endswith("/"):
            continue  # beside the class folders, as in a folder; or the mark that a console leaves for a folder
        reason = refusal_by_name(path)
        found.setdefault((split, parts[0]), 0)
        if reason:
            rejects.append(Reject(path, reason))
        else:
            images.append(Image(path, parts[0], split))
            found[split, parts[0]] += 1
    for (split, label), count in found.items():
        if not count:
            raise DataError(f"The class folder {url}/{f'{split}/' if split else ''}{label} has no images. Remove it.")
    order = {split: place for place, split in enumerate(SPLITS)}
    return Images(sorted(images, key=lambda image: order.get(image.split, 0))), rejects
