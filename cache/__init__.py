"""The cache room: recipes and embeddings on disk. It knows arrays, neither torch nor scikit-learn."""

from .embeddings import Embeddings
from .recipe import Recipe
from .store import Store

__all__ = ["Embeddings", "Recipe", "Store"]
