"""Thresholds of the tensors around the int8 nodes of a plan in the making.

A tensor that an int8 node reads or makes gets a threshold of its own from its statistics, but for three kinds: a
pooling, flatten or ReLU hands the range of its input on, a Concat the largest of its inputs', a parameter has that of
its values. The inputs of a Concat that nobody else reads get one threshold, so that joining them rounds nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from mxquant.graph import Node, Tensor
from mxquant.lowering.quantized_params import (
    INT8_RANGE,
    LARGEST_THRESHOLD,
    SMALLEST_THRESHOLD,
    UINT8_RANGE,
    joined_range,
    largest_magnitude,
    parameter_range,
)
from mxquant.lowering.target import RECURRENT, Int8Operator, observed_tensors
from mxquant.plan import TensorPlan
from mxquant.plan.recurrent_plan import RecurrentPlan
from mxquant.planning.code_limits import CodeLimits, Reader, joined
from mxquant.planning.draft import Draft
from mxquant.planning.free_codes import FreeCodes, around
from mxquant.runtime.threads import in_parallel
from mxquant.thresholds import choose_threshold

__all__ = ["Ranges"]

_ADDITION = "_contrib_quantized_elemwise_add"


class Ranges:
    """Thresholds of the tensors around the int8 nodes of a draft."""

    def __init__(self, draft: Draft, limits: CodeLimits) -> None:
        self.draft, self.limits = draft, limits
        self.graph = draft.network.graph
        self.plans: Dict[Tensor, TensorPlan] = {}
        self.thresholds: Dict[Tuple[str, bool], float] = {}
        self.readers = {tensor: [use.node for use in uses] for tensor, uses in self.graph.uses().items()}
        self.free = FreeCodes(draft, self.readers, self._method, self._threshold)

    def plan(self) -> Dict[str, TensorPlan]:
        """Return the plan of every tensor that an int8 node reads or makes, by its name."""
        draft = self.draft
        self._choose_all()
        for node in self.graph.operators:
            if node not in draft.int8:
                continue
            operator = draft.operators[node]
            for slot in operator.data:
                tensor = node.inputs[slot]
                if tensor not in self.plans:
                    self.plans[tensor] = self._quantized(tensor)
            if operator.output != "float32":
                self.plans[node.output] = self._result(node, operator)
        self._share_ranges()
        self._limit_codes()
        self._inherit_again()
        return {plan.name: plan for plan in self.plans.values()}

    def _choose_all(self) -> None:
        """Choose all thresholds that may be needed, in parallel, since this is most of the work of planning."""
        draft = self.draft
        if draft.options.method is None:
            return
        outputs = {node.output for node in draft.int8 if draft.operators[node].output == "own"}
        inputs = {node.inputs[slot] for node in draft.int8 for slot in draft.operators[node].data}
        needed = outputs | {tensor for tensor in inputs if tensor.node not in draft.int8}
        needed = {tensor for tensor in needed if tensor.name in draft.statistics}
        free = {tensor for tensor in needed if self.free.has(tensor)}
        in_parallel(self.free.of, free)
        keys = {(t.name, self._is_unsigned(t)) for t in needed - free}
        in_parallel(lambda key: self._threshold(*key), keys)

    def _method(self, name: str) -> str:
        options = self.draft.options
        assert options.method is not None
        return "given" if name in options.largest_values else options.tensor_methods.get(name, options.method)

    def _threshold(self, name: str, unsigned: bool) -> float:
        """Return the threshold of a tensor, which is found once."""
        if (name, unsigned) not in self.thresholds:
            self.thresholds[name, unsigned] = self._new_threshold(name, unsigned)
        return self.thresholds[name, unsigned]

    def _new_threshold(self, name: str, unsigned: bool) -> float:
        given = self.draft.options.largest_values.get(name)
        if given is not None:
            given = given if isinstance(given, (int, float)) else max(-given[0], given[1])
            return given * (UINT8_RANGE / 255 if unsigned else INT8_RANGE / 127)
        method = self._method(name)
        extra = {"percent": self.draft.options.percentile} if method == "percentile" else {}
        return choose_threshold(self.draft.statistics[name], method, unsigned=unsigned, **extra)

    def _quantized(self, tensor: Tensor) -> TensorPlan:
        """Plan a float32 tensor that an int8 node reads."""
        dtype = self.draft.dtypes[tensor]
        value = self.draft.network.params.get(tensor.node.name)
        if value is not None:
            return TensorPlan(tensor.name, dtype, parameter_range(value), "weights", "a parameter, quantized offline")
        return self._chosen(tensor, dtype, f"quantized for {self._first_reader(tensor)}")

    def _result(self, node: Node, operator: Int8Operator) -> TensorPlan:
        tensor, dtype = node.output, self.draft.dtypes[node.output]
        inputs = [self.plans[node.inputs[slot]] for slot in operator.data]
        if operator.output == "inherited":
            source = inputs[0]
            reason = f"has the range of '{source.name}'"
            return replace(source, name=tensor.name, method="inherited", reason=reason, group=None)
        if operator.output == "joined":
            return self._joined(tensor, dtype, inputs)
        if operator.output == "weights":
            value = self.draft.network.params[node.inputs[operator.weights[0]].node.name]
            return TensorPlan(tensor.name, dtype, parameter_range(value), "weights", "its rows are those of the weight")
        if operator.float_output and not any(n in self.draft.int8 for n in self.readers.get(tensor, ())):
            return TensorPlan(tensor.name, "float32", None, "none", "the operator returns float32 by itself")
        if operator.sum_input is not None and dtype == "uint8" and operator.fuses_requantize:
            summand = self.plans[node.inputs[operator.sum_input]]
            if summand.dtype == "int8":
                return self._seven_bits(tensor, summand)
        plan = self._chosen(tensor, dtype, f"the result of int8 {node.layers[0]}")
        mixed = operator.op == _ADDITION and len({each.dtype for each in inputs}) > 1
        return self._wide(plan, inputs) if mixed else plan

    def recurrent(self, node: Node) -> RecurrentPlan:
        """Plan the codes of an int8 LSTM.

        The state has its whole range, since an error in it comes back at each step. A layer that reads another one has
        the codes of its state, so that nothing is rounded between the two.
        """
        data, *states = observed_tensors(node, self.draft.operators[node])
        state = max(map(self._largest, states))
        if data.node.name in self.draft.network.params:
            return RecurrentPlan(-self._largest(data), self._largest(data), state)
        if data == data.node.output and self._is_recurrent(data.node):
            end = self.recurrent(data.node).state
            return RecurrentPlan(-end, end, state)
        histogram = self.draft.statistics[data.name]
        threshold = max(self._threshold(data.name, histogram.minimum >= 0), SMALLEST_THRESHOLD)
        lowest, largest = max(float(histogram.minimum), -threshold), min(float(histogram.maximum), threshold)
        ends = (min(lowest, 0.0), max(largest, 0.0) if largest > 0 or lowest < 0 else threshold)
        return RecurrentPlan(*ends, max(state, 2 * (ends[1] - ends[0]) / LARGEST_THRESHOLD))

    def _is_recurrent(self, node: Node) -> bool:
        return node in self.draft.int8 and self.draft.operators[node].op == RECURRENT

    def _largest(self, tensor: Tensor) -> float:
        value = self.draft.network.params.get(tensor.node.name)
        if value is not None:
            return largest_magnitude(value)
        histogram = self.draft.statistics[tensor.name]
        return max(-histogram.minimum, histogram.maximum, SMALLEST_THRESHOLD)

    def _joined(self, tensor: Tensor, dtype: str, inputs: Sequence[TensorPlan]) -> TensorPlan:
        reason = "has the largest range of its inputs"
        if any(plan.threshold is None for plan in inputs):
            return TensorPlan(tensor.name, dtype, None, "runtime", reason)
        if self.draft.zero_points_are_free and dtype == "int8":
            threshold, zero_point = around(inputs)
            return TensorPlan(tensor.name, dtype, threshold, "inherited", reason, zero_point=zero_point)
        threshold, codes = joined_range(inputs, dtype)
        return TensorPlan(tensor.name, dtype, threshold, "inherited", reason, codes=codes)

    def _wide(self, plan: TensorPlan, summands: Sequence[TensorPlan]) -> TensorPlan:
        """Plan a sum of uint8 and int8: MXNet first makes the uint8 operand int8, in the range of the sum."""
        widest = max((each.threshold or 0.0, each.name) for each in summands if each.dtype == "uint8")
        if plan.threshold is None or plan.threshold >= widest[0]:
            return plan
        reason = f"{plan.reason}; has the range of '{widest[1]}', which MXNet would clip before it adds"
        return replace(plan, threshold=widest[0], method="inherited", reason=reason)

    def _seven_bits(self, tensor: Tensor, summand: TensorPlan) -> TensorPlan:
        """Plan a uint8 result that MXNet adds up in the int8 memory of its summand: codes end at 127."""
        plan = self._chosen(
            tensor, "uint8", f"codes end at 127: MXNet adds it up in the int8 memory of '{summand.name}'"
        )
        return replace(plan, codes=127)

    def _limit_codes(self) -> None:
        """Let uint8 tensors end at a code with which none of their readers can saturate.

        The range grows, so that the threshold has this code. What lies between the threshold and the end of the range
        may saturate; a pair of products that does is then still nearer to the truth than if both values had been
        clipped at the threshold.
        """
        draft = self.draft
        for tensors, readers in joined(list(self._readers_of_uint8())):
            bounds = [plan.codes for plan in (self.plans[tensor] for tensor in tensors) if plan.codes is not None]
            if all(self.limits.limit(reader.node) >= min(bounds) for reader in readers):
                continue
            codes = min(bounds)
            if not any(map(self._is_clipped, tensors)):
                codes = self.limits.best(readers, codes)
            first = min(readers, key=lambda reader: self.limits.limit(reader.node)).node
            for tensor in tensors:
                plan = self.plans[tensor]
                if plan.codes is not None and plan.codes > codes:
                    reason = f"{plan.reason}; codes end at {codes}, so that {first.layers[0]} cannot saturate"
                    self.plans[tensor] = replace(plan, codes=codes, reason=reason)
            smaller = [reader.node for reader in readers if self.limits.limit(reader.node) < codes]
            draft.pair_codes.update(dict.fromkeys(smaller, 32767 // codes))

    def _readers_of_uint8(self) -> Iterator[Tuple[List[Tensor], Reader]]:
        """Yield each layer with weights that reads calibrated uint8 data, and the tensors whose codes it reads."""
        draft = self.draft
        for node in self.graph.operators:
            if node not in draft.int8 or not draft.operators[node].must or not draft.operators[node].data:
                continue
            tensor = node.inputs[draft.operators[node].data[0]]
            plan = self.plans[tensor]
            if len(node.inputs) < 2 or node.inputs[1].node.name not in draft.network.params:
                continue
            if plan.dtype == "uint8" and plan.threshold is not None:
                yield [root for root, _ in draft.roots(tensor)], Reader(node, plan.threshold)

    def _chosen(self, tensor: Tensor, dtype: str, reason: str) -> TensorPlan:
        options = self.draft.options
        if options.method is None:
            return TensorPlan(tensor.name, dtype, None, "runtime", f"{reason}; not calibrated")
        histogram = self.draft.statistics[tensor.name]
        if options.dtype == "uint8" and dtype == "int8" and histogram.minimum < 0:
            reason += "; int8 although uint8 was asked for, since it has negative values"
        if self.free.has(tensor):
            threshold, zero_point = self.free.of(tensor)
            method = self._method(tensor.name)
            return TensorPlan(tensor.name, dtype, threshold, method, reason, zero_point=zero_point)
        zero_point = self.draft.target.zero_point if tensor in self.draft.shifted else 0
        threshold = max(self._threshold(tensor.name, self._is_unsigned(tensor)), SMALLEST_THRESHOLD)
        if self._is_clipped(tensor):
            threshold = min(threshold, self.draft.operators[tensor.node].bound or threshold)
        return TensorPlan(tensor.name, dtype, threshold, self._method(tensor.name), reason, zero_point=zero_point)

    def _is_unsigned(self, tensor: Tensor) -> bool:
        return self.draft.dtypes[tensor] == "uint8" or tensor in self.draft.shifted

    def _first_reader(self, tensor: Tensor) -> str:
        nodes = [node for node in self.readers[tensor] if node in self.draft.int8 and node is not None]
        return f"int8 {nodes[0].layers[0]}"

    def _share_ranges(self) -> None:
        """Give the inputs of each Concat that only it reads one threshold, so that joining them rounds nothing."""
        group_of: Dict[Tensor, Node] = {}
        for node in self.graph.operators:
            if node in self.draft.int8 and self.draft.operators[node].output == "joined":
                members = self._members(node)
                leaders = {group_of.get(member, node) for member in members}
                for tensor in [*members, *(t for t, leader in group_of.items() if leader in leaders)]:
                    group_of[tensor] = node
        for leader in dict.fromkeys(group_of.values()):
            members = [tensor for tensor, other in group_of.items() if other is leader]
            thresholds = [self.plans[tensor].threshold for tensor in members]
            if len(members) < 2 or any(threshold is None for threshold in thresholds):
                continue
            group = leader.layers[0]
            plans = [self.plans[tensor] for tensor in members]
            if self.draft.zero_points_are_free and any(plan.dtype == "int8" for plan in plans):
                threshold, point = around(plans)
                for tensor, plan in zip(members, plans):
                    self.plans[tensor] = TensorPlan(
                        plan.name, "int8", threshold, plan.method, plan.reason, group, zero_point=point
                    )
                continue
            common = max(threshold for threshold in thresholds if threshold is not None)
            for tensor in members:
                self.plans[tensor] = replace(self.plans[tensor], threshold=common, group=group)

    def _is_clipped(self, tensor: Tensor) -> bool:
        operator = self.draft.operators.get(tensor.node) if tensor.node in self.draft.int8 else None
        return operator is not None and operator.bound is not None

    def _members(self, concat: Node) -> List[Tensor]:
        """Return the tensors with a range of their own that reach `concat` through such int8 nodes alone."""
        draft, inside = self.draft, {concat}
        readers = self._reader_nodes(concat.output)
        pending = [concat]
        if len(readers) == 1 and readers[0] is not None and self._passes(readers[0]):
            inside.add(readers[0])
            pending.append(readers[0])
        members: List[Tensor] = []
        while pending:
            node = pending.pop(0)
            for slot in draft.operators[node].data:
                tensor = node.inputs[slot]
                if any(reader not in inside for reader in self._reader_nodes(tensor)):
                    continue
                if tensor.node in draft.int8 and self._passes(tensor.node):
                    inside.add(tensor.node)
                    pending.append(tensor.node)
                elif tensor.node.name not in draft.network.params and self._has_own_range(tensor):
                    # What a layer clips by its largest code cannot take a wider range.
                    members += [] if self._is_clipped(tensor) else [tensor]
        return list(dict.fromkeys(members))

    def _reader_nodes(self, tensor: Tensor) -> List[Optional[Node]]:
        return list(dict.fromkeys(self.readers.get(tensor, ())))

    def _passes(self, node: Node) -> bool:
        """Whether an int8 node hands the range of its inputs on, as pooling, Concat and what moves values do."""
        operator = self.draft.operators.get(node) if node in self.draft.int8 else None
        if operator is None:
            return False
        return operator.output == "joined" or operator.moves or operator.op.endswith("_pooling")

    def _has_own_range(self, tensor: Tensor) -> bool:
        if tensor.node not in self.draft.int8:
            return True
        return self.draft.operators[tensor.node].output in ("own", "float32")

    def _inherit_again(self) -> None:
        for node in self.graph.operators:
            if node in self.draft.int8 and self.draft.operators[node].output in ("inherited", "joined"):
                self.plans[node.output] = self._result(node, self.draft.operators[node])
