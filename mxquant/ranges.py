"""Thresholds of the tensors around the int8 nodes of a plan in the making.

A tensor that an int8 node reads or makes gets a threshold of its own from its statistics, but for three kinds: a
pooling, flatten or ReLU hands the range of its input on, a Concat the largest of its inputs', a parameter has that of
its values. The inputs of a Concat that nobody else reads get one threshold, so that joining them rounds nothing.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple

from mxquant.graph import Node, Tensor
from mxquant.lowering.quantized_params import SMALLEST_THRESHOLD, largest_magnitude
from mxquant.lowering.target import Int8Operator
from mxquant.plan import TensorPlan
from mxquant.thresholds import choose_threshold

if TYPE_CHECKING:
    from mxquant.planner import Draft

__all__ = ["Ranges"]


class Ranges:
    """Thresholds of the tensors around the int8 nodes of a draft."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.graph = draft.network.graph
        self.plans: Dict[Tensor, TensorPlan] = {}
        self.thresholds: Dict[Tuple[str, bool], float] = {}
        self.readers = {tensor: [use.node for use in uses] for tensor, uses in self.graph.uses().items()}

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
            self.plans[node.output] = self._result(node, operator)
        self._share_ranges()
        return {plan.name: plan for plan in self.plans.values()}

    def _choose_all(self) -> None:
        """Choose all thresholds that may be needed, in parallel, since this is most of the work of planning."""
        draft = self.draft
        if draft.options.method is None:
            return
        outputs = {node.output for node in draft.int8 if draft.operators[node].output == "own"}
        inputs = {node.inputs[slot] for node in draft.int8 for slot in draft.operators[node].data}
        needed = outputs | {tensor for tensor in inputs if tensor.node not in draft.int8}
        keys = {(t.name, draft.dtypes[t] == "uint8") for t in needed if t.name in draft.statistics}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.thresholds = dict(zip(keys, pool.map(lambda key: self._threshold(*key), keys)))

    def _threshold(self, name: str, unsigned: bool) -> float:
        options = self.draft.options
        assert options.method is not None
        extra = {"percent": options.percentile} if options.method == "percentile" else {}
        return choose_threshold(self.draft.statistics[name], options.method, unsigned=unsigned, **extra)

    def _quantized(self, tensor: Tensor) -> TensorPlan:
        """Plan a float32 tensor that an int8 node reads."""
        dtype = self.draft.dtypes[tensor]
        value = self.draft.network.params.get(tensor.node.name)
        if value is not None:
            return TensorPlan(tensor.name, dtype, largest_magnitude(value), "weights", "a parameter, quantized offline")
        return self._chosen(tensor, dtype, f"quantized for {self._first_reader(tensor)}")

    def _result(self, node: Node, operator: Int8Operator) -> TensorPlan:
        tensor, dtype = node.output, self.draft.dtypes[node.output]
        inputs = [self.plans[node.inputs[slot]] for slot in operator.data]
        if operator.output == "inherited":
            source = inputs[0]
            return TensorPlan(tensor.name, dtype, source.threshold, "inherited", f"has the range of '{source.name}'")
        if operator.output == "joined":
            return self._joined(tensor, dtype, inputs)
        if operator.output == "weights":
            value = self.draft.network.params[node.inputs[operator.weights[0]].node.name]
            return TensorPlan(
                tensor.name, dtype, largest_magnitude(value), "weights", "its rows are those of the weight"
            )
        if operator.float_output and not any(n in self.draft.int8 for n in self.readers.get(tensor, ())):
            return TensorPlan(tensor.name, "float32", None, "none", "the operator returns float32 by itself")
        if operator.sum_input is not None and dtype == "uint8" and operator.fuses_requantize:
            summand = self.plans[node.inputs[operator.sum_input]]
            if summand.dtype == "int8":
                return self._seven_bits(tensor, summand)
        return self._chosen(tensor, dtype, f"the result of int8 {node.layers[0]}")

    def _joined(self, tensor: Tensor, dtype: str, inputs: Sequence[TensorPlan]) -> TensorPlan:
        thresholds = [plan.threshold for plan in inputs if plan.threshold is not None]
        if len(thresholds) < len(inputs):
            return TensorPlan(tensor.name, dtype, None, "runtime", "has the largest range of its inputs")
        return TensorPlan(tensor.name, dtype, max(thresholds), "inherited", "has the largest range of its inputs")

    def _seven_bits(self, tensor: Tensor, summand: TensorPlan) -> TensorPlan:
        """Plan a uint8 result that MXNet adds up in the int8 memory of its summand: codes end at 127."""
        plan = self._chosen(tensor, "int8", "")
        assert plan.threshold is not None
        reason = f"codes end at 127: MXNet adds it up in the int8 memory of '{summand.name}'"
        return replace(plan, dtype="uint8", threshold=plan.threshold * 255 / 127, reason=reason)

    def _chosen(self, tensor: Tensor, dtype: str, reason: str) -> TensorPlan:
        options = self.draft.options
        if options.method is None:
            return TensorPlan(tensor.name, dtype, None, "runtime", f"{reason}; not calibrated")
        histogram = self.draft.statistics[tensor.name]
        if options.dtype == "uint8" and dtype == "int8" and histogram.minimum < 0:
            reason += "; int8 although uint8 was asked for, since it has negative values"
        key = (tensor.name, dtype == "uint8")
        threshold = self.thresholds[key] if key in self.thresholds else self._threshold(*key)
        return TensorPlan(tensor.name, dtype, max(threshold, SMALLEST_THRESHOLD), options.method, reason)

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
            common = max(threshold for threshold in thresholds if threshold is not None)
            for tensor in members:
                self.plans[tensor] = replace(self.plans[tensor], threshold=common, group=leader.layers[0])
        self._inherit_again()

    def _members(self, concat: Node) -> List[Tensor]:
        """Return the tensors with a range of their own that reach `concat` through int8 poolings and Concats alone."""
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
                    members.append(tensor)
        return list(dict.fromkeys(members))

    def _reader_nodes(self, tensor: Tensor) -> List[Optional[Node]]:
        return list(dict.fromkeys(self.readers.get(tensor, ())))

    def _passes(self, node: Node) -> bool:
        """Whether an int8 node hands the range of its inputs on, as pooling and Concat do."""
        operator = self.draft.operators.get(node) if node in self.draft.int8 else None
        return operator is not None and (operator.output == "joined" or operator.op.endswith("_pooling"))

    def _has_own_range(self, tensor: Tensor) -> bool:
        if tensor.node not in self.draft.int8:
            return True
        return self.draft.operators[tensor.node].output == "own"

    def _inherit_again(self) -> None:
        for node in self.graph.operators:
            if node in self.draft.int8 and self.draft.operators[node].output in ("inherited", "joined"):
                self.plans[node.output] = self._result(node, self.draft.operators[node])
