"""The lists of a review: which images each of them has, in which order, and which of them a filter leaves."""

from collections.abc import Callable, Mapping, Sequence

from ...errors import UsageError
from ...extract.text import few
from .review import Review

# What an audit finds in the data set, by kind: groups of paths that are looked at together.
Findings = Callable[[], Mapping[str, Sequence[Sequence[str]]]]
FOUND = ("near_duplicates", "outliers")
LISTS = ("suspects", "unlabelled", "uncertain", "reviewed", "all", *FOUND)


class Lists:
    """The lists of a review.

    Parameters
    ----------
    findings
        Called once, when one of its lists is asked for the first time; it may take a while.
    """

    def __init__(self, review: Review, findings: Findings | None = None) -> None:
        self._review, self._findings = review, findings
        self._found: dict[str, list[int]] | None = None
        self._paths = ["\n".join(paths).casefold() for paths in review.paths]
        self._number = {path: image for image, paths in enumerate(review.paths) for path in paths}

    def images(self, name: str, search: str = "", label: str | None = None) -> list[int]:
        """Return the images of a list, of which all words of `search` are in the path, and which have a label.

        Raises
        ------
        UsageError
            There is no such list.
        """
        images = self._of(name)
        if words := search.casefold().split():
            images = [image for image in images if all(word in self._paths[image] for word in words)]
        if label is not None:
            held = self._review.labels_now
            images = [image for image in images if held[image] == label]
        return images

    def _of(self, name: str) -> list[int]:
        judged = self._review.judged
        if name in ("unlabelled", "suspects", "uncertain"):
            ranked = self._review.to_label() if name == "unlabelled" else getattr(judged, name)
            return [int(image) for image in ranked]
        if name == "reviewed":
            return self._review.closed
        if name == "all":
            return list(range(len(self._review)))
        if name in FOUND:
            if self._found is None:
                self._found = self._look()
            return self._found[name]
        raise UsageError(f"There is no list {name!r}: there are {few(LISTS, len(LISTS))}.")

    def _look(self) -> dict[str, list[int]]:
        found = self._findings() if self._findings else {}
        numbers = {
            name: [self._number[path] for paths in found.get(name, ()) for path in paths if path in self._number]
            for name in FOUND
        }
        return {name: list(dict.fromkeys(images)) for name, images in numbers.items()}
