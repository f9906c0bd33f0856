"""Decisions one after another, and what each of them changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from .labels import Decision

Step = list[tuple[int, Decision]]  # what was decided at once: images, and their decisions


@dataclass(frozen=True)
class Agreement:
    """The number of labels that the fit of all other images agrees with."""

    right: int
    judged: int


@dataclass(frozen=True)
class Change:
    """The effect of one decision, or of undoing it."""

    # The first image of the decision, and all of them.
    image: int
    images: list[int]
    # The label of the first, before and after.
    before: Decision
    after: Decision
    undone: bool  # whether a decision was undone
    # Other images that became suspects, or are no longer suspects.
    joined: list[int]
    left: list[int]
    # Over all images.
    agreement_before: Agreement
    agreement_after: Agreement
    seconds: float  # of the new fit and the new ranking, without writing the csv
    warning: str = ""  # why the decision, which is in the csv, may not survive a power loss; else empty


class Versions:
    """Which images were decided on since a page last heard of the review: another tab may have done that.

    Attributes
    ----------
    now
        The number of changes so far.
    """

    def __init__(self) -> None:
        self.now = 0
        self._of: dict[int, int] = {}

    def note(self, images: Sequence[int]) -> None:
        """Count a change of images."""
        self.now += 1
        self._of |= dict.fromkeys(images, self.now)

    def since(self, images: Sequence[int], seen: int | None) -> list[int]:
        """Return those of the images that have changed since a version; none for None."""
        return [] if seen is None else [image for image in images if self._of.get(image, 0) > seen]


def latest(history: Sequence[Step]) -> dict[int, Decision]:
    """Return the last decision on each image, the latest last."""
    decided: dict[int, Decision] = {}
    for step in history:
        for image, decision in step:
            decided.pop(image, None)
            decided[image] = decision
    return decided
