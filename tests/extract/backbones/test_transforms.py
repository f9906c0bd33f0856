import numpy as np
import pytest
import torch
from torchvision import transforms as v1
from torchvision.models import AlexNet_Weights, EfficientNet_B3_Weights, VGG16_Weights
from torchvision.transforms import InterpolationMode, v2

from fc7.cache.recipe import Transform
from fc7.errors import UsageError
from fc7.extract.backbones.transforms import in_mode, padded, read_transform, resized

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    "given",
    [
        Transform(),
        AlexNet_Weights.DEFAULT.transforms(),
        v1.Compose([v1.Resize(256), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(MEAN, STD)]),
        v1.Compose([v1.Resize([256]), v1.CenterCrop((224, 224)), v1.PILToTensor(), v1.ConvertImageDtype(torch.float),
                    v1.Normalize(MEAN, STD)]),
        v2.Compose([v2.ToImage(), v2.RGB(), v2.Resize(256), v2.CenterCrop(224), v2.ToDtype(torch.float32, scale=True),
                    v2.Normalize(MEAN, STD), v2.ToPureTensor()]),
    ],
)  # fmt: skip
def test_the_usual_pipelines_are_the_default_transform(given):
    assert read_transform(given) == Transform()


def test_sizes_and_interpolation_are_taken_over():
    assert read_transform(EfficientNet_B3_Weights.DEFAULT.transforms()) == Transform(
        320, 300, MEAN, STD, interpolation="bicubic"
    )
    plain = v1.Compose([v1.Resize(40, InterpolationMode.BICUBIC), v1.CenterCrop(32), v1.ToTensor()])
    assert read_transform(plain) == Transform(40, 32, (0.0,) * 3, (1.0,) * 3, "bicubic")


def test_numbers_are_taken_over_to_the_last_digit():
    """One in 255 as well, which has no short form, and tensors that were made of such numbers."""
    exact = (1 / 255,) * 3
    assert read_transform(VGG16_Weights.IMAGENET1K_FEATURES.transforms()).std == exact
    for made in (list, np.array, lambda values: torch.tensor(values, dtype=torch.float64)):
        steps = [v1.Resize(256), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(made(MEAN), made(exact))]
        assert read_transform(v1.Compose(steps)) == Transform(std=exact)
    steps = [v1.Resize(256), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(torch.tensor(MEAN), torch.tensor(STD))]
    assert read_transform(v1.Compose(steps)) == Transform()


class MaybeConvertMode:
    """As OpenCLIP's."""

    def __init__(self, mode):
        self.mode = mode


def _convert_to_rgb(image):
    return image.convert("RGB")


@pytest.mark.parametrize("step", [MaybeConvertMode("RGB"), _convert_to_rgb])
def test_pipelines_of_openclip_are_read(step):
    steps = [v1.Resize(224, InterpolationMode.BICUBIC), v1.CenterCrop(224), step, v1.ToTensor()]
    assert read_transform(v1.Compose([*steps, v1.Normalize(MEAN, STD)])) == Transform(224, 224, MEAN, STD, "bicubic")


def test_sizes_are_replaced_and_nothing_else():
    transform = Transform(232, 224, (0.5,) * 3, (0.25,) * 3, "bicubic")
    assert resized(transform, 448) == Transform(512, 448, (0.5,) * 3, (0.25,) * 3, "bicubic")
    assert resized(transform, 320, 352) == Transform(352, 320, (0.5,) * 3, (0.25,) * 3, "bicubic")
    for sizes in ((31, 31), (224, 200), (4097, 4097)):
        with pytest.raises(UsageError, match=f"image_size {sizes[0]}:{sizes[1]}: 32 <= CROP <= RESIZE <= 4096"):
            resized(transform, *sizes)


def test_a_size_of_two_equal_numbers_squashes():
    assert read_transform(v1.Compose([v1.Resize((224, 224)), v1.ToTensor(), v1.Normalize(MEAN, STD)])) == Transform(
        224, 224, resize_mode="squash"
    )
    cut = v2.Compose([v2.Resize([248, 248]), v2.CenterCrop(224), v2.ToImage(), v2.Normalize(MEAN, STD)])
    assert read_transform(cut) == Transform(248, 224, resize_mode="squash")


def test_a_mode_shows_the_whole_picture_unless_a_size_says_otherwise():
    for mode in ("squash", "pad"):
        whole = in_mode(Transform(), mode)
        assert whole == Transform(224, 224, resize_mode=mode)
        assert in_mode(whole, mode) == whole
        assert in_mode(Transform(248, 224, resize_mode=mode), mode).resize == 248
        assert resized(whole, 320) == Transform(320, 320, resize_mode=mode)
        assert resized(whole, 320, 352) == Transform(352, 320, resize_mode=mode)
    assert in_mode(Transform(248, 224, resize_mode="squash"), "crop") == Transform(248, 224)


def test_only_what_is_put_on_black_says_so():
    assert padded(Transform(200, 224, resize_mode="squash")).padding == "torchvision"
    assert padded(Transform(200, 224, resize_mode="pad")).padding == ""


@pytest.mark.parametrize(("crop_mode", "mode"), [("squash", "squash"), ("border", "pad")])
def test_timms_other_crop_modes_are_read(crop_mode, mode):
    timm_data = pytest.importorskip("timm.data")
    given = timm_data.create_transform((3, 224, 224), crop_mode=crop_mode, crop_pct=0.9, interpolation="bicubic")
    assert read_transform(given) == Transform(248, 224, MEAN, STD, "bicubic", resize_mode=mode)


def test_padding_with_another_colour_or_at_random_is_refused():
    timm = pytest.importorskip("timm.data.transforms")
    black = [timm.ResizeKeepRatio(224, longest=1.0), timm.CenterCropOrPad(224), v1.ToTensor(), v1.Normalize(MEAN, STD)]
    with pytest.raises(UsageError, match=r"pads with 0; fc7 pads with the mean colour \(124, 116, 104\)"):
        read_transform(v1.Compose(black))
    for step in (timm.ResizeKeepRatio(224), timm.ResizeKeepRatio(224, longest=1.0, random_scale_prob=0.5)):
        with pytest.raises(UsageError, match="does not resize the longer side"):
            read_transform(v1.Compose([step, *black[1:]]))


def test_timms_pipelines_are_read():
    timm_data = pytest.importorskip("timm.data")
    given = timm_data.create_transform((3, 224, 224), mean=MEAN, std=STD, crop_pct=0.95, interpolation="bicubic")
    assert read_transform(given) == Transform(235, 224, MEAN, STD, "bicubic")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda image: image, "A function is not a transform"),
        (v1.Compose([v1.Resize(256), v1.CenterCrop(224), MaybeConvertMode("L"), v1.ToTensor()]), "MaybeConvertMode"),
        (v1.Compose([v1.Resize(256), v1.RandomCrop(224), v1.ToTensor()]), "RandomCrop"),
        (v1.Compose([v1.Resize((224, 200)), v1.CenterCrop(200)]), r"Resize has size \(224, 200\)"),
        (v1.Compose([v1.Resize((224, 200)), v1.ToTensor()]), r"Resize has size \(224, 200\)"),
        (Transform(resize_mode="stretch"), "'stretch' is not one of crop, squash, pad"),
        (v1.Compose([v1.CenterCrop(224), v1.Resize(256)]), "steps CenterCrop, Resize"),
        (v1.Compose([v1.Resize(256), v1.ToTensor()]), "steps Resize"),
        (v1.Compose([v1.Resize(256, max_size=300), v1.CenterCrop(224)]), "max_size"),
        (v1.Compose([v1.Resize(256), v1.CenterCrop((224, 200))]), r"CenterCrop has size \(224, 200\)"),
        (v1.Compose([v1.Resize(256, InterpolationMode.NEAREST), v1.CenterCrop(224)]), "'nearest'"),
        (v1.Compose([v1.Resize(256), v1.CenterCrop(224), v1.Normalize([0.5], [0.5])]), r"mean \(0.5,\)"),
        (v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.ToDtype(torch.float32)]), "ToDtype"),
    ],
)
def test_what_fc7_cannot_do_is_refused_by_name(given, message):
    with pytest.raises(UsageError, match=message):
        read_transform(given)
