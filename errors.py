"""Every error that fc7 raises on purpose.

The message says what, with which values, and what to do next. The exit code is 1 where a class names no other.

Messages are written as a command line reads them: ``--batch-size 8``, ``fc7 fit DATA``. Whoever calls fc7 from Python
reads the same names as Python has them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# What stays as it is: commands of other programs, and what follows an fc7 command, to the end of the sentence.
_WORDS = re.compile(
    r"(?:pip install|gunicorn)[^.;)]*"
    r"|(?:: |in a shell )(fc7 ([a-z]+)\b(?:(?!\. |; ).)*)"
    r"|--(engine local|columns (?:'[^']*=[^']*'|[^\s']+=[^\s']+)|[a-z][a-z-]+)"
)
_FUNCTIONS = {
    "extract": "fc7.extract.extract",
    "predict": "fc7.classify.Bundle.predict",
    **{name: f"fc7.classify.{name}" for name in ("audit", "compare", "export", "fit", "report")},
}
_ARGUMENTS = {"engine local": "engine=None", "map": "map_method", "train-batch": "batch_size"}

_command_lines = 0


@contextmanager
def command_line() -> Iterator[None]:
    """Let messages name options and verbs as they are typed."""
    global _command_lines  # of the process: errors are raised in any of its threads
    _command_lines += 1
    try:
        yield
    finally:
        _command_lines -= 1


def in_python(message: str) -> str:
    """Return a message with options as arguments, and verbs as functions where there is one.

    >>> in_python("Take --batch-size 8, or fit again: fc7 fit DATA --dtype float32")
    'Take batch_size 8, or fit again: fc7.classify.fit, in a shell fc7 fit DATA --dtype float32'
    """

    def said(found: re.Match[str]) -> str:
        command, verb, option = found.groups()
        if option and option.startswith("columns "):
            pairs = option.removeprefix("columns ").strip("'").split(",")
            return f"columns={dict(pair.partition('=')[::2] for pair in pairs)}"
        if option:
            return _ARGUMENTS.get(option, option.replace("-", "_"))
        named = verb in _FUNCTIONS and found[0].startswith(":")
        return f": {_FUNCTIONS[verb]}, in a shell {command}" if named else found[0]

    return _WORDS.sub(said, message)


def words(message: str) -> str:
    """Return a message of a log in the words of who reads it; errors find them by themselves."""
    return message if _command_lines else in_python(message)


class FC7Error(Exception):
    """Base of all errors."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message in the words of who reads it."""
        return words(super().__str__())


class UsageError(FC7Error):
    """A name or an option that fc7 does not know."""

    exit_code = 2


class DataError(FC7Error):
    """A folder, csv or .h5 that cannot be used."""


class LeakageError(DataError):
    """The same image is on both sides of a split."""

    exit_code = 4


class ImageRejected(FC7Error):
    """One file is not an acceptable image: always accounted, never fatal; the message is the recorded reason."""


class ImageUnreadable(FC7Error, OSError):
    """One file cannot be looked at now, for a reason outside its bytes: accounted, never fatal, and never recorded.

    Parameters
    ----------
    reason
        What is missing, and what to do.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.strerror = reason


class WeightsError(FC7Error):
    """Parameters are absent, damaged, or not the ones asked for."""


class CacheError(FC7Error):
    """A cache folder cannot be read or written."""


class CorruptRecipe(CacheError):
    """A recipe's description is lost or damaged; `fc7 cache repair` restores it from a shard."""


class CorruptShard(CacheError):
    """A shard's bytes are not the ones that were committed; it is quarantined, and its rows are computed again."""


class BundleError(FC7Error):
    """A bundle cannot be trusted or does not fit what it is used on."""


class ExportError(FC7Error):
    """The format cannot hold the bundle as one network, or the network answers differently."""


class EngineError(FC7Error):
    """A cluster cannot be used, or work on it does not finish; committed rows are kept."""


class MissingExtra(FC7Error, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    package
        What could not be imported.
    extra
        The extra of fc7 that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed. Install it with: pip install 'fc7[{extra}]' (in a checkout: '.[{extra}]')"
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Be the same in another process."""
        return type(self), (self.package, self.extra)


class MissingDependency(FC7Error, ImportError):
    """A package that fc7 always needs is not installed, or cannot be imported."""


# Modules that fc7 always needs, by the packages that have them.
_NEEDED = {
    **{name: name for name in ("h5py", "joblib", "jsonschema", "numpy", "platformdirs", "rich", "safetensors")},
    **{name: name for name in ("scipy", "skops", "threadpoolctl")},
    "PIL": "Pillow",
    "sklearn": "scikit-learn",
    "torch": "torch torchvision",
    "torchvision": "torch torchvision",
}


@contextmanager
def dependencies() -> Iterator[None]:
    """Say in one line which package is missing, where an import fails for want of one.

    Raises MissingDependency with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = _NEEDED.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        missing = f"{error.name} is not installed, and fc7 needs it. Install it with: pip install {package}"
        raise MissingDependency(missing) from None


class Interrupted(FC7Error):
    """Stopped by the user; finished work is kept."""

    exit_code = 130


def door(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package that imports its public names when they are first used.

    Parameters
    ----------
    modules
        Where the names are, below the package.
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with dependencies():
            return getattr(import_module(f".{modules[name]}", package), name)

    return find, lambda: list(modules)
