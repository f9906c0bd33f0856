"""What a JPEG's markers say, without decoding it: whether an engine that knows only ordinary ones may decode it.

An engine decodes what is cut off without a word, and knows nothing of orientation: both are asked before.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_START, _END = b"\xff\xd8", b"\xff\xd9"  # a few bytes may follow the end
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a part
_BASELINE, _SCAN, _APP1, _APP14 = 0xC0, 0xDA, 0xE1, 0xEE
_HARMLESS = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}  # tables, restarts, comments, applications
_EXIF, _ORIENTATION, _SHORT = b"Exif\0\0", 0x0112, 3
_UPRIGHT = (0, 1)
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')  # as Pillow looks for it
# Sampling factors of which an engine's pixels were compared with libjpeg's: grey, 4:4:4, 4:2:2, 4:2:0.
_SAMPLINGS = {(0x11,), (0x11, 0x11, 0x11), (0x21, 0x11, 0x11), (0x22, 0x11, 0x11)}


class Frame(NamedTuple):
    """Width and height in pixels, and how many components."""

    width: int
    height: int
    components: int


def ordinary_frame(data: bytes) -> Frame | None:
    """Return the frame of a JPEG that is baseline, whole, upright, in one scan, and grey or YCbCr; else None."""
    if not data.startswith(_START) or _END not in data[-64:]:
        return None
    frame, adobe = None, None
    for marker, part in _parts(data):
        if marker == _SCAN:
            if frame is None or part[:1] != bytes([frame.components]):
                return None
            return frame if frame.components == 1 or adobe in (None, b"\1") else None
        if marker == _BASELINE and frame is None:
            frame = _frame(part)
            if frame is None:
                return None
        elif marker not in _HARMLESS or (marker == _APP1 and not _is_upright(part)):
            return None
        elif marker == _APP14 and part.startswith(b"Adobe"):
            adobe = part[11:12]
    return None


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield markers with their parts, to the first scan."""
    position = len(_START)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in _ALONE:  # a filler, or one without a part
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        yield marker, data[position + 4 : end]
        position = end


def _frame(part: bytes) -> Frame | None:
    """Return a frame of 8 bits and of known samplings."""
    components = [part[start : start + 3] for start in range(6, len(part) - 2, 3)]
    frame = Frame(int.from_bytes(part[3:5]), int.from_bytes(part[1:3]), len(components))
    known = tuple(component[1] for component in components) in _SAMPLINGS
    known = known and part[0] == 8 and part[5] == len(components)
    rgb = bytes(component[0] for component in components) == b"RGB"
    return frame if known and not rgb and frame.width and frame.height else None


def _is_upright(part: bytes) -> bool:
    """Return whether an application's part has no orientation but the usual one."""
    if not part.startswith(_EXIF):
        return all(found == b"1" for found in _XMP_ORIENTATION.findall(part))
    order = {b"II": "little", b"MM": "big"}.get(part[6:8])

    def number(start: int, size: int) -> int:
        return int.from_bytes(part[6 + start : 6 + start + size], order)  # type: ignore[arg-type]

    if order is None:
        return False
    directory = number(4, 4)
    for start in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(start, 2) == _ORIENTATION:
            return number(start + 2, 2) == _SHORT and number(start + 8, 2) in _UPRIGHT
    return True
