"""What a manifest is made of, its rows packed by column: a million images take 40 MB, and 200 MB as objects."""

import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self, overload

from .paths import Reject


class ImageEntry(NamedTuple):
    """One row of a manifest. ``path`` is relative to the manifest's root; ``split`` and ``group`` may be empty.

    ``bad`` means that a person has left the image out: manifests have it only if they are read ``with_bad``.
    """

    path: str
    label: str
    split: str = ""
    group: str = ""
    bad: bool = False


class Names(Sequence[str]):
    """A column of words, many of them equal: a number for each row, and each different word once."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._rows = array("I")

    def append(self, word: str, count: int = 1) -> None:
        """Add one, once or many times."""
        number = self._numbers.setdefault(word, len(self._words))
        if number == len(self._words):
            self._words.append(word)
        self._rows.extend(array("I", [number]) * count)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self._words[number] for number in self._rows[row]]
        return self._words[self._rows[row]]

    def __iter__(self) -> Iterator[str]:
        return map(self._words.__getitem__, self._rows)


class Texts(Sequence[str]):
    """A column of texts, most of them different: one run of UTF-8, and where each ends."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("Q", [0])

    def append(self, text: str) -> None:
        """Add one."""
        self._text += text.encode("utf-8", "surrogatepass")  # a name on disk need not be Unicode
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: Any) -> Any:
        row = range(len(self))[row]
        if isinstance(row, range):
            return [self[number] for number in row]
        return self._text[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for start, end in itertools.pairwise(self._ends):
            yield self._text[start:end].decode("utf-8", "surrogatepass")


class Images(Sequence[ImageEntry]):
    """Images in a fixed order, one column for each of their fields.

    Attributes
    ----------
    paths, labels, splits, groups
        ``n`` texts each.
    bad
        ``n`` bytes, 1 for images that are left out.
    """

    def __init__(self, images: Iterable[ImageEntry] = ()) -> None:
        self.paths = Texts()
        self.labels, self.splits, self.groups = Names(), Names(), Names()
        self.bad = bytearray()
        for image in images:
            self.append(image)

    @classmethod
    def of(cls, images: "Iterable[ImageEntry]") -> Self:
        """Return the images packed; what is packed already, as it is."""
        return images if isinstance(images, cls) else cls(images)

    def append(self, image: ImageEntry) -> None:
        """Add one."""
        self.paths.append(image.path)
        self.labels.append(image.label)
        self.splits.append(image.split)
        self.groups.append(image.group)
        self.bad.append(image.bad)

    def extend(self, paths: Iterable[str], label: str, split: str) -> int:
        """Add images of one class and split, and return how many they were."""
        before = len(self)
        for path in paths:
            self.paths.append(path)
        added = len(self) - before
        for column, word in ((self.labels, label), (self.splits, split), (self.groups, "")):
            column.append(word, added)
        self.bad.extend(bytes(added))
        return added

    def where(self, mask: Sequence[bool]) -> Self:
        """Return some of the images."""
        return type(self)(itertools.compress(self, mask))

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, row: int) -> ImageEntry: ...

    @overload
    def __getitem__(self, row: slice) -> Self: ...

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return type(self)(self[number] for number in range(len(self))[row])
        bad = bool(self.bad[row])
        return ImageEntry(self.paths[row], self.labels[row], self.splits[row], self.groups[row], bad=bad)

    def __iter__(self) -> Iterator[ImageEntry]:
        return map(ImageEntry, self.paths, self.labels, self.splits, self.groups, map(bool, self.bad))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(ImageEntry.__eq__, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Images({len(self)})"


class Found(NamedTuple):
    """What is found where the images of a data set are looked for."""

    images: Images
    rejects: list[Reject]
    remote: Mapping[str, str] = MappingProxyType({})  # the identity of each image that is a URL
    stated: Mapping[str, str] = MappingProxyType({})  # the sha256 by path, where a table is that of a review
    # Why no head can be fitted on them, if folders are no classes as they are; empty if there is nothing to say.
    unclear: str = ""
