"""Settings: frozen dataclasses from which Python, the command line and records draw names, defaults and help."""

from dataclasses import dataclass, field
from typing import Any

from ..cache.arguments import check_fields
from ..cache.recipe import DECODES, DTYPES, RESIZE_MODES, Recipe
from ..errors import UsageError
from . import readers

PRECISIONS = ("fp32", "bf16")
MAX_VIEWS = 100


def setting(default: Any, help_text: str, *, option: str = "", **reading: Any) -> Any:
    """Return a field of settings that is an option, too; other fields have a plain default.

    Parameters
    ----------
    help_text
        Of the option; a default that is a value is added to it.
    option
        What the option is called, without dashes, if not like the field.
    reading
        How the option is read: ``type``, ``choices`` and ``metavar`` of argparse. A bool is a flag.
    """
    text = help_text if default is None or default is False else f"{help_text} (default: {default})"
    return field(default=default, metadata={"help": text, "option": option, **reading})


def require_choice(settings: Any, *names: str) -> None:
    """Refuse settings of which one is not among its choices."""
    for name in names:
        value, choices = getattr(settings, name), type(settings).__dataclass_fields__[name].metadata["choices"]
        if value not in choices:
            raise UsageError(f"{name} {value!r} is not one of {', '.join(choices)}.")


IMAGE_SIZE = (
    "side of the crop, and of the shorter side before it, in pixels (default: the network's own, usually 224:256)"
)
_RESIZE = (
    "what does not fit the square is cut off (crop) or squashed, or the whole picture stands on the mean colour (pad) "
    "(default: the network's own, usually crop)"
)
_DECODE = (
    "scaled: by JPEG's own reduction of large photographs; hardware: by the JPEG engine of a CUDA device; both are "
    "faster and give slightly other vectors"
)
_VIEWS = "random crops, mirror images and colours of each image to embed and fit on, too"
_BATCH = "images in one forward pass (default: 4 or 8 by network, on a GPU 32)"


@dataclass(frozen=True)
class BackboneSettings:
    """How a backbone computes; :func:`fc7.extract.load_backbone` says what each setting means."""

    precision: str = setting("fp32", "of the forward pass", choices=PRECISIONS)
    image_size: tuple[int, int | None] | None = setting(
        None, IMAGE_SIZE, type=readers.image_size, metavar="CROP[:RESIZE]"
    )
    resize: str | None = setting(None, _RESIZE, choices=RESIZE_MODES)
    decode: str = setting("exact", _DECODE, type=readers.decoding, choices=tuple(DECODES))
    views: int = setting(0, _VIEWS, type=readers.views_number, metavar="N")
    mirror: bool = setting(False, "embed each mirror image, too, and keep the mean of the two vectors")
    dtype: str = setting("float16", "of stored numbers", choices=DTYPES)
    device: str = setting(
        "auto", "cpu, cuda, cuda:1, mps or auto; several with commas between, or cuda:all", metavar="NAME"
    )
    batch_size: int | None = setting(None, _BATCH, type=readers.whole_number, metavar="N")

    def __post_init__(self) -> None:
        """Refuse what no backbone can do."""
        check_fields(self)
        if self.decode == "nvjpeg":
            raise UsageError(f"decode: {readers.NVJPEG}.")
        require_choice(self, "precision", "dtype", "decode", *(["resize"] if self.resize is not None else []))
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"batch size {self.batch_size}: must be 1 or more.")
        if not 0 <= self.views <= MAX_VIEWS:
            raise UsageError(f"views {self.views}: must be between 0 and {MAX_VIEWS}.")
        if self.views and self.decode == "hardware":
            raise UsageError("--decode hardware cuts out the centre only; for --views take exact or scaled.")

    @property
    def of_recipe(self) -> dict[str, Any]:
        """The fields of a recipe that follow from these settings alone."""
        names = ("mirror", "precision", "dtype")
        return {"decode": DECODES[self.decode]} | {name: getattr(self, name) for name in names}


def options_of(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that a recipe has, as options: ``precision``, ``dtype``, ``decode`` and ``mirror``."""
    decode = next((name for name, rules in DECODES.items() if rules == recipe.decode), "exact")
    return {"precision": recipe.precision, "dtype": recipe.dtype, "decode": decode, "mirror": recipe.mirror}
