"""The CPU target: MXNet's fused oneDNN operators in int8.

A calibrated range goes into the attributes of the operator that makes the tensor, with all nine digits of a float32;
where the operator cannot take it, a ``_contrib_requantize`` node follows. A FullyConnected or elemwise_mul that only
float32 nodes read returns float32 by itself.

The result runs on plain MXNet 1.9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import AbstractSet, ClassVar, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple, Union

import numpy as np

from mxquant.errors import PlanError
from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.graph.attributes import read_int
from mxquant.lowering.capability import Capability
from mxquant.lowering.int8_graph import Codes, Int8Graph
from mxquant.lowering.onednn_capabilities import ONEDNN
from mxquant.lowering.onednn_fusion import fuse
from mxquant.lowering.onednn_limits import pair_excess, safe_data_codes, weight_codes
from mxquant.lowering.onednn_operators import describe
from mxquant.lowering.pairs import PairExcess
from mxquant.lowering.planned import data_plan, is_calibrated, planned, result_plan
from mxquant.lowering.planned_weights import in_memory
from mxquant.lowering.quantized_params import INT8_RANGE, UINT8_RANGE, joined_range, quantize_int8, range_end
from mxquant.lowering.recurrent import AddRecurrent, recurrent_plan
from mxquant.lowering.rest_channel import fed
from mxquant.lowering.spread import add_spread, spread_channels
from mxquant.lowering.stored_weights import sums_in_memory
from mxquant.lowering.target import RECURRENT, Int8Operator, Target, observed_tensors
from mxquant.lowering.trial import no_lstm
from mxquant.lowering.zero_points import bias_shift
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan

__all__ = ["OneDNN", "fused_for"]

# An LSTM of 64 units takes 0.8 to 2 times as long in int8 as in float32, one of 128 units 0.7 to 1.2 times, of 256 0.5
# to 0.8 times, on one thread and two, for batches of 1 to 32, without VNNI.
_LEAST_UNITS = 128
# Where a fused convolution or FullyConnected has its bias.
_BIAS = 2
# The end of a range in codes where MXNet quantizes, over that where it multiplies ranges and requantizes.
_HALF_A_CODE = {"int8": INT8_RANGE / 127, "uint8": UINT8_RANGE / 255}


@dataclass(frozen=True)
class OneDNN(Target):
    """Int8 on the CPU through MXNet's fused oneDNN operators."""

    name: ClassVar[str] = "onednn"
    capabilities: ClassVar[Tuple[Capability, ...]] = ONEDNN
    pairs: ClassVar[bool] = True

    def prepare(self, network: Network, calibrated: bool, apart: FrozenSet[str]) -> Network:
        """Return `network` with MXNet's fp32 fusions; see :func:`mxquant.lowering.onednn_fusion.fuse`."""
        return fuse(network, calibrated, apart)

    def describe(self, network: Network, node: Node, calibrated: bool) -> Union[Int8Operator, str]:
        """Return the int8 form of a node; see :func:`mxquant.lowering.onednn_operators.describe`."""
        return describe(network, node, calibrated)

    def unavailable(self, operator: Int8Operator, isa: str) -> Optional[str]:
        """Return why there is no int8 LSTM on a CPU; see :mod:`mxquant.lowering.trial`."""
        return no_lstm(isa) if operator.op == RECURRENT else None

    def safe_data_codes(self, network: Network, node: Node, isa: str, granularity: Optional[str] = None) -> int:
        """Return the largest safe uint8 code; see :func:`mxquant.lowering.onednn_limits.safe_data_codes`."""
        return safe_data_codes(network, node, isa, granularity)

    def pair_excess(self, network: Network, node: Node, isa: str) -> Optional[PairExcess]:
        """Return which pairs limit the data; see :func:`mxquant.lowering.onednn_limits.pair_excess`."""
        return pair_excess(network, node, isa)

    def weight_codes(self, network: Network, node: Node, dtype: str, granularity: str, isa: str) -> int:
        """Return the code of the largest weight; see :func:`mxquant.lowering.onednn_limits.weight_codes`."""
        return weight_codes(network, node, dtype, granularity, isa)

    def not_worthwhile(
        self, network: Network, int8: Set[Node], sizes: Mapping[str, float], operations_per_byte: float
    ) -> Dict[Node, str]:
        """Return small LSTMs; what else is slower in int8 can be measured, see :mod:`mxquant.analysis.slower`."""
        units = {node: read_int(node, "state_size", 0) for node in int8 if node.op == "RNN"}
        return {
            node: f"with {count} units an LSTM takes longer in int8; it gains from {_LEAST_UNITS} on"
            for node, count in units.items()
            if count < _LEAST_UNITS
        }

    def observed(self, network: Network) -> FrozenSet[str]:
        """Return what int8 operators read and make, in the fused network and where the planner may undo a fusion."""
        fused = self.prepare(network, True, frozenset())
        own_names = {node.name: node.output.name for node in network.graph.operators}
        names: Set[str] = set()
        for node in fused.graph.operators:
            operator = self.describe(fused, node, True)
            if isinstance(operator, str):
                continue
            tensors = observed_tensors(node, operator)
            # What is moved has the range of its data, which nothing else may need.
            names.update(t.name for t in tensors if not operator.moves or self._returns_float32(fused, t.node))
            # What the planner may keep apart from its convolution: additions in place that return int8, and clips.
            apart = operator.sum_input is not None and operator.result == "int8"
            if apart or (operator.bound is not None and self._may_need_apart(fused, node)):
                names.update(own_names[inner.name] for inner in node.subgraphs[0].operators)
        return frozenset(names)

    def _returns_float32(self, fused: Network, node: Node) -> bool:
        """Whether an int8 operator returns float32 unless an int8 operator reads it."""
        operator = "" if node.is_variable else self.describe(fused, node, True)
        return not isinstance(operator, str) and (operator.float_output or operator.output == "float32")

    def _may_need_apart(self, fused: Network, node: Node) -> bool:
        """Whether a layer that reads the clipped `node` may saturate and cannot read a zero point instead."""
        for use in fused.graph.uses()[node.output]:
            operator = self.describe(fused, use.node, True) if use.node is not None else ""
            if use.node is None or isinstance(operator, str) or use.slot or operator.reads_zero_point:
                continue
            if safe_data_codes(fused, use.node, "avx2") < 255:
                return True
        return False

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
            Graph and parameters for MXNet; parameters that are kept as int8 have names ending in ``_quantize``.

        Raises
        ------
        PlanError
            If the plan asks for what the network or the target cannot do, naming the field.
        """
        prepared = fused_for(self, in_memory(network, plan), plan)
        return _Emitter(self, prepared, plan, is_calibrated(plan), fed(network, plan)).emit()


def fused_for(target: OneDNN, network: Network, plan: QuantPlan) -> Network:
    """Return a canonical network with the fusions that a plan for it has."""
    apart = frozenset(name for name, layer in plan.layers.items() if layer.op in ("elemwise_add", "clip"))
    return target.prepare(network, is_calibrated(plan), apart)


@dataclass
class _Emitter:
    """Builds the int8 graph node by node, in the order of the fused fp32 graph."""

    target: OneDNN
    network: Network
    plan: QuantPlan
    calibrated: bool
    fed: AbstractSet[str] = frozenset()
    offline: Dict[Tuple[str, int], Codes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = Int8Graph(self.plan)
        self.uses = self.network.graph.uses()

    def emit(self) -> Network:
        int8 = planned(self.target, self.network, self.plan)
        for node in self.network.graph.nodes:
            if node in int8:
                self._quantized(node, *int8[node])
            else:
                self._copied(node)
        return self.graph.network(self.network)

    def _copied(self, node: Node) -> None:
        channels = spread_channels(node) if node.op == "depth_to_space" else None
        if channels is None:
            self.graph.add_copy(node)
        else:
            add_spread(self.graph, node, channels)

    def _data(self, node: Node, slot: int, operator: Int8Operator, layer: LayerPlan) -> Codes:
        """Return an input of an int8 operator as codes in the new graph, in the type and range of the plan."""
        codes = self._codes(node.inputs[slot], operator, layer)
        if not operator.settled:
            return codes
        pooling = {"kernel": str((1,) * operator.settled), "pool_type": "max"}
        return Codes.of(self.graph.add("_contrib_quantized_pooling", f"settled_{node.name}", pooling, codes, 3))

    def _codes(self, tensor: Tensor, operator: Int8Operator, layer: LayerPlan) -> Codes:
        plan = data_plan(self.plan, tensor, operator, layer)
        if plan.zero_point and tensor not in self.graph.codes:
            raise PlanError(f"tensors['{plan.name}'].zero_point is not 0, but no int8 layer makes it")
        if tensor not in self.graph.codes and tensor.node.name in self.network.params and tensor.node.is_variable:
            return self._stored(tensor.node, 127)
        attrs = {"out_type": plan.dtype, **_range(plan)}
        return self.graph.quantized(tensor, attrs, with_zeros=layer.name in self.fed)

    def _stored(self, variable: Node, codes: int) -> Codes:
        """Return a parameter quantized offline: three variables with int8 codes and their range."""
        name = variable.name
        if (name, codes) not in self.offline:
            values = quantize_int8(self.network.params[name], codes)
            stem = f"{name}_quantize"
            if self.graph.has_parameter(stem):
                stem = f"{stem}{codes}"
            names = (stem, f"{stem}_min", f"{stem}_max")
            self.offline[name, codes] = Codes(*map(self.graph.add_parameter, names, values))
        return self.offline[name, codes]

    def _moved(self, node: Node, operator: Int8Operator, layer: LayerPlan) -> None:
        codes = self._data(node, 0, operator, layer)
        self._check_inherited(node, operator, result_plan(self.plan, node, layer))
        moved = self.graph.add(node.op, f"quantized_{node.name}", node.attrs, [codes.data])
        self.graph.codes[node.output] = codes._replace(data=moved.output)

    def _recurrent(self, node: Node, layer: LayerPlan) -> None:
        reals = [self.graph.real(tensor) for tensor in node.inputs]
        parameters = self.network.params[node.inputs[1].node.name]
        read = [tensor for tensor in self.uses if tensor.node is node]
        names = f"quantized_{node.name}", f"{node.name}_result"
        add = AddRecurrent(self.graph, *names, node, recurrent_plan(layer))
        self.graph.floats.update(add(reals, parameters, read))

    def _quantized(self, node: Node, operator: Int8Operator, layer: LayerPlan) -> None:
        if operator.moves:
            self._moved(node, operator, layer)
            return
        if operator.op == RECURRENT:
            self._recurrent(node, layer)
            return
        per_channel = layer.granularity == "channel-wise"
        if per_channel and not operator.channel_wise:
            raise PlanError(f"layers['{layer.name}'].granularity is 'channel-wise', which it cannot be here")
        stored = () if per_channel else operator.weights
        self._check_saturation(node, operator, layer)
        bias = self._shifted_bias(node, operator, layer)
        inputs: List[Tensor] = []
        ranges: List[Tensor] = []
        for slot, tensor in enumerate(node.inputs):
            if slot not in operator.data and slot not in stored:
                inputs.append(bias if bias is not None and slot == _BIAS else self.graph.real(tensor))
                continue
            if slot in stored:
                codes = self._stored(tensor.node, (layer.weight_codes or 127) if slot == stored[0] else 127)
            else:
                codes = self._data(node, slot, operator, layer)
            inputs.append(codes.data)
            ranges += [codes.minimum, codes.maximum]
        attrs = dict(node.attrs)
        if operator.op.startswith("_sg_mkldnn_"):
            attrs["quantized"] = "True"
        if operator.weights and per_channel:
            attrs["channel_wise_quantize"] = "True"
        self._emit_result(node, operator, layer, attrs, inputs + ranges)

    def _emit_result(
        self, node: Node, operator: Int8Operator, layer: LayerPlan, attrs: Dict[str, str], inputs: List[Tensor]
    ) -> None:
        name, subgraphs = f"quantized_{node.name}", node.subgraphs
        plan = result_plan(self.plan, node, layer)
        if plan.zero_point:
            # The ends of int8 are those of the clip, or of the ReLU and the range.
            subgraphs = (_without_last(node.subgraphs[0]),)
            attrs = {key: value for key, value in attrs.items() if key != "with_act"}
        if operator.output != "own":
            self._check_inherited(node, operator, plan)
            self.graph.codes[node.output] = Codes.of(self.graph.add(operator.op, name, attrs, inputs, 3, subgraphs))
            return
        if plan.dtype == "float32":
            if not operator.float_output:
                raise PlanError(f"tensors['{plan.name}'].dtype is 'float32', but {operator.op} returns int8")
            attrs["enable_float_output"] = "True"
            self.graph.floats[node.output] = self.graph.add(operator.op, name, attrs, inputs, 1, subgraphs).output
            return
        self._check_result_type(node, operator, plan)
        if self.calibrated and plan.threshold is None:
            raise PlanError(f"tensors['{plan.name}'].threshold is null, but int8 layer '{layer.name}' makes it")
        calibrated = _range(plan)
        if operator.float_output and not operator.fuses_requantize:
            attrs["enable_float_output"] = "True"
            self.graph.floats[node.output] = self.graph.add(operator.op, name, attrs, inputs, 1, subgraphs).output
            self.graph.quantized(node.output, {"out_type": plan.dtype, **calibrated})
            return
        fused = operator.fuses_requantize and bool(calibrated)
        made = self.graph.add(operator.op, name, {**attrs, **calibrated} if fused else attrs, inputs, 3, subgraphs)
        if not fused:
            self.graph.codes[node.output] = self._requantized(node, operator, plan, Codes.of(made))
            return
        self.graph.codes[node.output] = Codes.of(made)

    def _requantized(self, node: Node, operator: Int8Operator, plan: TensorPlan, sums: Codes) -> Codes:
        """Return int32 sums as codes.

        MXNet's two operators disagree about what the end of a range is: 127.5 and 255.5 codes where it quantizes, 127
        and 255 where it states the range of sums and where it requantizes. So the node is given another range than the
        one that its codes have.
        """
        name, attrs = f"requantize_{node.name}", {"out_type": plan.dtype}
        if plan.scale is None:
            return Codes.of(self.graph.add("_contrib_requantize", name, attrs, sums, 3))
        data = self.plan.tensors[node.inputs[operator.data[0]].name]
        excess = _HALF_A_CODE["int8"] * _HALF_A_CODE[data.dtype] / _HALF_A_CODE[plan.dtype]
        attrs.update(_range(plan, excess))
        made = self.graph.add("_contrib_requantize", name, attrs, sums, 3)
        end = np.array([range_end(plan)], np.float32)
        low = self.graph.add_parameter(f"{name}_min", np.zeros_like(end) if plan.dtype == "uint8" else -end)
        return Codes(made.output, low, self.graph.add_parameter(f"{name}_max", end))

    def _shifted_bias(self, node: Node, operator: Int8Operator, layer: LayerPlan) -> Optional[Tensor]:
        """Return a bias that takes zero points into account, or None where there are none."""
        result, data = result_plan(self.plan, node, layer), self.plan.tensors.get(node.inputs[0].name)
        if result.zero_point and not operator.returns_zero_point:
            raise PlanError(f"tensors['{result.name}'].zero_point is not 0, which '{layer.name}' cannot return")
        reads = operator.reads_zero_point and data is not None and data.zero_point
        if not (reads or result.zero_point):
            return None
        sums = sums_in_memory(self.network.params[node.inputs[1].node.name], layer)
        shift = bias_shift(sums, data if reads else None, result)
        if shift is None:
            return None
        name = f"{layer.name}_shifted_bias"
        shifted = (self.network.params[node.inputs[_BIAS].node.name] + shift).astype(np.float32)
        return self.graph.add_parameter(name, shifted, typed=False)

    def _check_saturation(self, node: Node, operator: Int8Operator, layer: LayerPlan) -> None:
        """Refuse codes with which a layer may saturate on the CPU that the plan was made for."""
        data = self.plan.tensors.get(node.inputs[operator.data[0]].name) if operator.must and operator.data else None
        if data is None or self.plan.isa is None or layer.granularity is None or layer.weight_codes is None:
            return
        remedy = f"on '{self.plan.isa}' layer '{layer.name}' would saturate; plan for another isa, or use at most"
        if data.dtype == "uint8" and data.codes is not None:
            safe = safe_data_codes(self.network, node, self.plan.isa, layer.granularity)
            if data.codes > safe:
                raise PlanError(f"tensors['{data.name}'].codes is {data.codes}, but {remedy} {safe}")
        most = weight_codes(self.network, node, data.dtype, layer.granularity, self.plan.isa)
        if layer.weight_codes > most:
            raise PlanError(f"layers['{layer.name}'].weight_codes is {layer.weight_codes}, but {remedy} {most}")

    def _check_result_type(self, node: Node, operator: Int8Operator, plan: TensorPlan) -> None:
        inputs = {self.plan.tensors[node.inputs[slot].name].dtype for slot in operator.data}
        expected = operator.result
        if expected == "like-input":
            expected = "uint8" if inputs == {"uint8"} else "int8"
        if not self.calibrated or plan.zero_point:
            expected = "int8"
        if plan.dtype != expected:
            raise PlanError(
                f"tensors['{plan.name}'].dtype is '{plan.dtype}', but {operator.op} returns '{expected}' here"
            )

    def _check_inherited(self, node: Node, operator: Int8Operator, plan: TensorPlan) -> None:
        """Refuse a range or type for a tensor that takes both from elsewhere."""
        if operator.output == "weights":
            return
        sources = [self.plan.tensors[node.inputs[slot].name] for slot in operator.data]
        dtype = "uint8" if {source.dtype for source in sources} == {"uint8"} else "int8"
        if plan.dtype != dtype:
            raise PlanError(f"tensors['{plan.name}'].dtype is '{plan.dtype}', but {operator.op} returns '{dtype}' here")
        expected: Tuple[Optional[float], Optional[int]] = (None, plan.codes)
        if all(source.threshold is not None for source in sources):
            expected = joined_range(sources, dtype)
        for field_name, found, value in zip(("threshold", "codes"), (plan.threshold, plan.codes), expected):
            if found != value:
                raise PlanError(
                    f"tensors['{plan.name}'].{field_name} is {found!r}, but {operator.op} hands on the range of its "
                    f"inputs, {value!r}"
                )


def _without_last(graph: Graph) -> Graph:
    """Return the inside of a fused node without its last operator."""
    copy = graph.copy()
    copy.outputs = [copy.outputs[0].node.inputs[0]]
    copy.prune()
    return copy


def _range(plan: TensorPlan, factor: float = 1.0) -> Dict[str, str]:
    """Return the calibrated range as attributes, in the nine digits that tell float32 numbers apart."""
    if plan.scale is None:
        return {}
    end = np.float32(range_end(plan) * factor)
    low = 0.0 if plan.dtype == "uint8" else -end
    return {"min_calib_range": f"{low:.9g}", "max_calib_range": f"{end:.9g}"}
