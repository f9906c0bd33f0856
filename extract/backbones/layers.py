"""Layers: where a vector is tapped."""

from dataclasses import dataclass

# Layers that are pooled over height and width: mean, maximum, or both, each half of unit length.
POOLED = {"gap": "mean", "gmp": "max", "gap+gmp": "both"}


@dataclass(frozen=True)
class Layer:
    """Where a vector is tapped: a node of torchvision's feature extractor, its length, and how it is pooled if so.

    ``layout`` names the axes of a node that is pooled, such as NHWC where its channels are last.
    """

    node: str
    dim: int
    pool: str = ""
    layout: str = "NCHW"


def pooled(node: str, channels: int, layout: str = "NCHW") -> dict[str, Layer]:
    """Return the pooled layers of a node that has a height and a width."""
    lengths = {"mean": channels, "max": channels, "both": 2 * channels}
    return {name: Layer(node, lengths[pool], pool, layout) for name, pool in POOLED.items()}
