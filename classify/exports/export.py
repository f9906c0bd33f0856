"""Export a backbone and a head as one network, which is written only if it answers as the bundle does."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.arguments import checked
from ...cache.output_file import OutputFile
from ...cache.recipe import FunctionTransform
from ...cache.tables import counted
from ...errors import ExportError, FC7Error, UsageError
from ...extract.computing import computing
from ...extract.progress import Progress, silent
from ...extract.text import first_line
from ..bundles.bundle import Bundle
from ..records.licences import licence_notes
from .defaults import TOLERANCE
from .parity import Parity, measure, read_pixels, synthetic_pixels

if TYPE_CHECKING:
    import torch

    from ...extract.backbones.backbone import Backbone


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes
    ----------
    path, size
        The file, and its size in bytes.
    format, input
        The file format, and what the network takes.
    parity
        How far its answers are from the bundle's.
    notes
        Differences from ``fc7 predict`` and their reasons, and a licence that forbids commercial use.
    """

    path: Path
    size: int
    format: str
    input: str
    parity: Parity
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        parity = f"probabilities within {self.parity.probability:.1e} of the bundle's"
        return f"Exported({str(self.path)!r}, {self.size:,} bytes, {parity})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "file": str(self.path),
            "bytes": self.size,
            "format": self.format,
            "input": self.input,
            "parity": dict(vars(self.parity)),
            "notes": list(self.notes),
        }


@checked
@computing()
def export(
    bundle: Bundle,
    path: Path | str,
    *,
    images: Sequence[Path | str] = (),
    with_normalise: bool = False,
    tolerance: float = TOLERANCE,
    backbone: "Backbone | torch.nn.Module | None" = None,
    weights: str | None = None,
    cache: Path | str | None = None,
    progress: Progress = silent,
) -> Exported:
    """Write a bundle with its backbone as one network in float32, after comparing the two.

    Linear heads can be exported, and the head ``classifier``. In ``.onnx`` and ``.pt2`` the network does all that
    ``fc7 predict`` does to an image that is resized and cropped: it rounds the embedding as the cache does, brings it
    to unit length where the head was fitted on such, and answers with ``logits`` and ``probabilities`` for any number
    of images. A ``.safetensors`` has the parameters of torchvision's own class, whose last layer gives the logits.

    Parameters
    ----------
    bundle
        From :meth:`fc7.classify.Bundle.load`.
    path
        ``FILE.onnx``, ``FILE.pt2`` or ``FILE.safetensors``.
    images
        Files and folders to compare on; by default 16 made-up pictures, always the same.
    with_normalise
        Take ``pixels``, ``(batch, crop, crop, 3)`` uint8 RGB, instead of ``images``, ``(batch, 3, crop, crop)`` float32
        that are normalised already.
    tolerance
        The largest difference of a probability from the bundle's, see :class:`fc7.classify.exports.parity.Parity`. The
        difference from ``fc7 predict`` is only reported: it is larger if that computes in bfloat16.
    backbone
        The backbone the head was fitted on, or its module, if that is your own.
    weights, cache, progress
        As in :meth:`fc7.classify.Bundle.predict`.

    Raises
    ------
    UsageError
        Unknown format, or a tolerance that is not positive.
    ExportError
        The head is not a layer of a network, the format cannot hold it, torch cannot export the backbone, the network
        differs by more than the tolerance, or the file cannot be written. No file is left.
    MissingExtra
        The packages for ONNX are not installed.
    BundleError, WeightsError
        The backbone is absent, or not the one the head was fitted on.
    DataError
        No file in ``images`` is an image.
    """
    from .exported_module import ExportModule
    from .formats import FORMATS
    from .head_layers import last_layers

    path, parts = Path(path), bundle.recipe.parts
    if path.suffix not in FORMATS:
        raise UsageError(f"{path} is not a format that fc7 exports: {', '.join(f'FILE{end}' for end in FORMATS)}.")
    if not 0 < tolerance < math.inf:
        raise UsageError(f"--tolerance {tolerance}: must be more than 0.")
    if not parts:
        raise ExportError(f"The head was fitted on vectors that were made elsewhere ({bundle.recipe.backbone}).")
    if len(parts) > 1:
        raise ExportError(
            f"The head takes {len(parts)} embeddings side by side ({bundle.recipe.backbone}: "
            f"{bundle.recipe.layer}); an exported network has one. Fit the head on one of them."
        )
    output, recipe = OutputFile(path, ExportError), parts[0]
    if isinstance(recipe.transform, FunctionTransform):
        raise ExportError(
            f"Your function {recipe.transform.name} prepares the images, and an exported network could not say how."
        )
    with _or_refuse(f"The head of {recipe.backbone} {recipe.layer} cannot be read"):
        network = ExportModule(bundle, last_layers(bundle), with_normalise)
    form = FORMATS[path.suffix](network)
    form.require()
    pixels = read_pixels(images, recipe) if images else synthetic_pixels(recipe.transform)
    origin = ", ".join(map(str, images)) if images else "made up by fc7"
    (made,) = bundle.backbones(backbone, weights, device="cpu", cache=cache, progress=progress)
    with _or_refuse(f"{recipe.backbone} {recipe.layer} cannot be written as {form.name}"):
        data = form.encode(made.plain())
        parity = measure(form, data, made, pixels, origin=origin, progress=progress)
    notes = _notes(bundle, rounds=form.rounds)
    if parity.probability > tolerance:
        if recipe.dtype == "float16" and form.rounds:
            notes += ("embeddings are rounded to float16, so that the last digit of a sum counts: fit on float32",)
        raise ExportError(
            f"The network's probabilities differ from the bundle's by up to {parity.probability:.1e} on "
            f"{counted(parity.images, 'image')} ({origin}), more than --tolerance {tolerance:g}. Nothing was written. "
            + " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)
        )
    output.write(data)
    return Exported(path, len(data), format=form.name, input=network.input, parity=parity, notes=notes)


@contextlib.contextmanager
def _or_refuse(what: str) -> Iterator[None]:
    """Turn any error into an ExportError: torch may raise anything on an unknown network or a tampered head."""
    try:
        yield
    except FC7Error:
        raise
    except Exception as error:
        raise ExportError(f"{what}: {first_line(error)}") from error


def _notes(bundle: Bundle, *, rounds: bool) -> tuple[str, ...]:
    """Return what ``fc7 predict`` does differently, and what the weights' licence forbids."""
    recipe, notes = bundle.recipe.parts[0], []
    if recipe.precision != "fp32":
        notes.append(f"fc7 predict computes in {recipe.precision}, the network in float32")
    if recipe.dtype == "float16" and not rounds:
        notes.append("embeddings are rounded to float16, which a state dict cannot do: fit on float32")
    if bundle.threshold:
        notes.append("the network answers always; below the threshold in its metadata, fc7 predict says `not sure`")
    if bundle.costs is not None:
        notes.append("the network answers with the most probable class, fc7 predict with that of least expected cost")
    if bundle.views:
        notes.append(f"fc7 predict averages over {bundle.views} random views as well, the network sees one")
    return (*notes, *licence_notes(bundle.licence))
