"""What distinguishes a head of the user's own from others, and from itself before its code was changed.

A run that has a record is not done again, so that two heads of one identity would share a figure.
"""

import logging
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from ...errors import UsageError
from ...extract.backbones.python_code import origin_of

logger = logging.getLogger(__name__)

_MOST = 1000  # numbers of an array whose repr has all of them
_OURS = __name__.partition(".")[0]


def identity_of(estimator: BaseEstimator) -> str:
    """Return the class and all parameters of an estimator; with the hash of its code where these do not say all."""
    kind, parameters = type(estimator), estimator.get_params()
    name = f"{kind.__module__}.{kind.__qualname__}"
    said = f"{name}({', '.join(f'{parameter}={value!r}' for parameter, value in sorted(parameters.items()))})"
    return said if all(map(_is_said, [estimator, *parameters.values()])) else with_code(name, clone(estimator), said)


def with_code(name: str, value: Any, otherwise: str = "") -> str:
    """Return a name with the hash of what an object is and does; where that cannot be known, something else."""
    from ...extract.backbones.fingerprint import fingerprint  # imports torch

    try:
        return f"{name} {fingerprint(value)}"
    except UsageError as error:
        why = str(error).split(": fc7 ")[0]  # what follows is about modules
        said = "fc7: what the head %s does cannot be known: when it changes, delete its records (%s)"
        logger.warning(said, name, why)
        return otherwise or name


def is_ours(build: Any) -> bool:
    """Return whether a function is of fc7."""
    return str(getattr(build, "__module__", "")).partition(".")[0] == _OURS


def _is_said(value: Any) -> bool:
    """Return whether the repr of a parameter says all that it is, in every process."""
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_said, value))
    if isinstance(value, dict):
        return all(map(_is_said, [*value, *value.values()]))
    if isinstance(value, np.ndarray):
        return value.size <= _MOST and not value.dtype.hasobject
    if value is None or isinstance(value, str | int | float | np.generic | np.ufunc):
        return True
    kind = value if isinstance(value, type) else type(value)
    return (kind is value or hasattr(value, "get_params")) and (is_ours(kind) or bool(origin_of(kind)))
