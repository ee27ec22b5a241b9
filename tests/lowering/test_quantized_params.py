"""Parameters are quantized as MXNet quantizes them, to the last code."""

from __future__ import annotations

import numpy as np
import pytest

from mxquant._compat import mx
from mxquant.lowering.quantized_params import SMALLEST_THRESHOLD, largest_magnitude, quantize_int8


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_codes_and_range_are_mxnets(scale: float) -> None:
    values = (np.random.RandomState(0).standard_normal((64, 512)) * scale).astype(np.float32)
    codes, low, high = quantize_int8(values)
    reach = mx.nd.array([np.abs(values).max()])
    expected = mx.nd.contrib.quantize(mx.nd.array(values), -reach, reach, out_type="int8")
    for ours, theirs in zip((codes, low, high), expected):
        np.testing.assert_array_equal(ours, theirs.asnumpy())
        assert ours.dtype == theirs.dtype


def test_the_largest_magnitude_becomes_127() -> None:
    codes, low, high = quantize_int8(np.array([-2.0, 1.0, 0.0], np.float32))
    assert codes.tolist() == [-127, 64, 0]
    assert (low.tolist(), high.tolist()) == ([-2.0], [2.0])
    assert largest_magnitude(np.array([-2.0, 1.0])) == 2.0


@pytest.mark.parametrize("shape", [(3,), (0,)])
def test_zeros_have_a_range_that_divides(shape: tuple) -> None:
    codes, _, high = quantize_int8(np.zeros(shape, np.float32))
    assert not codes.any()
    assert high[0] == np.float32(SMALLEST_THRESHOLD)
    assert np.isfinite(127 / high[0])
