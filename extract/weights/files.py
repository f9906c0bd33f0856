"""A file of parameters. The bytes that are loaded are the bytes that are hashed.

Nothing is unpickled beyond tensors: torchvision's own loader executes whatever a poisoned cache folder holds.
"""

import hashlib
import io
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.files import read_regular
from ...cache.index import Index
from ...cache.recipe import Transform
from ...errors import UsageError, WeightsError, words
from ..text import first_line
from .published import Entry, Network

if TYPE_CHECKING:
    import torch

    StateDict = dict[str, torch.Tensor]

logger = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def expanded(path: Path, where: str) -> Path:
    """Return a path without ``~``; raises WeightsError without a home folder, and says that `where` names another."""
    try:
        return path.expanduser()
    except RuntimeError as error:  # no HOME, and a user without a name
        raise WeightsError(f"There is no home folder for {path}. Name the whole path with {where}.") from error


class Weights:
    """A parameter file. Subclasses say where it is and what is in it.

    Attributes
    ----------
    source
        As the user wrote it; enough to find the same weights again.
    path
        Where the file is.
    entry
        The published weights that they are, or are prepared for like.
    """

    def __init__(self, source: str, path: Path, entry: Entry) -> None:
        self.source, self.path, self.entry = source, path, entry
        self._index: Index | None = None

    def transform(self, index: Index) -> Transform:
        """Return the transform that belongs to them."""
        return self.entry.transform

    def sha256(self, index: Index) -> str:
        """Return the full sha256 (hex) of the file, without reading one that the index has seen."""
        self._index = index
        digest = index.sha256([self.path])[0]
        if isinstance(digest, OSError):
            raise WeightsError(f"The weights {self.path} cannot be read: {digest.strerror}.")
        return digest.hex()

    def state_dict(self, sha256: str) -> "StateDict":
        """Return the parameters, float32, on the CPU."""
        try:
            data = read_regular(self.path)
        except OSError as error:
            raise WeightsError(f"The weights {self.path} cannot be read: {error.strerror}.") from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != sha256:
            if self._index:  # whatever it remembers, the next run reads the file
                self._index.forget_files(lambda path: path == os.path.join(os.getcwd(), self.path))  # noqa: PTH109, PTH118
            raise WeightsError(
                f"{self.path} changed while in use: sha256 {digest[:16]}.., expected {sha256[:16]}... "
                "The same command again reads what it is now."
            )
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in self._parse(data)}

    def _parse(self, data: bytes) -> Any:
        return parse(data, self.path).items()


class FileWeights(Weights):
    """``file:PATH``: any state dict in the names of the network's library."""

    def __init__(self, source: str, network: Network) -> None:
        path = expanded(Path(source.removeprefix("file:")), "--weights file:PATH")
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{path} is not a weights file that fc7 reads: {', '.join(SUFFIXES)}.")
        super().__init__(source, path, network.default)
        self.network, self._sha256 = network, ""

    def sha256(self, index: Index) -> str:
        """See :meth:`Weights.sha256`; asked again, the same: transform and identity are of the same bytes."""
        self._sha256 = self._sha256 or super().sha256(index)
        return self._sha256

    def transform(self, index: Index) -> Transform:
        """Return that of the published file with these bytes; else the default weights', and say so."""
        name, entries = self.network.name, self.network.entries
        digest = self.sha256(index)
        for entry in entries.values():
            if entry.digits and digest.startswith(entry.digits):
                return entry.transform
        assumed, *others = entries
        if not name.endswith(f".{assumed}"):  # a tag in a name of timm's says it
            logger.warning(
                "%s is not a published file of %s; its images are prepared as those of %s. If that is right, say so: "
                "%s%s",
                *(self.source, name, assumed, words(f"--transform {assumed}")),
                f"; if not, another: {', '.join(others)}" if others else "",
            )
        return self.entry.transform


def parse(data: bytes, path: Path) -> "StateDict":
    """Read a state dict from bytes, executing nothing.

    Raises WeightsError if they are not safetensors, or a torch file of tensors only.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            state = safetensors.torch.load(data)
        else:
            state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # safetensors and torch raise a dozen kinds; none of them may end the program
        # What torch says of a pickle that it refuses is how to load it all the same.
        refused = "weights_only" in str(error)
        reason = "it is not a file of torch, or holds more than tensors" if refused else first_line(error)
        raise WeightsError(f"{path} is not a state dict of tensors: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not a state dict of tensors.")
    return state


def hash_tensors(state: "StateDict") -> str:
    """Return the sha256 (hex) over names, shapes and values."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
