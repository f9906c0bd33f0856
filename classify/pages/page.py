"""Pages: self-contained HTML from a template and plain values.

Templates, styles and scripts are named by folder and file, such as ``reports/report.html.jinja``.

A page loads nothing but, if there are many, the pictures in a folder beside it: thumbnails are ``data:`` URIs and plots
inline SVG. Its content security policy allows only its own script, which sorts, filters and draws what is many; without
it the page can still be read.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cache.output_file import OutputFile
from ...cache.tables import counted
from ...errors import MissingExtra
from ...extract.text import storable
from .gallery import Gallery
from .pictures import folder_beside
from .point_map import PointMap
from .text import duration, percent, points, probability, relative, shown

PAGES, TEXTS, TABLES = (".html", ".htm"), (".md", ".markdown", ".txt"), (".csv",)  # suffixes of files
_ROOM = Path(__file__).parents[1]  # of the folders with templates, styles and scripts


def render(template: str, values: Mapping[str, Any], *galleries: Gallery | PointMap) -> str:
    """Return the page of a template and values: escaped, with an error for undefined names, strings made harmless.

    Only if one of its galleries or maps has pictures beside the page may it load these.

    Raises MissingExtra without Jinja2.
    """
    script = "".join(map(asset, ("pages/page.js", "pages/marks.js", "pages/map.js", "pages/large.js")))
    elsewhere = " 'self' file:" if any(gallery.beside for gallery in galleries) else ""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    common = {
        "style": asset("pages/page.css") + asset("pages/map.css"),
        "script": script,
        "policy": f"default-src 'none'; img-src data:{elsewhere}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
    }
    return str(environment().get_template(template).render({**common, **values}))


def asset(name: str) -> str:
    """Return a style or a script."""
    return (_ROOM / name).read_text(encoding="utf-8")


def write(output: OutputFile, text: str) -> Path:
    """Write a page, Markdown or csv and return its path; raises as :meth:`fc7.cache.output_file.OutputFile.write`."""
    return output.write(storable(text).encode("utf-8", "surrogateescape"))


def sizes(files: Sequence[Path]) -> list[str]:
    """Return a line per file with its name and size, and those of :func:`beside`."""
    return [*(f"Wrote {file}: {_size(file.stat().st_size)}" for file in files), *beside(files)]


def beside(files: Sequence[Path]) -> list[str]:
    """Return a line per folder with the pictures of a page."""
    folders = [folder_beside(file) for file in files if file.suffix in PAGES and folder_beside(file).is_dir()]
    return [f"More pictures of the page are in the folder beside it: {folder}" for folder in folders]


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def environment() -> Any:
    """Return the environment that finds and fills templates."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtra("jinja2", "report") from error

    def visible(item: Any) -> Any:
        return shown(item) if isinstance(item, str) and not isinstance(item, Markup) else item

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOM),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Only for markup that this package wrote: its style, its script, its plots.
    templates.filters["ours"] = Markup
    templates.filters["percent"] = percent
    templates.filters |= {
        "counted": counted,
        "duration": duration,
        "points": points,
        "probability": probability,
        "relative": relative,
    }
    return templates
