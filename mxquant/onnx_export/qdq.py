"""A network as ONNX with QuantizeLinear and DequantizeLinear as a plan says.

A tensor that the plan stores as int8 becomes ``X_float -> QuantizeLinear -> X_quantized -> DequantizeLinear -> X``, and
all that read it read X. A float32 tensor that int8 layers read stays X, and they read ``X_dequantized``.

Tensors are uint8, signed ones with the zero point of the plan plus 128, as ONNX Runtime and OpenVINO are fastest with;
in a plan with ``dtype='int8'`` they are int8 without zero points, as TensorRT needs it. Weights are int8 with one scale
per output channel, biases int32 with the product of both scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool
from mxquant.graph.kinds import LINEAR
from mxquant.lowering.onnx_qdq import OnnxQDQ
from mxquant.lowering.planned import data_plan, planned, result_plan
from mxquant.lowering.quantized_params import largest_magnitude, quantize_int8
from mxquant.lowering.stored_weights import stored_weights
from mxquant.lowering.target import Int8Operator
from mxquant.onnx_export.graph import Translation, outputs_of
from mxquant.onnx_export.layers import convolution_attributes, counts_padding, fully_connected, without_zero_edges
from mxquant.onnx_export.shapes import Shapes
from mxquant.onnx_export.writer import Call
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["qdq_model"]

# The largest code of a bias: far from the end of int32, since sums of products are added.
_LARGEST_BIAS = 2**30


def qdq_model(
    network: Network, plan: QuantPlan, shapes: Mapping[str, Tuple[int, ...]], metadata: Mapping[str, str]
) -> Any:
    """Return the ONNX model of a network with the int8 tensors of a plan; see :func:`float_model`.

    Parameters
    ----------
    network : Network
        The canonical network, with the weights that are to be rounded.
    plan : QuantPlan
        A plan for the target 'onnx_qdq'.
    shapes, metadata
        As for :func:`float_model`.

    Returns
    -------
    onnx.ModelProto
        The model.

    Raises
    ------
    PlanError
        If the plan does not fit the network.
    LoweringError
        If operators have no translation, naming all of them.
    """
    target = OnnxQDQ()
    return _Quantized(target.lower(network, plan), Shapes(network, shapes), plan=plan).model(metadata)


@dataclass
class _Quantized(Translation):
    """A network with the int8 tensors of a plan."""

    plan: QuantPlan = None  # type: ignore[assignment]
    dequantized: Dict[Tensor, str] = field(default_factory=dict)
    floats: Dict[Tensor, str] = field(default_factory=dict)
    padded: Dict[Tensor, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.int8 = planned(OnnxQDQ(), self.network, self.plan)
        self.symmetric = self.plan.settings.get("dtype") == "int8"

    def _node(self, node: Node) -> None:
        operator, layer = self.int8.get(node, (None, None))
        stored = self._stored(node)
        inputs = [self.name_of(tensor) for tensor in node.inputs]
        if operator is not None and layer is not None:
            for slot in operator.data:
                around_zero = counts_padding(node) and slot == 0
                read = self._around_zero if around_zero else self._int8
                inputs[slot] = read(node.inputs[slot], operator, layer)
        elif node.op in (*LINEAR, "Deconvolution") and node.inputs[0] in self.dequantized:
            inputs[0] = self._for_float32(node.inputs[0], inputs[0])
        name = node.output.name
        made = self.writer.unused(f"{name}_float") if stored is not None else name
        outputs = [made, *(tensor.name for tensor in outputs_of(node)[1:])]
        if layer is not None and node.op in LINEAR:
            self._linear(node, layer, inputs[0], outputs)
        else:
            self.translate(node, inputs, outputs)
        self.names.update(zip(outputs_of(node), outputs))
        if stored is not None:
            self.floats[node.output] = made
            self.names[node.output] = self.dequantized[node.output] = self._pair(made, name, stored, name)

    def _stored(self, node: Node) -> Optional[TensorPlan]:
        """Return the plan of what an int8 node makes, if it is kept as int8."""
        if node not in self.int8:
            return None
        plan = result_plan(self.plan, node, self.int8[node][1])
        return plan if plan.dtype != "float32" else None

    def _int8(self, tensor: Tensor, operator: Int8Operator, layer: LayerPlan) -> str:
        """Return the name of a tensor after it was quantized and dequantized."""
        plan = data_plan(self.plan, tensor, operator, layer)
        if tensor not in self.dequantized:
            value = self.network.params.get(tensor.node.name) if tensor.node.is_variable else None
            name = self.writer.unused(f"{tensor.name}_dequantized")
            if value is not None:
                self._parameter(tensor.name, value, name)
            else:
                self._pair(self.names[tensor], tensor.name, plan, name)
            self.dequantized[tensor] = name
        return self.dequantized[tensor]

    def _for_float32(self, tensor: Tensor, name: str) -> str:
        """Return a name for what a layer in float32 reads, which ONNX Runtime must not make int8.

        It does so, weights and all, where one scale is before the layer and a QuantizeLinear behind it, but not with a
        scale for each place of an axis; they are all the same here.
        """
        plan, shape = self.plan.tensors[tensor.name], self.shapes.of(tensor)
        axis = next((axis for axis, length in enumerate(shape) if axis and length > 1), None)
        if name != tensor.name or axis is None:
            return name
        result = self.writer.unused(f"{tensor.name}_float32")
        point = self._zero_point(plan)
        ends = [
            self.writer.constant(f"{result}_scale", np.full(shape[axis], plan.scale, np.float32)),
            self.writer.constant(f"{result}_zero_point", np.full(shape[axis], point, point.dtype)),
        ]
        codes = f"{tensor.name}_quantized"
        return self.writer.emit("DequantizeLinear", [codes, *ends], f"{result}_dequantize", [result], axis=axis)

    def _around_zero(self, tensor: Tensor, operator: Int8Operator, layer: LayerPlan) -> str:
        """Return what a pooling reads that counts its padding, with the code 0 for 0: OpenVINO pads with that code.

        It is made of the float32 tensor: a QuantizeLinear of what a DequantizeLinear returned it may not bear.
        """
        plan = data_plan(self.plan, tensor, operator, layer)
        if not self._zero_point(plan):
            return self._int8(tensor, operator, layer)
        if tensor not in self.padded:
            stem = self.writer.unused(f"{tensor.name}_padded")
            source = self.floats.get(tensor, self.names[tensor])
            self.padded[tensor] = self._pair(source, stem, plan, f"{stem}_dequantized", around_zero=True)
        return self.padded[tensor]

    def _pair(self, source: str, stem: str, plan: TensorPlan, result: str, around_zero: bool = False) -> str:
        """Write a QuantizeLinear and a DequantizeLinear; `around_zero`: with int8 codes of which 0 is 0."""
        assert plan.scale is not None
        scale, zero_point = plan.scale, self._zero_point(plan)
        if around_zero:
            scale, zero_point = scale * max(1.0, -plan.ends[0] / 128, plan.ends[1] / 127), np.asarray(0, np.int8)
        ends = [
            self.writer.constant(f"{stem}_scale", np.asarray(scale, np.float32)),
            self.writer.constant(f"{stem}_zero_point", zero_point),
        ]
        codes = f"{stem}_quantized"
        self.writer.emit("QuantizeLinear", [source, *ends], f"{stem}_quantize", [codes])
        return self.writer.emit("DequantizeLinear", [codes, *ends], f"{stem}_dequantize", [result])

    def _zero_point(self, plan: TensorPlan) -> NDArray[Any]:
        if plan.dtype == "uint8":
            return np.asarray(0, np.uint8)
        if self.symmetric:
            return np.asarray(plan.zero_point, np.int8)
        return np.asarray(128 + plan.zero_point, np.uint8)

    def _parameter(self, stem: str, value: NDArray[Any], result: str) -> None:
        """Write a parameter that is used like an activation."""
        codes = quantize_int8(value)[0]
        scale = self.writer.constant(f"{stem}_scale", np.asarray(largest_magnitude(value) / 127, np.float32))
        zero = np.asarray(0, np.int8) if self.symmetric else np.asarray(128, np.uint8)
        stored = self.writer.constant(f"{stem}_quantized", (codes.astype(np.int16) + zero).astype(zero.dtype))
        ends = [scale, self.writer.constant(f"{stem}_zero_point", zero)]
        self.writer.emit("DequantizeLinear", [stored, *ends], f"{stem}_dequantize", [result])

    def _linear(self, node: Node, layer: LayerPlan, data: str, outputs: List[str]) -> None:
        """Write a convolution or FullyConnected with int8 weights and an int32 bias."""
        main = node.subgraphs[0].operators[0] if node.subgraphs else node
        twin = Node(main.op, main.name, main.attrs, node.inputs)
        between = [self.writer.unused(f"{main.name}_output")] if node.subgraphs else outputs
        shapes = [self.shapes.of(tensor) for tensor in node.inputs]
        call = Call(self.writer, twin, [data], between, shapes, self.network.params)
        weight = self.network.params[node.inputs[1].node.name]
        bias = None
        if not read_bool(main, "no_bias", False):
            bias = self.network.params[node.inputs[2].node.name]
        scale = self.plan.tensors[node.inputs[0].name].scale
        assert scale is not None
        codes, steps = _codes(weight, bias, scale, layer)
        extra = [] if bias is None else [self._dequantized_bias(node.inputs[2].name, bias, scale * steps)]
        name = node.inputs[1].name
        if node.op == "Convolution":
            attrs = convolution_attributes(call)
            codes, pads = without_zero_edges(codes, attrs["pads"], attrs["dilations"])  # type: ignore[arg-type]
            attrs.update(pads=pads, kernel_shape=codes.shape[2:])
            stored = self._dequantized_weight(name, codes, steps, 0)
            call.emit("Conv", [data, stored, *extra], **attrs)
        else:
            flat = read_bool(main, "flatten", True)
            if flat and len(shapes[0]) > 2:
                data = self._flat(node, data)
            stored = self._dequantized_weight(name, codes if flat else codes.T, steps, 0 if flat else 1)
            fully_connected(call, data, stored, extra)
        if node.subgraphs:
            self.activate(node, between[0], outputs)

    def _flat(self, node: Node, data: str) -> str:
        """Flatten what a FullyConnected reads, as int8."""
        plan = self.plan.tensors[node.inputs[0].name]
        stem = self.writer.unused(f"{node.layers[0]}_flat")
        flat = self.writer.emit("Flatten", [data], f"{stem}_float")
        return self._pair(flat, stem, plan, f"{stem}_dequantized")

    def _dequantized_weight(self, name: str, codes: NDArray[Any], steps: NDArray[Any], axis: int) -> str:
        constant = self.writer.constant
        stored = constant(f"{name}_quantized", codes.astype(np.int8))
        ends = [
            constant(f"{name}_scale", steps.astype(np.float32)),
            constant(f"{name}_zero_point", np.zeros(len(steps), np.int8)),
        ]
        result = self.writer.unused(f"{name}_dequantized")
        return self.writer.emit("DequantizeLinear", [stored, *ends], f"{name}_dequantize", [result], axis=axis)

    def _dequantized_bias(self, name: str, bias: NDArray[Any], steps: NDArray[Any]) -> str:
        constant = self.writer.constant
        scales = steps.astype(np.float32)
        stored = constant(f"{name}_quantized", np.rint(bias / scales.astype(np.float64)).astype(np.int32))
        ends = [constant(f"{name}_scale", scales), constant(f"{name}_zero_point", np.zeros(len(steps), np.int32))]
        result = self.writer.unused(f"{name}_dequantized")
        return self.writer.emit("DequantizeLinear", [stored, *ends], f"{name}_dequantize", [result], axis=0)


def _codes(
    weight: NDArray[Any], bias: Optional[NDArray[Any]], scale: float, layer: LayerPlan
) -> Tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the codes of a weight and its steps, shape (O,), wide enough for the bias to fit into int32.

    Codes are symmetric: none is -128.
    """
    codes, steps = stored_weights(weight, layer.weight_codes or 127, layer.granularity, symmetric=True)
    least: Any = float(np.finfo(np.float32).tiny) / min(scale, 1.0) * 4
    if bias is not None:
        least = np.maximum(least, np.abs(bias).astype(np.float64) / (scale * _LARGEST_BIAS))
    wider = np.maximum(steps, least)
    narrow = wider > steps
    if narrow.any():
        shape = (-1,) + (1,) * (weight.ndim - 1)
        codes = np.where(narrow.reshape(shape), np.maximum(np.rint(weight / wider.reshape(shape)), -127), codes)
    return codes, wider
