"""A plan in the making: what is known of a fused network, what has been decided so far, and what follows from both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, AbstractSet, Any, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple

import numpy as np

from mxquant.graph import Network, Node, Tensor
from mxquant.lowering.stored_weights import EVEN, NEARLY_EVEN
from mxquant.lowering.target import Int8Operator, Target
from mxquant.planning.plan_options import PlanOptions
from mxquant.stats import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Draft"]


@dataclass
class Draft:
    """A plan in the making, for one fused network.

    Parameters
    ----------
    network : Network
        As the target has fused it.
    statistics : mapping of str to Histogram
        Calibration by tensor name; empty without.
    target : Target
        What will run the network.
    options : PlanOptions
        The user's choices.
    excluded : frozenset of str
        Layers that the user leaves in float32.
    reasons : mapping of str to str
        Why a rule for the canonical form was not applied, by layer.
    orders : mapping of str to tuple of int
        The order of the channels of tensors, by name.
    resting : set of str
        Convolutions whose data can have a channel of zeros more.
    operators : dict of Node to Int8Operator
        What has an int8 form.
    refused : dict of Node to str
        What stays float32, and why.
    int8 : set of Node
        What runs in int8.
    dtypes : dict of Tensor to str
        Types of the tensors around these.
    shifted : set of Tensor
        Those with a zero point.
    pair_codes : dict of Node to int
        Limits on pairs of weights.
    """

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
        self.sizes = {name: float(histogram.counts.sum()) for name, histogram in self.statistics.items()}

    @property
    def calibrated(self) -> bool:
        """Whether thresholds are chosen, rather than ranges found at run time."""
        return self.options.method is not None

    @property
    def zero_points_are_free(self) -> bool:
        """Whether signed tensors may have any zero point."""
        return self.target.any_zero_point and self.options.dtype != "int8" and self.calibrated

    def roots(self, tensor: Tensor, between: Tuple[Node, ...] = ()) -> List[Tuple[Tensor, Tuple[Node, ...]]]:
        """Return the tensors whose range `tensor` has, each with the int8 nodes that hand it on."""
        node = tensor.node
        if node not in self.int8 or self.operators[node].output not in ("inherited", "joined"):
            return [(tensor, between)]
        inputs = [node.inputs[slot] for slot in self.operators[node].data]
        return [root for each in inputs for root in self.roots(each, (*between, node))]

    def is_channel_wise(self, node: Node) -> bool:
        """Whether the weights of a layer on uint8 data have one scale per output channel."""
        operator = self.operators[node]
        return operator.channel_wise and (not operator.weights or self.options.granularity == "channel-wise")

    def weight_codes(self, node: Node, operator: Int8Operator, granularity: Optional[str]) -> Tuple[Optional[int], str]:
        """Return the code of a layer's largest weight, and what to say of it where that is not 127."""
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

    def parameter(self, node: Node, index: int) -> NDArray[Any]:
        """Return the parameter of a node that stands at `index` among those that are stored as int8."""
        return self.network.params[node.inputs[self.operators[node].weights[index]].node.name]

    def smallest_scale(self, data: Tensor) -> float:
        """Return a scale that no method of choosing thresholds goes below; uncalibrated, that of data up to 0.01."""
        histogram = self.statistics.get(data.name)
        return 1e-3 * max(-histogram.minimum, histogram.maximum) / 127 if histogram else 1e-2 / 127

    def has_to_reduce_weights(self, node: Node, operator: Int8Operator) -> bool:
        """Whether a layer on int8 data avoids saturation only with one scale for all weights, which can be chosen."""
        if not operator.weights or not operator.data:
            return False
        granularities = {"tensor-wise", self.options.granularity if operator.channel_wise else "tensor-wise"}
        return any(self.weight_codes(node, operator, each)[0] != 127 for each in granularities)

    def has_int32_bias(self, node: Node, operator: Int8Operator) -> bool:
        """Whether sums with the bias are int32 in memory, before they are brought into a range."""
        if not operator.must or len(node.inputs) < 3 or operator.sum_input == 2:
            return False
        return operator.int32_bias or not (operator.fuses_requantize and (self.calibrated or operator.weights))

    def bias_overflows(self, node: Node, operator: Int8Operator, scale: Optional[float]) -> bool:
        """Whether bias / (data scale x weight scale) is near the end of int32.

        At half of it MXNet's FullyConnected for CPUs rewrites its weights in place.
        """
        slots = (1, 2) if self.has_int32_bias(node, operator) else operator.weights
        if len(slots) < 2 or scale is None:
            return False
        names = [node.inputs[slot].node.name for slot in slots]
        if any(name not in self.network.params for name in names):
            return False
        weight, bias = (np.abs(self.network.params[name]).max() for name in names)
        return bool(float(bias) * 127 > 0.999 * (2**31 - 1) / 2 * scale * float(weight))
