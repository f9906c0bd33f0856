"""Layers: where a vector is tapped."""

from dataclasses import dataclass

# Layers that are pooled over height and width: mean, maximum, or both, each half of unit length.
POOLED = {"gap": "mean", "gmp": "max", "gap+gmp": "both"}


@dataclass(frozen=True)
class Layer:
    """Where a vector is tapped: a node of torchvision's feature extractor, its length, and how it is pooled if so."""

    node: str
    dim: int
    pool: str = ""


def pooled(node: str, channels: int) -> dict[str, Layer]:
    """Return the pooled layers of a node that has a height and a width."""
    return {name: Layer(node, 2 * channels if pool == "both" else channels, pool) for name, pool in POOLED.items()}
