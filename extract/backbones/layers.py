"""Layers: where a vector is tapped."""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

# Layers that are pooled over height and width: mean, maximum, or both, each half of unit length.
POOLED = {"gap": "mean", "gmp": "max", "gap+gmp": "both"}

# Layers of tokens: the class token, the mean of the patches' tokens, or both side by side.
TOKENS = {"cls": "first", "avg": "mean", "cls+avg": "first+mean"}

# Parts of a network that its library has functions for; the colon tells them from nodes of torchvision's extractor.
FEATURES, PENULTIMATE, LOGITS, MAP, BLOCK = ":features", ":penultimate", ":logits", ":map", ":block:"

_TOKENS = re.compile(r"(?:block:(-?\d+)(?::|$))?(cls|avg|cls\+avg|)")


@dataclass(frozen=True)
class Layer:
    """Where a vector is tapped: a node of torchvision's feature extractor, its length, and how it is pooled if so.

    Instead of a node it can be a part that the network's library has a function for, such as ``:features``. ``layout``
    names the axes of what is pooled: NHWC where channels are last, NLC of tokens. ``prefix`` is the number of tokens
    before those of the patches.
    """

    node: str
    dim: int
    pool: str = ""
    layout: str = "NCHW"
    prefix: int = 0


class TokenLayer(NamedTuple):
    """A layer of tokens by its name: of which block, or of the last one, and how they are pooled; empty: as is usual.

    >>> TokenLayer.read("block:-2:cls+avg")
    TokenLayer(block=-2, pool='cls+avg')
    """

    block: int | None
    pool: str

    @classmethod
    def read(cls, name: str) -> Self | None:
        """Return what a name says; None if it is of another kind."""
        found = _TOKENS.fullmatch(name)
        if not name or name.endswith(":") or found is None:
            return None
        block, pool = found.groups()
        return cls(None if block is None else int(block), pool)


def pooled(node: str, channels: int, layout: str = "NCHW") -> dict[str, Layer]:
    """Return the pooled layers of a node that has a height and a width."""
    lengths = {"mean": channels, "max": channels, "both": 2 * channels}
    return {name: Layer(node, lengths[pool], pool, layout) for name, pool in POOLED.items()}


def tokens(node: str, channels: int, prefix: int, *, has_class: bool) -> dict[str, Layer]:
    """Return the layers of tokens: of those before the patches' the first may be a class token."""
    lengths = {"cls": channels, "avg": channels, "cls+avg": 2 * channels}
    names = TOKENS if has_class else ["avg"]
    return {name: Layer(node, lengths[name], TOKENS[name], "NLC", prefix) for name in names}
