"""The cache: recipes and embeddings on disk. It needs numpy and h5py, neither torch nor scikit-learn.

Names are imported on first use, so that a command without arrays does not wait for numpy.
"""

from typing import TYPE_CHECKING

from ..errors import door

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
__getattr__, __dir__ = door(__name__, _MODULES)
