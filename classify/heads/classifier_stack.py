"""The head ``classifier``: a backbone's own fully connected layers, fine-tuned on cached pool5 embeddings."""

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ...errors import UsageError
from .base import exported, validated

if TYPE_CHECKING:
    import torch

LAYER = "pool5"


@exported
class ClassifierStack(ClassifierMixin, BaseEstimator):
    """A fully connected stack that :func:`fc7.classify.fit` has trained; a clone of it is not fitted.

    It cannot be fitted by itself, so that scikit-learn's searches and scores refuse it: its epoch and its temperature
    are chosen on images that are held out by their bytes and groups, which rows alone do not tell.

    Parameters
    ----------
    backbone
        ``alexnet`` or ``vgg16``: its ``classifier`` says which layers there are.

    Attributes
    ----------
    state_
        Parameters by torchvision's names below ``classifier``, float32.
    classes_
        Positions of the classes.
    """

    state_: dict[str, npt.NDArray[np.float32]]
    classes_: npt.NDArray[np.intp]

    def __init__(self, backbone: str = "alexnet") -> None:
        self.backbone = backbone

    @classmethod
    def trained(cls, backbone: str, state: dict[str, npt.NDArray[np.float32]], classes: int) -> "ClassifierStack":
        """Return a fitted stack with so many outputs."""
        stack = cls(backbone)
        stack.state_, stack.classes_ = state, np.arange(classes)
        return stack

    @property
    def n_features_in_(self) -> int:
        """Length of the rows that it takes."""
        check_is_fitted(self)
        return int(next(value for value in self.state_.values() if value.ndim == 2).shape[1])

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> NoReturn:
        """Refuse.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(
            "ClassifierStack is not fitted on rows alone: its epoch is chosen on images that are held out. Fit or "
            "cross-validate it with fc7.classify.fit(embeddings, 'classifier', cross_validate=5)."
        )

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return logits ``(n, classes)``, for two classes their difference ``(n,)``, of pool5 rows ``(n, dim)``.

        Raises
        ------
        NotFittedError
            It is not fitted, such as a clone.
        ValueError
            The rows have another length.
        """
        import torch

        check_is_fitted(self)
        rows = validated(self, X, dtype=np.float32, reset=False)
        with torch.inference_mode():
            logits = self.module()(torch.from_numpy(rows)).numpy().astype(np.float64)
        return np.asarray(logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Return the classes ``(n,)`` of pool5 rows; raises what :meth:`decision_function` raises."""
        margins = self.decision_function(X)
        return np.asarray(self.classes_[(margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)])

    def module(self) -> "torch.nn.Module":
        """Return the stack as a torch module in eval mode."""
        import torch

        from ...extract.backbones.architectures import architecture

        stack: Any = architecture(self.backbone).skeleton(num_classes=len(self.classes_)).classifier
        stack.load_state_dict({name: torch.from_numpy(value) for name, value in self.state_.items()}, assign=True)
        module: torch.nn.Module = stack.eval().requires_grad_(False)
        return module
