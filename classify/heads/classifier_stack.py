"""The head ``classifier``: a backbone's own fully connected layers, fine-tuned on cached pool5 embeddings."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from .base import exported

if TYPE_CHECKING:
    import torch

LAYER = "pool5"


@exported
class ClassifierStack(ClassifierMixin, BaseEstimator):
    """A fitted fully connected stack, as arrays.

    Parameters
    ----------
    backbone
        ``alexnet`` or ``vgg16``: its ``classifier`` says which layers there are.
    state
        Parameters by torchvision's names below ``classifier``, float32.
    classes
        Number of outputs.
    """

    def __init__(self, backbone: str, state: dict[str, npt.NDArray[np.float32]], classes: int) -> None:
        self.backbone = backbone
        self.state = state
        self.classes = classes

    @property
    def classes_(self) -> npt.NDArray[np.intp]:
        """Positions of the classes."""
        return np.arange(self.classes)

    @property
    def n_features_in_(self) -> int:
        """Length of the rows that it takes."""
        return int(next(value for value in self.state.values() if value.ndim == 2).shape[1])

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: it is constructed with fitted parameters."""
        return True

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> "ClassifierStack":
        """Return itself: :func:`fc7.classify.finetuning.stack.fit_stack` fits it."""
        return self

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return logits ``(n, classes)``, for two classes their difference ``(n,)``, of pool5 rows ``(n, dim)``."""
        import torch

        with torch.inference_mode():
            logits = self.module()(torch.from_numpy(np.asarray(X, np.float32))).numpy().astype(np.float64)
        return np.asarray(logits[:, 1] - logits[:, 0] if self.classes == 2 else logits)

    def module(self) -> "torch.nn.Module":
        """Return the stack as a torch module in eval mode."""
        import torch

        from ...extract.backbones.architectures import architecture

        stack: Any = architecture(self.backbone).skeleton(num_classes=self.classes).classifier
        stack.load_state_dict({name: torch.from_numpy(value) for name, value in self.state.items()}, assign=True)
        module: torch.nn.Module = stack.eval().requires_grad_(False)
        return module
