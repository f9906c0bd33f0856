"""The card of a bundle: front matter that a model hub reads, and no text that is taken for more than text."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import SQUEEZENET

from fc7.cache.recipe import ForeignRecipe
from fc7.classify import Bundle, fit
from fc7.classify.bundles.card import card, card_of, write_card
from fc7.errors import BundleError
from fc7.extract.text import plain

yaml = pytest.importorskip("yaml", reason="needs PyYAML, which timm brings")


@pytest.fixture(scope="module")
def fitted(table):
    return fit(table((12, 12), val=4), "ridge")


def parts(text):
    _, matter, body = text.split("---\n", 2)
    return yaml.safe_load(matter), body


def test_front_matter_has_the_licence_of_the_weights_and_the_figures(fitted):
    run = replace(fitted.run, licence="apache-2.0")
    matter, body = parts(card(Bundle.of(fitted), run, Path("ants.fc7")))
    assert matter["license"] == "apache-2.0"
    assert (matter["library_name"], matter["pipeline_tag"]) == ("fc7", "image-classification")
    (result,) = matter["model-index"][0]["results"]
    assert result["metrics"][0] == {"type": "accuracy", "value": run.metrics["accuracy"], "name": "accuracy"}
    assert "fc7 predict ants.fc7 IMAGE..." in body
    assert f"{run.metrics['accuracy']:.3f}" in body


@pytest.mark.parametrize(
    ("licence", "said", "name"),
    [("", "unknown", None), ("BSD-3-Clause", "bsd-3-clause", None), ("dinov3-license", "other", "dinov3-license")],
)
def test_a_licence_is_named_as_hubs_name_it(fitted, licence, said, name):
    matter, _ = parts(card(Bundle.of(fitted), replace(fitted.run, licence=licence), Path("a.fc7")))
    assert (matter["license"], matter.get("license_name")) == (said, name)


def test_a_network_of_timm_is_the_base_model(fitted):
    run = replace(fitted.run, recipe={**fitted.run.recipe, "backbone": "timm:vit_small_patch14_dinov2.lvd142m"})
    matter, _ = parts(card(Bundle.of(fitted), run, Path("a.fc7")))
    assert matter["base_model"] == "timm/vit_small_patch14_dinov2.lvd142m"


@pytest.mark.parametrize(
    "name", ["a: b", "--- #", "'\"", "<script>x</script>", "[x](http://evil)", "\n---\nx", "ü\udcff", "🐜\x7f\u2028"]
)
def test_names_are_text_whatever_is_in_them(fitted, name):
    bundle = Bundle.of(fitted)
    bundle = replace(bundle, classes=(name, "other"))
    run = replace(fitted.run, data={**fitted.run.data, "name": name})
    matter, body = parts(card(bundle, run, Path(name.replace("/", "") + ".fc7")))
    assert matter["library_name"] == "fc7"
    assert matter["model-index"][0]["results"][0]["dataset"]["name"] == plain(name)
    body = re.sub("```.*?```", "", body, flags=re.DOTALL)  # there, all is text
    assert "<script>" not in body.replace("\\<", "")
    assert "](http" not in body.replace("\\](", "")


def test_vectors_that_were_made_elsewhere_are_not_made_again(fitted):
    bundle = replace(Bundle.of(fitted), recipe=ForeignRecipe("v.npz", 8, "0" * 64))
    matter, body = parts(card(bundle, replace(fitted.run, licence=""), Path("a.fc7")))
    assert matter["license"] == "unknown"
    assert 'Bundle.load("a.fc7").predict_proba(vectors)' in body
    assert "fc7 predict" not in body
    assert "found by their hash" not in body


def test_the_hubs_own_reader_takes_it(fitted, tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="comes with timm")
    path = write_card(card_of(tmp_path / "a.fc7"), Bundle.of(fitted), fitted.run, tmp_path / "a.fc7")
    read = hub.ModelCard.load(path).data
    assert read.library_name == "fc7"
    assert read.eval_results[0].metric_value == fitted.run.metrics["accuracy"]


def test_a_readme_of_somebody_else_stays(tmp_path):
    (tmp_path / "README.md").write_text("# My notes")
    with pytest.raises(BundleError, match="not a card that fc7 wrote, and stays"):
        card_of(tmp_path / "a.fc7")


@pytest.mark.usefixtures("shared_cache")
def test_the_verb_writes_it_beside_the_bundle_once_more(fc7_json, clean, tmp_path):
    words = ["fit", clean, "--head", "ridge", *SQUEEZENET, "-o", tmp_path / "a.fc7", "--card"]
    for _ in range(2):
        assert fc7_json(*words)["card"] == str(tmp_path / "README.md")
    matter, _ = parts((tmp_path / "README.md").read_text())
    assert matter["license"]


@pytest.mark.usefixtures("shared_cache")
def test_there_is_nothing_beside_a_stream(fc7, clean):
    code, _, err = fc7("fit", clean, *SQUEEZENET, "-o", "/dev/stdout", "--card")
    assert code == 2
    assert "--card is a file beside the bundle" in err
