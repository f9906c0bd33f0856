"""Python code: what it names, and whether it is the user's own or of an installed package.

Installed packages are known by the bytes of their files; torch, torchvision, NumPy and Python by their names.
"""

import contextlib
import dis
import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

# What fc7 itself is made of, like published networks: known by its names, in all versions.
_LIBRARIES = {"torch", "torchvision", "numpy"}
_BY_NAME = sys.stdlib_module_names | _LIBRARIES
_STDLIB = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]


def hashed(*parts: Any) -> bytes:
    """Return the sha256 of some parts, told apart."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def origin_of(value: Any) -> str:
    """Return the name and the package of a class or a function of installed code; empty if it is the user's own."""
    package = package_of(value.__module__ or "")
    found: Any = sys.modules.get(value.__module__ or "")
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return f"{value.__module__}.{value.__qualname__} {package}" if package and found is value else ""


@functools.cache
def package_of(module: str) -> str:
    """Return what an installed package is known by; empty if the module is the user's own."""
    root = module.split(".")[0]
    file = Path(getattr(sys.modules.get(root), "__file__", None) or "")
    if root in _BY_NAME and root != "__main__" and (root in _LIBRARIES or _is_pythons(file)):
        return root
    if root == "__main__" or not _is_installed(file):
        return ""
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    return hashed(*(part for path in files for part in (path.name, path.read_bytes()))).hex()


def _is_installed(file: Path) -> bool:
    return bool({"site-packages", "dist-packages"}.intersection(file.parts))


def _is_pythons(file: Path) -> bool:
    """Return whether a module of this file is Python's own; the user's may have the name of one."""
    return file == Path() or any(file.resolve().is_relative_to(folder) for folder in _STDLIB)


def is_patched(value: Any) -> bool:
    """Return whether a part of installed code is a function that was put there by the user's."""
    function = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", value)))
    name = function.__globals__.get("__name__") if isinstance(function, types.FunctionType) else None
    return name in sys.modules and not package_of(name)


def codes_of(value: Any) -> Iterator[types.CodeType]:
    """Yield the code of a function, or of what stands for one in a class."""
    function = getattr(value, "__func__", getattr(value, "fget", value))
    if isinstance(function, types.FunctionType):
        yield function.__code__


def within(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and those of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from within(constant)


def named_in(codes: Iterable[types.CodeType]) -> set[str]:
    """Return what code may name of other modules: attributes, and texts, which `getattr` may be given."""
    parts = [part for code in codes for part in within(code)]
    texts = {constant for part in parts for constant in part.co_consts if isinstance(constant, str)}
    return texts.union(*(part.co_names for part in parts))


def globals_of(code: types.CodeType) -> set[str]:
    """Return the names of the globals that code reads."""
    steps = [step for part in within(code) for step in dis.get_instructions(part)]
    return {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}


def imports_of(code: types.CodeType, names: Mapping[str, Any]) -> set[str]:
    """Return the user's own modules that code imports while it runs; `names` are its globals."""
    return {name for part in within(code) for name in _imports(part, names)}


def _imports(code: types.CodeType, names: Mapping[str, Any]) -> Iterator[str]:
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    levels = [steps[place - 2].argval for place, step in enumerate(steps) if step.opname == "IMPORT_NAME"]
    imported = [step.argval for step in steps if step.opname == "IMPORT_NAME"]
    for level, name in zip(levels, imported, strict=True):
        with contextlib.suppress(ImportError, ValueError, AttributeError):  # it fails in the code as well
            whole = resolve_name("." * level + name, names.get("__package__")) if level else name
            root = whole.split(".")[0]
            spec = None if root in _BY_NAME or root in sys.modules else find_spec(root)
            if (spec and not _is_installed(Path(spec.origin or ""))) or (root in sys.modules and not package_of(root)):
                yield whole
