"""The lists of a review: which images each of them has, in which order, and which of them a filter leaves."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from ...errors import DataError, FC7Error, UsageError
from ...extract.progress import Progress
from ...extract.text import few
from .review import Review

logger = logging.getLogger(__name__)

# What an audit finds in the data set, by kind: groups of paths that are looked at together.
Findings = Callable[[Progress], Mapping[str, Sequence[Sequence[str]]]]
FOUND = ("near_duplicates", "outliers")
SOON = 0.2  # seconds that a question waits for its answer, before it is told to ask again
LISTS = ("suspects", "unlabelled", "uncertain", "reviewed", "all", *FOUND)


class Lists:
    """The lists of a review.

    Parameters
    ----------
    findings
        Called once, in a thread, when one of its lists is asked for the first time: it may take minutes, and whoever
        reviews goes on meanwhile.

    Attributes
    ----------
    waits
        What is being looked for, and how much of it is done, for people; empty where nothing is.
    """

    def __init__(self, review: Review, findings: Findings | None = None) -> None:
        self._review, self._findings = review, findings
        self._lock, self._ended = threading.Lock(), False
        self._search: threading.Thread | None = None
        self._found: dict[str, list[int]] | FC7Error | None = None
        self._paths = ["\n".join(paths).casefold() for paths in review.paths]
        self._number = {path: image for image, paths in enumerate(review.paths) for path in paths}
        self.waits = ""

    def images(self, name: str, search: str = "", label: str | None = None) -> list[int] | None:
        """Return the images of a list, of which all words of `search` are in the path, and which have a label.

        None for a list that is being looked for: ask again; see :attr:`waits`.

        Raises
        ------
        UsageError
            There is no such list.
        DataError
            It could not be looked for.
        """
        images = self._of(name)
        if images is None:
            return None
        if words := search.casefold().split():
            images = [image for image in images if all(word in self._paths[image] for word in words)]
        if label is not None:
            held = self._review.labels_now
            images = [image for image in images if held[image] == label]
        return images

    def end(self) -> None:
        """Give up what is being looked for."""
        self._ended = True

    def _of(self, name: str) -> list[int] | None:
        judged = self._review.judged
        if name in ("unlabelled", "suspects", "uncertain"):
            ranked = self._review.to_label() if name == "unlabelled" else getattr(judged, name)
            return [int(image) for image in ranked]
        if name == "reviewed":
            return self._review.closed
        if name == "all":
            return list(range(len(self._review)))
        if name not in FOUND:
            raise UsageError(f"There is no list {name!r}: there are {few(LISTS, len(LISTS))}.")
        with self._lock:
            if self._search is None:
                self.waits = "Comparing the images."
                self._search = threading.Thread(target=self._look, daemon=True)
                self._search.start()
        self._search.join(SOON)
        if isinstance(self._found, FC7Error):
            raise self._found
        return None if self._found is None else self._found[name]

    def _look(self) -> None:
        try:
            found = self._findings(self._progress) if self._findings else {}
            numbers = {
                name: [self._number[path] for paths in found.get(name, ()) for path in paths if path in self._number]
                for name in FOUND
            }
            self._found = {name: list(dict.fromkeys(images)) for name, images in numbers.items()}
        except _Ended:
            logger.debug("the search for near-duplicates was given up")
        except FC7Error as error:
            self._found = error
        except Exception as error:  # a thread has nobody else to tell
            logger.warning("fc7: near-duplicates and outliers could not be looked for: %r", error)
            self._found = DataError("Near-duplicates and outliers could not be looked for; the terminal has more.")
        finally:
            self.waits = ""

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._ended:
            raise _Ended
        self.waits = f"Comparing the images: {stage}, {100 * done // max(total, 1)} %."


class _Ended(BaseException):
    """The review has ended: nobody asks for the answer."""
