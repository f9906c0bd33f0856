"""The extract room: from image files to embeddings in the cache.

Names are imported when they are first used: a repeated extract must not wait for arrays and decoders.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backbones.backbone import Backbone, load_backbone
    from .engines.accounting import Extraction
    from .engines.ray_engine import RayEngine
    from .extraction import extract, fill
    from .manifest.manifest import Manifest, read_manifest

__all__ = [
    "Backbone",
    "Extraction",
    "Manifest",
    "RayEngine",
    "extract",
    "fill",
    "load_backbone",
    "read_manifest",
]

_MODULES = {
    "Backbone": "backbones.backbone",
    "Extraction": "engines.accounting",
    "Manifest": "manifest.manifest",
    "RayEngine": "engines.ray_engine",
    "extract": "extraction",
    "fill": "extraction",
    "load_backbone": "backbones.backbone",
    "read_manifest": "manifest.manifest",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
