"""Tables in Python: a list whose items are rows, as a few lines of text, as HTML, and as a DataFrame of pandas."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, SupportsIndex, TypeVar, overload

from ..errors import MissingExtra

T = TypeVar("T")

MOST = 7  # rows that are shown: with a title and what is left out they are ten lines
WIDE = 80  # columns of a terminal


class Table(list[T]):
    """A list that shows itself as a small table, in a terminal and in a notebook.

    Attributes
    ----------
    shown
        The columns that are shown; :meth:`to_pandas` has all.
    """

    shown: ClassVar[Sequence[str]] = ()

    @overload
    def __getitem__(self, rows: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, rows: slice) -> Self: ...
    def __getitem__(self, rows: SupportsIndex | slice) -> T | Self:
        """Return an item; of a slice, a table again."""
        return type(self)(super().__getitem__(rows)) if isinstance(rows, slice) else super().__getitem__(rows)

    def to_dicts(self, first: int | None = None) -> list[dict[str, Any]]:
        """Return plain values of the first items, by default of all, by the names of their columns."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row for each item.

        Raises
        ------
        MissingExtra
            pandas is not installed.
        """
        rows = self.to_dicts()
        columns = dict.fromkeys(name for row in rows for name in row) or self.shown
        return data_frame({name: [row.get(name) for row in rows] for name in columns})

    def __repr__(self) -> str:
        lines = [self._title]
        if cells := self._cells():
            table = [list(self.shown), *cells]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            # The first column names the item: it may be a long path, and gives way to the figures.
            widths[0] = max(min(widths[0], WIDE - sum(widths[1:]) - 2 * len(widths)), 12)
            lines += [
                "  ".join(["", *(cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))])
                for row in table
            ]
        if len(self) > MOST:
            lines.append(f"  and {len(self) - MOST:,} more: to_pandas() has all")
        return "\n".join(line.rstrip()[:WIDE] for line in lines)

    def _repr_html_(self) -> str:
        return html_table(self._title, self.shown, self._cells(), len(self))

    @property
    def _title(self) -> str:
        return f"{type(self).__name__}({len(self):,})"

    def _cells(self) -> list[list[str]]:
        return [[cell(row.get(name)) for name in self.shown] for row in self.to_dicts(MOST)[:MOST]]


def data_frame(columns: Mapping[str, Any]) -> Any:
    """Return columns as a DataFrame; texts that are no Unicode are escaped, as in parquet.

    Raises MissingExtra without pandas.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra("pandas", "tables") from error
    return pandas.DataFrame({name: list(map(unicode, values)) for name, values in columns.items()})


def unicode(value: Any) -> Any:
    """Return a text as UTF-8 can hold it: bytes that are no Unicode are escaped; other values as they are."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def html_table(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], total: int) -> str:
    """Return a table for a notebook, its texts escaped: the first of `total` rows, and how many are left out."""
    left_out = total - len(cells)
    parts = [f"<caption>{html.escape(title)}</caption>", _html_row("th", columns)]
    parts += [_html_row("td", row) for row in cells]
    more = f"<p>and {left_out:,} more</p>" if left_out > 0 else ""
    return f"<table>{''.join(parts)}</table>{more}"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(text)}</{tag}>' for text in cells)}</tr>"


def cell(value: Any) -> str:
    r"""Return a value as a short text of one line that any terminal can show.

    >>> cell(0.93464), cell("a\nb"), cell(None), cell(True)
    ('0.935', 'a\\nb', '', 'yes')
    """
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with what is counted.

    >>> counted(1, "image"), counted(2000, "image"), counted(0, "class", "classes")
    ('1 image', '2,000 images', '0 classes')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def are(number: int) -> str:
    """Return the verb after so many: ``is`` or ``are``."""
    return "is" if number == 1 else "are"


def cut(text: str, most: int) -> str:
    """Return a text of at most so many letters; of a longer one the start and the end, which tells files apart.

    >>> cut("train/ants/0013035.jpg", 15)
    'train/...35.jpg'
    """
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[: most - 3 - half]}...{text[len(text) - half :]}"
