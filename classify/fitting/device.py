"""What fits heads: the processor, or the device that the images went through."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MANY = 2**24  # numbers in the rows; with fewer the processor is done before a device has begun


def heads_device(name: str, numbers: int) -> "torch.device | None":
    """Return the CUDA device that fits heads on rows of so many numbers; None is the processor.

    It is the one that is named, of several the first; ``auto`` is CUDA if there is any and rows are many. Apple's has
    no float64, which moments and distances are computed in: there the processor fits heads.

    Raises
    ------
    UsageError
        torch does not know or does not have a device of this name.
    """
    if name == "cpu" or (name == "auto" and numbers < MANY):
        return None
    import torch

    from ...extract.backbones.torch_runtime import device_names, find_device

    if name == "auto":
        return find_device("cuda") if torch.cuda.is_available() else None
    device = find_device(device_names(name)[0])
    return device if device.type == "cuda" else None
