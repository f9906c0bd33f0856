"""Predict: labels for files and folders through the cache; a file that is no image gets a reason, never a crash."""

import csv
import io
import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, coloured, noisy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fc7.classify import Bundle, fit
from fc7.classify.bundles.prediction import Prediction, Predictions, counts, predictions_csv
from fc7.errors import BundleError, DataError, UsageError
from fc7.extract import Backbone, extract, load_backbone, read_manifest
from fc7.extract.text import plain, unguarded


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache and a bundle that tells red pictures from blue ones, by random weights."""
    root = tmp_path_factory.mktemp("predict")
    coloured(root / "data", 6)
    backbone = load_backbone("squeezenet1_1", "gap", weights="random:0", batch_size=4, cache=root / "cache")
    embeddings = extract(read_manifest(root / "data"), backbone, cache=root / "cache")
    Bundle.of(fit(embeddings, "ridge", folds=2)).save(root / "colours.fc7")
    return root


@pytest.fixture
def bundle(home):
    return Bundle.load(home / "colours.fc7")


@pytest.fixture
def options(home):
    return {"cache": home / "cache", "batch_size": 4}


def test_new_pictures_are_labelled_in_the_order_asked_for(bundle, options, tmp_path):
    asked = [noisy(tmp_path / f"{n}.png", COLOURS[("red", "blue")[n % 2]], 100 + n) for n in range(5)]
    found = bundle.predict(asked, **options)
    assert [one.path for one in found] == [str(path) for path in asked]
    assert [one.label for one in found] == ["red", "blue", "red", "blue", "red"]
    for one in found:
        assert set(one.probabilities) == {"red", "blue"}
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=2e-6)
        assert one.probability == max(one.probabilities.values()) == one.probabilities[one.label]
        assert one.rejected == ""


def test_the_bundle_predicts_by_itself(bundle, options, home):
    picture = home / "data" / "red" / "0.png"
    assert bundle.predict([str(picture)], **options)[0].label == "red"


def test_the_second_prediction_computes_nothing(bundle, options, tmp_path, forwards, monkeypatch):
    picture = noisy(tmp_path / "a.png", COLOURS["red"], 500)
    first = bundle.predict([picture], **options)
    assert forwards == [4]
    monkeypatch.setattr(Backbone, "load", lambda self: pytest.fail("the weights were read for nothing"))
    assert bundle.predict([picture], **options) == first
    moved = picture.rename(tmp_path / "b.png")
    assert bundle.predict([moved], **options)[0].probabilities == first[0].probabilities
    assert forwards == [4], "a renamed file is the same image"


def test_fitted_pictures_are_not_computed_again(bundle, options, home, forwards):
    assert len(bundle.predict([home / "data"], **options)) == 12
    assert forwards == []


def test_copies_and_repeats_are_all_answered(bundle, options, tmp_path):
    one = noisy(tmp_path / "one.png", COLOURS["blue"], 7)
    two = tmp_path / "two.png"
    two.write_bytes(one.read_bytes())
    found = bundle.predict([one, two, one], **options)
    assert [answer.label for answer in found] == ["blue"] * 3
    assert found[0].probabilities == found[1].probabilities == found[2].probabilities


def test_what_is_no_image_gets_its_reason_and_stops_nothing(bundle, options, tmp_path):
    good = noisy(tmp_path / "good.png", COLOURS["red"], 8)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:200])
    Image.new("L", (8, 8)).save(tmp_path / "x.gif")
    names = ["empty.png", "text.jpg", "good.png", "cut.png", "x.gif"]
    found = bundle.predict([tmp_path / name for name in names], **options)
    assert [bool(one.rejected) for one in found] == [True, True, False, True, True]
    assert found[0].rejected == "empty file"
    assert "not an image" in found[1].rejected
    assert found[2].label == "red"
    assert all((one.label, one.probability, one.probabilities) == ("", 0.0, {}) for one in found if one.rejected)
    assert found == bundle.predict([tmp_path / name for name in names], **options), "from the cache, too"


def test_only_rejected_images_are_answered_too(bundle, options, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (found,) = bundle.predict([tmp_path / "empty.png"], **options)
    assert found.rejected == "empty file"


def test_a_pipe_is_not_read(bundle, options, tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)

    def release():  # whoever waits for a writer gets an empty file, so that a test that fails does not hang
        os.close(os.open(pipe, os.O_WRONLY))

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    (found,) = bundle.predict([pipe], **options)
    assert "regular file" in found.rejected
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    thread.join()


def test_a_folder_stands_for_the_images_in_it(bundle, options, tmp_path):
    for name in ("b.PNG", "a.png", "sub/c.png"):
        noisy(tmp_path / "new" / name, COLOURS["blue"], len(name))
    (tmp_path / "new" / "notes.txt").write_text("a row with the reason")
    (tmp_path / "new" / ".hidden.png").write_text("not asked for")
    found = bundle.predict([tmp_path / "new"], **options)
    names = [os.path.relpath(one.path, tmp_path / "new") for one in found]
    assert names == ["a.png", "b.PNG", "notes.txt", "sub/c.png"]
    assert [bool(one.rejected) for one in found] == [False, False, True, False]


def test_nothing_to_predict_is_said(bundle, options, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        bundle.predict([tmp_path / "empty"], **options)


def test_a_missing_file_does_not_lose_the_others(bundle, options, tmp_path):
    path = noisy(tmp_path / "here.png", COLOURS["red"], 0)
    missing, found = bundle.predict([tmp_path / "absent.png", path], **options)
    assert (missing.label, missing.rejected) == ("", "not readable: No such file or directory")
    assert found.label


def test_other_weights_are_refused_with_both_hashes(bundle, options, home):
    other = load_backbone("squeezenet1_1", "gap", weights="random:1", cache=home / "cache").recipes[0].weights
    with pytest.raises(BundleError) as caught:
        bundle.predict([home / "data"], weights="random:1", **options)
    assert other in str(caught.value)
    assert bundle.recipe.weights in str(caught.value)
    assert "the same weights with weights" in str(caught.value)


def test_the_same_weights_from_elsewhere_will_do(bundle, options, home, tmp_path):
    """From a file written in torchvision's names: other bytes, so another sha256, and refused as such."""
    import torch

    from fc7.extract.backbones.architectures import architecture

    torch.save(architecture("squeezenet1_1").initialise(0), tmp_path / "same.pth")
    with pytest.raises(BundleError, match=bundle.recipe.weights):
        bundle.predict([home / "data"], weights=f"file:{tmp_path / 'same.pth'}", **options)
    found = bundle.predict([home / "data"], weights="random:0", **options)
    assert [one.label for one in found] == ["blue"] * 6 + ["red"] * 6


def test_a_bundle_fitted_on_weights_in_a_file_finds_them_again(home, tmp_path):
    import torch

    from fc7.extract.backbones.architectures import architecture

    torch.save(architecture("squeezenet1_1").initialise(3), tmp_path / "own.pth")
    source = f"file:{tmp_path / 'own.pth'}"
    backbone = load_backbone("squeezenet1_1", "gap", weights=source, batch_size=4, cache=tmp_path / "cache")
    embeddings = extract(read_manifest(home / "data"), backbone, cache=tmp_path / "cache")
    path = Bundle.of(fit(embeddings, "centroid", folds=2)).save(tmp_path / "own.fc7")
    found = Bundle.load(path).predict([home / "data"], cache=tmp_path / "cache")
    assert len(found) == 12
    moved = (tmp_path / "own.pth").rename(tmp_path / "moved.pth")
    found_again = Bundle.load(path).predict([home / "data"], weights=f"file:{moved}", cache=tmp_path / "cache")
    assert [one.probabilities for one in found_again] == [one.probabilities for one in found]


def test_below_the_threshold_the_answer_is_not_sure(bundle, options, home):
    pictures = [home / "data" / label / "0.png" for label in ("red", "blue")]
    surest = bundle.abstaining(0.3).threshold
    assert surest.answered, "these colours are easy"
    found = bundle.predict(pictures, max_error=0.3, **options)
    assert [one.answer for one in found] == ["red", "blue"]
    hopeless = replace(bundle, abstention=replace(bundle.abstention, predicted=1 - bundle.abstention.label))
    found = hopeless.predict(pictures, max_error=0.02, **options)
    assert [(one.answer, one.label, one.sure) for one in found] == [
        ("not sure", "red", False),
        ("not sure", "blue", False),
    ]
    assert [one.answer for one in hopeless.predict(pictures, **options)] == ["red", "blue"], "without one it answers"


def test_the_threshold_of_the_bundle_is_its_own(bundle, options, home):
    picture = home / "data" / "red" / "0.png"
    hopeless = replace(
        bundle, abstention=replace(bundle.abstention, predicted=1 - bundle.abstention.label), max_error=0.02
    )
    assert hopeless.predict([picture], **options)[0].answer == "not sure"


def test_images_unlike_the_fitted_ones_are_flagged(bundle, options, tmp_path):
    like = noisy(tmp_path / "red.png", COLOURS["red"], 77)
    unlike = tmp_path / "stripes.png"
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[::4] = 255
    Image.fromarray(stripes).save(unlike)
    found = bundle.predict([like, unlike], **options)
    assert found[0].distance < found[1].distance
    between = np.full_like(bundle.abstention.distance, (found[0].distance + found[1].distance) / 2)
    strict = replace(bundle, abstention=replace(bundle.abstention, distance=between))
    assert [one.unlike for one in strict.predict([like, unlike], **options)] == [False, True]
    unsure = strict.predict([like, unlike, tmp_path / "absent.png"], unlike="not-sure", **options)
    assert [one.answer for one in unsure] == [found[0].label, "not sure", ""]
    assert counts(unsure) == {"files": 3, "answered": 1, "not_sure": 1, "rejected": 1, "unlike": 1}
    with pytest.raises(UsageError, match="unlike maybe: must be one of flag, not-sure"):
        strict.predict([like], unlike="maybe", **options)
    without = replace(bundle, abstention=None).predict([unlike], **options)[0]
    assert (without.distance, without.unlike, without.label) == (None, False, found[1].label)


@pytest.mark.parametrize("views", [0, 1])
def test_images_in_memory_are_answered_as_their_files_are(home, bundle, options, tmp_path, forwards, views):
    path = noisy(tmp_path / "a.png", COLOURS["red"], 900)
    with Image.open(path) as opened:
        array = np.asarray(opened)
    bundle = replace(bundle, views=views)
    forms = [path, Image.open(path), Image.fromarray(array), array, path.read_bytes()]
    found = bundle.predict(forms, **options)
    assert [one.path for one in found] == [str(path), "image 1", "image 2", "image 3", "image 4"]
    same = (0, 4) if views else range(5)  # random views follow from the bytes of the file
    assert len({tuple(sorted(found[place].probabilities.items())) for place in same}) == 1
    assert len({found[place].distance for place in range(5)}) == 1
    seen = len(forwards)
    assert bundle.predict(forms[1:], **options) != []
    assert len(forwards) > seen, "images in memory pass by the cache"


def test_a_given_backbone_gives_the_views_that_the_head_averages_over(bundle, options, tmp_path, caplog):
    asked = [noisy(tmp_path / "a.png", COLOURS["red"], 901)]
    plain, several = (
        load_backbone("squeezenet1_1", "gap", weights="random:0", views=views, **options) for views in (0, 2)
    )
    alone, averaging = bundle.predict(asked, **options), replace(bundle, views=2)
    for backbone in plain, several:
        assert bundle.predict(asked, backbone=backbone, **options) == alone
    averaged = averaging.predict(asked, **options)
    assert averaging.predict(asked, backbone=several, **options) == averaged
    assert averaged[0].probabilities != alone[0].probabilities
    assert "centre crops" not in caplog.text
    for promise in ({"max_error": 0.3}, {"coverage": 0.9}):
        caplog.clear()
        bundle.predict(asked, **promise, **options)
        assert "centre crops" not in caplog.text
        averaging.predict(asked, **promise, **options)
        assert "averages over 2 random views as well: what they promise holds for centre crops only" in caplog.text
    with pytest.raises(BundleError, match="averages over 2 random views, and the backbone gives 0"):
        averaging.predict(asked, backbone=plain, **options)


def test_grey_transparent_and_turned_images_in_memory_are_prepared_as_files_are(bundle, options, tmp_path):
    grey = Image.new("L", (40, 40), 90)
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 40))
    turned = Image.fromarray(np.linspace(0, 255, 40 * 60 * 3).astype(np.uint8).reshape(40, 60, 3))
    turned.getexif()[0x0112] = 6
    for number, image in enumerate((grey, clear, turned)):
        path = tmp_path / f"{number}.png"
        image.save(path, exif=image.getexif())
        found = bundle.predict([path, image, path.read_bytes()], **options)
        assert found[0].probabilities == found[1].probabilities == found[2].probabilities
    assert bundle.predict([np.asarray(grey)], **options)[0].label == bundle.predict([grey], **options)[0].label


def test_what_is_no_image_in_memory_has_a_reason(bundle, options, home):
    wrong = [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), b"", b"text"]
    found = bundle.predict([*wrong, home / "data" / "red" / "0.png"], **options)
    assert [one.rejected.partition(";")[0] for one in found] == [
        "an array of float64 (4, 4)",
        "an array of uint8 (4, 4, 2)",
        "an array without pixels, (0, 4, 3)",
        "empty file",
        "not an image in one of the formats JPEG, PNG, PPM, BMP, TIFF, WEBP, AVIF, HEIF",
        "",
    ]
    assert [one.answer for one in found] == [""] * 5 + ["red"]
    assert bundle.predict(wrong[:1], **options)[0].rejected, "alone as well"


def test_patterns_stand_for_the_images_in_them(bundle, options, tmp_path):
    for name in ("b.png", "a.png", "deep/c.png", "[odd].png"):
        noisy(tmp_path / name, COLOURS["red"], len(name))
    (tmp_path / "notes.txt").write_text("none")

    def asked(pattern):
        return [os.path.relpath(one.path, tmp_path) for one in bundle.predict([tmp_path / pattern], **options)]

    assert asked("*") == ["[odd].png", "a.png", "b.png", "deep/c.png", "notes.txt"]
    assert asked("**/*.png") == ["[odd].png", "a.png", "b.png", "deep/c.png"]
    assert asked("[odd].png") == ["[odd].png"], "a file of that name comes first"
    assert bundle.predict([tmp_path / "*.gif"], **options)[0].rejected, "what matches nothing is told"


def test_one_picture_or_path_belongs_into_a_list(bundle, options, home):
    path = home / "data" / "red" / "0.png"
    with Image.open(path) as opened:
        pixels = np.asarray(opened)
    for one in (path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels, pixels[..., 0]):
        with pytest.raises(UsageError, match="into a list"):
            bundle.predict(one, **options)
        assert len(bundle.predict([one], **options)) == 1
    stack = np.stack([pixels, pixels[::-1]])
    assert [one.label for one in bundle.predict(stack, **options)] == ["red", "red"]
    assert [one.label for one in bundle.predict((name for name in [path]), **options)] == ["red"]


# Names that a reader, a terminal or a spreadsheet might take for something else; each is one that a file may have.
NAMES = [
    "Screenshot\u202f1.png",
    "\U0001f468\u200d\U0001f469.png",
    "\ufeffmark.png",
    "wide\u3000space .png ",
    " \t.png",
    "line\nfeed.png",
    "line\\nfeed.png",
    "return\r.png",
    "both\r\n.png",
    "red\x1b[31m\u202e.png",
    'a,b "c".png',
    '"',
    "'quoted'",
    "NA",
    "007",
    "caf\u00e9.png",
    os.fsdecode(b"no unicode \xff\xe9.png"),
]
FORMULAS = ["=1+1.png", "-1", "+x", "-x.png", "@", "'=y.png", "''=z", "\t=1", "\uff1d1+1"]
MANUAL = Path(__file__).resolve().parents[3] / "docs" / "predict.md"
GUARD = re.search(r'table.replace\(r"(.+)", "", regex=True\)', MANUAL.read_text(encoding="utf-8"))[1]
name_texts = (
    st.text(st.sampled_from("a\n\r\t\\,;\"'=+-@#0. \ufeff\u3000\u200d\u2028\x1b\x85"), min_size=1)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
    | st.binary(min_size=1).filter(lambda name: b"\0" not in name).map(os.fsdecode)
)


def written(names):
    """Return the bytes of a csv of predictions, in which images and classes have the names."""
    predictions = [Prediction(name, name, 0.5, {name: 0.5}, sure=True) for name in names]
    return predictions_csv(predictions, 1).encode("utf-8", "surrogateescape")


@example(NAMES)
@example(FORMULAS)
@given(st.lists(name_texts))
def test_a_csv_has_every_name_exactly_and_no_formula(names):
    rows = list(csv.DictReader(io.StringIO(written(names).decode("utf-8", "surrogateescape"), newline="")))
    for column in ("path", "label", "label_1"):
        assert [unguarded(row[column]) for row in rows] == names
        assert not any(re.match(r"[=+@]|-(?!\d+(\.\d+)?$)", row[column]) for row in rows)


@example(NAMES)
@example(FORMULAS)
@settings(max_examples=25)
@given(st.lists(name_texts, min_size=1))
def test_pandas_reads_a_csv_as_the_manual_says(names):
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(
        io.BytesIO(written(names)), dtype=object, keep_default_na=False, encoding_errors="surrogateescape"
    )
    assert names != NAMES or table["path"].tolist() == names, "only formulas are changed"
    table = table.replace(GUARD, "", regex=True)
    assert table["path"].tolist() == table["label"].tolist() == table["label_1"].tolist() == names


def test_pandas_reads_json_exactly():
    pandas = pytest.importorskip("pandas")
    predictions = [Prediction(name, name, 0.5, {name: 0.5}, sure=True).to_dict() for name in NAMES + FORMULAS]
    table = pandas.DataFrame(json.loads(json.dumps(predictions)), dtype=object)  # its own texts are Unicode
    assert table["path"].tolist() == table["answer"].tolist() == NAMES + FORMULAS


@given(st.lists(name_texts))
def test_on_a_terminal_a_prediction_is_one_line_that_commands_nothing(names):
    predictions = [Prediction(name, name, 0.5, {name: 0.5}, sure=True) for name in names]
    lines = predictions_csv(predictions, 1, harmless=plain).split("\n")
    assert len(lines) == 1 + len(names)
    assert all(line.isprintable() for line in lines)


def test_half_a_character_is_escaped_where_a_file_cannot_hold_it():
    (_, line) = os.fsencode(predictions_csv([Prediction("a\ud800", "\udfff", 0.5, {}, sure=True)])).split(b"\n")
    assert line == rb"a\ud800,\udfff,\udfff,0.5,True,,False,"


def test_a_class_that_is_called_not_sure_cannot_have_a_threshold(bundle):
    odd = replace(bundle, classes=("blue", "not sure"))
    for refused in (lambda: odd.abstaining(0.1), lambda: odd.predict(["x.png"], max_error=0.1)):
        with pytest.raises(UsageError, match=r"'not sure'.*and a class has that name") as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert odd.threshold is None


def test_a_prediction_is_plain(bundle, options, home):
    one = bundle.predict([home / "data" / "red" / "0.png"], **options)[0]
    assert one.to_dict().keys() == {
        "path",
        "answer",
        "label",
        "probability",
        "probabilities",
        "sure",
        "distance",
        "unlike",
        "rejected",
    }
    (sets,) = bundle.predict([home / "data" / "red" / "0.png"], coverage=0.8, **options)
    assert sets.to_dict() == one.to_dict() | {"classes": ["red"]}
    assert Predictions([sets]).to_dicts()[0]["classes"] == "red"
