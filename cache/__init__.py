"""The cache: recipes and embeddings on disk. It needs numpy and h5py, neither torch nor scikit-learn.

Names are imported on first use, so that a command without arrays does not wait for numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import dependencies

if TYPE_CHECKING:
    from .embeddings import Embeddings as Embeddings
    from .recipe import Recipe as Recipe
    from .store import Store as Store

_MODULES = {
    "Embeddings": "embeddings",
    "Recipe": "recipe",
    "Store": "store",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with dependencies():
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
