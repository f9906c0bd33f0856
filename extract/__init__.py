"""From image files to embeddings in the cache.

Names are imported when they are first used: a repeated extract must not wait for arrays and decoders.
"""

from typing import TYPE_CHECKING

from ..errors import door

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
__getattr__, __dir__ = door(__name__, _MODULES)
