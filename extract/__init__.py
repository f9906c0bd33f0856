"""The extract room: from image files to embeddings in the cache."""

from .accounting import Extraction
from .backbones import Backbone, load_backbone
from .embed import extract, fill
from .manifest import Manifest, read_manifest

__all__ = ["Backbone", "Extraction", "Manifest", "extract", "fill", "load_backbone", "read_manifest"]
