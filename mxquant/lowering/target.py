"""What a target is, and how it tells the planner what it can compute in int8.

A target prepares a canonical fp32 network for itself (fusions), describes its int8 operators one node at a time, or
says why a node has none, and turns a network with a plan into a network of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple, Union

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.packed_recurrent import STATES
from mxquant.lowering.capability import Capability
from mxquant.lowering.int8_operator import ANY_INT8, RECURRENT, Int8Operator
from mxquant.lowering.pairs import PairExcess
from mxquant.plan import QuantPlan

__all__ = ["ANY_INT8", "RECURRENT", "Int8Operator", "Target", "observed_tensors"]


def observed_tensors(node: Node, operator: Int8Operator) -> List[Tensor]:
    """Return the tensors whose statistics say in which codes a node reads and makes them."""
    if operator.op == RECURRENT:
        begin = node.inputs[STATES[0]]
        return [node.inputs[0], node.output, *([] if begin.node.op == "_zeros" else [begin])]
    tensors = [node.inputs[slot] for slot in operator.data]
    # What returns float32 has a range only for the int8 operators that read it.
    return [*tensors, node.output] if operator.output == "own" and not operator.float_output else tensors


@dataclass(frozen=True)
class Target(ABC):
    """Something that runs int8 networks.

    ``on_cpu`` says whether plans are for the int8 instructions of a CPU; ``has_uint8`` whether there is uint8 at all;
    ``zero_point`` which code stands for 0 in int8 tensors without negative values that have a zero point;
    ``any_zero_point`` whether tensors with negative values may have one too; ``pairs`` whether the order of
    channels decides which products are added in pairs; ``capabilities`` what the target computes in int8 at best, one
    row for each kind of operator.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Tuple[Capability, ...]]
    on_cpu: ClassVar[bool] = True
    has_uint8: ClassVar[bool] = True
    zero_point: ClassVar[int] = -128
    any_zero_point: ClassVar[bool] = False
    pairs: ClassVar[bool] = False

    @abstractmethod
    def prepare(self, network: Network, calibrated: bool, apart: FrozenSet[str]) -> Network:
        """Return the canonical fp32 `network` with the fusions that this target makes.

        Parameters
        ----------
        network : Network
            A canonical network.
        calibrated : bool
            Whether thresholds will be known; some fusions are only right then.
        apart : frozenset of str
            Layers (of the user's network) that must not be fused into the layer before them.

        Returns
        -------
        Network
            Nodes keep the layers and tensor names of the user's network.
        """

    @abstractmethod
    def describe(self, network: Network, node: Node, calibrated: bool) -> Union[Int8Operator, str]:
        """Return how `node` of a prepared network is computed in int8, or the reason why it cannot be."""

    @abstractmethod
    def unavailable(self, operator: Int8Operator, isa: str) -> Optional[str]:
        """Return why a plan for CPUs of level `isa` cannot have `operator`; None where it can."""

    @abstractmethod
    def safe_data_codes(self, network: Network, node: Node, isa: str, granularity: Optional[str] = None) -> int:
        """Return the largest uint8 code of its data with which `node` cannot saturate on a CPU of level `isa`.

        `granularity` is that of its weights, None for what is safe with either.
        """

    @abstractmethod
    def pair_excess(self, network: Network, node: Node, isa: str) -> Optional[PairExcess]:
        """Return which pairs of weights limit the codes of `node`'s data; None where weights must stay as they are."""

    @abstractmethod
    def weight_codes(self, network: Network, node: Node, dtype: str, granularity: str, isa: str) -> int:
        """Return the code of its largest weight with which `node` cannot saturate on data of type `dtype`."""

    @abstractmethod
    def not_worthwhile(
        self, network: Network, int8: Set[Node], sizes: Mapping[str, float], operations_per_byte: float
    ) -> Dict[Node, str]:
        """Return nodes of `int8` that had better stay float32, and why; empty where none should.

        Parameters
        ----------
        network : Network
            A prepared network.
        int8 : set of Node
            The nodes that would run in int8.
        sizes : mapping of str to float
            How many values each tensor has that was calibrated, by name, all for the same examples.
        operations_per_byte : float
            See :class:`mxquant.planning.plan_options.PlanOptions`.
        """

    @abstractmethod
    def observed(self, network: Network) -> FrozenSet[str]:
        """Return the names of the tensors of a canonical network whose statistics a plan for this target may need."""

    @abstractmethod
    def lower(self, network: Network, plan: QuantPlan) -> Network:
        """Return the int8 network that `plan` describes for a prepared network."""
