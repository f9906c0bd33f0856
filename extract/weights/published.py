"""Published weights as the libraries describe them, and what weights must know of their network."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...cache.recipe import Transform

if TYPE_CHECKING:
    import torch

DOWNLOADS = "https://download.pytorch.org/models/"
DEFAULT = "DEFAULT"  # another name of a network's first entry, as in torchvision


class Entry(NamedTuple):
    """Published weights of a network."""

    file: str  # its name below `DOWNLOADS`, or repository and name on the Hugging Face hub
    # Its size, and billions of multiply-adds for one image; zero is unknown.
    megabytes: float
    gmacs: float
    transform: Transform  # what the weights were evaluated with
    digits: str = ""  # the first ones of the file's sha256; empty if they are not known


def entry_of(url: str, megabytes: float, gmacs: float, transform: Transform) -> Entry:
    """Return the entry of a file of torchvision's, whose name carries the first digits of its sha256."""
    return Entry(url.removeprefix(DOWNLOADS), megabytes, gmacs, transform, digits_in(url))


def digits_in(name: str) -> str:
    """Return the first digits of a file's sha256 that its name carries; empty if it carries none."""
    digits = re.search(r"-([0-9a-f]{8,})\.", name.rpartition("/")[2])
    return digits.group(1) if digits else ""


class Network(Protocol):
    """A network that weights are for; :class:`fc7.extract.backbones.architectures.Architecture` is one."""

    @property
    def name(self) -> str:
        """torchvision's, or ``timm:`` and timm's."""

    @property
    def source(self) -> str:
        """The default source of its weights: its library."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Published weights by name, the default ones first."""

    @property
    def default(self) -> Entry:
        """The default weights."""

    def entry(self, name: str = "") -> Entry:
        """Return the published weights of that name."""

    def initialise(self, seed: int) -> "dict[str, torch.Tensor]":
        """Return seeded parameters, in the network's own order."""
