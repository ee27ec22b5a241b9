"""Parameters get the codes that MXNet gives them, to the last one, and the range that its operators read from them."""

from __future__ import annotations

import numpy as np
import pytest

from mxquant.lowering.quantized_params import SMALLEST_THRESHOLD, largest_magnitude, quantize_int8, range_end
from mxquant.plan import TensorPlan
from mxquant.runtime.mxnet import mx


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_codes_are_mxnets(scale: float) -> None:
    values = (np.random.RandomState(0).standard_normal((64, 512)) * scale).astype(np.float32)
    codes, low, high = quantize_int8(values)
    reach = mx.nd.array([np.abs(values).max()])
    expected = mx.nd.contrib.quantize(mx.nd.array(values), -reach, reach, out_type="int8")
    np.testing.assert_array_equal(codes, expected[0].asnumpy())
    assert [each.dtype for each in (codes, low, high)] == [each.dtype for each in expected]


def test_mxnet_dequantizes_them_to_within_half_a_step() -> None:
    values = np.random.RandomState(0).standard_normal((64, 512)).astype(np.float32)
    codes, low, high = quantize_int8(values)
    back = mx.nd.contrib.dequantize(mx.nd.array(codes, dtype=np.int8), mx.nd.array(low), mx.nd.array(high))
    step = np.abs(values).max() / 127
    assert np.abs(back.asnumpy() - values).max() <= step / 2 * 1.0001


def test_the_largest_magnitude_becomes_127() -> None:
    codes, low, high = quantize_int8(np.array([-2.0, 1.0, 0.0], np.float32))
    assert codes.tolist() == [-127, 64, 0]
    assert (low.tolist(), high.tolist()) == ([-np.float32(2 * 127.5 / 127)], [np.float32(2 * 127.5 / 127)])
    assert largest_magnitude(np.array([-2.0, 1.0])) == 2.0


def test_fewer_codes_end_where_they_are_told_to() -> None:
    codes, _, high = quantize_int8(np.array([-2.0, 1.0, 0.0], np.float32), 64)
    assert codes.tolist() == [-64, 32, 0]
    assert high[0] == np.float32(2 * 127.5 / 64)


@pytest.mark.parametrize("shape", [(3,), (0,)])
def test_zeros_have_a_range_that_divides(shape: tuple) -> None:
    codes, _, high = quantize_int8(np.zeros(shape, np.float32))
    assert not codes.any()
    assert high[0] == pytest.approx(SMALLEST_THRESHOLD, rel=0.01)
    assert np.isfinite(127 / high[0])


@pytest.mark.parametrize(("dtype", "threshold", "codes"), [("uint8", 88.42093658447266, 150), ("int8", 1.0, 127)])
def test_mxnet_reads_the_range_that_the_simulation_computes_with(dtype: str, threshold: float, codes: int) -> None:
    # The first range ends between two float32 numbers, so near the middle that rounding its digits is not rounding it.
    plan = TensorPlan("x", dtype, threshold, "mse", "", codes=codes)
    end = range_end(plan)
    low = 0.0 if dtype == "uint8" else -end
    attrs = {"min_calib_range": f"{low:.9g}", "max_calib_range": f"{end:.9g}", "out_type": dtype}
    read = mx.nd.contrib.quantize_v2(mx.nd.zeros((1,)), **attrs)[2].asscalar()
    assert read == end == np.float32(plan.scale * (255.5 if dtype == "uint8" else 127.5))
