"""An ONNX graph from a network, in fp32 or with QuantizeLinear and DequantizeLinear as a plan says.

A tensor that the plan stores as int8 becomes ``X_float -> QuantizeLinear -> X_quantized -> DequantizeLinear -> X``, and
all that read it read X. A float32 tensor that int8 layers read stays X, and they read ``X_dequantized``.

Tensors are uint8, signed ones with the zero point 128, as ONNX Runtime and OpenVINO are fastest with; in a plan with
``dtype='int8'`` they are int8 without zero points, as TensorRT needs it. Weights are int8 with one scale per output
channel, biases int32 with the product of both scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from mxquant.errors import LoweringError, PlanError
from mxquant.export.layers import LAYERS, convolution_attributes, fully_connected, without_zero_edges
from mxquant.export.shapes import Shapes
from mxquant.export.tensors import TENSORS
from mxquant.export.writer import OPSET, Call, Writer
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool
from mxquant.lowering.onnx_qdq import OnnxQDQ, planned
from mxquant.lowering.quantized_params import largest_magnitude, quantize_int8
from mxquant.lowering.stored_weights import stored_weights
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OPERATORS", "float_model", "qdq_model"]

# The operators of MXNet that can be translated.
OPERATORS = {**TENSORS, **LAYERS}

_LINEAR = ("Convolution", "FullyConnected")
# The largest code of a bias: far from the end of int32, since sums of products are added.
_LARGEST_BIAS = 2**30


def float_model(network: Network, shapes: Mapping[str, Tuple[int, ...]], metadata: Mapping[str, str]) -> Any:
    """Return the ONNX model of a network in fp32.

    Parameters
    ----------
    network : Network
        A canonical network.
    shapes : mapping of str to tuple of int
        Shapes of its data inputs, the batch first.
    metadata : mapping of str to str
        Properties of the model.

    Returns
    -------
    onnx.ModelProto
        Checked, with shapes inferred; the batch is free unless the network fixes it.

    Raises
    ------
    LoweringError
        If operators have no translation, naming all of them.
    """
    return _Translation(network, Shapes(network, shapes)).model(metadata)


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
class _Translation:
    """A network in fp32."""

    network: Network
    shapes: Shapes
    writer: Writer = field(default_factory=Writer)
    names: Dict[Tensor, str] = field(default_factory=dict)

    def model(self, metadata: Mapping[str, str]) -> Any:
        """Return the checked model."""
        self._refuse_unknown()
        onnx, graph = self.writer.onnx, self.network.graph
        for node in graph.nodes:
            self.writer.taken.update(tensor.name for tensor in _outputs(node))
        for node in graph.nodes:
            if node.is_variable:
                self.names[node.output] = node.name
            else:
                self._node(node)
        outputs = [self._returned(tensor, index) for index, tensor in enumerate(graph.outputs)]
        nodes, needed = self.writer.used(outputs)
        constants = {**self.network.params, **self.writer.constants}
        value_info = onnx.helper.make_tensor_value_info
        proto = onnx.helper.make_graph(
            nodes,
            "mxquant",
            [
                value_info(node.name, onnx.TensorProto.FLOAT, self.shapes.symbolic(node.output))
                for node in self.network.inputs
                if node.name in needed
            ],
            [
                value_info(name, onnx.TensorProto.FLOAT, self.shapes.symbolic(tensor))
                for name, tensor in zip(outputs, graph.outputs)
            ],
            [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in needed],
        )
        model = onnx.helper.make_model(
            proto,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=8,
            producer_name="mxquant",
            producer_version=metadata.get("mxquant", ""),
        )
        onnx.helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)

    def _refuse_unknown(self) -> None:
        missing: Dict[str, str] = {}
        for node in self.network.graph.operators:
            for op in (node.op, *(inner.op for graph in node.subgraphs for inner in graph.operators)):
                if op not in OPERATORS:
                    missing.setdefault(op, node.layers[0])
        if missing:
            named = ", ".join(f"{op} (layer '{layer}')" for op, layer in sorted(missing.items()))
            raise LoweringError(f"no translation to ONNX for {named}")

    def _node(self, node: Node) -> None:
        names = [tensor.name for tensor in _outputs(node)]
        self._translate(node, [self._name(tensor) for tensor in node.inputs], names)
        self.names.update(zip(_outputs(node), names))

    def _name(self, tensor: Tensor) -> str:
        if tensor not in self.names:
            node = tensor.node
            raise LoweringError(f"layer '{node.name}' ({node.op}): output {tensor.index} has no translation to ONNX")
        return self.names[tensor]

    def _translate(self, node: Node, inputs: List[str], outputs: List[str]) -> None:
        """Write a node: its operator, or what a group computes."""
        shapes = [self.shapes.of(tensor) for tensor in node.inputs]
        if not node.subgraphs:
            OPERATORS[node.op](Call(self.writer, node, inputs, outputs, shapes, self.network.params))
            return
        main, activation = node.subgraphs[0].operators
        between = self.writer.unused(f"{main.name}_output")
        twin = Node(main.op, main.name, main.attrs, node.inputs)
        OPERATORS[main.op](Call(self.writer, twin, inputs, [between], shapes, self.network.params))
        shape = self.shapes.of(node.output)
        OPERATORS[activation.op](Call(self.writer, activation, [between], outputs, [shape], self.network.params))

    def _returned(self, tensor: Tensor, index: int) -> str:
        """Return the name of an output of the network, one for each."""
        name = self._name(tensor)
        if tensor.node.is_variable or tensor in self.network.graph.outputs[:index]:
            return self.writer.emit("Identity", [name], f"{name}_returned")
        return name


def _outputs(node: Node) -> List[Tensor]:
    """Return the outputs that a translation makes: all of a SliceChannel, of others the first; the rest are hidden."""
    return [Tensor(node, index) for index in range(node.num_outputs if node.op == "SliceChannel" else 1)]


@dataclass
class _Quantized(_Translation):
    """A network with the int8 tensors of a plan."""

    plan: QuantPlan = None  # type: ignore[assignment]
    dequantized: Dict[Tensor, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.int8 = planned(OnnxQDQ(), self.network, self.plan)
        self.symmetric = self.plan.settings.get("dtype") == "int8"

    def _node(self, node: Node) -> None:
        layer, stored = self.int8.get(node), self._stored(node)
        inputs = [self._name(tensor) for tensor in node.inputs]
        if layer is not None:
            operator = OnnxQDQ().describe(self.network, node, True)
            assert not isinstance(operator, str)
            for slot in operator.data:
                inputs[slot] = self._int8(node.inputs[slot], layer)
        elif node.op in (*_LINEAR, "Deconvolution") and node.inputs[0] in self.dequantized:
            inputs[0] = self._for_float32(node.inputs[0], inputs[0])
        name = node.output.name
        made = self.writer.unused(f"{name}_float") if stored is not None else name
        outputs = [made, *(tensor.name for tensor in _outputs(node)[1:])]
        if layer is not None and node.op in _LINEAR:
            self._linear(node, layer, inputs[0], outputs)
        else:
            self._translate(node, inputs, outputs)
        self.names.update(zip(_outputs(node), outputs))
        if stored is not None:
            self.names[node.output] = self.dequantized[node.output] = self._pair(made, name, stored, name)

    def _stored(self, node: Node) -> Optional[TensorPlan]:
        """Return the plan of what an int8 node makes, if it is kept as int8."""
        if node not in self.int8:
            return None
        plan = self.plan.tensors.get(node.output.name)
        if plan is None:
            raise PlanError(f"tensors['{node.output.name}'] is missing, but int8 layer '{node.layers[0]}' makes it")
        return plan if plan.dtype != "float32" else None

    def _int8(self, tensor: Tensor, layer: LayerPlan) -> str:
        """Return the name of a tensor after it was quantized and dequantized."""
        if tensor not in self.dequantized:
            plan = self.plan.tensors.get(tensor.name)
            if plan is None or plan.scale is None:
                raise PlanError(
                    f"tensors['{tensor.name}'].threshold is missing, but int8 layer '{layer.name}' reads it"
                )
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

    def _pair(self, source: str, stem: str, plan: TensorPlan, result: str) -> str:
        """Write a QuantizeLinear and a DequantizeLinear."""
        ends = [
            self.writer.constant(f"{stem}_scale", np.asarray(plan.scale, np.float32)),
            self.writer.constant(f"{stem}_zero_point", self._zero_point(plan)),
        ]
        codes = f"{stem}_quantized"
        self.writer.emit("QuantizeLinear", [source, *ends], f"{stem}_quantize", [codes])
        return self.writer.emit("DequantizeLinear", [codes, *ends], f"{stem}_dequantize", [result])

    def _zero_point(self, plan: TensorPlan) -> NDArray[Any]:
        if plan.dtype == "int8" and not plan.zero_point:
            return np.asarray(0, np.int8) if self.symmetric else np.asarray(128, np.uint8)
        return np.asarray(0, np.uint8)

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
            activation = node.subgraphs[0].operators[1]
            shape = self.shapes.of(node.output)
            OPERATORS[activation.op](Call(self.writer, activation, between, outputs, [shape], self.network.params))

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
    """Return the codes of a weight and its steps, shape (O,), wide enough for the bias to fit into int32."""
    codes, steps = stored_weights(weight, layer.weight_codes or 127, layer.granularity)
    least = np.finfo(np.float32).tiny / min(scale, 1.0) * 4
    if bias is not None:
        least = np.maximum(least, np.abs(bias).astype(np.float64) / (scale * _LARGEST_BIAS))
    wider = np.maximum(steps, least)
    narrow = wider > steps
    if narrow.any():
        shape = (-1,) + (1,) * (weight.ndim - 1)
        codes = np.where(narrow.reshape(shape), np.rint(weight / wider.reshape(shape)), codes)
    return codes, wider
