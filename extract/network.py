"""The torch side of a backbone: a torchvision network cut after its last tapped layer."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torchvision.models.feature_extraction import create_feature_extractor

from ..errors import WeightsError
from .architectures import Architecture, Layer
from .weights import Weights


class Tapped(torch.nn.Module):
    """A network that returns the vectors of its tapped layers and computes nothing beyond them.

    Parameters
    ----------
    net, layers
        What to cut, and where.
    weights, sha256
        Where the parameters come from, and the bytes they must have.

    Raises
    ------
    WeightsError
        The weights lack a parameter that the layers need, or its shape differs.
    """

    def __init__(self, net: Architecture, layers: Sequence[str], weights: Weights, sha256: str) -> None:
        super().__init__()
        self.taps = [net.layer(name) for name in layers]
        self.cut = _cut(net, self.taps)
        for module in self.cut.modules():
            if getattr(module, "inplace", False):  # the next layer must not overwrite a tapped one
                module.inplace = False  # type: ignore[assignment]
        state = weights.state_dict(sha256)
        needed = self.cut.state_dict().keys()
        absent = sorted(needed - state.keys())
        if absent:
            served = [
                name for name, layer in net.layers.items() if _cut(net, [layer]).state_dict().keys() <= state.keys()
            ]
            raise WeightsError(
                f"The weights {weights.source} lack {len(absent)} tensors that {net.name} {', '.join(layers)} needs, "
                f"the first is {absent[0]}. "
                + (f"They reach --layer {' or '.join(served)}." if served else f"They serve no layer of {net.name}.")
            )
        try:
            self.cut.load_state_dict({name: state[name] for name in needed}, assign=True)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise WeightsError(f"The weights {weights.source} do not fit {net.name}: {reason}") from error

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return ``(B, dim)`` for each tapped layer, from normalised ``(B, 3, H, W)``."""
        outputs = self.cut(images)
        return [outputs[tap.node].mean(dim=(2, 3)) if tap.pooled else outputs[tap.node].flatten(1) for tap in self.taps]


def _cut(net: Architecture, taps: Sequence[Layer]) -> torch.nn.Module:
    nodes = list(dict.fromkeys(tap.node for tap in taps))
    cut: torch.nn.Module = create_feature_extractor(net.skeleton(), nodes, suppress_diff_warning=True)
    return cut.eval()


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Keep TF32 out of float32 products on CUDA: a recipe that says fp32 means it."""
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
