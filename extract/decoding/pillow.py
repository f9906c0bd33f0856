"""Pillow for decoding alone: its Python modules once more, as modules of this one.

Pillow keeps limits, switches and plug-ins in variables of its modules, and everybody in the process may change them:
``MAX_IMAGE_PIXELS``, ``LOAD_TRUNCATED_IMAGES``, ``register_open``. None of that may decide a vector or a rejection, and
fc7 may change none of it for others. So the modules are executed a second time, with this module in the place of their
package. The compiled parts are shared. It takes 30 ms and 2 MB.
"""

import contextlib
import importlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import PIL
from PIL import UnidentifiedImageError as UnidentifiedImageError
from PIL import __version__ as __version__
from PIL import _plugins as _plugins

from ..computing import Counted

if TYPE_CHECKING:
    from PIL import ExifTags as ExifTags
    from PIL import Image as Image
    from PIL import ImageCms as ImageCms
    from PIL import ImageEnhance as ImageEnhance
    from PIL import ImageFile as ImageFile
    from PIL import TiffImagePlugin as TiffImagePlugin

__path__ = PIL.__path__  # makes this module a package, whose modules are Pillow's files

_COMPILED = ("_avif", "_imaging", "_imagingcms", "_webp")
ONE_BLOCK = 2**30  # bytes
_PLUGINS = ("Avif", "Bmp", "Jpeg", "Png", "Ppm", "Tiff", "WebP")

logger = logging.getLogger(__name__)


class _Collecting(threading.local):
    """The list of Pillow's warnings in this thread; None while nobody asks for them."""

    warned: list[str] | None = None


class _Warnings(ModuleType):
    """Stands for the module ``warnings``: Pillow's name no file, and with ``-W error`` would end a good image."""

    def warn(self, message: Any, *_: Any, **__: Any) -> None:
        if _collecting.warned is not None:
            _collecting.warned.append(str(message))


_collecting = _Collecting()


@contextlib.contextmanager
def warnings_of_pillow() -> Iterator[list[str]]:
    """Collect what these modules warn of in this thread."""
    _collecting.warned = warned = list[str]()
    try:
        yield warned
    finally:
        _collecting.warned = None


def ours(image: Any) -> "Image.Image":
    """Return an image with the methods of these modules; one of Pillow itself is loaded, and shares its pixels."""
    own: Any = sys.modules[f"{__name__}.Image"]
    mine = image
    if not isinstance(image, own.Image):
        image.load()
        mine = own.new("L", (1, 1))._new(image.im)
        mine.info = dict(image.info)
    return mine  # type: ignore[no-any-return]


def _allocate_in_one_block() -> Callable[[], object]:
    core: Any = sys.modules[f"{__name__}._imaging"]
    before = core.get_block_size()
    core.set_block_size(ONE_BLOCK)
    return partial(core.set_block_size, before)


# Lets Pillow allocate each image in one block. Otherwise it takes blocks of 16 MiB, which the C library keeps for the
# thread that freed them: twice the memory with two threads. A large block is given back to the system. This is the one
# switch that cannot be fc7's alone, because it is in the compiled part; no pixel depends on it.
one_block_each = Counted(_allocate_in_one_block)


def _import() -> None:
    for name in _COMPILED:
        try:
            compiled = importlib.import_module(f"PIL.{name}")
        except ImportError:
            compiled = None  # Pillow was built without it, and so are these modules
        sys.modules[f"{__name__}.{name}"] = compiled  # type: ignore[assignment]
    for name in _PLUGINS:
        importlib.import_module(f"{__name__}.{name}ImagePlugin")
    # One for each image, as all codecs have: images are decoded side by side.
    vars(sys.modules[f"{__name__}.AvifImagePlugin"])["DEFAULT_MAX_THREADS"] = 1
    for name, module in tuple(sys.modules.items()):
        if name.startswith(f"{__name__}.") and "warnings" in dir(module):
            vars(module)["warnings"] = _Warnings("warnings")
    logger.setLevel(logging.CRITICAL)  # what a plug-in logs as an error is also the reason of a reject


_import()
