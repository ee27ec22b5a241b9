"""The end of planning: thresholds for a draft in which nothing changes any more, and the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping, Optional, Tuple

from mxquant.graph import Node
from mxquant.graph.attributes import read_int
from mxquant.lowering.target import RECURRENT, Int8Operator
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan
from mxquant.planning.code_limits import CodeLimits
from mxquant.planning.draft import Draft
from mxquant.planning.ranges import Ranges

__all__ = ["Finishing"]


class Finishing:
    """Chooses thresholds for a draft, and writes the plan."""

    def __init__(self, draft: Draft, limits: CodeLimits) -> None:
        self.draft, self.limits = draft, limits

    def finish(self, digest: str) -> QuantPlan:
        """Choose thresholds and write the plan."""
        draft = self.draft
        ranges = Ranges(draft, self.limits)
        tensors = ranges.plan()
        layers = {}
        for node in draft.network.graph.operators:
            layer = self._layer(node, tensors)
            if node in draft.int8 and draft.operators[node].op == RECURRENT:
                layer = replace(layer, recurrent=ranges.recurrent(node))
            layers[layer.name] = layer
        settings = {
            "method": draft.options.method or "none",
            "dtype": draft.options.dtype,
            "mode": draft.options.mode,
            "granularity": draft.options.granularity,
        }
        isa = draft.options.isa if draft.target.on_cpu else None
        return QuantPlan(draft.target.name, digest, layers, tensors, settings, isa)

    def _layer(self, node: Node, tensors: Mapping[str, TensorPlan]) -> LayerPlan:
        draft = self.draft
        inner = [n for graph in node.subgraphs for n in graph.operators]
        op = inner[0].op if inner else node.op
        if node not in draft.int8:
            reason = draft.refused.get(node) or "it gains nothing in int8 unless it lies between layers that do"
            notes = [draft.reasons[layer] for layer in node.layers if layer in draft.reasons]
            return LayerPlan(node.layers[0], op, node.layers, "float32", "; ".join([reason, *notes]))
        operator = draft.operators[node]
        granularity, why = self._granularity(node, operator, tensors)
        codes, fewer = draft.weight_codes(node, operator, granularity)
        pairs = draft.pair_codes.get(node)
        smaller = f"pairs of weights end at {pairs}, so that its data get more codes" if pairs is not None else ""
        reason = "the operator runs in int8" if operator.must else "its neighbours run in int8"
        reason = "; ".join(filter(None, [reason, why, fewer, smaller, operator.note]))
        return LayerPlan(node.layers[0], op, node.layers, "int8", reason, granularity, codes, pairs, self._order(node))

    def _order(self, node: Node) -> Optional[Tuple[int, ...]]:
        """Return the order of the channels that a layer reads, where each output reads all of them."""
        draft = self.draft
        order = draft.orders.get(node.inputs[0].name)
        weight = draft.network.params.get(node.inputs[1].node.name) if len(node.inputs) > 1 else None
        if order is None or weight is None or len(weight.shape) < 2 or weight.shape[1] % len(order):
            return None
        main = node.subgraphs[0].operators[0] if node.subgraphs else node
        return order if read_int(main, "num_group", 1) == 1 else None

    def _granularity(
        self, node: Node, operator: Int8Operator, tensors: Mapping[str, TensorPlan]
    ) -> Tuple[Optional[str], str]:
        draft = self.draft
        if not operator.must:
            return None, ""
        if not operator.weights:
            return ("channel-wise" if operator.channel_wise and draft.calibrated else "tensor-wise"), ""
        if not operator.channel_wise:
            return "tensor-wise", ""
        if draft.has_to_reduce_weights(node, operator):
            return "tensor-wise", "one weight scale, which can be chosen"
        scale = tensors[node.inputs[operator.data[0]].name].scale
        if draft.options.granularity == "tensor-wise" and draft.bias_overflows(node, operator, scale):
            return "channel-wise", "with one weight scale its bias would overflow int32"
        return draft.options.granularity, ""
