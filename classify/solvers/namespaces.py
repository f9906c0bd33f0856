"""What solvers do with arrays: by NumPy on the processor, or by torch on a device, where the arrays stay.

Both have the same names, so that a solver is written once. What a solver decides by, it asks the `host` for: on a
device that is when it waits.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..arrays import unit

if TYPE_CHECKING:
    import torch

Array = Any  # numpy.ndarray, or torch.Tensor on a device


class NumPy:
    """Arrays of NumPy.

    Attributes
    ----------
    block
        Numbers in an intermediate array, which is to stay in the processor's cache.
    """

    device: "torch.device | None" = None
    block = 2**20

    def array(self, values: Array, dtype: npt.DTypeLike) -> Array:
        """Return a copy in a type."""
        return np.array(values, dtype)

    def asarray(self, values: Array, dtype: npt.DTypeLike | None = None) -> Array:
        """Return values in a type, copied only if they must be."""
        return np.asarray(values, dtype)

    def host(self, array: Array) -> npt.NDArray[Any]:
        """Return an array of NumPy."""
        return np.asarray(array)

    def index(self, positions: Any) -> Any:
        """Return positions, a mask or a slice as what such arrays are indexed with."""
        return positions

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return an array to fill."""
        return np.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return zeros."""
        return np.zeros(shape, dtype)

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        """Put arrays one after the other."""
        return np.concatenate(arrays, axis=axis)

    def maximum(self, array: Array, least: Array) -> Array:
        """Return the larger of two numbers, everywhere."""
        return np.maximum(array, least)

    def clip(self, array: Array, least: float, most: float | None = None) -> Array:
        """Bring numbers into a range, in place."""
        return np.clip(array, least, most, out=array)

    def where(self, condition: Array, then: Array, otherwise: Array) -> Array:
        """Choose number by number."""
        return np.where(condition, then, otherwise)

    def sqrt(self, array: Array) -> Array:
        """Return square roots."""
        return np.sqrt(array)

    def largest(self, array: Array, axis: int) -> Array:
        """Return the largest along an axis, which stays."""
        return array.max(axis=axis, keepdims=True)

    def exp(self, array: Array) -> Array:
        """Exponentiate in place."""
        return np.exp(array, out=array)

    def expit(self, array: Array) -> Array:
        """Return the logistic function, in place."""
        from scipy.special import expit

        return expit(array, out=array)

    def divide(self, left: Array, right: Array, out: Array) -> None:
        """Divide into an array."""
        np.divide(left, right, out=out)

    def einsum(self, spec: str, left: Array, right: Array) -> Array:
        """Return sums of products, such as ``gm,gm->g``."""
        return np.einsum(spec, left, right)

    def unit(self, array: Array) -> Array:
        """Divide each row by its length, in place; a row of zeros stays as it is."""
        return unit(array, out=array)

    def kth_largest(self, array: Array, count: int) -> Array:
        """Return the number of each row that `count` reach, ``(n,)``."""
        return np.partition(array, -count, axis=1)[:, -count]

    def places_where(self, condition: Array) -> tuple[Array, ...]:
        """Return the places at which an array is true, axis by axis."""
        return np.nonzero(condition)


class OnDevice(NumPy):
    """Tensors on a device of torch. Products of float32 are full ones: see :mod:`fc7.extract.computing`."""

    block = 2**25  # each operation is a launch of its own: fewer and larger ones

    def __init__(self, device: "torch.device") -> None:
        self.device = device

    def array(self, values: Array, dtype: npt.DTypeLike) -> Array:
        """Return a copy in a type."""
        import torch

        if isinstance(values, torch.Tensor):
            return values.to(self.device, _torch_type(dtype), copy=True)
        return torch.tensor(np.ascontiguousarray(values), dtype=_torch_type(dtype), device=self.device)

    def asarray(self, values: Array, dtype: npt.DTypeLike | None = None) -> Array:
        """Return values in a type, copied only if they must be."""
        import torch

        if isinstance(values, torch.Tensor):
            return values.to(self.device, None if dtype is None else _torch_type(dtype))
        return torch.tensor(np.ascontiguousarray(values, dtype), device=self.device)

    def host(self, array: Array) -> npt.NDArray[Any]:
        """Return an array of NumPy."""
        return np.asarray(array if isinstance(array, np.ndarray) else array.cpu().numpy())

    def index(self, positions: Any) -> Any:
        """Return positions, a mask or a slice as what such arrays are indexed with."""
        import torch

        return positions if isinstance(positions, slice) else torch.tensor(positions, device=self.device)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return an array to fill."""
        import torch

        return torch.empty(shape, dtype=_torch_type(dtype), device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return zeros."""
        import torch

        return torch.zeros(shape, dtype=_torch_type(dtype), device=self.device)

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        """Put arrays one after the other."""
        import torch

        return torch.cat(list(arrays), dim=axis)

    def maximum(self, array: Array, least: Array) -> Array:
        """Return the larger of two numbers, everywhere."""
        return array.clamp(min=least)

    def clip(self, array: Array, least: float, most: float | None = None) -> Array:
        """Bring numbers into a range, in place."""
        return array.clamp_(least, most)

    def where(self, condition: Array, then: Array, otherwise: Array) -> Array:
        """Choose number by number."""
        import torch

        return torch.where(condition, then, otherwise)

    def sqrt(self, array: Array) -> Array:
        """Return square roots."""
        return array.sqrt()

    def largest(self, array: Array, axis: int) -> Array:
        """Return the largest along an axis, which stays."""
        return array.amax(dim=axis, keepdim=True)

    def exp(self, array: Array) -> Array:
        """Exponentiate in place."""
        return array.exp_()

    def expit(self, array: Array) -> Array:
        """Return the logistic function, in place."""
        return array.sigmoid_()

    def divide(self, left: Array, right: Array, out: Array) -> None:
        """Divide into an array."""
        import torch

        torch.div(left, right, out=out)

    def einsum(self, spec: str, left: Array, right: Array) -> Array:
        """Return sums of products, such as ``gm,gm->g``; each axis of the first array is one of the second.

        Torch's own would make millions of products of two short vectors of ``gkn,gkn->gn``.
        """
        inputs, _, result = spec.partition("->")
        first, _, second = inputs.partition(",")
        for axis, letter in enumerate(second):
            if letter not in first:
                left = left.unsqueeze(axis)
        return (left * right).sum(dim=[axis for axis, letter in enumerate(second) if letter not in result])

    def unit(self, array: Array) -> Array:
        """Divide each row by its length, in place; a row of zeros stays as it is."""
        import torch

        array /= array.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(array.dtype).tiny)
        return torch.nn.functional.normalize(array, out=array)

    def kth_largest(self, array: Array, count: int) -> Array:
        """Return the number of each row that `count` reach, ``(n,)``."""
        return array.topk(count, dim=1).values[:, -1]

    def places_where(self, condition: Array) -> tuple[Array, ...]:
        """Return the places at which an array is true, axis by axis."""
        return tuple(condition.nonzero(as_tuple=True))


NUMPY = NumPy()


def _torch_type(dtype: npt.DTypeLike) -> "torch.dtype":
    import torch

    kind: torch.dtype = getattr(torch, np.dtype(dtype).name)
    return kind
