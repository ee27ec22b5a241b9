"""Whether one layer runs in int8, how, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from mxquant.errors import PlanError
from mxquant.plan.recurrent_plan import RecurrentPlan
from mxquant.plan.tensor_plan import CODES

__all__ = ["LayerPlan"]


@dataclass(frozen=True)
class LayerPlan:
    """Whether one layer, with all that is fused into it, runs in int8.

    Parameters
    ----------
    name : str
        Name of the main layer in the user's network.
    op : str
        Its operator.
    contains : tuple of str
        Every layer of the user's network that is computed together with it, first to last.
    precision : {'int8', 'float32'}
        How it is computed.
    reason : str
        Why.
    granularity : {'tensor-wise', 'channel-wise'} or None
        Whether its weights have one scale or one per output channel; None where it has no int8 weights.
    weight_codes : int or None
        How many steps lead from 0 to the largest weight: 127, or fewer where that keeps sums of products from
        saturating. 126 and 125 are even codes, which CPUs may halve: beside a channel of zeros, or of all weights but
        the largest; see :mod:`mxquant.lowering.stored_weights`. None where it has no int8 weights.
    pair_codes : int or None
        The largest sum of codes that two weights of one sign may have whose products are added in int16, 128 to 255;
        weights above are made smaller. None where weights stay as they are.
    channel_order : tuple of int or None
        Which channel of its data lies at each place in memory, where neighbours are multiplied in pairs; the tensors
        and weights before are in this order too. None for the network's own. In JSON, a text with blanks between.
    recurrent : RecurrentPlan or None
        What the codes of an int8 LSTM stand for, which has them inside only; None for other layers.
    """

    name: str
    op: str
    contains: Tuple[str, ...]
    precision: str
    reason: str
    granularity: Optional[str] = None
    weight_codes: Optional[int] = None
    pair_codes: Optional[int] = None
    channel_order: Optional[Tuple[int, ...]] = None
    recurrent: Optional[RecurrentPlan] = None

    def __post_init__(self) -> None:
        where = f"layers['{self.name}']"
        object.__setattr__(self, "contains", tuple(self.contains))
        if self.precision not in ("int8", "float32"):
            raise PlanError(f"{where}.precision is {self.precision!r}, expected 'int8' or 'float32'")
        if self.granularity not in (None, "tensor-wise", "channel-wise"):
            raise PlanError(
                f"{where}.granularity is {self.granularity!r}, expected 'tensor-wise', 'channel-wise' or null"
            )
        if self.granularity is not None and self.weight_codes is None:
            object.__setattr__(self, "weight_codes", CODES["int8"])
        codes = 1 if self.weight_codes is None else self.weight_codes
        is_whole = isinstance(codes, int) and not isinstance(codes, bool) and 1 <= codes <= 127
        if (self.granularity is None) != (self.weight_codes is None) or not is_whole:
            raise PlanError(
                f"{where}.weight_codes is {self.weight_codes!r}, expected a whole number from 1 to 127 where the layer "
                "has a granularity, else null"
            )
        order = self.channel_order
        if order is not None and sorted(order) != list(range(len(order))):
            raise PlanError(f"{where}.channel_order is not each whole number from 0 to that of its last channel once")
        pairs = self.pair_codes
        if pairs is None:
            return
        if isinstance(pairs, bool) or not isinstance(pairs, int) or not 128 <= pairs <= 255:
            raise PlanError(f"{where}.pair_codes is {pairs!r}, expected a whole number from 128 to 255, or null")
        if (self.granularity, self.weight_codes) != ("channel-wise", CODES["int8"]):
            raise PlanError(
                f"{where}.pair_codes is {pairs!r}, but only channel-wise weights with 127 codes can be limited"
            )
