"""What the planner chooses where int8 sums may saturate: orders of channels, zero points, pairs, or float32.

Each choice is by the least predicted noise, see :mod:`mxquant.planning.code_limits`, and by the time that it costs.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Tuple

from mxquant.graph import Network, Node, Tensor
from mxquant.lowering.isa import PORTABLE, saturates
from mxquant.lowering.quantized_params import SMALLEST_THRESHOLD
from mxquant.lowering.stored_weights import NEARLY_EVEN, is_halved
from mxquant.lowering.target import Target
from mxquant.planning.code_limits import CodeLimits, Reader
from mxquant.planning.draft import Draft
from mxquant.planning.pairing import paired_channels
from mxquant.planning.plan_options import PlanOptions
from mxquant.stats import Histogram
from mxquant.thresholds import choose_threshold

__all__ = ["SaturationChoices", "channel_orders"]

# The part of all products below which a layer costs little time in float32. Depthwise convolutions are no exception:
# on one thread small networks and blocks of MobileNetV3 and EfficientNet took 1.2 to 1.9 times as long with theirs in
# float32, between float32 operators, on 'avx2' and on 'vnni'.
_SMALL_PART = 0.08


def channel_orders(
    network: Network, statistics: Mapping[str, Histogram], target: Target, options: PlanOptions
) -> Dict[str, Tuple[int, ...]]:
    """Return the orders of channels in which sums of products saturate least; see :mod:`mxquant.planning.pairing`."""
    assert options.isa is not None
    if not (target.on_cpu and target.pairs and options.method and saturates(options.isa)):
        return {}

    def in_pairs(node: Node) -> bool:
        histogram = statistics.get(node.inputs[0].name)
        unsigned = histogram is not None and histogram.minimum >= 0 and options.dtype != "int8"
        return unsigned or (node.op == "FullyConnected" and histogram is not None)

    return paired_channels(network, in_pairs)


class SaturationChoices:
    """Choices for the tensors and layers of a draft."""

    def __init__(self, draft: Draft, limits: CodeLimits) -> None:
        self.draft, self.limits = draft, limits

    def shift_pays(self, tensor: Tensor) -> bool:
        """Whether a tensor is better int8 with a zero point than uint8 with a limit."""
        draft = self.draft
        if not draft.calibrated or tensor.name not in draft.statistics:
            return False
        threshold = choose_threshold(draft.statistics[tensor.name], "mse", unsigned=True)
        readers = [Reader(use.node, threshold) for use in draft.network.graph.uses()[tensor] if use.node is not None]
        return self.limits.shift_pays(readers, 255)

    def pairs_pay(self, tensor: Tensor, shift: bool, cheap: bool) -> bool:
        """Whether layers that read a clipped tensor, with all its codes, are best kept from saturating by pairs.

        Else the tensor gets a zero point, where `shift` says that it can; or layers on the way stay float32, which is
        `cheap` or takes time.
        """
        draft = self.draft
        if not draft.calibrated or tensor.name not in draft.statistics:
            return False
        bound = draft.operators[tensor.node].bound
        assert bound is not None
        readers = [Reader(node, bound) for node in self._int8_readers(tensor)]
        return self.limits.pairs_pay(readers, 255, shift, cheap)

    def _int8_readers(self, tensor: Tensor) -> List[Node]:
        """Return the layers with weights that read the codes of a tensor, also behind what hands them on."""
        draft = self.draft
        nodes = [node for node in draft.int8 if draft.operators[node].must and draft.operators[node].data]
        data = {node: node.inputs[draft.operators[node].data[0]] for node in nodes}
        return [node for node in nodes if any(root == tensor for root, _ in draft.roots(data[node]))]

    def stays_float32(self, node: Node, data: Tensor) -> Optional[str]:
        """Return why a layer on float32 data is better left in float32: even codes do not suit it, and it is small."""
        draft = self.draft
        if not (draft.calibrated and draft.options.mode == "smart") or data.node in draft.int8:
            return None
        operator = draft.operators[node]
        codes = draft.weight_codes(node, operator, "channel-wise" if operator.channel_wise else "tensor-wise")[0]
        if draft.options.isa == PORTABLE and codes == NEARLY_EVEN and self._is_small(node):
            return "the largest of its weights would have one value in int8 on some CPUs and another one on others"
        if not (is_halved(codes) and data.node.is_variable):
            return None
        threshold = choose_threshold(draft.statistics[data.name], "mse", unsigned=False)
        if self.limits.halving_costs(node, max(threshold, SMALLEST_THRESHOLD)) and self._is_small(node):
            return (
                "it reads the network's input, on which every second code of its weights only would be the same on "
                "every CPU; that would cost much of its accuracy for little time"
            )
        return None

    def _is_small(self, node: Node) -> bool:
        """Whether a layer has a small part of all products."""
        work = {each: self._products(each) for each in self.draft.int8 if self.draft.operators[each].must}
        return 0 < work[node] <= _SMALL_PART * sum(work.values())

    def _products(self, node: Node) -> float:
        """Return how many products the calibrated examples took of a layer with weights; 0 where that is unknown."""
        params = self.draft.network.params
        weight = params.get(node.inputs[1].node.name) if len(node.inputs) > 1 else None
        return 0.0 if weight is None else self.draft.sizes.get(node.output.name, 0.0) * weight[0].size
