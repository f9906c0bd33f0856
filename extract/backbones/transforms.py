"""Transforms: those of other libraries, read as the :class:`Transform` that they are, and their sizes, changed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ...cache.recipe import RESIZE_MODES, FunctionTransform, Transform
from ...errors import UsageError

SMALLEST, LARGEST = 32, 4096  # sides of a network's input, in pixels

# Steps that convert pixels and do not change the picture.
_CONVERSIONS = {
    "ConvertImageDtype",
    "MaybeConvertMode",  # of OpenCLIP; before, it was a function
    "MaybePILToTensor",
    "MaybeToTensor",
    "PILToTensor",
    "RGB",
    "ToDtype",
    "ToImage",
    "ToPureTensor",
    "ToTensor",
    "_convert_to_rgb",
}
# Steps that decide it, in their order; those of timm's crop mode ``border`` stand beside torchvision's.
_RESIZES, _CROPS = ("Resize", "ResizeKeepRatio"), ("CenterCrop", "CenterCropOrPad")
_READABLE = (
    "the image is resized (bilinear or bicubic) and cut to a square, squashed to one, or padded with the mean colour, "
    "and three channels are normalised"
)
_NAMED = "For a module of your own, name it: Backbone(module, transform, transform_name=NAME)."


def resized(transform: Transform, crop: int, resize: int | None = None) -> Transform:
    """Return the transform with other sizes.

    Parameters
    ----------
    crop
        Side of the square crop, in pixels.
    resize
        Length of the side before it; by default in the proportion of 256 to 224, and where nothing is cut off, `crop`.

    Raises
    ------
    UsageError
        A size is out of range.
    """
    if resize is None:
        resize = round(crop * 256 / 224) if transform.resize_mode == "crop" else crop
    if not SMALLEST <= crop <= resize <= LARGEST:
        raise UsageError(f"--image-size {crop}:{resize}: {SMALLEST} <= CROP <= RESIZE <= {LARGEST} is needed.")
    return replace(transform, crop=crop, resize=resize)


def in_mode(transform: Transform, mode: str) -> Transform:
    """Return the transform in a mode of resizing; ``squash`` and ``pad`` show the whole picture, unless it does."""
    if mode == transform.resize_mode:
        return transform
    return replace(transform, resize_mode=mode, resize=transform.resize if mode == "crop" else transform.crop)


def padded(transform: Transform) -> Transform:
    """Return the transform as a recipe holds it, which says how images smaller than the crop are put on black."""
    on_black = transform.resize < transform.crop and transform.resize_mode != "pad"
    return replace(transform, padding="torchvision" if on_black else "")


def read_transform(transform: Any) -> Transform:
    """Return what a pipeline does to an image.

    Parameters
    ----------
    transform
        A :class:`Transform`; a preset of torchvision's weights, as ``ResNet18_Weights.DEFAULT.transforms()``; or a
        ``Compose`` of ``Resize``, ``CenterCrop``, conversions and ``Normalize``, as timm's ``create_transform`` makes.
        ``Resize((224, 224))`` squashes the image, with or without ``CenterCrop``; timm's ``ResizeKeepRatio`` and
        ``CenterCropOrPad`` pad it.

    Raises
    ------
    UsageError
        It does something else; the message names the step.
    """
    if isinstance(transform, Transform) and not isinstance(transform, FunctionTransform):
        if transform.resize_mode not in RESIZE_MODES:
            raise UsageError(f"resize_mode {transform.resize_mode!r} is not one of {', '.join(RESIZE_MODES)}.")
        return transform
    if all(hasattr(transform, name) for name in ("resize_size", "crop_size", "interpolation", "mean", "std")):
        resize, crop = _side("resize_size", transform.resize_size), _square("crop_size", transform.crop_size)
        return _transform(resize, crop, transform, interpolation=transform.interpolation)
    if isinstance(getattr(transform, "transforms", None), Sequence):
        return _from_steps(transform.transforms)
    raise UsageError(f"A {type(transform).__name__} is not a transform that fc7 can read: {_READABLE}. {_NAMED}")


def _from_steps(steps: Iterable[Any]) -> Transform:
    deciding = []
    for step in steps:
        kind = getattr(step, "__name__", type(step).__name__)
        if kind in (*_RESIZES, *_CROPS, "Normalize"):
            deciding.append(step)
        elif kind not in _CONVERSIONS or getattr(step, "scale", True) is False or getattr(step, "mode", "RGB") != "RGB":
            raise UsageError(f"The transform's step {step} is none that fc7 can take over: {_READABLE}. {_NAMED}")
    kinds = [type(step).__name__ for step in deciding]
    norm = deciding.pop() if kinds[-1:] == ["Normalize"] else None
    match [type(step).__name__ for step in deciding]:
        case ["Resize"] if not _is_one_side(deciding[0].size):
            resize, crop, mode = _square("Resize", deciding[0].size), None, "squash"
        case ["Resize", "CenterCrop"] if not _is_one_side(deciding[0].size):
            resize, crop, mode = _square("Resize", deciding[0].size), deciding[1], "squash"
        case ["Resize", "CenterCrop"]:
            resize, crop, mode = _side("Resize", deciding[0].size), deciding[1], "crop"
        case ["ResizeKeepRatio", "CenterCropOrPad"]:
            resize, crop, mode = _longest(deciding[0]), deciding[1], "pad"
        case _:
            raise UsageError(f"The transform has the steps {', '.join(kinds) or 'of nothing'}: {_READABLE}.")
    if getattr(deciding[0], "max_size", None) is not None:
        raise UsageError(f"The transform's step {deciding[0]} has a max_size: {_READABLE}.")
    side = resize if crop is None else _square(type(crop).__name__, crop.size)
    found = _transform(resize, side, norm, interpolation=deciding[0].interpolation, mode=mode)
    if mode == "pad":
        _require_background(deciding[1], found.background)
    return found


def _transform(resize: int, crop: int, norm: Any, *, interpolation: Any, mode: str = "crop") -> Transform:
    mean, std = (_as_written(norm.mean), _as_written(norm.std)) if norm else ((0.0,) * 3, (1.0,) * 3)
    name = getattr(interpolation, "value", interpolation)
    if len(mean) != 3 or len(std) != 3 or name not in ("bilinear", "bicubic"):
        raise UsageError(f"The transform has mean {mean}, std {std} and interpolation {name!r}: {_READABLE}.")
    return Transform(resize, crop, mean, std, interpolation=name, resize_mode=mode)


def _as_written(values: Any) -> tuple[float, ...]:
    """Return numbers as they were written, before a library rounded them to float32."""
    import numpy as np  # not at the top: a run that finds its transform in a table reads none

    return tuple(float(str(value)) for value in np.ravel(values))


def _longest(step: Any) -> int:
    """Return the side of timm's ``ResizeKeepRatio``, which resizes the longer one to it and draws nothing at random."""
    if step.longest != 1 or step.random_scale_prob or step.random_aspect_prob:
        raise UsageError(f"The transform's step {step} does not resize the longer side to one size: {_READABLE}.")
    return _square("ResizeKeepRatio", step.size)


def _require_background(step: Any, colour: tuple[int, int, int]) -> None:
    fill = (step.fill,) * 3 if isinstance(step.fill, int) else tuple(step.fill)
    if fill != colour or step.padding_mode != "constant":
        raise UsageError(f"The transform's step {step} pads with {step.fill}; fc7 pads with the mean colour {colour}.")


def _is_one_side(size: Any) -> bool:
    return isinstance(size, int) or len(size) == 1


def _side(step: str, size: Any) -> int:
    """Return the one number of a size."""
    if not _is_one_side(size):
        raise UsageError(f"The transform's {step} has size {size}: {_READABLE}.")
    return int(size if isinstance(size, int) else size[0])


def _square(step: str, size: Any) -> int:
    """Return the side of a square: one number, or twice the same."""
    equal = not _is_one_side(size) and len(set(size)) == 1
    return _side(step, size[:1] if equal else size)
