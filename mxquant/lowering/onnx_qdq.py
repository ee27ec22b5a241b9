"""The ONNX target: fp32 operators with QuantizeLinear and DequantizeLinear where the plan has int8 tensors.

What runs the file fuses a DequantizeLinear, an operator and a QuantizeLinear into one int8 operator. ONNX Runtime,
OpenVINO and TensorRT agree on where they have to be:

* before and after a convolution or FullyConnected, with its activation inside; none before an activation;
* on both operands of an addition, and after its activation;
* before and after pooling, Flatten and Concat, with one scale.

Codes, scales and rounded weights are those of :mod:`mxquant.lowering.simulate`. The file itself is written by
:mod:`mxquant.onnx_export`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, ClassVar, Dict, FrozenSet, Mapping, Optional, Set, Tuple, Union

from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_bool, read_float, read_int
from mxquant.lowering import onnx_limits
from mxquant.lowering.activation_groups import activation_of, group_activations
from mxquant.lowering.capability import Capability, by_operator
from mxquant.lowering.onnx_capabilities import ONNX_QDQ
from mxquant.lowering.pairs import PairExcess
from mxquant.lowering.planned import planned
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.refusals import weight_refusal
from mxquant.lowering.target import Int8Operator, Target
from mxquant.plan import QuantPlan

__all__ = ["OnnxQDQ"]

_ROWS = by_operator(ONNX_QDQ)
_GROUPED = tuple(operator for operator, row in _ROWS.items() if row.fuses)

Answer = Union[Int8Operator, str]


@dataclass(frozen=True)
class OnnxQDQ(Target):
    """Int8 in whatever runs ONNX: ONNX Runtime, OpenVINO, TensorRT."""

    name: ClassVar[str] = "onnx_qdq"
    capabilities: ClassVar[Tuple[Capability, ...]] = ONNX_QDQ
    any_zero_point: ClassVar[bool] = True

    def prepare(self, network: Network, calibrated: bool, apart: FrozenSet[str]) -> Network:
        """Return `network` with activations joined to what they read; see :mod:`mxquant.lowering.activation_groups`."""
        return group_activations(network, apart, _GROUPED)

    def describe(self, network: Network, node: Node, calibrated: bool) -> Answer:
        """Return the int8 form of a node, or why there is none."""
        if not calibrated:
            return "QuantizeLinear needs a scale, which calibration gives"
        function = _OPERATORS.get(node.op)
        return function(network, node) if function else f"ONNX runtimes have no int8 {node.op}"

    def unavailable(self, operator: Int8Operator, isa: str) -> Optional[str]:
        """Return None: all that :meth:`describe` knows runs everywhere."""
        return None

    def safe_data_codes(self, network: Network, node: Node, isa: str, granularity: Optional[str] = None) -> int:
        """Return the largest safe uint8 code; see :func:`mxquant.lowering.onnx_limits.safe_data_codes`."""
        return onnx_limits.safe_data_codes(network, node, isa)

    def pair_excess(self, network: Network, node: Node, isa: str) -> Optional[PairExcess]:
        """Return which pairs limit the data; see :func:`mxquant.lowering.onnx_limits.pair_excess`."""
        return onnx_limits.pair_excess(network, node, isa)

    def weight_codes(self, network: Network, node: Node, dtype: str, granularity: str, isa: str) -> int:
        """Return the code of the largest weight; see :func:`mxquant.lowering.onnx_limits.weight_codes`."""
        return onnx_limits.weight_codes(network, node, dtype, isa)

    def not_worthwhile(
        self, network: Network, int8: Set[Node], sizes: Mapping[str, float], operations_per_byte: float
    ) -> Dict[Node, str]:
        """Return nothing: it is not known what runs the file."""
        return {}

    def observed(self, network: Network) -> FrozenSet[str]:
        """Return what int8 operators read and make, and what an activation that the planner keeps apart reads."""
        grouped = self.prepare(network, True, frozenset())
        made = {node.name: node.output.name for node in network.graph.operators}
        names: Set[str] = set()
        for node in grouped.graph.operators:
            operator = self.describe(grouped, node, True)
            if isinstance(operator, str):
                continue
            names.update(node.inputs[slot].name for slot in operator.data)
            if operator.output == "own" and not operator.float_output:
                names.add(node.output.name)
            if operator.bound is not None:
                names.add(made[node.name])
        return frozenset(names)

    def lower(self, network: Network, plan: QuantPlan) -> Network:
        """Return the grouped network with the weights of the plan; raise PlanError where the plan does not fit."""
        apart = frozenset(name for name, layer in plan.layers.items() if layer.op in ("clip", "Activation", "relu"))
        grouped = self.prepare(planned_weights(network, plan), True, apart)
        planned(self, grouped, plan)
        return grouped


def _convolution(network: Network, node: Node) -> Answer:
    refusal = weight_refusal(network, node)
    if refusal:
        return refusal
    layout = node.attrs.get("layout", "None")
    if layout not in ("None", "NCW", "NCHW", "NCDHW"):
        return f"ONNX's convolution is channel-first, this one has layout {layout}"
    return _linear(node)


def _fully_connected(network: Network, node: Node) -> Answer:
    return weight_refusal(network, node) or _linear(node)


def _linear(node: Node) -> Int8Operator:
    last = node.subgraphs[0].outputs[0].node if node.subgraphs else node
    kind = activation_of(last)
    with_bias = not read_bool(node, "no_bias", False)
    row = _ROWS[node.op]
    return row.operator(
        node,
        # A wider range would leave the clip between the layer and its QuantizeLinear, where nothing is fused.
        bound=read_float(last, "a_max", 0.0) if kind == "clip" else None,
        returns_zero_point=row.int8.returns_zero_point and with_bias and kind is not None,
    )


def _addition(network: Network, node: Node) -> Answer:
    if all(tensor.node.name in network.params for tensor in node.inputs):
        return "both operands are parameters"
    return _ROWS[node.op].operator(node)


def _pooling(network: Network, node: Node) -> Answer:
    kind = node.attrs.get("pool_type", "max")
    if kind not in ("max", "avg"):
        return f"int8 pooling is max or avg, this one is {kind}"
    return _ROWS[node.op].operator(node)


def _handed_on(network: Network, node: Node) -> Answer:
    return _ROWS[node.op].operator(node)


def _activation(network: Network, node: Node) -> Answer:
    if activation_of(node) != "relu":
        return f"int8 activations are ReLU, this one is {node.attrs.get('act_type', node.op)}"
    return _handed_on(network, node)


def _concat(network: Network, node: Node) -> Answer:
    if read_int(node, "dim", 1) <= 0:
        return f"int8 Concat needs a positive axis, this one has dim={node.attrs['dim']}"
    return _ROWS[node.op].operator(node, data=tuple(range(len(node.inputs))))


_OPERATORS: Dict[str, Callable[[Network, Node], Answer]] = {
    "Convolution": _convolution,
    "FullyConnected": _fully_connected,
    "elemwise_add": _addition,
    "Pooling": _pooling,
    "Flatten": _handed_on,
    "flatten": _handed_on,
    "Activation": _activation,
    "Concat": _concat,
    "concat": _concat,
}
