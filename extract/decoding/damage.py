"""Which failures of Pillow are facts about the bytes of a file, and which are only true here and now.

Facts are recorded for everybody who shares the cache, so they are listed here; a failure that is not on the list is
never recorded. A codec that runs out of memory inside a library often says "broken data", so a fact must also come
where there is memory.
"""

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from ...errors import FC7Error, ImageUnreadable
from . import pillow
from .pillow import Image

MARGIN = 2**26  # bytes that decoding takes beside the pixels: buffers, compressed text, the directory

# What Pillow's plug-ins raise on damaged files. Not among them: MemoryError, ImportError, RuntimeError (of which
# RecursionError is one), AttributeError, other kinds of OSError.
_KINDS = (
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    ZeroDivisionError,
    EOFError,
    struct.error,
    zlib.error,
    pillow.UnidentifiedImageError,
)
# As a plain OSError they and the C decoders say these. Not among them: out of memory, a decoder that is not available.
_WORDS = re.compile(
    "truncated|broken data stream|unrecognized data stream|buffer overrun|codec configuration|corrupt exif|"
    "(^|decoder error )-[128]$|unsupported bmp|not exactly one tile|couldn't set the image|cannot load this image|"
    "windows media photo|failed to read next frame|could not create decoder",
    re.IGNORECASE,
)
_AVIF = re.compile("Failed to decode image: (?!Out of memory|No codec)")  # as a RuntimeError, whatever is the matter
_NO_CODEC = re.compile("decoder (.+) not available")
_CODE = (f"{pillow.__name__}.", "pillow_heif.")
_FAX = ("tiff_ccitt", "group3", "group4")


def fact(error: Exception) -> str:
    """Return the reason why a file is rejected for good; empty if the failure is not known to be its bytes' fault."""
    listed = isinstance(error, _KINDS) or (type(error) is OSError and error.errno is None and _WORDS.search(str(error)))
    listed = listed or (type(error) is RuntimeError and _AVIF.match(str(error)))
    return f"damaged: {one_line(error)}" if listed and _in_pillow(error) else ""


@contextlib.contextmanager
def unreadable_now() -> Iterator[None]:
    """Turn every error that is neither one of fc7 nor of the system into an ImageUnreadable, which says what to do."""
    try:
        yield
    except (FC7Error, OSError) as error:
        missing = type(error) is OSError and _NO_CODEC.search(str(error))
        if missing:
            raise without_codec(missing[1]) from error
        if isinstance(error, FC7Error) or error.errno is not None:
            raise
        raise ImageUnreadable(f"{one_line(error)}. {_TRY_AGAIN}") from error
    except MemoryError as error:
        raise short_of_memory() from error
    except ImportError as error:
        raise ImageUnreadable(f"{one_line(error)}. {_OTHER_PILLOW}") from error
    except RecursionError as error:
        raise ImageUnreadable(
            "Python's recursion limit is too low to decode it. Raise it with sys.setrecursionlimit"
        ) from error
    except Exception as error:
        raise ImageUnreadable(f"{type(error).__name__}: {one_line(error)}. {_TRY_AGAIN}") from error


_TRY_AGAIN = "It is tried again in the next run"
_OTHER_PILLOW = "Install a complete Pillow: pip install --force-reinstall pillow"


def short_of_memory() -> ImageUnreadable:
    """Return the error of an image for which there is not enough memory."""
    return ImageUnreadable("there is not enough memory to decode it. Use fewer workers, or a larger machine")


def without_codec(name: str) -> ImageUnreadable:
    """Return the error of an image whose codec this Pillow lacks."""
    return ImageUnreadable(f"this Pillow has no {name} codec. {_OTHER_PILLOW}")


def require_memory(size: int) -> None:
    """Ask for so many bytes and give them back: what failed where they were not there failed for another reason.

    Raises ImageUnreadable if they are not there.
    """
    try:
        np.empty(size + MARGIN, np.uint8)
    except MemoryError as error:
        raise short_of_memory() from error


def require_compression(name: str) -> None:
    """Check that this Pillow reads a TIFF with a compression, by its name in Pillow.

    Raises ImageUnreadable if it does not, or cannot write one to try.
    """
    buffer = io.BytesIO()
    try:
        Image.new("1" if name in _FAX else "L", (8, 8)).save(buffer, "TIFF", compression=name)
        Image.open(buffer, formats=("TIFF",)).load()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise without_codec(f"TIFF {name}") from error


def one_line(error: Exception) -> str:
    """Return a message that fits a table: no line ends, and not the length that a file may have chosen."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _in_pillow(error: Exception) -> bool:
    """Return whether an error was raised while code of Pillow ran, or of pillow-heif."""
    traceback = error.__traceback__
    while traceback is not None:
        if str(traceback.tb_frame.f_globals.get("__name__")).startswith(_CODE):
            return True
        traceback = traceback.tb_next
    return False
