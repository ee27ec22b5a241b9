"""Which operators run in int8, and the types of the tensors around them.

Every operator is described by the target, or refused; layers that the user excludes are refused too. In 'smart' mode an
operator that only *may* run in int8 does so only where a path of int8 operators leads through it from one that *must*
to another; in 'full' mode wherever it can. Then tensors get their types; an operator that cannot read the type of its
input is refused, and all is decided again.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Set, Union

from mxquant.graph import Node, Tensor
from mxquant.graph.reach import reached
from mxquant.lowering.target import Int8Operator, observed_tensors
from mxquant.planning.around_decisions import kept_in_float32
from mxquant.planning.averages import lost_average
from mxquant.planning.draft import Draft
from mxquant.planning.magnitudes import lost_in_int8
from mxquant.planning.unknown_lengths import of_unknown_lengths

__all__ = ["Settling"]

_PRODUCT = "_contrib_quantized_elemwise_mul"


class Settling:
    """Decides for a draft what runs in int8, as often as something is refused."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def settle(self) -> None:
        """Decide which nodes run in int8, and the types of their tensors."""
        draft = self.draft
        for node in draft.network.graph.operators:
            answer = self._exclusion(node) or self._description(node)
            if isinstance(answer, str):
                draft.refused[node] = answer
            else:
                draft.operators[node] = answer
                lost = (
                    self._unknown_tensor(node, answer)
                    or lost_in_int8(draft.network, node, answer, draft.statistics)
                    or lost_average(draft.network, node, draft.statistics, draft.zero_points_are_free)
                )
                if lost:
                    draft.refused[node] = lost
                elif draft.has_int32_bias(node, answer) and draft.bias_overflows(
                    node, answer, draft.smallest_scale(node.inputs[0])
                ):
                    draft.refused[node] = "its bias may be too large for int32 in the unit of data times weights"
        kept = kept_in_float32(draft.network, draft.operators)
        kept.update(of_unknown_lengths(draft.network, draft.operators))
        draft.refused = {**kept, **draft.refused}
        self.settle_types()

    def settle_types(self) -> None:
        """Decide which of the nodes that can run in int8 do so, and the types of their tensors."""
        draft = self.draft
        while True:
            candidates = [node for node in draft.operators if node not in draft.refused]
            wanted = [node for node in candidates if self._is_wanted(node)]
            draft.int8 = self._between(candidates, wanted)
            clashes = self._assign_dtypes() or self._products_of_floats() or self._not_worthwhile()
            if not clashes:
                return
            draft.refused.update(clashes)

    def _products_of_floats(self) -> Dict[Node, str]:
        """Return products with a float32 operand, as in swish: int8 has no fewer conversions, and rounds twice."""
        draft = self.draft
        if draft.options.mode == "full":
            return {}
        why = "one of its operands is float32, and would have to be quantized for it"
        known = draft.int8 | {node for node in draft.network.graph.variables if node.name in draft.network.params}
        return {
            node: why
            for node in draft.int8
            if draft.operators[node].op == _PRODUCT and any(tensor.node not in known for tensor in node.inputs)
        }

    def _not_worthwhile(self) -> Dict[Node, str]:
        """Return nodes that the target had better compute in float32; in 'full' mode there are none."""
        draft = self.draft
        if draft.options.mode == "full":
            return {}
        return draft.target.not_worthwhile(
            draft.network, draft.int8, draft.sizes, draft.options.gpu_operations_per_byte
        )

    def _description(self, node: Node) -> Union[Int8Operator, str]:
        draft = self.draft
        if not node.inputs:
            return "it is computed from constants alone"
        answer = draft.target.describe(draft.network, node, draft.calibrated)
        if isinstance(answer, str) or draft.options.isa is None:
            return answer
        return draft.target.unavailable(answer, draft.options.isa) or answer

    def _exclusion(self, node: Node) -> Optional[str]:
        draft = self.draft
        measured = next((why for name, why in draft.options.float32_layers.items() if name in node.layers), None)
        if measured is not None:
            return measured
        layers = sorted(draft.excluded & set(node.layers))
        if layers:
            return f"excluded by name ('{layers[0]}')"
        inner = {n.op for graph in node.subgraphs for n in graph.operators} | {node.op}
        operators = sorted(inner & set(draft.options.exclude_operators))
        return f"excluded by operator ({operators[0]})" if operators else None

    def _unknown_tensor(self, node: Node, operator: Int8Operator) -> Optional[str]:
        draft = self.draft
        if not draft.calibrated:
            return None
        tensors = [] if operator.moves else observed_tensors(node, operator)
        for tensor in tensors:
            if tensor.node.name not in draft.network.params and tensor.name not in draft.statistics:
                return f"calibration has no statistics of '{tensor.name}': it is not float32, or not part of the table"
        return None

    def _is_wanted(self, node: Node) -> bool:
        """Whether a node that can be int8 is to be so whatever its neighbours are."""
        draft = self.draft
        operator = draft.operators[node]
        return operator.must or (draft.options.mode == "full" and not operator.moves)

    def _between(self, candidates: Sequence[Node], must: Sequence[Node]) -> Set[Node]:
        """Return the nodes that must be int8, and those that may be and lie on a path of such nodes between two."""
        draft = self.draft
        may = set(candidates) - set(must)
        sources: Dict[Node, List[Node]] = {node: [t.node for t in node.inputs] for node in draft.network.graph.nodes}
        readers: Dict[Node, List[Node]] = {}
        for node, inputs in sources.items():
            for source in inputs:
                readers.setdefault(source, []).append(node)
        ends = [node for node in must if draft.operators[node].output != "float32"]
        before = reached(ends, lambda node: sources[node], may.__contains__)
        after = reached(ends, lambda node: readers.get(node, []), may.__contains__)
        return set(must) | (before & after)

    def _assign_dtypes(self) -> Dict[Node, str]:
        """Give every tensor around int8 nodes a type; return the nodes that cannot work with what they would get."""
        draft = self.draft
        draft.dtypes, clashes = {}, {}
        picky: Set[Tensor] = set()
        for node in draft.int8:
            operator = draft.operators[node]
            if operator.accepts == frozenset({"int8"}):
                picky.update(node.inputs[slot] for slot in operator.data)
        for node in draft.network.graph.operators:
            if node not in draft.int8:
                continue
            operator = draft.operators[node]
            inputs = []
            for slot in operator.data:
                tensor = node.inputs[slot]
                if tensor not in draft.dtypes:
                    draft.dtypes[tensor] = "int8" if tensor in picky else self._free_dtype(tensor)
                inputs.append(draft.dtypes[tensor])
            unfit = sorted(set(inputs) - operator.accepts)
            if unfit:
                clashes[node] = f"MXNet's int8 {node.op} cannot read {unfit[0]}, which its input is stored in"
            if operator.output != "float32":
                draft.dtypes[node.output] = self._result_dtype(node.output, operator, inputs)
        return clashes

    def _free_dtype(self, tensor: Tensor) -> str:
        draft = self.draft
        histogram = draft.statistics.get(tensor.name)
        if histogram is None or draft.options.dtype == "int8" or tensor.node.name in draft.network.params:
            return "int8"
        return "uint8" if histogram.minimum >= 0 else "int8"

    def _result_dtype(self, tensor: Tensor, operator: Int8Operator, inputs: Sequence[str]) -> str:
        draft = self.draft
        if tensor in draft.shifted:
            return "int8"
        if operator.output == "own" and not draft.calibrated:
            return "int8"
        if operator.result == "like-input":
            return "uint8" if set(inputs) == {"uint8"} else "int8"
        return self._free_dtype(tensor) if operator.result == "any" else operator.result
