"""A number that has to be whole is, or the argument is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mxquant import InputError
from mxquant.runtime.checks import whole_number


@pytest.mark.parametrize("value", [16, 16.0, np.int64(16), np.float32(16)])
def test_a_whole_number_is_returned(value: Any) -> None:
    found = whole_number(value, "count", 1)
    assert found == 16 and type(found) is int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "count is nan, expected a whole number"),
        (float("inf"), "count is inf, expected a whole number"),
        (1.5, "count is 1.5, expected a whole number"),
        ("3", "count is '3', expected a whole number"),
        (None, "count is None, expected a whole number"),
        (True, "count is True, expected a whole number"),
        (0, "count is 0, expected at least 1"),
        (-np.inf, "count is -inf, expected a whole number"),
    ],
)
def test_another_is_told(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        whole_number(value, "count", 1)
