"""A convolution or FullyConnected of the simulation: its weights and bias in units of its result, and their scales.

See :mod:`mxquant.lowering.simulate` for the arithmetic that they are part of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Tuple

import numpy as np

from mxquant.lowering.cudnn import CuDNN, bias_on_gpu, weight_on_gpu
from mxquant.lowering.onednn import OneDNN
from mxquant.lowering.onnx_qdq import OnnxQDQ
from mxquant.lowering.quantized_params import (
    INT8_RANGE,
    SMALLEST_STEP,
    UINT8_RANGE,
    largest_magnitude,
    quantize_int8,
    range_end,
)
from mxquant.lowering.stored_weights import (
    EVEN,
    HALVED,
    NEARLY_EVEN,
    end_of_even,
    int8_weight,
    is_halved,
    is_symmetric,
    stored_weights,
    weight_sums,
)
from mxquant.lowering.zero_points import bias_shift
from mxquant.plan import LayerPlan, TensorPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LinearLayer", "end_on_gpu", "span_over_end"]


@dataclass(frozen=True)
class LinearLayer:
    """A convolution or FullyConnected of the simulation.

    Parameters
    ----------
    op : str
        Its operator.
    plan : LayerPlan
        Its plan.
    data, result : TensorPlan or None
        Plans of what it reads, and of what it makes with all that is fused into it.
    in_codes : bool
        Whether what is fused into it is computed in codes of the result, rather than in real values.
    exact_weights : bool
        Whether weights and bias are left as they are.
    target : str
        Name of the target. By oneDNN the bias of a FullyConnected with one weight scale is int8, and that of a
        convolution is rounded before its weights are halved; in ONNX zero points are not part of the bias.
    halves : bool
        Whether the CPU that the plan is for halves weights. Of nearly even ones, the largest is then 128 steps; for a
        plan for all CPUs it is taken for the mean of what they make of it.
    """

    op: str
    plan: LayerPlan
    data: TensorPlan
    result: Optional[TensorPlan]
    in_codes: bool
    exact_weights: bool = False
    target: str = OneDNN.name
    halves: bool = False

    @property
    def data_scale(self) -> float:
        """The real value of one code of the data."""
        assert self.data.scale is not None
        return self.data.scale

    @property
    def result_shift(self) -> float:
        """What a zero point of the result takes from the simulated result: nothing in ONNX, where it is no bias."""
        if self.target == OnnxQDQ.name or self.result is None or self.result.scale is None:
            return 0.0
        return self.result.zero_point * self.result.scale

    def units(self, weight: NDArray[Any]) -> NDArray[np.float64]:
        """Return the real value, for each output channel, of one unit of its simulated result."""
        if self.target == CuDNN.name:
            return np.full(len(weight), self.data_scale * weight_on_gpu(self.op, weight)[1])
        if self.op == "FullyConnected":
            return np.ones(len(weight))
        steps = stored_weights(weight, self.plan.weight_codes or 127, self.plan.granularity)[1]
        return self.data_scale * np.maximum(steps, SMALLEST_STEP)

    def weight(self, weight: NDArray[Any]) -> NDArray[np.float64]:
        """Return the real values that the int8 operator computes with, in the shape of `weight`."""
        return int8_weight(self.op, weight, self.plan, is_symmetric(self.target))

    def simulated(
        self, weight: NDArray[Any], bias: Optional[NDArray[Any]]
    ) -> Tuple[NDArray[Any], Optional[NDArray[Any]]]:
        """Return weight and bias as the simulated operator takes them, in units of its result."""
        if self.exact_weights:
            units = self.units(weight)
            shares = (self.data_scale / units).reshape((-1,) + (1,) * (weight.ndim - 1))
            return weight * shares, None if bias is None else (bias + self.result_shift) / units
        if self.target == CuDNN.name:
            return self._simulated_on_gpu(weight, bias)
        if self.op == "FullyConnected":
            if bias is not None and self.target == OneDNN.name and self.plan.granularity == "tensor-wise":
                bias = quantize_int8(bias)[0] * np.float64(largest_magnitude(bias) / 127)
            elif bias is not None and self.target == OnnxQDQ.name:
                steps = stored_weights(weight, self.plan.weight_codes or 127, self.plan.granularity, symmetric=True)[1]
                unit = self.data_scale * np.maximum(steps, SMALLEST_STEP)
                bias = np.rint(bias / unit) * unit
            return self.weight(weight) * self.data_scale, bias
        codes, symmetric = self.plan.weight_codes or 127, is_symmetric(self.target)
        planned, steps = stored_weights(weight, codes, self.plan.granularity, symmetric)
        stored = planned
        if codes == NEARLY_EVEN and self.halves:
            stored = stored_weights(weight, HALVED, self.plan.granularity)[0]
        if bias is None:
            return stored, None
        of_both = bias_shift(weight_sums(planned, steps), self.data, self.result)
        # Data with a zero point are simulated without: the sum of weights goes again.
        of_data = bias_shift(weight_sums(stored, steps), self.data, None)
        if self.target == OnnxQDQ.name:
            return stored, self._whole(weight, bias)
        whole = self._whole(weight, bias if of_both is None else bias + of_both)
        return stored, whole if of_data is None else whole - of_data / self.units(weight)

    def _simulated_on_gpu(
        self, weight: NDArray[Any], bias: Optional[NDArray[Any]]
    ) -> Tuple[NDArray[Any], Optional[NDArray[Any]]]:
        stored, step = weight_on_gpu(self.op, weight)
        if bias is None:
            return stored, None
        unit, sums = self.data_scale * step, weight_sums(stored, np.full(len(weight), step))
        of_data, of_both = (bias_shift(sums, self.data, result) for result in (None, self.result))
        whole = bias_on_gpu(bias, of_both, unit)
        return stored, whole if of_data is None else whole - np.rint(of_data / unit)

    def _whole(self, weight: NDArray[Any], bias: NDArray[Any]) -> NDArray[np.float64]:
        """Return a convolution's bias rounded to int32, in units of its sums."""
        codes = bias.astype(np.float32) * (self.weight_scales(weight) * span_over_end(self.data))
        halving = 2 if is_halved(self.plan.weight_codes) else 1
        return np.rint(codes) / halving if self.target == OneDNN.name else np.rint(codes / halving)

    def scales(self, weight: NDArray[Any]) -> NDArray[np.float32]:
        """Return the factors of a convolution's sums, shape (O,), by the float32 divisions that MXNet makes."""
        if not self.in_codes:
            return self.units(weight).astype(np.float32)
        assert self.result is not None
        scales = span_over_end(self.result) / span_over_end(self.data) / self.weight_scales(weight)
        return scales * np.float32(2 if is_halved(self.plan.weight_codes) else 1)

    def unit_on_gpu(self, weight: NDArray[Any]) -> np.float32:
        """Return the real value of one unit of the sums, by the float32 operations of MXNet where codes are made."""
        assert self.data is not None
        step = weight_on_gpu(self.op, weight)[1]
        if self.result is None or self.result.scale is None:
            return np.float32(self.data_scale * step)
        one = np.float32(127)
        unit: np.float32 = (end_on_gpu(self.data) / one) * (np.float32(step * 127) / one)
        return unit

    def weight_scales(self, weight: NDArray[Any]) -> NDArray[np.float32]:
        """Return codes per real value of a convolution's weights, shape (O,), in float32 as MXNet computes them."""
        rows = weight.reshape(len(weight) if self.plan.granularity == "channel-wise" else 1, -1)
        ends = end_of_even(rows) if self.plan.weight_codes == EVEN else np.abs(rows).max(axis=1).astype(np.float32)
        largest = np.maximum(ends, np.float32(SMALLEST_STEP * INT8_RANGE))
        return np.broadcast_to(np.float32(INT8_RANGE) / largest, (len(weight),))


def span_over_end(plan: TensorPlan) -> np.float32:
    """Return codes per real value, in float32 as MXNet computes them from the range."""
    return np.float32(UINT8_RANGE if plan.dtype == "uint8" else INT8_RANGE) / np.float32(range_end(plan))


def end_on_gpu(plan: TensorPlan) -> np.float32:
    """Return the end of a range on a GPU, the code 127, as it is written into the graph."""
    assert plan.scale is not None
    return np.float32(f"{127 * plan.scale:.9g}")
