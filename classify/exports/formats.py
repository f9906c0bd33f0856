"""Formats of an exported network, by suffix. Siblings: what each cannot hold, its bytes, and how those are run.

``.onnx``         ONNX, for onnxruntime and whatever else reads it (the extra ``fc7[onnx]``)
``.pt2``          an ExportedProgram of torch.export
``.safetensors``  parameters for torchvision's own class, the head as its last layer
"""

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...errors import ExportError, MissingExtra
from ...extract.backbones.architectures import architecture
from ...extract.backbones.backbone import OWN
from ...extract.backbones.network import Tapped, last_layer
from ..heads.classifier_stack import LAYER
from .exported_module import ExportModule
from .head_layers import UnitLength

OPSET = 18  # of ONNX: of the end of 2022, so that runtimes in use know it
OUTPUTS = ("logits", "probabilities")

# What a head must be fitted with to be the last layer of a published network.
_FOLDABLE = "--preparation scale --dtype float32"

Run = Callable[[npt.NDArray[Any]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


class Format(ABC):
    """A network in one format.

    Attributes
    ----------
    name
        Of the format, for people.
    rounds
        Whether the network rounds the embedding as the cache does.
    """

    name: str
    rounds = True

    def __init__(self, whole: ExportModule) -> None:
        self.whole = whole

    @abstractmethod
    def require(self) -> None:
        """Refuse what the format cannot hold, before anything is loaded.

        Raises
        ------
        ExportError
            Says why, and what can be done instead.
        MissingExtra
            A package is absent.
        """

    @abstractmethod
    def encode(self, tapped: Tapped) -> bytes:
        """Return the file of the network with this backbone, float32, from normalised images to the embedding."""

    @abstractmethod
    def open(self, data: bytes) -> Run:
        """Return what a file computes: logits and probabilities ``(B, classes)`` of an array of the input."""

    def _traced(self, tapped: Tapped) -> torch.export.ExportedProgram:
        batch = torch.export.Dim("batch")
        module, example = self.whole.module(tapped), self.whole.example()
        program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # paths of this machine
        return program


class Onnx(Format):
    """ONNX, with any number of images in a batch, checked by onnx and run by onnxruntime."""

    name = f"ONNX, opset {OPSET}"

    def require(self) -> None:
        """See :meth:`Format.require`."""
        for package in ("onnx", "onnxscript", "onnxruntime"):
            _extra(package)

    def encode(self, tapped: Tapped) -> bytes:
        """See :meth:`Format.encode`."""
        made: Any = torch.onnx.export(
            self._traced(tapped),
            (),
            input_names=[self.whole.input.partition(" ")[0]],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        model = made.model_proto
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"  # instead of torch's name of a symbol
        for part in (model.graph, *model.graph.node):
            part.ClearField("metadata_props")  # notes of the exporter to itself, other ones in each process
        model.graph.ClearField("value_info")
        model.producer_name = "fc7"
        for key, text in self.whole.about().items():
            model.metadata_props.add(key=key, value=text)
        data: bytes = model.SerializeToString()
        _extra("onnx").checker.check_model(data, full_check=True)
        return data

    def open(self, data: bytes) -> Run:
        """See :meth:`Format.open`."""
        session = _extra("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        return lambda images: session.run(list(OUTPUTS), {given.name: images})


class Pt2(Format):
    """torch.export's own format, with any number of images in a batch."""

    name = "torch.export"

    def require(self) -> None:
        """Refuse nothing: what can be traced can be written."""

    def encode(self, tapped: Tapped) -> bytes:
        """See :meth:`Format.encode`."""
        buffer = io.BytesIO()
        torch.export.save(self._traced(tapped), buffer, extra_files={"fc7.json": json.dumps(self.whole.about())})
        return buffer.getvalue()

    def open(self, data: bytes) -> Run:
        """See :meth:`Format.open`."""
        module = torch.export.load(io.BytesIO(data)).module()

        def run(images: npt.NDArray[Any]) -> Any:
            with torch.inference_mode():
                return [one.numpy() for one in module(torch.from_numpy(images))]

        return run


class StateDict(Format):
    """Parameters that torchvision's own class loads, or timm's, once it is made with this number of classes.

    Nothing can be added to such a network. So the head must read what its last layer reads, of rows on one scale, not
    of unit length; and the embedding is not rounded.
    """

    rounds = False

    def __init__(self, whole: ExportModule) -> None:
        super().__init__(whole)
        self.backbone, self.classes = whole.bundle.recipe.backbone, len(whole.bundle.classes)
        timm, _, name = self.backbone.rpartition(":")
        self.made_by = f"{'timm.create_model' if timm else 'torchvision.models.get_model'}({name!r}, num_classes="
        self.made_by += f"{self.classes})"
        self.name = f"state dict of {self.made_by}"

    def require(self) -> None:
        """See :meth:`Format.require`."""
        layer, instead = self.whole.recipe.layer, "Write FILE.onnx or FILE.pt2 instead"
        if self.whole.bundle.weights_source == OWN:
            raise ExportError(f"A state dict is of a published network; {self.backbone} is your own. {instead}.")
        if self.whole.with_normalise:
            raise ExportError(f"A state dict of {self.backbone} cannot normalise pixels. {instead}.")
        if self.whole.recipe.mirror:
            raise ExportError(f"A state dict of {self.backbone} cannot take a mean with the mirror image. {instead}.")
        if self.whole.is_stack:
            return
        net = architecture(self.backbone)
        last = net.default_layer
        if not last or net.layer(layer) != net.layer(last):
            reads = f"the last layer of {net.name} reads {last}" if last else f"{net.name} ends in no linear layer"
            ways = [f"--layer {last} {_FOLDABLE}"] if last else []
            ways += [f"--layer {LAYER} --head classifier --dtype float32"] if LAYER in net.layers else []
            again = f", or fit again: fc7 fit DATA {', or '.join(ways)}" if ways else ""
            raise ExportError(f"A state dict cannot hold a head on {layer}: {reads}. {instead}{again}.")
        if isinstance(self.whole.layers[0], UnitLength):
            raise ExportError(
                f"The head takes rows of unit length, and {net.name} has no layer that makes them. {instead}, or fit "
                f"again: fc7 fit DATA {_FOLDABLE}"
            )

    def encode(self, tapped: Tapped) -> bytes:
        """See :meth:`Format.encode`."""
        import safetensors.torch

        skeleton = self._skeleton()
        own = skeleton.state_dict().keys()
        state = {name: value for name, value in tapped.cut.state_dict().items() if name in own} | self._last(skeleton)
        about = self.whole.about() | {"format": "pt", "network": self.made_by}
        return safetensors.torch.save({name: value.contiguous() for name, value in state.items()}, about)

    def open(self, data: bytes) -> Run:
        """See :meth:`Format.open`."""
        import safetensors.torch

        module = self._skeleton()
        module.load_state_dict(safetensors.torch.load(data), assign=True)

        def run(images: npt.NDArray[Any]) -> Any:
            with torch.inference_mode():
                logits = module(torch.from_numpy(images))
                return logits.numpy(), logits.softmax(dim=1).numpy()

        return run

    def _skeleton(self) -> torch.nn.Module:
        return architecture(self.backbone).skeleton(num_classes=self.classes)

    def _last(self, skeleton: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Return the head's parameters by the names of the network."""
        if self.whole.is_stack:
            return {f"classifier.{name}": value for name, value in self.whole.layers.state_dict().items()}
        last, layer = last_layer(skeleton)
        weight, bias = (parameter.detach() for parameter in self.whole.layers.parameters())
        if isinstance(layer, torch.nn.Conv2d):
            # SqueezeNet's last convolution is followed by ReLU, then by the mean. What all classes share is nothing to
            # a softmax: with it taken off no weight is negative, and no feature map is, so that ReLU changes nothing.
            weight, bias = weight - weight.amin(dim=0), bias - bias.amin()
        return {f"{last}.weight": weight.reshape(layer.weight.shape), f"{last}.bias": bias}


FORMATS: dict[str, type[Format]] = {".onnx": Onnx, ".pt2": Pt2, ".safetensors": StateDict}


def _extra(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(package, "onnx") from error
