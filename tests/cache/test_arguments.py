"""Annotations of public functions, as every version of Python and NumPy writes them."""

import types
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fc7.cache.arguments import checked
from fc7.errors import UsageError


class Alias:
    """``typing.TypeAliasType``, which Python has from 3.12 on and NumPy then takes for ``NDArray``."""

    __value__ = np.ndarray[Any, np.dtype[Any]]


@pytest.mark.parametrize("hint", [npt.NDArray[Any], types.GenericAlias(Alias(), (Any,))])
def test_an_array_is_asked_for_by_a_name_or_by_its_class(hint):
    def double(rows, times=2):
        return rows * times

    double.__annotations__ = {"rows": hint, "times": int}
    assert checked(double)(np.ones(2)).tolist() == [2.0, 2.0]
    with pytest.raises(UsageError, match=r"rows=\[1\] is of type list; needed: ndarray"):
        checked(double)([1])
