"""A network of the user's own that a function in a Python file makes: ``net.py:make``, named on the command line."""

import contextlib
import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..backbones.backbone import Backbone
from ..text import few, first_line

if TYPE_CHECKING:
    import torch


def make(name: str) -> "Backbone | torch.nn.Module":
    """Run a file and call its function without arguments; return what it makes.

    Whatever the code prints goes to stderr. Modules beside the file can be imported, as in ``python net.py``.

    Parameters
    ----------
    name
        ``FILE.py:FUNCTION``.

    Raises
    ------
    UsageError
        There is no such file or function, an exception was raised in it, or it makes something else.
    """
    import torch

    file, _, function = name.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise UsageError(f"--backbone {name}: there is no file {path}.")
    path = path.resolve()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            module = _imported(path)
            if not callable(maker := getattr(module, function, None)):
                raise UsageError(f"--backbone {name}: {path.name} has no function {function!r}{_others(module)}.")
            made = maker()
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # the user's code can raise anything
        raise UsageError(f"--backbone {name}: {_last_line(error, path)}.") from error
    if not isinstance(made, Backbone | torch.nn.Module):
        raise UsageError(
            f"--backbone {name} returned an object of class {type(made).__name__}; needed: a torch.nn.Module, or "
            "Backbone(module, transform, layer)."
        )
    return made


def make_backbone(name: str) -> Backbone:
    """Return the backbone that a function in a file makes; see :func:`make`.

    Raises
    ------
    UsageError
        It makes a module only, of which nothing says how images are prepared for it.
    """
    made = make(name)
    if not isinstance(made, Backbone):
        raise UsageError(
            f"--backbone {name} returned a {type(made).__name__}, and nothing says how images are prepared for it. "
            "Return fc7.extract.Backbone(module, transform, layer)."
        )
    return made


def _imported(path: Path) -> ModuleType:
    # A name that no other module has: of one of Python's own, the code would be taken for known by its name.
    loader = SourceFileLoader(f"fc7_backbone_{path.stem}", str(path))
    spec = spec_from_loader(loader.name, loader)
    if spec is None:  # never so for a loader of source
        raise ImportError(f"{path} cannot be imported")
    module = module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses, inspect and the fingerprint look for it there
    sys.path.insert(0, str(path.parent))
    loader.exec_module(module)
    if ray := sys.modules.get("ray"):  # workers on other machines have no such file
        ray.cloudpickle.register_pickle_by_value(module)
    return module


def _others(module: ModuleType) -> str:
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return f"; it has {few(own)}" if own else ""


def _last_line(error: BaseException, path: Path) -> str:
    """Return what was raised, and by which line of the file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    where = f"line {lines[-1]}: " if lines else ""
    message = first_line(error)
    return f"{where}{type(error).__name__}{'' if message == type(error).__name__ else f': {message}'}"
