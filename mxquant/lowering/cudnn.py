"""The GPU target: MXNet's int8 operators for NVIDIA GPUs, by cuDNN and cuBLAS.

What they can do is in :mod:`mxquant.lowering.cudnn_capabilities`. A convolution or FullyConnected becomes::

    _contrib_quantized_conv           int32 sums of products, with their range
    broadcast_add                     the bias, as int32 in the unit of the sums
    _contrib_requantize               int8 codes, where int8 layers read them
    Cast, _mul_scalar                 or float32, where none does

MXNet's own bias is int8 with one scale for all channels: too coarse for folded BatchNorm, and no faster.

ReLU is done by requantization, whose codes end at -127, if all that read the result can take a zero point: 0 is stored
as -127, and the bias of the reader takes back what this adds (:mod:`mxquant.lowering.zero_points`). That gives 254
steps instead of 127. A reader that pads its data cannot take it; then ``relu`` works on the codes, one byte each.

On GPUs MXNet means by the end of a range the code 127, not 127.5 as on CPUs, and rounds halves away from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple, Union

import numpy as np

from mxquant.errors import PlanError
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool, read_float, read_int, read_tuple
from mxquant.graph.kinds import LINEAR
from mxquant.lowering.activation_groups import activation_of, group_activations
from mxquant.lowering.capability import Capability, by_operator
from mxquant.lowering.cudnn_capabilities import CUDNN
from mxquant.lowering.cudnn_cost import not_worthwhile
from mxquant.lowering.int8_graph import Codes, Int8Graph
from mxquant.lowering.pairs import PairExcess
from mxquant.lowering.planned import data_plan, is_calibrated, planned, result_plan
from mxquant.lowering.quantized_params import quantize_int8
from mxquant.lowering.refusals import weight_refusal
from mxquant.lowering.stored_weights import stored_weights, weight_sums
from mxquant.lowering.target import Int8Operator, Target
from mxquant.lowering.whole_recurrent import join_recurrent
from mxquant.lowering.zero_points import bias_shift
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CuDNN", "bias_on_gpu", "weight_on_gpu"]

_ROWS = by_operator(CUDNN)
# Far enough from the end of int32 that sums of products can be added.
_LARGEST_BIAS = 3 * 2**29
# Below this, products of scales may leave the range of float32.
_SMALLEST_WEIGHT = 1e-20

Answer = Union[Int8Operator, str]


@dataclass(frozen=True)
class CuDNN(Target):
    """Int8 on NVIDIA GPUs through MXNet's cuDNN operators."""

    name: ClassVar[str] = "cudnn"
    capabilities: ClassVar[Tuple[Capability, ...]] = CUDNN
    on_cpu: ClassVar[bool] = False
    has_uint8: ClassVar[bool] = False
    zero_point: ClassVar[int] = -127

    def prepare(self, network: Network, calibrated: bool, apart: FrozenSet[str]) -> Network:
        """Return `network` with activations joined to what they read, and LSTM layers to one another."""
        return group_activations(join_recurrent(network), apart, LINEAR)

    def describe(self, network: Network, node: Node, calibrated: bool) -> Answer:
        """Return the int8 form of a node, or why there is none."""
        if not calibrated:
            return "int8 on GPUs needs calibration"
        function = _OPERATORS.get(node.op)
        return function(network, node) if function else f"MXNet has no int8 {node.op} for GPUs"

    def unavailable(self, operator: Int8Operator, isa: str) -> Optional[str]:
        """Return None: all that :meth:`describe` knows runs everywhere."""
        return None

    def safe_data_codes(self, network: Network, node: Node, isa: str, granularity: Optional[str] = None) -> int:
        """Return 255: GPUs add products in int32."""
        return 255

    def pair_excess(self, network: Network, node: Node, isa: str) -> Optional[PairExcess]:
        """Return None: GPUs add products in int32."""
        return None

    def weight_codes(self, network: Network, node: Node, dtype: str, granularity: str, isa: str) -> int:
        """Return 127: GPUs add products in int32."""
        return 127

    def not_worthwhile(
        self, network: Network, int8: Set[Node], sizes: Mapping[str, float], operations_per_byte: float
    ) -> Dict[Node, str]:
        """Return the layers that int8 makes slower, and why; see :mod:`mxquant.lowering.cudnn_cost`."""
        return not_worthwhile(network, int8, sizes, operations_per_byte)

    def observed(self, network: Network) -> FrozenSet[str]:
        """Return what int8 operators read and make."""
        grouped = self.prepare(network, True, frozenset())
        names: Set[str] = set()
        for node in grouped.graph.operators:
            operator = self.describe(grouped, node, True)
            if not isinstance(operator, str):
                names.update(node.inputs[slot].name for slot in operator.data)
                names.add(node.output.name)
        return frozenset(names)

    def lower(self, network: Network, plan: QuantPlan) -> Network:
        """Return the int8 network.

        Parameters
        ----------
        network : Network
            The canonical fp32 network.
        plan : QuantPlan
            A plan for this target and network.

        Returns
        -------
        Network
            Graph and parameters for MXNet; weights are int8, their names end in ``_quantize``; biases are int32.

        Raises
        ------
        PlanError
            If the plan asks for what the network or the target cannot do, naming the field.
        """
        return _Emitter(self, self.prepare(network, is_calibrated(plan), frozenset()), plan).emit()


@dataclass
class _Emitter:
    """Builds the int8 graph node by node, in the order of the grouped fp32 graph."""

    target: CuDNN
    network: Network
    plan: QuantPlan
    weights: Dict[str, Tuple[Codes, NDArray[Any], float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = Int8Graph(self.plan)

    def emit(self) -> Network:
        int8 = planned(self.target, self.network, self.plan)
        for node in self.network.graph.nodes:
            if node in int8:
                operator, layer = int8[node]
                plans = data_plan(self.plan, node.inputs[0], operator, layer), result_plan(self.plan, node, layer)
                (self._linear if node.op in LINEAR else self._handed_on)(node, operator, layer, *plans)
            elif node.subgraphs:
                self._copy_group(node)
            else:
                self.graph.add_copy(node)
        return self.graph.network(self.network)

    def _copy_group(self, node: Node) -> None:
        """Append the members of a group that stays float32."""
        first, *others = node.subgraphs[0].operators
        inputs = [self.graph.real(tensor) for tensor in node.inputs]
        self.graph.floats[node.output] = self._rest(
            others, self.graph.add(first.op, first.name, first.attrs, inputs).output
        )

    def _rest(self, members: List[Node], tensor: Tensor) -> Tensor:
        """Append what follows the first member of a group, in float32."""
        for member in members:
            tensor = self.graph.add(member.op, member.name, member.attrs, [tensor]).output
        return tensor

    def _codes(self, tensor: Tensor, plan: TensorPlan) -> Codes:
        if plan.zero_point and tensor not in self.graph.codes:
            raise PlanError(f"tensors['{plan.name}'].zero_point is not 0, but no int8 layer makes it")
        return self.graph.quantized(tensor, {"out_type": "int8", **_range(plan)})

    def _handed_on(
        self, node: Node, operator: Int8Operator, layer: LayerPlan, data: TensorPlan, result: TensorPlan
    ) -> None:
        for name in ("dtype", "threshold", "codes", "zero_point"):
            found, expected = getattr(result, name), getattr(data, name)
            if found != expected:
                raise PlanError(
                    f"tensors['{result.name}'].{name} is {found!r}, but {operator.op} hands on that of its input, "
                    f"{expected!r}"
                )
        codes = self._codes(node.inputs[0], data)
        made = self.graph.add(operator.op, f"quantized_{node.name}", node.attrs, codes, 3)
        self.graph.codes[node.output] = Codes.of(made)

    def _linear(
        self, node: Node, operator: Int8Operator, layer: LayerPlan, data: TensorPlan, result: TensorPlan
    ) -> None:
        if layer.granularity != "tensor-wise":
            raise PlanError(
                f"layers['{layer.name}'].granularity is {layer.granularity!r}, but on GPUs it is 'tensor-wise'"
            )
        if result.zero_point and not operator.returns_zero_point:
            raise PlanError(f"tensors['{result.name}'].zero_point is not 0, which '{layer.name}' cannot return")
        assert data.scale is not None
        codes = self._codes(node.inputs[0], data)
        stored, weight, step = self._weight(node, layer)
        attrs = {key: value for key, value in node.attrs.items() if key != "no_bias"}
        inputs = [codes.data, stored.data, codes.minimum, codes.maximum, stored.minimum, stored.maximum]
        sums = self.graph.add(operator.op, f"quantized_{node.name}", {**attrs, "no_bias": "True"}, inputs, 3)
        unit = data.scale * step
        total = self._with_bias(node, layer, sums.output, weight, unit, (data, result))
        activations = node.subgraphs[0].operators[1:] if node.subgraphs else []
        if result.dtype == "float32":
            real = self.graph.add("Cast", f"{node.name}_float", {"dtype": "float32"}, [total])
            scaled = self.graph.add("_mul_scalar", f"{node.name}_real", {"scalar": f"{unit:.9g}"}, [real.output])
            self.graph.floats[node.output] = self._rest(activations, scaled.output)
            return
        if result.dtype != "int8" or result.scale is None:
            raise PlanError(
                f"tensors['{result.name}'] is {result.dtype} with threshold {result.threshold!r}, but on GPUs it has "
                "to be int8 with a threshold, or float32"
            )
        attrs = {"out_type": "int8", **_range(result)}
        made = self.graph.add("_contrib_requantize", f"requantize_{node.name}", attrs, (total, *Codes.of(sums)[1:]), 3)
        self.graph.codes[node.output] = Codes.of(made)
        if activations and not result.zero_point:
            positive = self.graph.add("relu", f"{node.name}_relu", {}, [made.output])
            self.graph.codes[node.output] = Codes.of(made)._replace(data=positive.output)

    def _weight(self, node: Node, layer: LayerPlan) -> Tuple[Codes, NDArray[Any], float]:
        """Return a weight as variables, as codes, and the value of one code."""
        name = node.inputs[1].node.name
        key = f"{name}:{node.op}"
        if key not in self.weights:
            codes, step = weight_on_gpu(node.op, self.network.params[name])
            stem = f"{name}_quantize" if not self.graph.has_parameter(f"{name}_quantize") else f"{node.name}_quantize"
            end = np.array([step * 127], np.float32)
            values: Dict[str, NDArray[Any]] = {stem: codes.astype(np.int8), f"{stem}_min": -end, f"{stem}_max": end}
            self.weights[key] = (Codes(*(self.graph.add_parameter(*item) for item in values.items())), codes, step)
        return self.weights[key]

    def _with_bias(
        self,
        node: Node,
        layer: LayerPlan,
        sums: Tensor,
        weight: NDArray[Any],
        unit: float,
        plans: Tuple[TensorPlan, TensorPlan],
    ) -> Tensor:
        """Return the sums with the bias added, and with what zero points of data and result ask for."""
        bias = np.zeros(len(weight)) if len(node.inputs) < 3 else self.network.params[node.inputs[2].node.name]
        data, result = plans
        assert data.scale is not None
        shift = bias_shift(weight_sums(weight, np.full(len(weight), unit / data.scale)), data, result)
        if shift is None and not bias.any():
            return sums
        whole = bias_on_gpu(bias, shift, unit)
        if np.abs(whole).max() > _LARGEST_BIAS:
            raise PlanError(
                f"layers['{layer.name}'].precision is 'int8', but in units of its data and weights its bias is up to "
                f"{np.abs(whole).max():.3g}, which int32 does not hold; leave it float32"
            )
        shape = (1, -1) + (1,) * len(read_tuple(node, "kernel"))
        value = whole.astype(np.int32).reshape(shape)
        stored = self.graph.add_parameter(f"{layer.name}_bias_quantize", value)
        # MXNet infers no shapes backwards through an addition with broadcasting.
        stored.node.attrs["__shape__"] = str(value.shape)
        return self.graph.add("broadcast_add", f"{node.name}_bias_add", {}, [sums, stored]).output


def weight_on_gpu(op: str, value: NDArray[Any]) -> Tuple[NDArray[Any], float]:
    """Return the codes of a convolution's or FullyConnected's weight, and the real value of one code."""
    if op == "FullyConnected":
        codes, _, end = quantize_int8(value)
        return codes, float(end[0]) / 127.5
    stored, steps = stored_weights(value, 127, "tensor-wise")
    return stored, float(steps[0])


def bias_on_gpu(bias: NDArray[Any], shift: Optional[NDArray[np.float64]], unit: float) -> NDArray[np.float64]:
    """Return a bias, with what zero points ask for, as whole numbers of `unit`."""
    whole: NDArray[np.float64] = np.rint((bias if shift is None else bias + shift) / unit)
    return whole


def _range(plan: TensorPlan) -> Dict[str, str]:
    """Return a range as attributes, in the nine digits that tell float32 numbers apart; its end is the code 127."""
    assert plan.scale is not None
    return {"min_calib_range": f"{-127 * plan.scale:.9g}", "max_calib_range": f"{127 * plan.scale:.9g}"}


def _convolution(network: Network, node: Node) -> Answer:
    refusal = _refusal(network, node)
    if refusal:
        return refusal
    kernel = read_tuple(node, "kernel")
    if len(kernel) != 2:
        return f"MXNet's int8 convolution for GPUs is 2D, this one has a {len(kernel)}D kernel"
    layout = node.attrs.get("layout", "None")
    if layout not in ("None", "NCHW"):
        return f"MXNet's int8 convolution for GPUs is NCHW, this one has layout {layout}"
    groups = read_int(node, "num_group", 1)
    if groups != 1:
        return f"MXNet's int8 convolution for GPUs has no groups, this one has {groups}"
    if set(read_tuple(node, "dilate")) - {1}:
        return f"MXNet's int8 convolution for GPUs passes over dilation, this one has {node.attrs['dilate']}"
    outputs, inputs = network.params[node.inputs[1].node.name].shape[:2]
    return _size_refusal("channels", inputs, outputs) or _linear(node, padded=any(read_tuple(node, "pad")))


def _fully_connected(network: Network, node: Node) -> Answer:
    refusal = _refusal(network, node)
    if refusal:
        return refusal
    if not read_bool(node, "flatten", True):
        return "MXNet's int8 FullyConnected for GPUs has flatten=True, this one flatten=False"
    outputs, inputs = network.params[node.inputs[1].node.name].shape
    return _size_refusal("units", inputs, outputs) or _linear(node, padded=False)


def _linear(node: Node, padded: bool) -> Int8Operator:
    last = node.subgraphs[0].outputs[0].node if node.subgraphs else node
    kind = activation_of(last)
    row = _ROWS[node.op]
    return row.operator(
        node,
        bound=read_float(last, "a_max", 0.0) if kind == "clip" else None,
        reads_zero_point=not padded,
        returns_zero_point=row.int8.returns_zero_point and kind is not None and not read_bool(node, "no_bias", False),
    )


def _pooling(network: Network, node: Node) -> Answer:
    kind = node.attrs.get("pool_type", "max")
    if kind != "max":
        return f"int8 pooling on GPUs is max, this one is {kind}: how cuDNN rounds int8 averages is not documented"
    kernel = read_tuple(node, "kernel")
    if len(kernel) != 2:
        return f"MXNet's int8 pooling for GPUs has a 2D kernel, this one has {len(kernel)}D"
    if node.attrs.get("pooling_convention", "valid") != "valid":
        return f"cuDNN's pooling knows no pooling_convention='{node.attrs['pooling_convention']}'"
    layout = node.attrs.get("layout", "None")
    if layout not in ("None", "NCHW"):
        return f"MXNet's int8 pooling for GPUs is NCHW, this one has layout {layout}"
    return _ROWS[node.op].operator(node)


def _flatten(network: Network, node: Node) -> Answer:
    return _ROWS[node.op].operator(node)


def _size_refusal(what: str, inputs: int, outputs: int) -> Optional[str]:
    if inputs % 4 == 0 and outputs % 4 == 0:
        return None
    return f"int8 on GPUs needs multiples of 4 {what}, this layer has {inputs} in and {outputs} out"


def _refusal(network: Network, node: Node) -> Optional[str]:
    refusal = weight_refusal(network, node)
    if refusal:
        return refusal
    weight = node.inputs[1].node.name
    if np.abs(network.params[weight]).max() < _SMALLEST_WEIGHT:
        return f"its weight '{weight}' is 0, or so small that products of scales leave float32"
    return None


_OPERATORS: Dict[str, Callable[[Network, Node], Answer]] = {
    "Convolution": _convolution,
    "FullyConnected": _fully_connected,
    "Pooling": _pooling,
    "Flatten": _flatten,
    "flatten": _flatten,
}
