"""Licences of a backbone's weights, and what they forbid."""

from collections.abc import Iterable

from ...cache.recipe import AND
from ...extract.weights.catalogue import forbids_commerce, licence_of


def licences(parts: Iterable[tuple[str, str]], source: str) -> str:
    """Return the licences of the weights that embeddings come from, each once; empty if none is known.

    Parameters
    ----------
    parts
        Name of the backbone and sha256 of its weights (hex), for each of the vectors that are side by side.
    source
        Sources of the weights, in the same order.
    """
    sources = zip(parts, source.split(AND), strict=False)  # of what others made there is no source
    found = [licence_of(backbone, weights, sha256) for (backbone, sha256), weights in sources]
    return ", ".join(dict.fromkeys(filter(None, found)))


def licence_notes(licence: str) -> list[str]:
    """Return what a user of the weights must know; nothing where the licence allows commercial use, or is unknown."""
    return [f"weights under {licence}: not for commercial use"] if forbids_commerce(licence) else []
