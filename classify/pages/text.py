"""Text for pages: names of files and classes become one harmless line, numbers become words."""

import math
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from ...extract.text import hides

_LEVEL = 0.05  # of all tests
_NO_POINTS = 1e-9  # a difference that is rounding
# An absolute path inside other words: after the start, a space, a quote or "file:", but not the // of a URL.
_FOLDERS = re.compile(r"""(?:(?<=^)|(?<=[\s"'(=,:]))(?:[A-Za-z]:[\\/]|/(?!/)|\\\\|~/)(?:[^\\/\s"'<>|:]+[\\/])*""")


def shown(text: str) -> str:
    r"""Return `text` with characters that are not printable escaped, such as a newline as ``\n``.

    >>> shown("a\nb")
    'a\\nb'
    """
    return "".join(letter.encode("unicode_escape").decode() if hides(letter) else letter for letter in text)


def without_folders(text: str) -> str:
    """Return `text` with absolute paths cut to their last part: a report must not reveal folders.

    >>> without_folders("file:/home/ann/vgg16.pth")
    'file:vgg16.pth'
    """
    return _FOLDERS.sub("", text)


def relative(path: str) -> str:
    """Return a recorded path, cut to its last two parts where it is absolute.

    >>> relative("/home/ann/data/ants/1.jpg"), relative("ants/1.jpg")
    ('ants/1.jpg', 'ants/1.jpg')
    """
    for kind in (PurePosixPath, PureWindowsPath):
        parsed = kind(path)
        if parsed.anchor or path.startswith("~"):
            return "/".join(part for part in parsed.parts[-2:] if part != parsed.anchor)
    return path


def value(item: Any) -> str:
    """Return a hyper-parameter or the like in a few characters: ``0.001``, ``uniform``, ``[1, 2]``."""
    if isinstance(item, bool) or item is None:
        return str(item)
    if isinstance(item, int | float):
        return f"{item:g}"
    if isinstance(item, list | tuple):
        return "[" + ", ".join(value(element) for element in item) + "]"
    if isinstance(item, dict):
        return named(item)
    return without_folders(str(item))


def named(items: dict[str, Any]) -> str:
    """Return ``C = 1, solver = lbfgs``."""
    return ", ".join(f"{without_step(without_folders(str(name)))} = {value(item)}" for name, item in items.items())


def without_step(name: str) -> str:
    """Return a hyper-parameter without the step of fc7's own pipelines: ``alpha`` for ``head__alpha``."""
    return name.removeprefix("head__")


def ratio(seconds: float, reference: float) -> str:
    """Return ``1/400 of`` or ``2.3 times``: how one duration relates to another."""
    if seconds <= 0 or reference <= 0:
        return "an unmeasured share of"
    if seconds < reference:
        return f"1/{_two_digits(reference / seconds)} of"
    return f"{_two_digits(seconds / reference)} times"


def duration(seconds: float) -> str:
    """Return seconds in readable units: ``0.82 s``, ``12 s``, ``5 min 20 s``, ``2 h 5 min``."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms" if seconds > 0 else "0 s"
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    large, small, units = (rounded // 60, rounded % 60, ("min", "s"))
    if rounded >= 3600:
        large, small, units = rounded // 3600, rounded % 3600 // 60, ("h", "min")
    return f"{large} {units[0]} {small} {units[1]}" if small else f"{large} {units[0]}"


def speed(rate: float | None) -> str:
    """Return images per second in two digits; nothing for None."""
    return "" if rate is None else _two_digits(rate)


def size(count: int | None) -> str:
    """Return bytes in readable units: ``840 MB``, ``1.7 GB``; nothing for None."""
    if count is None:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def probability(p: float) -> str:
    """Return a p-value for a sentence or a table, on the same side of 0.05 as it is."""
    if p < 0.001 or p >= 0.995:
        return "p < 0.001" if p < 0.001 else "p = 1"
    texts = (f"{p:.{digits}g}" for digits in range(2, 18))
    return f"p = {next(text for text in texts if (float(text) <= _LEVEL) == (p <= _LEVEL))}"


def points(difference: float, sign: bool = True) -> str:
    """Return a difference of accuracies in points, with a true minus sign: 0.0 only where there is none."""
    value = 0.0 if abs(difference) < _NO_POINTS else 100 * difference
    digits = -math.floor(math.log10(abs(value))) if 0 < abs(value) < 0.05 else 1
    text = f"{value:+.{digits}f}" if sign and value else f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _two_digits(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{float(f'{value:.2g}'):,.0f}"


def figure(value: float | None) -> str:
    """Return three decimals; nothing for None."""
    return "" if value is None else f"{value:.3f}"


def percent(share: float) -> str:
    """Return a share in percent, rounded as its three decimals are: 0.8625 is 86.3, because it is 0.863 elsewhere."""
    return f"{100 * float(figure(share)):.1f}"


def confident(share: float) -> str:
    """Return a probability in percent, where 100 % is only what is certain: ``97.2 %``, ``>99.9 %``."""
    return ">99.9 %" if 0.9995 <= share < 1 else f"{percent(share)} %"
