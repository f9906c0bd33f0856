"""Formats of an exported network, by suffix: what each cannot hold, how it is written, and how it is run.

``.onnx``         ONNX, for onnxruntime and whatever else reads it (the extra ``fc7[onnx]``)
``.pt2``          an ExportedProgram of torch.export
``.safetensors``  parameters for torchvision's own class, the head as its last layer
"""

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import redirect_stdout
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

OPSET = 18  # of ONNX, from the end of 2022: current runtimes support it
OUTPUTS = ("logits", "probabilities")

# Options of fit for a head that can be the last layer of a published network.
_FOLDABLE = "--preparation scale --dtype float32"

Run = Callable[[npt.NDArray[Any]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


class Format(ABC):
    """One file format of a network.

    Attributes
    ----------
    name
        Name of the format, for messages.
    rounds
        Whether the network rounds embeddings as the cache does.
    """

    name: str
    rounds = True

    def __init__(self, network: ExportModule) -> None:
        self.network = network

    @abstractmethod
    def require(self) -> None:
        """Refuse what the format cannot hold, before anything is loaded.

        Raises
        ------
        ExportError
            The message says why, and what to do instead.
        MissingExtra
            A package is not installed.
        """

    @abstractmethod
    def encode(self, tapped: Tapped) -> bytes:
        """Return the file of the network; ``tapped`` is its float32 backbone, from normalised images to embeddings."""

    @abstractmethod
    def open(self, data: bytes) -> Run:
        """Return a function that runs a file: from input to logits and probabilities, ``(B, classes)`` each."""

    def _traced(self, tapped: Tapped) -> torch.export.ExportedProgram:
        batch = torch.export.Dim("batch")
        module, example = self.network.module(tapped), self.network.example()
        program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it contains local paths
        return program


class Onnx(Format):
    """ONNX with any batch size, checked by onnx and run by onnxruntime."""

    name = f"ONNX, opset {OPSET}"

    def require(self) -> None:
        """See :meth:`Format.require`."""
        for package in ("onnx", "onnxscript", "onnxruntime"):
            _extra(package)

    def encode(self, tapped: Tapped) -> bytes:
        """See :meth:`Format.encode`."""
        with redirect_stdout(io.StringIO()):  # onnxscript 0.6 prints how many rules it has applied
            program: Any = torch.onnx.export(
                self._traced(tapped),
                (),
                input_names=[self.network.input.partition(" ")[0]],
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        model = program.model_proto
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"  # instead of torch's symbol name
        for element in (model.graph, *model.graph.node):
            element.ClearField("metadata_props")  # notes of the exporter, different in each process
        model.graph.ClearField("value_info")
        model.producer_name = "fc7"
        for key, text in self.network.about().items():
            model.metadata_props.add(key=key, value=text)
        data: bytes = model.SerializeToString()
        _extra("onnx").checker.check_model(data, full_check=True)
        return data

    def open(self, data: bytes) -> Run:
        """See :meth:`Format.open`."""
        session = _extra("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
        (model_input,) = session.get_inputs()
        return lambda images: session.run(list(OUTPUTS), {model_input.name: images})


class Pt2(Format):
    """torch.export's own format, with any batch size."""

    name = "torch.export"

    def require(self) -> None:
        """Refuse nothing: every network that can be traced can be written."""

    def encode(self, tapped: Tapped) -> bytes:
        """See :meth:`Format.encode`."""
        buffer = io.BytesIO()
        torch.export.save(self._traced(tapped), buffer, extra_files={"fc7.json": json.dumps(self.network.about())})
        return buffer.getvalue()

    def open(self, data: bytes) -> Run:
        """See :meth:`Format.open`."""
        module = torch.export.load(io.BytesIO(data)).module()

        def run(images: npt.NDArray[Any]) -> Any:
            with torch.inference_mode():
                return [output.numpy() for output in module(torch.from_numpy(images))]

        return run


class StateDict(Format):
    """Parameters for torchvision's or timm's own class, created with this number of classes.

    Such a network cannot be extended. So the head must take the input of its last layer, prepared by one scale and not
    to unit length, and the embedding is not rounded.
    """

    rounds = False

    def __init__(self, network: ExportModule) -> None:
        super().__init__(network)
        self.backbone, self.classes = network.bundle.recipe.backbone, len(network.bundle.classes)
        timm, _, name = self.backbone.rpartition(":")
        options = "".join(f", {option}={value}" for option, value in self._options().items())
        self.made_by = f"{'timm.create_model' if timm else 'torchvision.models.get_model'}({name!r}{options})"
        self.name = f"state dict of {self.made_by}"

    def require(self) -> None:
        """See :meth:`Format.require`."""
        layer, instead = self.network.recipe.layer, "Write FILE.onnx or FILE.pt2 instead"
        if self.network.bundle.weights_source == OWN:
            raise ExportError(f"A state dict is of a published network; {self.backbone} is your own. {instead}.")
        if self.network.with_normalise:
            raise ExportError(f"A state dict of {self.backbone} cannot normalise pixels. {instead}.")
        if self.network.recipe.mirror:
            raise ExportError(f"A state dict of {self.backbone} cannot take a mean with the mirror image. {instead}.")
        if self.network.is_stack:
            return
        net = architecture(self.backbone)
        last = net.default_layer
        if not last or net.layer(layer) != net.layer(last):
            reads = f"the last layer of {net.name} reads {last}" if last else f"{net.name} ends in no linear layer"
            ways = [f"--layer {last} {_FOLDABLE}"] if last else []
            ways += [f"--layer {LAYER} --head classifier --dtype float32"] if LAYER in net.layers else []
            again = f", or fit again: fc7 fit DATA {', or '.join(ways)}" if ways else ""
            raise ExportError(f"A state dict cannot hold a head on {layer}: {reads}. {instead}{again}.")
        if isinstance(self.network.layers[0], UnitLength):
            raise ExportError(
                f"The head takes rows of unit length, and {net.name} has no layer that makes them. {instead}, or fit "
                f"again: fc7 fit DATA {_FOLDABLE}"
            )

    def encode(self, tapped: Tapped) -> bytes:
        """See :meth:`Format.encode`."""
        import safetensors.torch

        skeleton = self._skeleton()
        names = skeleton.state_dict().keys()
        state = {name: value for name, value in tapped.cut.state_dict().items() if name in names} | self._last(skeleton)
        about = self.network.about() | {"format": "pt", "network": self.made_by}
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

    def _options(self) -> dict[str, Any]:
        """Return the options of the constructor."""
        own = self.network.bundle.weights_source == OWN
        sized = {} if own else architecture(self.backbone).at(self.network.recipe.transform.crop).sized
        return {"num_classes": self.classes} | sized

    def _skeleton(self) -> torch.nn.Module:
        return architecture(self.backbone).skeleton(**self._options())

    def _last(self, skeleton: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Return the head's parameters under the network's names."""
        if self.network.is_stack:
            return {f"classifier.{name}": value for name, value in self.network.layers.state_dict().items()}
        last, layer = last_layer(skeleton)
        weight, bias = (parameter.detach() for parameter in self.network.layers.parameters())
        if isinstance(layer, torch.nn.Conv2d):
            # SqueezeNet's last convolution is followed by ReLU, then by the mean. Softmax ignores a summand that all
            # classes share, so subtracting the minimum is safe. Nothing is negative then, and ReLU has no effect.
            weight, bias = weight - weight.amin(dim=0), bias - bias.amin()
        return {f"{last}.weight": weight.reshape(layer.weight.shape), f"{last}.bias": bias}


FORMATS: dict[str, type[Format]] = {".onnx": Onnx, ".pt2": Pt2, ".safetensors": StateDict}


def _extra(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(package, "onnx") from error
