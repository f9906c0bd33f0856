"""An audit as a csv and as text."""

import csv
import io
from dataclasses import replace

from fc7.classify import audit
from fc7.classify.audits.tables import COLUMNS, audit_csv, audit_text


def test_csv_has_a_row_per_finding_and_no_formulas(hostile):
    rows = list(csv.DictReader(io.StringIO(audit_csv(hostile))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(hostile.findings) > 3
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    kinds = {row["finding"] for row in rows}
    assert kinds <= {"duplicate", "group", "near-duplicate", "outlier", "label"}


def test_without_findings_there_is_a_header(table):
    found = replace(audit(table()), duplicates=[], near_duplicates=[], outliers=[], suspects=[])
    assert audit_csv(found) == ",".join(COLUMNS) + "\n"
    assert audit_text(found, 20).count("\n\n") == 0


def test_the_terminal_shows_the_first_of_many(hostile):
    text = audit_text(hostile, 2)
    assert "\x1b" not in text
    assert f"2 of {len(hostile.suspects)}" in text
