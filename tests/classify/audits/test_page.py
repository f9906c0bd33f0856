"""An audit as a page."""

from dataclasses import replace

import numpy as np

from fc7.classify import audit
from fc7.classify.audits.page import write_audit
from fc7.classify.data.joint import join


def test_the_page_needs_no_other_file_and_names_stay_text(hostile, tmp_path):
    page = write_audit(hostile, tmp_path / "audit.html").read_text()
    assert "<script>alert" not in page
    assert "default-src &#39;none&#39;" in page
    assert "\u202e" not in page
    assert "src=" not in page, "no pictures without images"
    assert f"20 of {len(hostile.suspects)}" in page or len(hostile.suspects) <= 20


def test_the_page_has_no_absolute_paths(table, tmp_path):
    embeddings = table((20, 20), spread=3.0, keys=[0, 0, *range(2, 40)], source="file:/home/ann/w.pth")
    found = audit(replace(embeddings, paths=np.array([f"/home/ann/secret/{path}" for path in embeddings.paths])))
    assert "/home" not in write_audit(found, tmp_path / "audit.html").read_text()


def test_several_backbones_side_by_side(table, tmp_path):
    embeddings = table((20, 20), spread=3.0)
    found = audit(join([embeddings, replace(embeddings, recipe=replace(embeddings.recipe, weights="1" * 64))]))
    page = write_audit(found, tmp_path / "audit.html").read_text()
    assert "0" * 64 in page
    assert "1" * 64 in page
