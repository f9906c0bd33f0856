"""Arguments: a value of another type than a signature names is one of fc7's errors, and not an AttributeError later."""

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin

from ..errors import UsageError, dependencies

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments of other types than those that the annotations of a public function name.

    A path may be of any class that :func:`os.fspath` takes, a number one of NumPy's. Annotations in quotation marks,
    whose classes are imported when they are needed, are compared by the names of classes.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **options: P.kwargs) -> R:
        try:
            given = _signature(function).bind(*args, **options).arguments
        except TypeError:
            return function(*args, **options)  # Python's own words name the function
        for name, value in given.items():
            hint = function.__annotations__.get(name, Any)
            _require(f"{function.__qualname__.removesuffix('.__init__')}: ", name, value, hint)
        with dependencies():
            return function(*args, **options)

    return wrapper


def check_fields(settings: Any) -> None:
    """Refuse values of other types than the annotations of a dataclass name; NumPy's whole numbers become Python's."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        _require("", field.name, value, field.type)
        if isinstance(value, Integral) and not isinstance(value, int):
            object.__setattr__(settings, field.name, int(value))  # a record is JSON


_signature = functools.cache(inspect.signature)


def _require(where: str, name: str, value: Any, hint: Any) -> None:
    if not _is_a(value, hint):
        raise UsageError(f"{where}{name}={shown(value)} is of type {type(value).__name__}; needed: {_words(hint)}.")


def shown(value: Any) -> str:
    """Return a value as one short line."""
    text = repr(value)
    return text if len(text) <= 60 and text.isprintable() else ascii(text[:60])[1:-1] + "..."


def _is_a(value: Any, hint: Any) -> bool:
    """Return whether a value is what an annotation names; what it says of the items of a dict is not looked at."""
    origin, inner = _origin(hint), get_args(hint)
    if hint is Any or origin is Iterable:  # of images: whoever takes them says what one instead of many is
        return True
    if isinstance(hint, str):
        return {kind.__name__ for kind in type(value).__mro__} & {_last(part) for part in hint.split(" | ")} != set()
    if origin in (Union, UnionType):
        return any(_is_a(value, part) for part in inner)
    if origin is tuple:
        return isinstance(value, tuple | list) and len(value) == len(inner) and all(map(_is_a, value, inner))
    if origin is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_is_a(one, inner[0]) for one in value)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    return isinstance(value, os.PathLike if hint is Path else origin or hint)


def _origin(hint: Any) -> Any:
    """Return the class of an annotation with brackets; NumPy's ``NDArray[...]`` is a name of one since Python 3.12."""
    origin = get_origin(hint)
    while hasattr(origin, "__value__"):
        origin = get_origin(origin.__value__)
    return origin


def _words(hint: Any) -> str:
    """Return an annotation as a person reads it: ``int or None``, ``list of Backbone``."""
    origin, inner = _origin(hint), get_args(hint)
    if isinstance(hint, str):
        return " or ".join(_last(part) for part in hint.split(" | "))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_words, inner)))
    if origin is Sequence:
        return f"list of {_words(inner[0])}"
    if origin is tuple:
        return f"({', '.join(map(_words, inner))})"
    if origin is not None and issubclass(origin, Mapping):
        return "dict"
    return "None" if hint is NoneType else str(getattr(origin or hint, "__name__", hint))


def _last(name: str) -> str:
    return "NoneType" if name == "None" else name.rpartition(".")[2]
