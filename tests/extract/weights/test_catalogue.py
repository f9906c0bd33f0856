"""The catalogue of published weights against the libraries that publish them."""

import re
import subprocess
import sys

import pytest
import torchvision

from fc7.extract.backbones.architectures import KNOWN, architecture
from fc7.extract.weights.catalogue import Catalogue, catalogue, forbids_commerce, licence_of
from fc7.extract.weights.downloads import hub_file
from fc7.extract.weights.packages import PACKAGED
from fc7.extract.weights.sources import place_of

timm = pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
script = pytest.importorskip("catalogue")

same_versions = pytest.mark.skipif(
    catalogue().versions != script.versions(),
    reason=f"the catalogue is of {catalogue().versions}, here are {script.versions()}",
)


def cells(backbone, weights):
    """Return the line of the file as it is written."""
    row = catalogue().find(backbone, weights)
    return script.row(*("" if value is None else value for value in row))


@same_versions
def test_every_entry_of_torchvision_is_listed_the_default_first():
    names = torchvision.models.list_models(torchvision.models)
    listed = [row for row in catalogue().rows() if row.weights.startswith("torchvision:")]
    assert list(dict.fromkeys(row.backbone for row in listed)) == names
    for name in names:
        enum = torchvision.models.get_model_weights(name)
        found = [row for row in listed if row.backbone == name]
        assert {row.weights for row in found} == {f"torchvision:{weights.name}" for weights in enum}
        assert found[0].weights == f"torchvision:{enum.DEFAULT.name}"
        for row in found:
            meta = enum[row.weights.partition(":")[2]].meta
            assert (row.parameters, row.gmacs, row.megabytes) == (meta["num_params"], meta["_ops"], meta["_file_size"])
            assert row.licence == ("cc-by-nc-4.0" if "SWAG" in meta.get("license", "") else "bsd-3-clause")


@same_versions
def test_every_network_of_timm_is_listed_with_its_licence():
    listed = {row.backbone: row for row in catalogue().rows() if row.weights == "timm"}
    assert list(listed) == [f"timm:{name}" for name in script.timm_names()]
    for name, row in listed.items():
        config = timm.get_pretrained_cfg(name.removeprefix("timm:"))
        assert row.licence == {None: "", "unknown": ""}.get(config.license, config.license)
        assert row.input == config.input_size[-1]
        assert row.file.startswith(config.hf_hub_id)


@same_versions
@pytest.mark.parametrize("name", ["resnet50", "squeezenet1_1", "squeezenet1_0"])
def test_rows_of_torchvision_are_what_the_script_writes(name):
    for row in script.torchvision_rows(name):
        assert cells(*row[:2]) == row


@same_versions
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0.in1k", "resnet18.a1_in1k", "deit_tiny_patch16_224.fb_in1k"])
def test_rows_of_timm_are_what_the_script_writes(name):
    (row,) = script.timm_rows(name)
    assert cells(*row[:2]) == row


@pytest.mark.parametrize("name", list(KNOWN))
def test_dimensions_are_those_of_the_default_layer(name):
    net = architecture(name)
    assert catalogue().find(name, "torchvision").dimension == net.layers[net.default_layer].dim


def test_dimension_and_work_of_a_traced_network():
    net = architecture("timm:tf_efficientnet_lite0")
    row = catalogue().find("timm:tf_efficientnet_lite0", "efficientnet-lite")
    assert row.dimension == net.layers[net.default_layer].dim
    assert row.gmacs == pytest.approx(net.gmacs, rel=0.01)


def test_weights_of_packages_are_listed():
    for source, files in PACKAGED.items():
        for name, packaged in files.items():
            row = catalogue().find(name, source)
            assert row.file == packaged.file.rpartition("/")[2]
            assert row.licence in ("mit", "apache-2.0")


def test_weights_are_found_by_name_source_and_bytes():
    find = catalogue().find
    assert find("resnet50", "torchvision").weights == "torchvision:IMAGENET1K_V2"
    assert find("resnet50", "torchvision:DEFAULT") == find("resnet50", "torchvision:IMAGENET1K_V2")
    assert find("resnet50", "torchvision:IMAGENET1K_V1").file == "resnet50-0676ba61.pth"
    assert find("timm:resnet18", "timm").backbone == "timm:resnet18.a1_in1k"
    assert find("timm:resnet18.tv_in1k", "timm").licence == "bsd-3-clause"
    assert find("vgg16", "file:any/copy.pth", "397923af" + "0" * 56).file == "vgg16-397923af.pth"
    assert find("vgg16", "file:vgg16-397923af.pth", "ab" * 32) is None
    for backbone, weights in (("resnet50", "timm"), ("resnet5", "torchvision"), ("vgg16", "random:0")):
        assert find(backbone, weights) is None


def test_patterns():
    def names(pattern):
        return {row.backbone for row in catalogue().rows(pattern)}

    assert names("VGG16") == names("*vgg16*") >= {"vgg16", "vgg16_bn", "timm:vgg16.tv_in1k"}
    assert names("vgg16*") == {"vgg16", "vgg16_bn"}
    assert names("timm:vit_*dinov2*") <= names("dinov2")
    assert names("no such network") == set()


@pytest.mark.parametrize(
    ("licence", "forbidden"),
    [
        ("cc-by-nc-4.0", True),
        ("fair-noncommercial-research-license", True),
        ("apple-amlr", True),
        ("apache-2.0, cc-by-nc-4.0", True),
        ("cc-by-4.0", False),
        ("apache-2.0", False),
        ("nvidia-open-model-license", False),
        ("dinov3-license", False),
        ("", False),
    ],
)
def test_licences_that_forbid_commercial_use(licence, forbidden):
    assert forbids_commerce(licence) == forbidden


def test_licences_by_backbone_and_source():
    assert licence_of("timm:convnextv2_atto", "timm", "") == "cc-by-nc-4.0"
    assert licence_of("regnet_y_16gf", "torchvision:IMAGENET1K_SWAG_E2E_V1", "") == "cc-by-nc-4.0"
    assert licence_of("squeezenet1_1", "ndf", "") == "mit"
    assert licence_of("squeezenet1_1", "random:0", "") == ""


def test_a_file_of_the_hub_is_found_where_the_hub_keeps_it(tmp_path, monkeypatch):
    """The oracle is the hub's own look into its cache."""
    import huggingface_hub

    row = catalogue().find("timm:resnet18.a1_in1k", "timm")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert hub_file(row.file) is place_of(row) is None
    folder = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    commit = "0" * 40
    for path, text in [("refs/main", commit), (f"snapshots/{commit}/model.safetensors", "x")]:
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)
    cached = huggingface_hub.try_to_load_from_cache(
        "timm/resnet18.a1_in1k", "model.safetensors", cache_dir=tmp_path / "hub"
    )
    assert str(place_of(row)) == cached
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert place_of(row) is None


def test_the_catalogue_is_read_without_any_library():
    code = (
        "import sys; from fc7.extract.weights import sources, catalogue as module\n"
        "rows = module.catalogue().rows(); [sources.place_of(row) for row in rows[:50]]\n"
        "sys.exit(bool({'torch', 'torchvision', 'timm', 'numpy', 'huggingface_hub'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cells_that_help_to_choose_are_empty_for_named_reasons_only():
    """Of squeezenet1_0, which has no default layer, the dimension."""
    rows = catalogue().rows()
    assert {row.backbone for row in rows if row.dimension is None} == {"squeezenet1_0"}
    assert all(row.parameters and row.gmacs and row.input and row.megabytes for row in rows)


def test_the_file_has_no_row_twice_and_only_what_a_table_can_show():
    rows = catalogue().rows()
    assert len({row[:2] for row in rows}) == len(rows)
    assert all(re.fullmatch(r"[\w:.+-]+", f"{row.backbone}{row.weights}") for row in rows)
    text = "# one 1\nbackbone,...\na,timm,,,224,,,,,\n"
    assert Catalogue(text).find("a", "timm").parameters is None
