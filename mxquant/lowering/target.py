"""What a target is, and how it tells the planner what it can compute in int8.

A target prepares a canonical fp32 network for itself (fusions), describes its int8 operators one node at a time, or
says why a node has none, and turns a network with a plan into a network of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple, Union

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.packed_recurrent import STATES
from mxquant.lowering.pairs import PairExcess
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from mxquant.lowering.capability import Capability

__all__ = ["ANY_INT8", "RECURRENT", "Int8Operator", "Target", "observed_tensors"]

ANY_INT8: FrozenSet[str] = frozenset({"int8", "uint8"})
RECURRENT = "_contrib_quantized_rnn"


@dataclass(frozen=True)
class Int8Operator:
    """How a target computes one node in int8.

    Parameters
    ----------
    op : str
        Operator of the int8 node.
    must : bool
        Whether running it in int8 is the point of quantizing ('must'); else it is only worth it between such
        operators ('may').
    data : tuple of int
        Inputs that have to be int8: activations, and parameters that are used like them.
    accepts : frozenset of str
        Types that these inputs may have.
    output : {'own', 'inherited', 'joined', 'weights', 'float32'}
        Where the range of the result comes from: a threshold of its own; its only data input; the largest of its data
        inputs; its weights. Or 'float32' for an operator that reads and returns float32, and makes codes inside only.
    result : {'int8', 'uint8', 'like-input', 'any'}
        Type of the result: fixed by the operator; that of its inputs (int8 when they are mixed); free to choose.
    sum_input : int or None
        The input that is added in place to the result.
    weights : tuple of int
        Parameters that are stored as int8, with their range, when the granularity is tensor-wise.
    channel_wise : bool
        Whether the weights can have one scale per output channel.
    float_output : bool
        Whether the operator can return float32 by itself.
    fuses_requantize : bool
        Whether the operator can bring the result into its range by itself, rather than through a requantize node.
    bound : float or None
        Where a fused clip ends. The operator clips by the largest code alone, so that the range of the result must not
        reach beyond, and all codes are used.
    reads_zero_point, returns_zero_point : bool
        Whether the data may be int8 with a zero point, and whether the result can be.
    int32_bias : bool
        Whether the bias is added as int32, in the unit of data times weights.
    moves : bool
        Whether the operator is the fp32 one, which moves codes without looking at them. It is int8 between int8
        operators only, in 'full' mode too.
    settled : int
        The number of axes of the images that have to go through a pooling of single values before, or 0 where the
        operator reads whatever comes.
    note : str
        What the user should know about how this node is computed; becomes part of the plan's reason.
    """

    op: str
    must: bool
    data: Tuple[int, ...]
    accepts: FrozenSet[str] = ANY_INT8
    output: str = "own"
    result: str = "int8"
    sum_input: Optional[int] = None
    weights: Tuple[int, ...] = ()
    channel_wise: bool = False
    float_output: bool = False
    fuses_requantize: bool = True
    bound: Optional[float] = None
    reads_zero_point: bool = False
    returns_zero_point: bool = False
    int32_bias: bool = False
    moves: bool = False
    settled: int = 0
    note: str = ""


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
    ``zero_point`` which code stands for 0 in int8 tensors that have a zero point; ``pairs`` whether the order of
    channels decides which products are added in pairs; ``capabilities`` what the target computes in int8 at best, one
    row for each kind of operator.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Tuple[Capability, ...]]
    on_cpu: ClassVar[bool] = True
    has_uint8: ClassVar[bool] = True
    zero_point: ClassVar[int] = -128
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
            See :class:`mxquant.plan_options.PlanOptions`.
        """

    @abstractmethod
    def observed(self, network: Network) -> FrozenSet[str]:
        """Return the names of the tensors of a canonical network whose statistics a plan for this target may need."""

    @abstractmethod
    def lower(self, network: Network, plan: QuantPlan) -> Network:
        """Return the int8 network that `plan` describes for a prepared network."""
