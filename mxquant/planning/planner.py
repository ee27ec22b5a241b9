"""From a network, its statistics and what a target can do, to a plan.

In four steps, each with a reason for the reader:

1. every operator is described by the target, or refused; layers the user excludes are refused too;
2. in 'smart' mode an operator that only *may* run in int8 does so only where a path of int8 operators leads through it
   from one that *must* to another; in 'full' mode wherever it can;
3. tensors get their types; an operator that cannot read the type of its input is refused, and step 2 starts again; an
   addition in place whose operands differ in type is kept apart, and the target fuses again; so is a clip that keeps a
   tensor from being limited to the codes with which its readers cannot saturate;
4. tensors get their thresholds; the inputs of a Concat that nobody else reads get a common one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import (
    TYPE_CHECKING,
    AbstractSet,
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_int
from mxquant.graph.passes import Canonical
from mxquant.lowering.channel_order import arranged
from mxquant.lowering.isa import check, saturates
from mxquant.lowering.quantized_params import INT8_RANGE, quantize_int8
from mxquant.lowering.rest_channel import may_rest
from mxquant.lowering.stored_weights import EVEN, NEARLY_EVEN
from mxquant.lowering.target import RECURRENT, Int8Operator, Target, observed_tensors
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan
from mxquant.planning.around_decisions import kept_in_float32
from mxquant.planning.code_limits import CodeLimits
from mxquant.planning.exclusions import check_operators, excluded_layers, layers_of
from mxquant.planning.magnitudes import lost_in_int8
from mxquant.planning.plan_options import PlanOptions
from mxquant.planning.ranges import Ranges
from mxquant.planning.saturation_choices import SaturationChoices, channel_orders
from mxquant.stats import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["make_plan"]


def make_plan(
    canonical: Canonical,
    digest: str,
    statistics: Optional[Mapping[str, Histogram]],
    target: Target,
    options: PlanOptions,
) -> QuantPlan:
    """Decide how every layer and tensor of a network is quantized.

    Parameters
    ----------
    canonical : Canonical
        The canonical fp32 network.
    digest : str
        Digest of the user's network, which goes into the plan.
    statistics : mapping of str to Histogram, or None
        Calibration by tensor name; needed unless ``options.method`` is None.
    target : Target
        What will run the network.
    options : PlanOptions
        The user's choices.

    Returns
    -------
    QuantPlan
        The plan.

    Raises
    ------
    InputError
        If an exclusion matches nothing, or statistics are missing.
    """
    if options.method is not None and statistics is None:
        raise InputError(f"method '{options.method}' needs statistics; calibrate first, or use method=None")
    orders = channel_orders(canonical.network, statistics or {}, target, options)
    network = arranged(canonical.network, orders)
    resting = may_rest(network) if target.pairs and saturates(check(options.isa)) else set()
    check_operators(options.exclude_operators, canonical.operators)
    apart: FrozenSet[str] = frozenset()
    excluded: Optional[FrozenSet[str]] = None
    reasons = {refusal.layer: f"{refusal.rule} was not possible: {refusal.reason}" for refusal in canonical.refusals}
    while True:
        fused = target.prepare(network, options.method is not None, apart)
        if excluded is None:
            excluded = excluded_layers(options.exclude_layers, layers_of(canonical, fused))
        draft = Draft(fused, statistics or {}, target, options, excluded, reasons, orders, resting)
        draft.settle()
        if not target.has_uint8:
            draft.use_zero_points()
        conflicts = draft.additions_in_place() or draft.prevent_saturation()
        if not conflicts:
            return draft.finish(digest)
        apart = apart | conflicts


_PRODUCT = "_contrib_quantized_elemwise_mul"


@dataclass
class Draft:
    """A plan in the making, for one fused network."""

    network: Network
    statistics: Mapping[str, Histogram]
    target: Target
    options: PlanOptions
    excluded: FrozenSet[str]
    reasons: Mapping[str, str]
    orders: Mapping[str, Tuple[int, ...]] = field(default_factory=dict)
    resting: AbstractSet[str] = frozenset()
    operators: Dict[Node, Int8Operator] = field(default_factory=dict)
    refused: Dict[Node, str] = field(default_factory=dict)
    int8: Set[Node] = field(default_factory=set)
    dtypes: Dict[Tensor, str] = field(default_factory=dict)
    shifted: Set[Tensor] = field(default_factory=set)
    pair_codes: Dict[Node, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limits = CodeLimits(self)
        self.choices = SaturationChoices(self)
        self.sizes = {name: float(histogram.counts.sum()) for name, histogram in self.statistics.items()}

    @property
    def calibrated(self) -> bool:
        return self.options.method is not None

    def settle(self) -> None:
        """Decide which nodes run in int8, and the types of their tensors."""
        for node in self.network.graph.operators:
            answer = self._exclusion(node) or self._description(node)
            if isinstance(answer, str):
                self.refused[node] = answer
            else:
                self.operators[node] = answer
                lost = self._unknown_tensor(node, answer) or lost_in_int8(self.network, node, answer, self.statistics)
                if lost:
                    self.refused[node] = lost
                elif self._has_int32_bias(node, answer) and self._bias_overflows(
                    node, answer, self._smallest_scale(node.inputs[0])
                ):
                    self.refused[node] = "its bias may be too large for int32 in the unit of data times weights"
        kept = kept_in_float32(self.network, self.operators)
        self.refused = {**kept, **self.refused}
        self.settle_types()

    def settle_types(self) -> None:
        """Decide which of the nodes that can run in int8 do so, and the types of their tensors."""
        while True:
            candidates = [node for node in self.operators if node not in self.refused]
            wanted = [node for node in candidates if self._is_wanted(node)]
            self.int8 = self._between(candidates, wanted)
            clashes = self._assign_dtypes() or self._products_of_floats() or self._not_worthwhile()
            if not clashes:
                return
            self.refused.update(clashes)

    def _products_of_floats(self) -> Dict[Node, str]:
        """Return products with a float32 operand, as in swish: int8 has no fewer conversions, and rounds twice."""
        if self.options.mode == "full":
            return {}
        why = "one of its operands is float32, and would have to be quantized for it"
        known = self.int8 | {node for node in self.network.graph.variables if node.name in self.network.params}
        return {
            node: why
            for node in self.int8
            if self.operators[node].op == _PRODUCT and any(tensor.node not in known for tensor in node.inputs)
        }

    def _not_worthwhile(self) -> Dict[Node, str]:
        """Return nodes that the target had better compute in float32; in 'full' mode there are none."""
        if self.options.mode == "full":
            return {}
        return self.target.not_worthwhile(self.network, self.int8, self.sizes, self.options.gpu_operations_per_byte)

    def _description(self, node: Node) -> Union[Int8Operator, str]:
        if not node.inputs:
            return "it is computed from constants alone"
        answer = self.target.describe(self.network, node, self.calibrated)
        if isinstance(answer, str) or self.options.isa is None:
            return answer
        return self.target.unavailable(answer, self.options.isa) or answer

    def _exclusion(self, node: Node) -> Optional[str]:
        measured = next((why for name, why in self.options.float32_layers.items() if name in node.layers), None)
        if measured is not None:
            return measured
        layers = sorted(self.excluded & set(node.layers))
        if layers:
            return f"excluded by name ('{layers[0]}')"
        inner = {n.op for graph in node.subgraphs for n in graph.operators} | {node.op}
        operators = sorted(inner & set(self.options.exclude_operators))
        return f"excluded by operator ({operators[0]})" if operators else None

    def _unknown_tensor(self, node: Node, operator: Int8Operator) -> Optional[str]:
        if not self.calibrated:
            return None
        tensors = [] if operator.moves else observed_tensors(node, operator)
        for tensor in tensors:
            if tensor.node.name not in self.network.params and tensor.name not in self.statistics:
                return f"calibration has no statistics of '{tensor.name}': it is not float32, or not part of the table"
        return None

    def _is_wanted(self, node: Node) -> bool:
        """Whether a node that can be int8 is to be so whatever its neighbours are."""
        operator = self.operators[node]
        return operator.must or (self.options.mode == "full" and not operator.moves)

    def _between(self, candidates: Sequence[Node], must: Sequence[Node]) -> Set[Node]:
        """Return the nodes that must be int8, and those that may be and lie on a path of such nodes between two."""
        may = set(candidates) - set(must)
        sources: Dict[Node, List[Node]] = {node: [t.node for t in node.inputs] for node in self.network.graph.nodes}
        readers: Dict[Node, List[Node]] = {}
        for node, inputs in sources.items():
            for source in inputs:
                readers.setdefault(source, []).append(node)
        ends = [node for node in must if self.operators[node].output != "float32"]
        before = _reach(ends, lambda node: sources[node], may)
        after = _reach(ends, lambda node: readers.get(node, []), may)
        return set(must) | (before & after)

    def _assign_dtypes(self) -> Dict[Node, str]:
        """Give every tensor around int8 nodes a type; return the nodes that cannot work with what they would get."""
        self.dtypes, clashes = {}, {}
        picky: Set[Tensor] = set()
        for node in self.int8:
            operator = self.operators[node]
            if operator.accepts == frozenset({"int8"}):
                picky.update(node.inputs[slot] for slot in operator.data)
        for node in self.network.graph.operators:
            if node not in self.int8:
                continue
            operator = self.operators[node]
            inputs = []
            for slot in operator.data:
                tensor = node.inputs[slot]
                if tensor not in self.dtypes:
                    self.dtypes[tensor] = "int8" if tensor in picky else self._free_dtype(tensor)
                inputs.append(self.dtypes[tensor])
            unfit = sorted(set(inputs) - operator.accepts)
            if unfit:
                clashes[node] = f"MXNet's int8 {node.op} cannot read {unfit[0]}, which its input is stored in"
            if operator.output != "float32":
                self.dtypes[node.output] = self._result_dtype(node.output, operator, inputs)
        return clashes

    def _free_dtype(self, tensor: Tensor) -> str:
        histogram = self.statistics.get(tensor.name)
        if histogram is None or self.options.dtype == "int8" or tensor.node.name in self.network.params:
            return "int8"
        return "uint8" if histogram.minimum >= 0 else "int8"

    def _result_dtype(self, tensor: Tensor, operator: Int8Operator, inputs: Sequence[str]) -> str:
        if tensor in self.shifted:
            return "int8"
        if operator.output == "own" and not self.calibrated:
            return "int8"
        if operator.result == "like-input":
            return "uint8" if set(inputs) == {"uint8"} else "int8"
        return self._free_dtype(tensor) if operator.result == "any" else operator.result

    def additions_in_place(self) -> FrozenSet[str]:
        """Return the additions that have to be computed apart: they read uint8 and return int8.

        The other way round, int8 into uint8, is right as long as no code is above 127; see
        :mod:`mxquant.planning.ranges`.
        """
        layers: Set[str] = set()
        for node in self.int8:
            operator = self.operators[node]
            if operator.sum_input is None or not (self.calibrated and operator.fuses_requantize):
                continue
            summand = self.dtypes[node.inputs[operator.sum_input]]
            if (summand, self.dtypes[node.output]) == ("uint8", "int8"):
                inner = node.subgraphs[0].operators
                layers.update(n.name for n in inner if n.op == "elemwise_add")
        return frozenset(layers)

    def prevent_saturation(self) -> FrozenSet[str]:
        """Make room for limits on codes; return the clips that have to be computed apart from their convolution.

        Codes of a tensor are limited by a wider range (see :mod:`mxquant.planning.ranges`), unless it is better int8
        with a zero point, which has as many steps as uint8 and cannot saturate a convolution
        (:mod:`mxquant.planning.code_limits`). A layer that clips by the largest code cannot have a wider range: it gets
        the zero point; or the poolings on the way to its reader stay float32; or the clip is kept apart.
        """
        nodes = [node for node in self.network.graph.operators if node in self.int8]
        nodes = [node for node in nodes if self.operators[node].must and self.operators[node].data]
        data = {node: node.inputs[self.operators[node].data[0]] for node in nodes}
        self.limits.prepare([node for node, tensor in data.items() if self.dtypes[tensor] == "uint8"])
        for node, tensor in data.items():
            if self._loses_too_much(node, tensor):
                self.refused[node] = "in int8 it would saturate, or its weights lose too much with one scale for all"
                self.settle_types()
                return self.prevent_saturation()
            left = self.choices.stays_float32(node, tensor)
            if left is not None:
                self.refused[node] = left
                self.settle_types()
                return self.prevent_saturation()
            if self.dtypes[tensor] != "uint8" or self.limits.limit(node) == 255:
                continue
            for root, between in self.roots(tensor):
                operator = self.operators.get(root.node) if root.node in self.int8 else None
                if operator is None:
                    continue
                if operator.bound is None:
                    if between or not self._can_shift(root, operator) or not self.choices.shift_pays(root):
                        continue
                    self.shifted.add(root)
                elif self.choices.pairs_pay(root, not between and self._can_shift(root, operator), bool(between)):
                    continue
                elif between:
                    why = f"in float32, so that int8 {node.layers[0]} gets codes with which it cannot saturate"
                    self.refused.update({each: why for each in between})
                elif self._can_shift(root, operator):
                    self.shifted.add(root)
                else:
                    return frozenset({root.node.subgraphs[0].outputs[0].node.name})
                self.settle_types()
                return self.prevent_saturation()
        return frozenset()

    def use_zero_points(self) -> None:
        """Give a zero point to what has no negative values wherever that is possible, for a target without uint8."""
        for node in self.network.graph.operators:
            if node in self.int8 and self._can_shift(node.output, self.operators[node]):
                self.shifted.add(node.output)
        self.settle_types()

    def _loses_too_much(self, node: Node, data: Tensor) -> bool:
        """Whether a layer whose weights need one scale, so that they can be reduced, is better left in float32."""
        operator = self.operators[node]
        if not self._has_to_reduce_weights(node, operator):
            return False
        weight, codes = self._parameter(node, 0), self.weight_codes(node, operator, "tensor-wise")[0]
        assert codes is not None
        stored, _, end = quantize_int8(weight, codes)
        noise = np.square(weight - stored * (end / INT8_RANGE)).sum()
        smallest = self._smallest_scale(data)
        return bool(noise > 1e-3 * np.square(weight).sum()) or self._bias_overflows(node, operator, smallest)

    def _smallest_scale(self, data: Tensor) -> float:
        """Return a scale that no method of choosing thresholds goes below; uncalibrated, that of data up to 0.01."""
        histogram = self.statistics.get(data.name)
        return 1e-3 * max(-histogram.minimum, histogram.maximum) / 127 if histogram else 1e-2 / 127

    def _has_to_reduce_weights(self, node: Node, operator: Int8Operator) -> bool:
        """Whether a layer on int8 data avoids saturation only with one scale for all weights, which can be chosen."""
        if not operator.weights or not operator.data:
            return False
        granularities = {"tensor-wise", self.options.granularity if operator.channel_wise else "tensor-wise"}
        return any(self.weight_codes(node, operator, each)[0] != 127 for each in granularities)

    def _parameter(self, node: Node, index: int) -> NDArray[Any]:
        return self.network.params[node.inputs[self.operators[node].weights[index]].node.name]

    def roots(self, tensor: Tensor, between: Tuple[Node, ...] = ()) -> List[Tuple[Tensor, Tuple[Node, ...]]]:
        """Return the tensors whose range `tensor` has, each with the int8 nodes that hand it on."""
        node = tensor.node
        if node not in self.int8 or self.operators[node].output not in ("inherited", "joined"):
            return [(tensor, between)]
        inputs = [node.inputs[slot] for slot in self.operators[node].data]
        return [root for each in inputs for root in self.roots(each, (*between, node))]

    def _can_shift(self, tensor: Tensor, operator: Int8Operator) -> bool:
        """Whether `tensor` can be int8 with a zero point: only int8 layers read it, which can take it out again."""
        uses = self.network.graph.uses()[tensor]
        return operator.returns_zero_point and all(
            use.node in self.int8 and use.slot == 0 and self.operators[use.node].reads_zero_point for use in uses
        )

    def finish(self, digest: str) -> QuantPlan:
        """Choose thresholds and write the plan."""
        ranges = Ranges(self)
        tensors = ranges.plan()
        layers = {}
        for node in self.network.graph.operators:
            layer = self._layer(node, tensors)
            if node in self.int8 and self.operators[node].op == RECURRENT:
                layer = replace(layer, recurrent=ranges.recurrent(node))
            layers[layer.name] = layer
        settings = {
            "method": self.options.method or "none",
            "dtype": self.options.dtype,
            "mode": self.options.mode,
            "granularity": self.options.granularity,
        }
        isa = self.options.isa if self.target.on_cpu else None
        return QuantPlan(self.target.name, digest, layers, tensors, settings, isa)

    def _layer(self, node: Node, tensors: Mapping[str, TensorPlan]) -> LayerPlan:
        inner = [n for graph in node.subgraphs for n in graph.operators]
        op = inner[0].op if inner else node.op
        if node not in self.int8:
            reason = self.refused.get(node) or "it gains nothing in int8 unless it lies between layers that do"
            notes = [self.reasons[layer] for layer in node.layers if layer in self.reasons]
            return LayerPlan(node.layers[0], op, node.layers, "float32", "; ".join([reason, *notes]))
        operator = self.operators[node]
        granularity, why = self._granularity(node, operator, tensors)
        codes, fewer = self.weight_codes(node, operator, granularity)
        pairs = self.pair_codes.get(node)
        smaller = f"pairs of weights end at {pairs}, so that its data get more codes" if pairs is not None else ""
        reason = "the operator runs in int8" if operator.must else "its neighbours run in int8"
        reason = "; ".join(filter(None, [reason, why, fewer, smaller, operator.note]))
        return LayerPlan(node.layers[0], op, node.layers, "int8", reason, granularity, codes, pairs, self._order(node))

    def _order(self, node: Node) -> Optional[Tuple[int, ...]]:
        """Return the order of the channels that a layer reads, where each output reads all of them."""
        order = self.orders.get(node.inputs[0].name)
        weight = self.network.params.get(node.inputs[1].node.name) if len(node.inputs) > 1 else None
        if order is None or weight is None or len(weight.shape) < 2 or weight.shape[1] % len(order):
            return None
        return (
            order if read_int(node.subgraphs[0].operators[0] if node.subgraphs else node, "num_group", 1) == 1 else None
        )

    def is_channel_wise(self, node: Node) -> bool:
        """Whether the weights of a layer on uint8 data have one scale per output channel."""
        operator = self.operators[node]
        return operator.channel_wise and (not operator.weights or self.options.granularity == "channel-wise")

    def weight_codes(self, node: Node, operator: Int8Operator, granularity: Optional[str]) -> Tuple[Optional[int], str]:
        if granularity is None or not operator.data:
            return None if granularity is None else 127, ""
        assert self.options.isa is not None
        dtype = self.dtypes[node.inputs[operator.data[0]]]
        codes = self.target.weight_codes(self.network, node, dtype, granularity, self.options.isa)
        if codes == EVEN:
            if node.layers[0] in self.resting and granularity == "channel-wise":
                return EVEN, "its weights have even codes, which CPUs may halve, and its data a channel of zeros more"
            return NEARLY_EVEN, "its weights have even codes, which CPUs may halve, but for the largest"
        return codes, "" if codes == 127 else f"weights end at {codes}, so that it cannot saturate on int8 data"

    def _granularity(
        self, node: Node, operator: Int8Operator, tensors: Mapping[str, TensorPlan]
    ) -> Tuple[Optional[str], str]:
        if not operator.must:
            return None, ""
        if not operator.weights:
            return ("channel-wise" if operator.channel_wise and self.calibrated else "tensor-wise"), ""
        if not operator.channel_wise:
            return "tensor-wise", ""
        if self._has_to_reduce_weights(node, operator):
            return "tensor-wise", "one weight scale, which can be chosen"
        scale = tensors[node.inputs[operator.data[0]].name].scale
        if self.options.granularity == "tensor-wise" and self._bias_overflows(node, operator, scale):
            return "channel-wise", "with one weight scale its bias would overflow int32"
        return self.options.granularity, ""

    def _has_int32_bias(self, node: Node, operator: Int8Operator) -> bool:
        """Whether sums with the bias are int32 in memory, before they are brought into a range."""
        if not operator.must or len(node.inputs) < 3 or operator.sum_input == 2:
            return False
        return operator.int32_bias or not (operator.fuses_requantize and (self.calibrated or operator.weights))

    def _bias_overflows(self, node: Node, operator: Int8Operator, scale: Optional[float]) -> bool:
        """Whether bias / (data scale x weight scale) is near the end of int32.

        At half of it MXNet's FullyConnected for CPUs rewrites its weights in place.
        """
        slots = (1, 2) if self._has_int32_bias(node, operator) else operator.weights
        if len(slots) < 2 or scale is None:
            return False
        names = [node.inputs[slot].node.name for slot in slots]
        if any(name not in self.network.params for name in names):
            return False
        weight, bias = (np.abs(self.network.params[name]).max() for name in names)
        return bool(float(bias) * 127 > 0.999 * (2**31 - 1) / 2 * scale * float(weight))


def _reach(starts: Sequence[Node], step: Callable[[Node], Iterable[Node]], through: Set[Node]) -> Set[Node]:
    reached: Set[Node] = set()
    pending = list(starts)
    while pending:
        for node in step(pending.pop()):
            if node in through and node not in reached:
                reached.add(node)
                pending.append(node)
    return reached
