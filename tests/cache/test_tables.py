"""A list as a small table: in a terminal, in a notebook, in pandas."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.cache.tables import MOST, Table, cell, counted

ROWS = st.lists(st.tuples(st.text(), st.floats(0, 1), st.integers(0, 10**6)), max_size=3 * MOST)


class Scores(Table):
    shown = ("name", "score", "n")

    def to_dicts(self, first=None):
        return [dict(zip((*self.shown, "more"), (*row, ""), strict=True)) for row in self[:first]]


class Cells(HTMLParser):
    """The texts of cells, and every tag that there is."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.tags = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        assert not attributes
        if tag in ("td", "th"):
            self.texts.append("")

    def handle_data(self, data):
        if self.lasttag in ("td", "th"):
            self.texts[-1] += data


@given(ROWS)
def test_it_fits_a_terminal_whatever_the_names_are(rows):
    text = repr(Scores(rows))
    lines = text.split("\n")
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
    assert len(lines) == (1 if not rows else min(len(rows), MOST) + 2 + (len(rows) > MOST)) <= 10
    assert lines[0] == f"Scores({len(rows)})"
    for (_, score, n), line in zip(rows, lines[2 : 2 + MOST], strict=False):
        assert line.split()[-2:] == [f"{score:.3f}", str(n)]


@given(ROWS)
def test_a_notebook_sees_the_same_cells_and_no_tag_of_theirs(rows):
    seen = Cells(Scores(rows)._repr_html_())
    assert seen.tags <= {"table", "caption", "tr", "th", "td", "p"}
    expected = [cell(value) for row in rows[:MOST] for value in row]
    assert seen.texts == [*Scores.shown, *expected]


def test_what_is_left_out_is_said():
    scores = Scores([("a", 0.5, 1)] * (MOST + 1200))
    assert repr(scores).endswith("and 1,200 more: to_pandas() has all")
    assert "1,200 more" in scores._repr_html_()
    assert "more" not in repr(scores[:MOST])


def test_long_names_give_way_to_figures():
    first = repr(Scores([(f"/{'deep/' * 40}a.jpg", 0.25, 7)])).splitlines()[2]
    assert first.startswith("  /deep/")
    assert "...p/deep/" in first
    assert first.split()[-3].endswith("/a.jpg")


@settings(max_examples=30)
@given(ROWS)
def test_pandas_has_every_row_and_column(rows):
    pytest.importorskip("pandas")
    table = Scores(rows).to_pandas()
    assert table.shape == (len(rows), 4 if rows else 3)
    assert [tuple(row) for row in table[list(Scores.shown)].itertuples(index=False)] == rows


def test_it_is_a_list():
    rows = [("a", 0.5, 1), ("b", 0.25, 2)]
    assert Scores(rows) == rows
    assert Scores(rows)[1] == ("b", 0.25, 2)


def test_one_is_singular():
    assert [counted(number, "image") for number in (0, 1, 2, 1000)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,000 images",
    ]
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]
