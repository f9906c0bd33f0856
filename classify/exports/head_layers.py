"""A fitted head as torch layers, including its temperature and the preparation of rows."""

from typing import Any

import numpy as np
import torch

from ...errors import ExportError
from ..bundles.bundle import Bundle
from ..heads.base import LinearHead
from ..heads.classifier_stack import ClassifierStack
from ..heads.preparation import UnitRows, on_raw_rows
from ..heads.table import HEADS
from ..heads.torch_linear import TorchLinear

LINEAR = (LinearHead, TorchLinear)


class UnitLength(torch.nn.Module):
    """Scale rows to unit length, whatever their length is; a row of zeros stays zero."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map ``(B, dim)`` to ``(B, dim)``."""
        # By the largest number first: from 1e19 on, squares are no numbers of float32 any more.
        largest = rows.abs().amax(dim=1, keepdim=True)
        return torch.nn.functional.normalize(rows / largest.clamp_min(torch.finfo(rows.dtype).tiny))


def last_layers(bundle: Bundle) -> torch.nn.Sequential:
    """Return the layers from raw embeddings to logits whose softmax is the bundle's probability.

    Either the trained stack of the head ``classifier``, or one linear layer, after :class:`UnitLength` where the head
    was fitted on rows of unit length.

    Raises
    ------
    ExportError
        The head is not a layer of a network; the message names those that are.
    """
    steps = dict(bundle.estimator.steps)
    head, preparation = steps["head"], steps.get("prepare")
    estimator, temperature = head.estimator, head.temperature
    if isinstance(estimator, ClassifierStack):
        stack: Any = estimator.module()
        stack[-1].weight = torch.nn.Parameter(stack[-1].weight / temperature, requires_grad=False)
        stack[-1].bias = torch.nn.Parameter(stack[-1].bias / temperature, requires_grad=False)
        return torch.nn.Sequential(*stack)
    if not isinstance(estimator, LINEAR):
        raise ExportError(
            f"The head {bundle.run.get('head', type(estimator).__name__)} is not a layer of a network. Heads that can "
            f"be exported: {', '.join(exportable())}. Fit one of these on the same embeddings: fc7 fit DATA --head NAME"
        )
    weight, bias = np.asarray(estimator.coef_, np.float64), np.asarray(estimator.intercept_, np.float64)
    if len(weight) == 1:  # two classes: one row that holds their difference
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight, bias = on_raw_rows(preparation, weight, bias)
    linear: Any = torch.nn.utils.skip_init(torch.nn.Linear, weight.shape[1], weight.shape[0])
    linear.weight = torch.nn.Parameter(torch.from_numpy(weight / temperature).float(), requires_grad=False)
    linear.bias = torch.nn.Parameter(torch.from_numpy(bias / temperature).float(), requires_grad=False)
    return torch.nn.Sequential(*([UnitLength()] if isinstance(preparation, UnitRows) else []), linear)


def exportable() -> list[str]:
    """Return the names of the heads that are layers of a network."""
    return [name for name, head in HEADS.items() if isinstance(head.build(0), (*LINEAR, ClassifierStack))]
