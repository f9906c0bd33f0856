"""The recipe: everything that decides a vector, and its id."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from ..errors import CacheError

AND = " + "  # between the names of vectors that are side by side

DTYPES = ("float16", "float32")

# What happens to what does not fit the square: it is cut off, squashed in, or all of it stands on a background.
RESIZE_MODES = ("crop", "squash", "pad")

# From bytes to RGB, with their version: every pixel, JPEG's own reduction of large ones, or the JPEG engine of a CUDA
# device. (Rows of nvjpeg-1, another decoder of such a device, can be read.)
DECODES = {"exact": "exact-1", "scaled": "scaled-1", "hardware": "hardware-1"}


def sha256_of(text: str) -> str:
    """Return the sha256 (hex) of a text. Help reads this module, and OpenSSL behind hashlib is slow to load."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Transform:
    """Deterministic resize, centre crop and normalisation, as torchvision's ``ImageClassification`` preset.

    Attributes
    ----------
    resize
        Length of the shorter side after resizing, in pixels; in other modes of both sides, or of the longer one.
    crop
        Side of the square centre crop, in pixels.
    mean, std
        Per channel (RGB), on the 0-1 scale.
    interpolation
        ``bilinear`` or ``bicubic``, antialiased.
    padding
        Where an image that is smaller than the crop is put on black: ``torchvision``, as there. Empty where none is
        smaller, and in recipes of 0.1.0, which put some one pixel beside that.
    resize_mode
        ``crop`` keeps the proportions and cuts off what is too long; ``squash`` resizes both sides to `resize`,
        whatever the proportions; ``pad`` resizes the longer side to `resize` and puts the picture on the colour of
        `mean`, as timm's crop mode ``border`` does.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    padding: str = ""
    resize_mode: str = "crop"

    dtype: ClassVar[str] = "uint8"  # of the pixels that it makes

    @property
    def background(self) -> tuple[int, int, int]:
        """The colour around a picture that does not fill the square.

        It is black as torchvision's, or of mode ``pad`` the mean: after normalisation that is 0, which convolutions put
        around feature maps, too.
        """
        if self.resize_mode != "pad":
            return 0, 0, 0
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; what came after 0.1.0 is absent at its default."""
        later = {"padding": "", "resize_mode": "crop"}
        return {name: value for name, value in asdict(self).items() if later.get(name) != value}


@dataclass(frozen=True)
class FunctionTransform(Transform):
    """A function of the user's own, from an upright RGB image of Pillow to the input of a network of their own.

    What it returns is normalised already. See :func:`fc7.extract.backbones.custom.own_transform`.

    Attributes
    ----------
    crop
        Side of the squares that it returns.
    name
        What its user calls it: another name makes another recipe.
    code
        The sha256 (hex) of what the function does, as far as fc7 knows it: its bytecode with what that names. Empty
        where nothing of it can be known; then the name alone tells recipes apart.
    function
        Not part of the recipe, and absent in recipes that were read from a file.
    """

    name: str = ""
    code: str = ""
    function: Callable[[Any], Any] | None = field(default=None, compare=False, repr=False)

    dtype: ClassVar[str] = "float32"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"function": self.name, "code": self.code, "crop": self.crop}


class Input(NamedTuple):
    """What decides the pixels that a network sees; see :class:`Recipe` for the fields."""

    transform: Transform
    decode: str
    view: int


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a vector. Device, batch size and library versions do not belong here.

    Attributes
    ----------
    backbone, layer
        ``vgg16``, ``fc7``.
    dim
        Length of the vector.
    weights
        Full sha256 (hex) of the bytes of the weights.
    transform
        From decoded pixels to the network's input.
    decode
        Name and version of the rules from file bytes to RGB pixels.
    view
        0 is the centre crop; others are seeded augmentations.
    mirror
        Whether the vector is the mean over the view and its mirror image.
    precision
        Of the forward pass: ``fp32`` or ``bf16``.
    dtype
        Of the stored vector: ``float16`` or ``float32``.
    """

    backbone: str
    layer: str
    dim: int
    weights: str
    transform: Transform = Transform()
    decode: str = DECODES["exact"]
    view: int = 0
    mirror: bool = False
    precision: str = "fp32"
    dtype: str = "float16"

    def __repr__(self) -> str:
        view = f", view {self.view}" if self.view else ""
        return f"Recipe({self.backbone!r}, {self.layer!r}, {self.dim}-d{view}, {self.id[:12]})"

    @cached_property
    def id(self) -> str:
        """The sha256 (hex) of the canonical JSON."""
        return sha256_of(self.to_json())

    @property
    def parts(self) -> tuple["Recipe", ...]:
        """The recipes side by side in a row: only this one; see :class:`JointRecipe`."""
        return (self,)

    @property
    def input(self) -> Input:
        """What decides the pixels; recipes with the same input share them."""
        return Input(self.transform, self.decode, self.view)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces; see :meth:`Transform.to_dict`."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["transform"] = self.transform.to_dict()
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, including the id."""
        return {"id": self.id} | dict(json.loads(self.to_json()))

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read the JSON of :meth:`to_json`; raises CacheError with missing or unknown fields if it is none."""
        try:
            values = json.loads(text)
            unknown = set(values) ^ {field.name for field in fields(cls)}
            if unknown:
                raise CacheError(f"Not a recipe of this version of fc7: fields {sorted(unknown)} missing or unknown.")
            return cls(transform=_transform(values.pop("transform")), **values)
        except (TypeError, ValueError, AttributeError) as error:
            raise CacheError(f"Not a recipe: {error}") from error

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """Return ``{field: (mine, theirs)}`` for the fields that differ; nested ones as ``transform.crop``."""
        mine, theirs = _flat(self), _flat(other)
        names = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
        return {name: (mine.get(name), theirs.get(name)) for name in names}


@dataclass(frozen=True)
class JointRecipe:
    """Vectors of several backbones or layers side by side; see :func:`fc7.classify.data.joint.join`."""

    parts: tuple[Recipe, ...]

    @cached_property
    def id(self) -> str:
        """The sha256 (hex) of the canonical JSON."""
        return sha256_of(self.to_json())

    @property
    def backbone(self) -> str:
        """The distinct names: ``vgg16 + squeezenet1_1``."""
        return AND.join(dict.fromkeys(part.backbone for part in self.parts))

    @property
    def layer(self) -> str:
        """The layers: ``fc7 + gap``."""
        return AND.join(part.layer for part in self.parts)

    @property
    def dim(self) -> int:
        """Length of the whole vector."""
        return sum(part.dim for part in self.parts)

    def to_json(self) -> str:
        """Return canonical JSON."""
        return f'{{"parts":[{",".join(part.to_json() for part in self.parts)}]}}'

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {name: getattr(self, name) for name in ("id", "backbone", "layer", "dim")}
        return values | {"parts": [part.to_dict() for part in self.parts]}


@dataclass(frozen=True)
class ForeignRecipe:
    """The place of a recipe for vectors that another program made: how is not known, so their bytes identify them.

    Attributes
    ----------
    name
        What the file is called, or where else they come from.
    dim
        Length of the vector.
    vectors
        The sha256 (hex) of all of them.
    """

    name: str
    dim: int
    vectors: str

    layer: ClassVar[str] = "made elsewhere"
    parts: ClassVar[tuple[Recipe, ...]] = ()

    @cached_property
    def id(self) -> str:
        """The sha256 (hex) of the canonical JSON."""
        return sha256_of(self.to_json())

    @property
    def backbone(self) -> str:
        """The name."""
        return self.name

    def to_json(self) -> str:
        """Return canonical JSON."""
        return json.dumps({"elsewhere": asdict(self)}, sort_keys=True, separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {name: getattr(self, name) for name in ("id", "backbone", "layer", "dim")}
        return values | {"elsewhere": asdict(self)}


AnyRecipe = Recipe | JointRecipe | ForeignRecipe


def read_recipe(text: str) -> AnyRecipe:
    """Read the JSON of a recipe of any kind; a text that is none is a CacheError."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CacheError(f"Not a recipe: {error}") from error
    if isinstance(values, dict) and list(values) == ["elsewhere"]:
        try:
            return ForeignRecipe(**values["elsewhere"])
        except TypeError as error:
            raise CacheError(f"Not a recipe: {error}") from error
    if isinstance(values, dict) and list(values) == ["parts"] and isinstance(values["parts"], list):
        return JointRecipe(tuple(Recipe.from_json(json.dumps(part)) for part in values["parts"]))
    return Recipe.from_json(text)


def _transform(values: dict[str, Any]) -> Transform:
    """Return the transform of :meth:`Transform.to_dict`."""
    if "function" in values:
        if values.keys() != {"function", "code", "crop"}:
            raise ValueError(f"a function's transform has the fields {sorted(values)}")
        side = values["crop"]
        return FunctionTransform(resize=side, crop=side, name=values["function"], code=values["code"])
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Transform(**(values | lists))


def _flat(recipe: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for item in fields(recipe):
        value = getattr(recipe, item.name)
        if item.compare:
            flat |= _flat(value, f"{item.name}.") if is_dataclass(value) else {prefix + item.name: value}
    return flat
