"""What the planner chooses where int8 sums may saturate: orders of channels, zero points, pairs, or float32.

Each choice is by the least predicted noise, see :mod:`mxquant.code_limits`, and by the time that it costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Mapping, Tuple

from mxquant.code_limits import Reader
from mxquant.graph import Network, Node, Tensor
from mxquant.lowering.isa import saturates
from mxquant.lowering.quantized_params import SMALLEST_THRESHOLD
from mxquant.lowering.stored_weights import is_halved
from mxquant.lowering.target import Target
from mxquant.pairing import paired_channels
from mxquant.plan_options import PlanOptions
from mxquant.stats import Histogram
from mxquant.thresholds import choose_threshold

if TYPE_CHECKING:
    from mxquant.planner import Draft

__all__ = ["SaturationChoices", "channel_orders"]

# The part of all products below which a layer costs little time in float32.
_SMALL_PART = 0.08


def channel_orders(
    network: Network, statistics: Mapping[str, Histogram], target: Target, options: PlanOptions
) -> Dict[str, Tuple[int, ...]]:
    """Return the orders of channels in which sums of products saturate least; see :mod:`mxquant.pairing`."""
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

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def shift_pays(self, tensor: Tensor) -> bool:
        """Whether a tensor is better int8 with a zero point than uint8 with a limit."""
        draft = self.draft
        if not draft.calibrated or tensor.name not in draft.statistics:
            return False
        threshold = choose_threshold(draft.statistics[tensor.name], "mse", unsigned=True)
        readers = [Reader(use.node, threshold) for use in draft.network.graph.uses()[tensor] if use.node is not None]
        return draft.limits.shift_pays(readers, 255)

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
        return draft.limits.pairs_pay(readers, 255, shift, cheap)

    def _int8_readers(self, tensor: Tensor) -> List[Node]:
        """Return the layers with weights that read the codes of a tensor, also behind what hands them on."""
        draft = self.draft
        nodes = [node for node in draft.int8 if draft.operators[node].must and draft.operators[node].data]
        data = {node: node.inputs[draft.operators[node].data[0]] for node in nodes}
        return [node for node in nodes if any(root == tensor for root, _ in draft.roots(data[node]))]

    def stays_float32(self, node: Node, data: Tensor) -> bool:
        """Whether a layer that reads the network's input loses much by even codes, and is a small part of the work."""
        draft = self.draft
        if not (draft.calibrated and draft.options.mode == "smart" and data.node.is_variable):
            return False
        operator = draft.operators[node]
        granularity = "channel-wise" if operator.channel_wise else "tensor-wise"
        if not is_halved(draft.weight_codes(node, operator, granularity)[0]):
            return False
        threshold = choose_threshold(draft.statistics[data.name], "mse", unsigned=False)
        if not draft.limits.halving_costs(node, max(threshold, SMALLEST_THRESHOLD)):
            return False
        work = {each: self._products(each) for each in draft.int8 if draft.operators[each].must}
        return 0 < work[node] <= _SMALL_PART * sum(work.values())

    def _products(self, node: Node) -> float:
        """Return how many products the calibrated examples took of a layer with weights; 0 where that is unknown."""
        params = self.draft.network.params
        weight = params.get(node.inputs[1].node.name) if len(node.inputs) > 1 else None
        return 0.0 if weight is None else self.draft.sizes.get(node.output.name, 0.0) * weight[0].size
