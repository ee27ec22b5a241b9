"""How a target computes one node in int8, as the planner and the targets tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet, Optional, Tuple

__all__ = ["ANY_INT8", "RECURRENT", "Int8Operator"]

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
        Whether data without negative values may be int8 with a zero point, and whether the result can be.
    any_zero_point : bool
        Whether all tensors around the operator may have any zero point.
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
    any_zero_point: bool = False
    int32_bias: bool = False
    moves: bool = False
    settled: int = 0
    note: str = ""
