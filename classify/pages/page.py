"""Pages: self-contained HTML from a template and plain values.

A file is called by its wing and name, such as ``reports/report.html.jinja``.

A page loads nothing: thumbnails are ``data:`` URIs, plots are inline SVG, and its content security policy allows no
other script than its own (which only sorts and filters; without it everything can still be read).
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cache.atomic_write import make_folder, replace
from ...errors import DataError, MissingExtra
from .text import shown

_ROOM = Path(__file__).parents[1]  # templates, styles and scripts are called by their wing and name


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return the page that a template makes of values: autoescaped, no name undefined, every string as it is shown.

    Raises
    ------
    MissingExtra
        Jinja2 is not installed.
    """
    script = asset("pages/page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    own = {
        "style": asset("pages/page.css"),
        "script": script,
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'",
    }
    return str(environment().get_template(template).render({**own, **values}))


def asset(name: str) -> str:
    """Return a style or a script."""
    return (_ROOM / name).read_text(encoding="utf-8")


def write(path: Path, text: str) -> Path:
    """Write a file whole or not at all, and return its path.

    Raises
    ------
    DataError
        It cannot be written.
    """
    try:
        make_folder(path.parent)
        replace(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(f"The report {path} cannot be written: {error.strerror or error}.") from error
    return path


def sizes(files: Sequence[Path]) -> list[str]:
    """Return a line per file: what it is called and how large it is."""
    return [f"Wrote {file}: {_size(file.stat().st_size)}" for file in files]


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def environment() -> Any:
    """Return what finds and fills templates.

    Raises
    ------
    MissingExtra
        Jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtra("jinja2", "report") from error

    def visible(item: Any) -> Any:
        return shown(item) if isinstance(item, str) and not isinstance(item, Markup) else item

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOM),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Only for what this package wrote itself: its style, its script, its plots.
    made.filters["ours"] = Markup
    made.filters["sure"] = lambda share: ">99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
    made.filters["percent"] = lambda share, digits=1: f"{100 * share:.{digits}f}"
    return made
