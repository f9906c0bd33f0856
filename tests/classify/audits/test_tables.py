"""An audit as a csv and as text."""

import csv
import io
from dataclasses import replace

import numpy as np

from fc7.classify import audit
from fc7.classify.audits.tables import COLUMNS, audit_csv, audit_text, describe, headline


def test_csv_has_a_row_per_finding_and_no_formulas(hostile):
    rows = list(csv.DictReader(io.StringIO(audit_csv(hostile))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(hostile.findings) > 3
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    kinds = {row["finding"] for row in rows}
    assert kinds <= {"duplicate", "group", "near-duplicate", "candidate", "outlier", "label"}


def test_without_findings_there_is_a_header(table):
    found = replace(audit(table()), duplicates=[], near_duplicates=[], candidates=[], outliers=[], suspects=[])
    assert audit_csv(found) == ",".join(COLUMNS) + "\n"
    assert audit_text(found, 20).count("\n\n") == 0


def test_the_terminal_shows_the_first_of_many(hostile):
    text = audit_text(hostile, 2)
    assert "\x1b" not in text
    assert f"2 of {len(hostile.suspects)}" in text


def test_what_has_no_label_is_audited_as_an_image(table):
    rows = table((20, 20), dim=32, val=5, keys=[*range(39), 0])
    rows = replace(rows, labels=np.full(40, ""), split=np.where(np.arange(40) == 39, "", rows.split), classes=())
    found = audit(rows)
    assert (len(found.duplicates), found.suspects, found.conflicts, found.leaks) == (1, [], [], [])
    assert found.notes == ["no image has a label to judge"]
    assert (found.to_dict()["classes"], found.to_dict()["unlabelled"]) == ({}, 40)
    assert describe(found).startswith("data: 40 images, no labels, ")
    assert headline(found).startswith("Of 40 images 1 are copies")


def test_labels_are_judged_where_there_are_some(table):
    rows = table((20, 20), dim=32, val=5)
    found = audit(replace(rows, labels=np.where(np.arange(40) < 4, "", rows.labels)))
    assert found.settings["judged"] == 36
    assert "4 images have no label to judge" in found.notes
    assert ", 2 classes, 4 without a label, " in describe(found)
