"""How faithful an int8 network is, measured with its integer simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping

from mxquant.analysis.scores import Faithfulness
from mxquant.graph import Network
from mxquant.graph.heads import Heads
from mxquant.lowering.simulate import simulate
from mxquant.plan import QuantPlan
from mxquant.runtime.forward import at_heads_in_turn, outputs_in_turn
from mxquant.runtime.forward import parts as in_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Judge"]


class Judge:
    """What the fp32 network computes on some examples, to which int8 networks are compared.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    inputs : mapping of str to numpy.ndarray
        Examples by name of the input.
    parts : bool
        Whether to choose of several forms of one network: what an output is made of counts alike, part by part, by
        the mean of their levels in dB, so that neither the largest numbers nor the worst part decide alone; see
        :mod:`mxquant.graph.heads`.
    """

    def __init__(self, network: Network, inputs: Mapping[str, NDArray[Any]], parts: bool = False) -> None:
        self.parts = parts
        self.heads = Heads.of(network, parts)
        found = list(at_heads_in_turn(network, self.heads, in_parts(network, inputs)))
        self.expected: List[List[NDArray[Any]]] = [exact for exact, _ in found]
        self.inputs: List[Dict[str, NDArray[Any]]] = [given for _, given in found]

    def level(self, network: Network, plan: QuantPlan, exact_weights: bool = False) -> float:
        """Return the SQNR in dB of a network under a plan; see :func:`simulate`."""
        return self._summed(simulate(self.heads.judged(network), plan, exact_weights))

    def level_of(self, network: Network) -> float:
        """Return the SQNR in dB of a network with the operators of the fp32 network."""
        return self._summed(self.heads.judged(network))

    def _summed(self, network: Network) -> float:
        faithful = Faithfulness()
        for expected, values in zip(self.expected, outputs_in_turn(network, self.inputs)):
            faithful.add(expected, values)
        return self.summary(faithful)

    def summary(self, faithful: Faithfulness) -> float:
        """Return one SQNR in dB for those of all heads: the lowest, or for parts their mean."""
        return faithful.mean() if self.parts else faithful.lowest()
