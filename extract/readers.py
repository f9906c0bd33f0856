"""Readers of options, from text to values."""

import math
from argparse import ArgumentTypeError
from functools import partial

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
_LEAST_RAM = 2**24  # less than a block of long rows
_MOST_PIXELS = 2**13  # 64 megapixels, which is more than any image may have

NVJPEG = "nvjpeg is no longer there: take hardware, whose vectors are others. Rows of nvjpeg in a cache can be read"


def memory_size(text: str) -> int:
    """Read bytes, or ``512M`` and ``2G``."""
    unit = text[-1:].upper()
    size = float(text[:-1]) * _UNITS[unit] if unit in _UNITS else float(text)
    if not size >= _LEAST_RAM:  # nan is neither more nor less
        raise ArgumentTypeError(f"{text} is less than {_LEAST_RAM // 2**20}M")
    return int(min(size, 2**63))


def whole_number(text: str, least: int = 1, most: int = 2**31 - 1) -> int:
    """Read a whole number within bounds, by default 1 or more."""
    value = int(text)
    if value < least:
        raise ArgumentTypeError(f"{value} is less than {least}")
    if value > most:
        raise ArgumentTypeError(f"{text} is more than {most}")
    return value


folds_number = partial(whole_number, least=2)
views_number = partial(whole_number, least=0)
threads_number = partial(whole_number, most=1024)
seed_number = partial(whole_number, least=0, most=2**32 - 1)
port_number = partial(whole_number, least=0, most=2**16 - 1)


def jobs_number(text: str) -> int:
    """Read a number of processes: -1, or 1 and more."""
    return -1 if text == "-1" else threads_number(text)


def positive_number(text: str) -> float:
    """Read a number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text}: must be more than 0")
    return value


def share(text: str, *, some: bool = False) -> float:
    """Read a number from 0, or with `some` from above it, to below 1."""
    value = float(text)
    if not 0 <= value < 1 or (some and not value):
        raise ArgumentTypeError(f"{text}: must be {'more than' if some else 'at least'} 0 and less than 1")
    return value


positive_share = partial(share, some=True)


def image_size(text: str) -> tuple[int, int | None]:
    """Read ``CROP`` or ``CROP:RESIZE``."""
    crop, colon, resize = text.partition(":")
    return whole_number(crop, most=_MOST_PIXELS), whole_number(resize, most=_MOST_PIXELS) if colon else None


def decoding(text: str) -> str:
    """Read how images are decoded; a name of before has a successor."""
    if text == "nvjpeg":
        raise ArgumentTypeError(NVJPEG)
    return text


def python_function(text: str) -> str:
    """Read ``FILE.py:FUNCTION``, which no project file may name: a folder from elsewhere must run no code."""
    if not is_python_function(text):
        raise ArgumentTypeError(f"{text} is not FILE.py:FUNCTION")
    return text


def is_python_function(name: str) -> bool:
    """Return whether a backbone is one's own, ``FILE.py:FUNCTION``."""
    return ".py:" in name
