"""Room for limits on codes, so that no sum of products saturates."""

from __future__ import annotations

from typing import FrozenSet

import numpy as np

from mxquant.graph import Node, Tensor
from mxquant.lowering.quantized_params import INT8_RANGE, quantize_int8
from mxquant.lowering.target import Int8Operator
from mxquant.planning.code_limits import CodeLimits
from mxquant.planning.draft import Draft
from mxquant.planning.saturation_choices import SaturationChoices
from mxquant.planning.settling import Settling

__all__ = ["Prevention"]


class Prevention:
    """Refuses layers, and gives zero points to tensors, until nothing of a draft saturates."""

    def __init__(self, draft: Draft, settling: Settling, limits: CodeLimits) -> None:
        self.draft, self.settling, self.limits = draft, settling, limits
        self.choices = SaturationChoices(draft, limits)

    def prevent_saturation(self) -> FrozenSet[str]:
        """Make room for limits on codes; return the clips that have to be computed apart from their convolution.

        Codes of a tensor are limited by a wider range (see :mod:`mxquant.planning.ranges`), unless it is better int8
        with a zero point, which has as many steps as uint8 and cannot saturate a convolution
        (:mod:`mxquant.planning.code_limits`). A layer that clips by the largest code cannot have a wider range: it gets
        the zero point; or the poolings on the way to its reader stay float32; or the clip is kept apart.
        """
        draft = self.draft
        nodes = [node for node in draft.network.graph.operators if node in draft.int8]
        nodes = [node for node in nodes if draft.operators[node].must and draft.operators[node].data]
        data = {node: node.inputs[draft.operators[node].data[0]] for node in nodes}
        self.limits.prepare([node for node, tensor in data.items() if draft.dtypes[tensor] == "uint8"])
        for node, tensor in data.items():
            if self._loses_too_much(node, tensor):
                draft.refused[node] = "in int8 it would saturate, or its weights lose too much with one scale for all"
                self.settling.settle_types()
                return self.prevent_saturation()
            left = self.choices.stays_float32(node, tensor)
            if left is not None:
                draft.refused[node] = left
                self.settling.settle_types()
                return self.prevent_saturation()
            if draft.dtypes[tensor] != "uint8" or self.limits.limit(node) == 255:
                continue
            for root, between in draft.roots(tensor):
                operator = draft.operators.get(root.node) if root.node in draft.int8 else None
                if operator is None:
                    continue
                if operator.bound is None:
                    if between or not self._can_shift(root, operator) or not self.choices.shift_pays(root):
                        continue
                    draft.shifted.add(root)
                elif self.choices.pairs_pay(root, not between and self._can_shift(root, operator), bool(between)):
                    continue
                elif between:
                    why = f"in float32, so that int8 {node.layers[0]} gets codes with which it cannot saturate"
                    draft.refused.update({each: why for each in between})
                elif self._can_shift(root, operator):
                    draft.shifted.add(root)
                else:
                    return frozenset({root.node.subgraphs[0].outputs[0].node.name})
                self.settling.settle_types()
                return self.prevent_saturation()
        return frozenset()

    def use_zero_points(self) -> None:
        """Give a zero point to what has no negative values wherever that is possible, for a target without uint8."""
        draft = self.draft
        for node in draft.network.graph.operators:
            if node in draft.int8 and self._can_shift(node.output, draft.operators[node]):
                draft.shifted.add(node.output)
        self.settling.settle_types()

    def _loses_too_much(self, node: Node, data: Tensor) -> bool:
        """Whether a layer whose weights need one scale, so that they can be reduced, is better left in float32."""
        draft = self.draft
        operator = draft.operators[node]
        if not draft.has_to_reduce_weights(node, operator):
            return False
        weight, codes = draft.parameter(node, 0), draft.weight_codes(node, operator, "tensor-wise")[0]
        assert codes is not None
        stored, _, end = quantize_int8(weight, codes)
        noise = np.square(weight - stored * (end / INT8_RANGE)).sum()
        smallest = draft.smallest_scale(data)
        return bool(noise > 1e-3 * np.square(weight).sum()) or draft.bias_overflows(node, operator, smallest)

    def _can_shift(self, tensor: Tensor, operator: Int8Operator) -> bool:
        """Whether `tensor` can be int8 with a zero point: only int8 layers read it, which can take it out again."""
        draft = self.draft
        uses = draft.network.graph.uses()[tensor]
        return operator.returns_zero_point and all(
            use.node in draft.int8 and use.slot == 0 and draft.operators[use.node].reads_zero_point for use in uses
        )
