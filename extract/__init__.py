"""The extract room: from image files to embeddings in the cache.

Names are imported when they are first used: a repeated extract must not wait for arrays and decoders.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import dependencies

if TYPE_CHECKING:
    from .backbones.backbone import Backbone as Backbone
    from .backbones.published import load_backbone as load_backbone
    from .engines.accounting import Extraction as Extraction
    from .engines.ray_engine import RayEngine as RayEngine
    from .extraction import extract as extract
    from .extraction import fill as fill
    from .manifest.manifest import Manifest as Manifest
    from .manifest.manifest import read_manifest as read_manifest

_MODULES = {
    "Backbone": "backbones.backbone",
    "Extraction": "engines.accounting",
    "Manifest": "manifest.manifest",
    "RayEngine": "engines.ray_engine",
    "extract": "extraction",
    "fill": "extraction",
    "load_backbone": "backbones.published",
    "read_manifest": "manifest.manifest",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with dependencies():
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
