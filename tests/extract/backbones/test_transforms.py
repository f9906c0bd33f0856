import numpy as np
import pytest
import torch
from torchvision import transforms as v1
from torchvision.models import AlexNet_Weights, EfficientNet_B3_Weights, VGG16_Weights
from torchvision.transforms import InterpolationMode, v2

from fc7.cache.recipe import Transform
from fc7.errors import UsageError
from fc7.extract.backbones.transforms import read_transform, resized

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


def test_sizes_are_replaced_and_nothing_else():
    transform = Transform(232, 224, (0.5,) * 3, (0.25,) * 3, "bicubic")
    assert resized(transform, 448) == Transform(512, 448, (0.5,) * 3, (0.25,) * 3, "bicubic")
    assert resized(transform, 320, 352) == Transform(352, 320, (0.5,) * 3, (0.25,) * 3, "bicubic")
    for sizes in ((31, 31), (224, 200), (4097, 4097)):
        with pytest.raises(UsageError, match=f"--image-size {sizes[0]}:{sizes[1]}: 32 <= CROP <= RESIZE <= 4096"):
            resized(transform, *sizes)


def test_timms_pipelines_are_read():
    timm_data = pytest.importorskip("timm.data")
    given = timm_data.create_transform((3, 224, 224), mean=MEAN, std=STD, crop_pct=0.95, interpolation="bicubic")
    assert read_transform(given) == Transform(235, 224, MEAN, STD, "bicubic")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda image: image, "A function is no transform"),
        (v1.Compose([v1.Resize(256), v1.RandomCrop(224), v1.ToTensor()]), "RandomCrop"),
        (v1.Compose([v1.Resize((224, 224)), v1.CenterCrop(224)]), r"Resize has size \(224, 224\)"),
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
