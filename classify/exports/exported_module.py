"""The exported network: a backbone and a head as one torch module, and the metadata that its users need."""

import json
from dataclasses import dataclass
from typing import Any

import torch

from ... import __version__
from ...cache.recipe import Recipe
from ...extract.backbones.network import Normalised
from ..bundles.bundle import Bundle
from ..bundles.prediction import NOT_SURE
from ..heads.classifier_stack import ClassifierStack
from . import preparation

NO_ANSWER = 2.0  # a threshold that no probability reaches


@dataclass(frozen=True)
class ExportModule:
    """A backbone and a head, to be written as one network."""

    bundle: Bundle
    layers: torch.nn.Sequential  # from embeddings to logits; see `last_layers`
    with_normalise: bool = False  # whether the network takes pixels and normalises them itself

    @property
    def recipe(self) -> Recipe:
        """The backbone's recipe: an exported network has one backbone."""
        return self.bundle.recipe.parts[0]

    @property
    def is_stack(self) -> bool:
        """Whether the layers are the backbone's own classifier, trained."""
        return isinstance(self.bundle.estimator["head"].estimator, ClassifierStack)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one input image."""
        crop = self.recipe.transform.crop
        return (crop, crop, 3) if self.with_normalise else (3, crop, crop)

    @property
    def input(self) -> str:
        """Name, content and shape of the input."""
        kind = "pixels uint8 RGB" if self.with_normalise else "images float32 normalised"
        return f"{kind} (batch, {', '.join(map(str, self.shape))})"

    def module(self, tapped: torch.nn.Module) -> torch.nn.Module:
        """Return the module from the input to logits and probabilities, ``(batch, classes)`` each.

        Embeddings are rounded as in the cache.

        Parameters
        ----------
        tapped
            The backbone, from normalised images to a list of one embedding.
        """
        network: torch.nn.Module = _Answering(tapped, self.layers, self.recipe)
        transform = self.recipe.transform
        return (Normalised(network, transform) if self.with_normalise else network).eval().requires_grad_(False)

    def example(self) -> torch.Tensor:
        """Return a batch of two images for tracing."""
        # Two: torch.export takes a size of 1 for a constant.
        return torch.zeros((2, *self.shape), dtype=torch.uint8 if self.with_normalise else torch.float32)

    def about(self) -> dict[str, str]:
        """Return the metadata of the file: classes, threshold, and how an image is prepared and answered."""
        recipe = self.recipe
        words = preparation.in_words(recipe, with_normalise=self.with_normalise)
        return {
            "fc7": __version__,
            "recipe_id": recipe.id,
            "backbone": recipe.backbone,
            "layer": recipe.layer,
            "weights_sha256": recipe.weights,
            "weights_licence": self.bundle.licence,
            "head": str(self.bundle.run.get("head", "")),
            "classes": json.dumps(self.bundle.classes),
            "max_error": json.dumps(self.bundle.max_error),
            "confidence": json.dumps(self.bundle.confidence if self.bundle.max_error is not None else None),
            "threshold": json.dumps(self.least_probability),
            "input": self.input,
            **preparation.as_data(recipe),
            "preparation": f"{words} {self._answer()}",
        }

    @property
    def least_probability(self) -> float:
        """The least probability of an answer: 0 if every image gets one, :data:`NO_ANSWER` if none does."""
        threshold = self.bundle.threshold
        return min(threshold.probability, NO_ANSWER) if threshold else 0.0

    def _answer(self) -> str:
        least = self.least_probability
        answer = "The answer is the class, of `classes` in their order, with the largest probability, softmax of logits"
        return answer + (f"; if that is less than {least}, the answer is `{NOT_SURE}`." if least else ".")


def embedding(tapped: torch.nn.Module, images: torch.Tensor, *, mirror: bool) -> torch.Tensor:
    """Return embeddings ``(B, dim)`` of normalised ``(B, 3, H, W)``; with ``mirror``, averaged over mirror images."""
    vectors: torch.Tensor = tapped(images)[0]
    return (vectors + tapped(images.flip(3))[0]) / 2 if mirror else vectors


class _Answering(torch.nn.Module):
    """From normalised images to logits and probabilities."""

    def __init__(self, tapped: torch.nn.Module, layers: torch.nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.tapped, self.layers = tapped, layers
        self.mirror, self.rounded = recipe.mirror, recipe.dtype == "float16"

    def forward(self, images: torch.Tensor) -> Any:
        vectors = embedding(self.tapped, images, mirror=self.mirror)
        # Without this a probability moves by up to 2.8e-4 on the networks of docs/export.md.
        logits = self.layers(vectors.half().float() if self.rounded else vectors)
        return logits, logits.softmax(dim=1)
