"""The recipe: everything that decides a vector, and its id."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from ..errors import CacheError

AND = " + "  # between the names of vectors that are side by side

DTYPES = ("float16", "float32")

# From bytes to RGB, with their version: every pixel, JPEG's own reduction of large ones, or as a CUDA device decodes.
DECODES = {"exact": "exact-1", "scaled": "scaled-1", "nvjpeg": "nvjpeg-1"}


@dataclass(frozen=True)
class Transform:
    """Deterministic resize, centre crop and normalisation, as torchvision's ``ImageClassification`` preset.

    Attributes
    ----------
    resize
        Length of the shorter side after resizing, in pixels.
    crop
        Side of the square centre crop, in pixels.
    mean, std
        Per channel (RGB), on the 0-1 scale.
    interpolation
        ``bilinear`` or ``bicubic``, antialiased.
    padding
        Where an image that is smaller than the crop is put on black: ``torchvision``, as there. Empty where none is
        smaller, and in recipes of 0.1.0, which put some one pixel beside that.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    padding: str = ""


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
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def parts(self) -> tuple["Recipe", ...]:
        """The recipes side by side in a row: only this one; see :class:`JointRecipe`."""
        return (self,)

    @property
    def input(self) -> Input:
        """What decides the pixels; recipes with the same input share them."""
        return Input(self.transform, self.decode, self.view)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces; `padding` is absent where it is empty."""
        values = asdict(self)
        if not self.transform.padding:
            del values["transform"]["padding"]
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, including the id."""
        return {"id": self.id} | dict(json.loads(self.to_json()))

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read the JSON of :meth:`to_json`.

        Raises
        ------
        CacheError
            The text is not a recipe of this version; the message names missing or unknown fields.
        """
        try:
            values = json.loads(text)
            unknown = set(values) ^ {field.name for field in fields(cls)}
            if unknown:
                raise CacheError(f"Not a recipe of this version of fc7: fields {sorted(unknown)} missing or unknown.")
            transform = values.pop("transform")
            lists = {name: tuple(value) for name, value in transform.items() if isinstance(value, list)}
            return cls(transform=Transform(**(transform | lists)), **values)
        except (TypeError, ValueError, AttributeError) as error:
            raise CacheError(f"Not a recipe: {error}") from error

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """Return ``{field: (mine, theirs)}`` for the fields that differ; nested ones as ``transform.crop``."""
        mine, theirs = _flat(asdict(self)), _flat(asdict(other))
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


@dataclass(frozen=True)
class JointRecipe:
    """Vectors of several backbones or layers side by side; see :func:`fc7.classify.data.joint.join`."""

    parts: tuple[Recipe, ...]

    @cached_property
    def id(self) -> str:
        """The sha256 (hex) of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

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
        return hashlib.sha256(self.to_json().encode()).hexdigest()

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


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
