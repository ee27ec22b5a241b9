"""The integer arithmetic of a plan in float32 operators: what an int8 CPU or GPU will compute, on any device.

Tensors that the plan stores as int8 hold whole numbers, their codes. A convolution of codes with codes of weights is
exact in float32 up to 2²⁴. Its sums are brought to the codes of the result as oneDNN does it, by one multiplication per
output channel, then clipped, and rounded to nearest. Halves go to even, by adding and taking away 1.5 · 2²³::

    q_y = round(clip((Σ q_w q_x + q_b) · (s_x s_w / s_y) [+ q_sum · s_sum / s_y], low, high))

On GPUs sums, with their bias, are first brought to real values, then to codes, and halves go away from 0: the same
operations in float32 in the same order, since a code that falls to the other side of a half moves others further on.

FullyConnected, elemwise_mul, BatchNorm and Embedding are computed on real values, which may differ from oneDNN's in
the last digits. Not simulated: saturation of sums, where a plan for 'vnni' is run on a CPU without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Tuple

import numpy as np

from mxquant.errors import PlanError
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_tuple
from mxquant.graph.kinds import LINEAR
from mxquant.lowering import emulated_recurrent
from mxquant.lowering.cudnn import CuDNN
from mxquant.lowering.isa import PORTABLE, saturates
from mxquant.lowering.linear_layer import LinearLayer, end_on_gpu, span_over_end
from mxquant.lowering.moves import MOVES
from mxquant.lowering.onednn import OneDNN
from mxquant.lowering.onnx_qdq import OnnxQDQ
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.quantized_params import (
    largest_magnitude,
    quantize_int8,
)
from mxquant.lowering.recurrent import AddRecurrent, recurrent_plan
from mxquant.lowering.trial import lstm_failure
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SIMULATE", "simulate", "simulate_layers"]

SIMULATE = "simulate"
_ROUNDER = 1.5 * 2**23


def simulate(network: Network, plan: QuantPlan, exact_weights: bool = False) -> Network:
    """Return a float32 network that computes what the int8 network of a plan computes.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A calibrated plan for it.
    exact_weights : bool
        Whether to round activations only.

    Returns
    -------
    Network
        Its operators are those of `network`, by the same names, and elementwise ones between them.

    Raises
    ------
    PlanError
        If the plan is not calibrated, or does not fit the network.
    """
    return simulate_layers(network, plan, exact_weights)[0]


def simulate_layers(
    network: Network, plan: QuantPlan, exact_weights: bool = False
) -> Tuple[Network, Mapping[str, LinearLayer]]:
    """Do what :func:`simulate` does; return also its convolutions and FullyConnected layers by name."""
    if plan.settings.get("method") == "none":
        raise PlanError("the plan is not calibrated; only a plan with thresholds can be simulated")
    network = network if exact_weights else planned_weights(network, plan)
    simulation = _Simulation(network.copy(), plan, exact_weights)
    return simulation.run(), simulation.linear


class _Simulation:
    def __init__(self, network: Network, plan: QuantPlan, exact_weights: bool) -> None:
        self.exact_weights, self.on_gpu = exact_weights, plan.target == CuDNN.name
        self.graph, self.params, self.plan = network.graph, dict(network.params), plan
        self.layers = {name: layer for layer in plan.layers.values() for name in layer.contains}
        self.nodes: List[Node] = []
        self.linear: Dict[str, LinearLayer] = {}
        # Tensors of the network as codes, as real values, and inside a layer as multiples of the codes of its result.
        self.codes: Dict[Tensor, Tensor] = {}
        self.reals: Dict[Tensor, Tensor] = {}
        self.inside: Dict[Tensor, Tensor] = {}
        self.results: Dict[str, TensorPlan] = {}
        self.curved: Dict[str, bool] = {}
        self.uses = self.graph.uses()
        for node in self.graph.operators:
            layer = self._int8_layer(node)
            if layer is not None:
                self.curved[layer.name] = self.curved.get(layer.name, False) or _is_curved(node, layer)
                if self._stored(node.output) is not None:
                    self.results[layer.name] = self.plan.tensors[node.output.name]

    def run(self) -> Network:
        for node in self.graph.nodes:
            layer = self._int8_layer(node)
            if layer is None:
                self._float_node(node)
            else:
                self._int8_node(node, layer)
        self.graph.outputs = [self._real(tensor) for tensor in self.graph.outputs]
        self.graph.nodes = self.nodes
        self.graph.prune()
        self.graph.verify()
        used = {node.name for node in self.graph.variables}
        return Network(self.graph, {name: value for name, value in self.params.items() if name in used})

    def _int8_layer(self, node: Node) -> Optional[LayerPlan]:
        if node.is_variable:
            return None
        layer = self.layers.get(node.layers[0])
        if layer is None:
            raise PlanError(f"layers['{node.layers[0]}'] is missing; the network computes it as a layer of its own")
        return layer if layer.precision == "int8" else None

    def _stored(self, tensor: Tensor) -> Optional[TensorPlan]:
        """Return the plan of a tensor that exists as codes."""
        plan = self.plan.tensors.get(tensor.name)
        return plan if plan is not None and plan.threshold is not None else None

    def _float_node(self, node: Node) -> None:
        node.inputs = [self._real(tensor) for tensor in node.inputs]
        self.nodes.append(node)

    def _real(self, tensor: Tensor) -> Tensor:
        """Return a tensor as real values."""
        if tensor not in self.codes or self._int8_layer(tensor.node) is None:
            return self.inside.get(tensor, tensor)
        if tensor not in self.reals:
            plan = self.plan.tensors[tensor.name]
            scale = end_on_gpu(plan) / np.float32(127) if self.on_gpu else plan.scale
            self.reals[tensor] = self._op("_mul_scalar", f"{tensor.name}_real", [self.codes[tensor]], scalar=scale)
        return self.reals[tensor]

    def _coded(self, tensor: Tensor) -> Tensor:
        """Return a tensor as codes."""
        plan = self.plan.tensors[tensor.name]
        if tensor in self.codes:
            return self.codes[tensor]
        value = self.params.get(tensor.node.name) if tensor.node.is_variable else None
        if value is not None:
            self.codes[tensor] = self.add_parameter(f"{tensor.name}_codes", quantize_int8(value)[0])
            return self.codes[tensor]
        if self.on_gpu:
            self.codes[tensor] = self._rounded_on_gpu(tensor, plan, tensor.name)
            return self.codes[tensor]
        real = self.inside.get(tensor, tensor)
        source = self._op("_mul_scalar", f"{tensor.name}_scaled", [real], scalar=span_over_end(plan))
        self.codes[tensor] = self._rounded(source, plan, tensor.name)
        return self.codes[tensor]

    def _rounded(self, source: Tensor, plan: TensorPlan, name: str, with_zero_point: bool = False) -> Tensor:
        """Return a tensor in units of its codes as codes; `with_zero_point` says whether it is counted from code 0."""
        low, high = (end + (plan.zero_point if with_zero_point else 0) for end in plan.ends)
        clipped = self._op("clip", f"{name}_clipped", [source], a_min=low, a_max=high)
        raised = self._op("_plus_scalar", f"{name}_raised", [clipped], scalar=_ROUNDER)
        rounded = self._op("_minus_scalar", f"{name}_codes", [raised], scalar=_ROUNDER)
        return self._from_zero(rounded, plan, name) if with_zero_point else rounded

    def _rounded_on_gpu(self, real: Tensor, plan: TensorPlan, name: str) -> Tensor:
        """Return real values as codes, by sign(x) · trunc(min(|x| · 127 / end + 0.5, 127))."""
        magnitude = self._op("abs", f"{name}_magnitude", [real])
        scaled = self._op("_mul_scalar", f"{name}_scaled", [magnitude], scalar=np.float32(127) / end_on_gpu(plan))
        raised = self._op("_plus_scalar", f"{name}_raised", [scaled], scalar=0.5)
        whole = self._op("trunc", f"{name}_whole", [self._op("_minimum_scalar", f"{name}_ended", [raised], scalar=127)])
        sign = self._op("sign", f"{name}_sign", [real])
        return self._from_zero(self._op("elemwise_mul", f"{name}_codes", [whole, sign]), plan, name)

    def _from_zero(self, codes: Tensor, plan: TensorPlan, name: str) -> Tensor:
        """Return codes less the zero point."""
        if not plan.zero_point:
            return codes
        return self._op("_minus_scalar", f"{name}_from_zero", [codes], scalar=plan.zero_point)

    def _int8_node(self, node: Node, layer: LayerPlan) -> None:
        main = node.layers[0] == layer.name
        if node.op == "RNN":
            self._recurrent(node, layer)
        elif node.op in LINEAR and main:
            self._linear(node, layer)
        elif not main:
            self._fused(node, layer)
        elif node.op in ("Pooling", "Flatten", "flatten", "Activation") or node.op in MOVES:
            self._inherited(node)
        elif node.op == "elemwise_add" and len(layer.contains) > 1:
            self._sum(node, layer)
        elif node.op in ("Concat", "concat", "elemwise_add"):
            plan = self.plan.tensors[node.output.name]
            node.inputs = [self._summand(node, tensor, plan) for tensor in node.inputs]
            self.nodes.append(node)
            self.codes[node.output] = self._rounded(node.output, plan, node.output.name)
        else:
            self._on_reals(node, layer)

    def _recurrent(self, node: Node, layer: LayerPlan) -> None:
        """Run an LSTM by the int8 operator itself, which computes the same on every CPU that has it; or emulate it."""
        if self.exact_weights:
            self._float_node(node)
            return
        reals = [self._real(tensor) for tensor in node.inputs]
        read = [tensor for tensor in self.uses if tensor.node is node]
        if lstm_failure() is not None:
            attrs = emulated_recurrent.attributes(node, recurrent_plan(layer))
            made = self.add("Custom", f"{node.name}_int8", attrs, reals, 3)
            self.inside.update((tensor, Tensor(made, tensor.index)) for tensor in read)
            self.reals[node.output] = self.inside.get(node.output, node.output)
            return
        add = AddRecurrent(self, f"{node.name}_int8", node.name, node, recurrent_plan(layer))
        self.inside.update(add(reals, self.params[node.inputs[1].node.name], read))
        # Float32 layers read what was not rounded.
        self.reals[node.output] = self.inside.get(node.output, node.output)

    def _linear(self, node: Node, layer: LayerPlan) -> None:
        result = self.results.get(layer.name)
        data = self.plan.tensors[node.inputs[0].name]
        in_codes = self._is_in_codes(layer)
        halves = self.plan.isa is not None and self.plan.isa != PORTABLE and saturates(self.plan.isa)
        linear = LinearLayer(node.op, layer, data, result, in_codes, self.exact_weights, self.plan.target, halves)
        self.linear[node.name] = linear
        names = [tensor.node.name for tensor in node.inputs[1:]]
        values = [self.params[name] for name in names]
        simulated = linear.simulated(values[0], values[1] if len(values) > 1 else None)
        node.inputs[0] = self._coded(node.inputs[0])
        for slot, value in enumerate(simulated[: len(names)], start=1):
            assert value is not None
            node.inputs[slot] = self.add_parameter(f"{node.name}_{names[slot - 1]}_int8", value)
        self.nodes.append(node)
        tensor = node.output
        if self.on_gpu:
            tensor = self._op("_mul_scalar", f"{node.name}_result", [tensor], scalar=linear.unit_on_gpu(values[0]))
        elif node.op == "Convolution":
            shape = (1, -1) + (1,) * len(read_tuple(node, "kernel"))
            scales = self.add_parameter(f"{node.name}_scale", linear.scales(values[0]).reshape(shape))
            tensor = self._op("broadcast_mul", f"{node.name}_result", [tensor, scales])
        elif self._is_in_codes(layer):
            assert result is not None and result.scale is not None
            tensor = self._op("_mul_scalar", f"{node.name}_result", [tensor], scalar=1 / result.scale)
        self.inside[node.output] = tensor
        self._finish(node, layer)

    def _sum(self, node: Node, layer: LayerPlan) -> None:
        """Compute an addition whose activation is part of the same layer."""
        result = self.results[layer.name]
        if self._is_in_codes(layer):
            node.inputs = [self._in_codes_of(tensor, result) for tensor in node.inputs]
        else:
            node.inputs = [self._rounded_real(tensor, f"{node.name}_{slot}") for slot, tensor in enumerate(node.inputs)]
        self.nodes.append(node)
        self.inside[node.output] = node.output
        self._finish(node, layer)

    def _rounded_real(self, tensor: Tensor, name: str) -> Tensor:
        """Return the real values of a tensor's codes."""
        return self._op("_mul_scalar", name, [self._coded(tensor)], scalar=self._scale(tensor))

    def _is_in_codes(self, layer: LayerPlan) -> bool:
        """Whether the inside of a layer is computed in codes of its result: it has any, and no curved activation."""
        return layer.name in self.results and not self.curved[layer.name]

    def _fused(self, node: Node, layer: LayerPlan) -> None:
        """Compute an addition or activation inside a layer."""
        result = self.results.get(layer.name)
        inputs = []
        for tensor in node.inputs:
            if self._int8_layer(tensor.node) is layer:
                inputs.append(self.inside[tensor])
            elif result is not None and self._is_in_codes(layer):
                inputs.append(self._in_codes_of(tensor, result))
            else:
                inputs.append(self._rounded_real(tensor, f"{node.name}_sum"))
        by_bias = result is not None and bool(result.zero_point) and self.plan.target != OnnxQDQ.name
        if self._is_in_codes(layer) and (node.op == "clip" or by_bias):
            # The ends of the codes are those of the clip, or of the ReLU and the range; int8 codes may go below 0.
            signed = result is not None and result.dtype == "int8" and not result.begins_at_zero
            self.inside[node.output] = self._op("relu", f"{node.name}_of_codes", inputs) if signed else inputs[0]
        else:
            node.inputs = inputs
            self.nodes.append(node)
            self.inside[node.output] = node.output
        self._finish(node, layer)

    def _finish(self, node: Node, layer: LayerPlan) -> None:
        """Round the result of a layer, where `node` is its last."""
        plan = self._stored(node.output)
        if plan is None or plan is not self.results.get(layer.name):
            return
        source = self.inside[node.output]
        if self.on_gpu:
            self.codes[node.output] = self._rounded_on_gpu(source, plan, node.output.name)
            return
        if not self._is_in_codes(layer):
            source = self._op(
                "_mul_scalar", f"{node.output.name}_scaled", [source], scalar=1 / self._scale(node.output)
            )
        # In ONNX alone is a zero point no part of the bias.
        with_zero_point = bool(plan.zero_point) and self.plan.target != OnnxQDQ.name
        self.codes[node.output] = self._rounded(source, plan, node.output.name, with_zero_point)

    def _scale(self, tensor: Tensor) -> float:
        scale = self.plan.tensors[tensor.name].scale
        assert scale is not None
        return scale

    def _in_codes_of(self, tensor: Tensor, plan: TensorPlan) -> Tensor:
        """Return a tensor in units of another tensor's codes."""
        codes = self._coded(tensor)
        assert plan.scale is not None
        if self._scale(tensor) == plan.scale:
            return codes
        name = f"{tensor.name}_in_codes_of_{plan.name}"
        return self._op("_mul_scalar", name, [codes], scalar=np.float32(self._scale(tensor) / plan.scale))

    def _summand(self, node: Node, tensor: Tensor, plan: TensorPlan) -> Tensor:
        """Return a part of a Concat or addition in units of the result's codes.

        oneDNN adds uint8 to int8 after it has made it int8, in the range of the result.
        """
        source = self._in_codes_of(tensor, plan)
        if node.op != "elemwise_add" or self.plan.target != OneDNN.name:
            return source
        mixed = len({self.plan.tensors[each.name].dtype for each in node.inputs}) > 1
        if not mixed or self.plan.tensors[tensor.name].dtype != "uint8":
            return source
        return self._rounded(source, plan, f"{node.name}_{tensor.name}_int8")

    def _inherited(self, node: Node) -> None:
        node.inputs = [self._coded(tensor) for tensor in node.inputs]
        self.nodes.append(node)
        averages = node.op == "Pooling" and node.attrs.get("pool_type") == "avg"
        plan = self.plan.tensors[node.output.name]
        self.codes[node.output] = self._rounded(node.output, plan, node.output.name) if averages else node.output

    def _on_reals(self, node: Node, layer: LayerPlan) -> None:
        """Compute elemwise_mul, BatchNorm or Embedding on real values that were rounded."""
        for slot, tensor in enumerate(node.inputs):
            if tensor.node.is_variable and tensor.node.name in self.params and tensor.name in self.plan.tensors:
                value = self.params[tensor.node.name]
                rounded = quantize_int8(value)[0] * np.float32(largest_magnitude(value) / 127)
                node.inputs[slot] = self.add_parameter(f"{node.name}_{tensor.name}_int8", rounded)
            elif self._stored(tensor) is not None:
                node.inputs[slot] = self._rounded_real(tensor, f"{node.name}_{slot}")
        if node.op == "Embedding":
            value = self.params[node.inputs[1].node.name]
            rounded = quantize_int8(value)[0] * np.float32(largest_magnitude(value) / 127)
            node.inputs[1] = self.add_parameter(f"{node.name}_rows_int8", rounded)
        self.nodes.append(node)
        self.inside[node.output] = node.output
        plan = self._stored(node.output)
        if plan is not None:
            source = self._op("_mul_scalar", f"{node.name}_scaled", [node.output], scalar=1 / self._scale(node.output))
            self.codes[node.output] = self._rounded(source, plan, node.output.name)
            if node.op == "elemwise_mul":
                # A node of its own makes the codes, so that float32 layers read what was not rounded.
                self.reals[node.output] = node.output

    def _op(self, op: str, name: str, inputs: List[Tensor], **attrs: Any) -> Tensor:
        return self.add(op, name, {key: f"{value:.9g}" for key, value in attrs.items()}, inputs, 1).output

    def add(self, op: str, name: str, attrs: Mapping[str, str], inputs: Iterable[Tensor], num_outputs: int) -> Node:
        """Append a node."""
        node = Node(op, name, dict(attrs), list(inputs), num_outputs)
        self.nodes.append(node)
        return node

    def add_parameter(self, name: str, value: NDArray[Any]) -> Tensor:
        """Append a variable with a value."""
        self.params[name] = value.astype(np.float32)
        variable = Node("null", name)
        self.nodes.append(variable)
        return variable.output


def _is_curved(node: Node, layer: LayerPlan) -> bool:
    """Whether an activation needs real values: any but ReLU, and but a clip that is left to the ends of the codes."""
    if node.op == "Activation":
        return node.attrs.get("act_type") != "relu"
    return node.op not in ("elemwise_add", *LINEAR) and (node.op != "clip" or layer.op != "Convolution")
