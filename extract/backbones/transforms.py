"""Transforms: those of other libraries, read as the :class:`Transform` that they are, and their sizes, changed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ...cache.recipe import Transform
from ...errors import UsageError

SMALLEST, LARGEST = 32, 4096  # sides of a network's input, in pixels

# Steps that convert pixels and do not change the picture.
_CONVERSIONS = {
    "ConvertImageDtype",
    "MaybePILToTensor",
    "MaybeToTensor",
    "PILToTensor",
    "RGB",
    "ToDtype",
    "ToImage",
    "ToPureTensor",
    "ToTensor",
}
_ORDER = ["Resize", "CenterCrop", "Normalize"]
_READABLE = "the shorter side is resized (bilinear or bicubic), a square cut out, three channels normalised"


def resized(transform: Transform, crop: int, resize: int | None = None) -> Transform:
    """Return the transform with other sizes.

    Parameters
    ----------
    crop
        Side of the square crop, in pixels.
    resize
        Length of the shorter side before it; by default in the proportion of 256 to 224.

    Raises
    ------
    UsageError
        A size is out of range.
    """
    resize = round(crop * 256 / 224) if resize is None else resize
    if not SMALLEST <= crop <= resize <= LARGEST:
        raise UsageError(f"--image-size {crop}:{resize}: {SMALLEST} <= CROP <= RESIZE <= {LARGEST} is needed.")
    return replace(transform, crop=crop, resize=resize)


def padded(transform: Transform) -> Transform:
    """Return the transform as a recipe holds it, which says how images smaller than the crop are put on black."""
    return replace(transform, padding="torchvision" if transform.resize < transform.crop else "")


def read_transform(transform: Any) -> Transform:
    """Return what a pipeline does to an image.

    Parameters
    ----------
    transform
        A :class:`Transform`; a preset of torchvision's weights, as ``ResNet18_Weights.DEFAULT.transforms()``; or a
        ``Compose`` of ``Resize``, ``CenterCrop``, conversions and ``Normalize``, as timm's ``create_transform`` makes.

    Raises
    ------
    UsageError
        It does something else; the message names the step.
    """
    if isinstance(transform, Transform):
        return transform
    if all(hasattr(transform, name) for name in ("resize_size", "crop_size", "interpolation", "mean", "std")):
        resize, crop = _side("resize_size", transform.resize_size), _side("crop_size", transform.crop_size)
        return _transform(resize, crop, transform.mean, transform.std, interpolation=transform.interpolation)
    if isinstance(getattr(transform, "transforms", None), Sequence):
        return _from_steps(transform.transforms)
    raise UsageError(f"A {type(transform).__name__} is no transform that fc7 can read: {_READABLE}.")


def _from_steps(steps: Iterable[Any]) -> Transform:
    by_kind: dict[str, Any] = {}
    for step in steps:
        kind = type(step).__name__
        if kind in _ORDER:
            by_kind[kind] = step
        elif kind not in _CONVERSIONS or getattr(step, "scale", True) is False:
            raise UsageError(f"The transform's step {step} is none that fc7 can take over: {_READABLE}.")
    if list(by_kind) != [kind for kind in _ORDER if kind in by_kind] or not {"Resize", "CenterCrop"} <= by_kind.keys():
        raise UsageError(f"The transform has the steps {', '.join(by_kind) or 'of nothing'}: {_READABLE}.")
    resize, crop, norm = by_kind["Resize"], by_kind["CenterCrop"], by_kind.get("Normalize")
    if getattr(resize, "max_size", None) is not None:
        raise UsageError(f"The transform's step {resize} has a max_size: {_READABLE}.")
    mean, std = (norm.mean, norm.std) if norm else ((0.0,) * 3, (1.0,) * 3)
    sides = _side("Resize", resize.size), _side("CenterCrop", crop.size)
    return _transform(*sides, mean, std, interpolation=resize.interpolation)


def _transform(resize: int, crop: int, mean: Any, std: Any, *, interpolation: Any) -> Transform:
    mean, std = _as_written(mean), _as_written(std)
    mode = getattr(interpolation, "value", interpolation)
    if len(mean) != 3 or len(std) != 3 or mode not in ("bilinear", "bicubic"):
        raise UsageError(f"The transform has mean {mean}, std {std} and interpolation {mode!r}: {_READABLE}.")
    return Transform(resize, crop, mean, std, interpolation=mode)


def _as_written(values: Any) -> tuple[float, ...]:
    """Return numbers as they were written, before a library rounded them to float32."""
    import numpy as np  # not at the top: a run that finds its transform in a table reads none

    return tuple(float(str(value)) for value in np.ravel(values))


def _side(step: str, size: Any) -> int:
    """Return the one number of a size; two numbers of a resize would squash the image."""
    sides = [size] if isinstance(size, int) else list(size)
    if len(sides) == 2 and step in ("CenterCrop", "crop_size") and sides[0] == sides[1]:
        sides = sides[:1]
    if len(sides) != 1:
        raise UsageError(f"The transform's {step} has size {size}: {_READABLE}.")
    return int(sides[0])
