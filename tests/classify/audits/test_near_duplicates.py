"""Near-duplicates: embeddings and outlines propose, pixels decide; what cannot be read stays a candidate."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps
from scenes import scene

from fc7.classify import audit
from fc7.classify.audits.near_duplicates import _usual_distance
from fc7.classify.audits.page import write_audit
from fc7.classify.audits.tables import audit_text, headline


def written(folder, table, changes):
    """Write 20 pictures; some are a changed copy of another, by place. Return embeddings by chance."""
    embeddings = table((10, 10), val=3, dim=16, spread=3.0)
    keys = []
    for place, path in enumerate(embeddings.paths):
        original, change = changes.get(place, (place, lambda image: image))
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        change(scene(original)).save(file)
        keys.append(list(hashlib.sha256(file.read_bytes()).digest()))
    return replace(embeddings, sha256=np.array(keys, np.uint8))


def names(pairs):
    return {frozenset((pair.first.path, pair.second.path)) for pair in pairs}


CHANGES = {
    3: (0, ImageOps.grayscale),
    9: (1, lambda image: ImageOps.mirror(image)),
    15: (2, lambda image: image.resize((120, 90))),
}
COPIES = {
    frozenset(("c0/000.png", "c0/003.png")),
    frozenset(("c0/001.png", "c0/009.png")),
    frozenset(("c0/002.png", "c1/015.png")),
}


def test_copies_are_found_whatever_their_embeddings_say(table, tmp_path):
    found = audit(written(tmp_path, table, CHANGES), images=tmp_path)
    assert names(found.near_duplicates) == COPIES
    assert found.candidates == []
    assert {pair.kind for pair in found.near_duplicates} == {"near-duplicate"}
    assert (
        min(pair.details for pair in found.near_duplicates) > found.settings["details"] == pytest.approx(0.8, abs=0.1)
    )
    assert 20 <= found.settings["compared"] < 20 * 19 / 2
    first = found.near_duplicates[0]
    assert first.across_splits, "the worst first"
    assert [pair.labels_differ for pair in found.near_duplicates] == [False, True, False]
    assert "the same picture, perhaps cropped" in audit_text(found, 20)


def test_images_that_are_alike_for_the_embeddings_only_are_none(table, tmp_path):
    embeddings = written(tmp_path, table, {})
    embeddings.vectors[:] = embeddings.vectors[0]
    assert audit(embeddings, images=tmp_path).near_duplicates == []
    without = audit(embeddings)
    assert len(without.candidates) == 20 * 19 / 2
    assert without.settings["compared"] is None
    assert "no pictures to compare" in audit_text(without, 20)
    labels = replace(embeddings, labels=np.full(20, ""), split=np.full(20, ""), classes=())
    assert "190 pairs are alike" in headline(audit(labels))


def test_what_cannot_be_read_stays_a_candidate_and_is_said(table, tmp_path):
    embeddings = written(tmp_path, table, CHANGES)
    vectors = embeddings.vectors.copy()
    vectors[3], vectors[9] = vectors[0], vectors[1]
    (tmp_path / "c0" / "003.png").write_bytes(b"no picture")
    Image.new("L", (9, 9)).save(tmp_path / "c0" / "009.png")  # other bytes than those that were embedded
    found = audit(replace(embeddings, vectors=vectors), images=tmp_path)
    assert names(found.near_duplicates) == {frozenset(("c0/002.png", "c1/015.png"))}
    assert names(found.candidates) >= COPIES - names(found.near_duplicates)
    assert "near-duplicates: 2 pictures were not there to compare" in found.notes
    assert audit(embeddings, images=tmp_path / "absent").near_duplicates == []


def test_a_threshold_that_is_given_is_for_the_cosine_too(table, tmp_path):
    embeddings = written(tmp_path, table, CHANGES)
    embeddings.vectors[9] = embeddings.vectors[1]
    assert names(audit(embeddings, images=tmp_path, threshold=0.999).near_duplicates) == {
        frozenset(("c0/001.png", "c0/009.png"))
    }


def test_one_image_has_no_pairs(table, tmp_path):
    embeddings = written(tmp_path, table, {})[:1]
    found = audit(embeddings, images=tmp_path)
    assert (found.near_duplicates, found.candidates) == ([], [])
    assert "candidates" not in audit_text(found, 20)
    assert "Near-duplicates" not in write_audit(found, tmp_path / "page.html").read_text()


def test_pictures_that_all_have_details_in_common_must_be_closer():
    pairs = np.array([(a, b) for a in range(12) for b in range(a)])
    assert _usual_distance(pairs, np.full(len(pairs), 0.9, np.float32), 12) == pytest.approx(0.1)
    assert _usual_distance(pairs, np.full(len(pairs), -1, np.float32), 12) == 1
    assert _usual_distance(pairs[:3], np.ones(3, np.float32), 12) == 1, "too few to tell"
