"""Two networks run batch by batch to where they are judged, for those that decide by what they compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, Optional, Tuple

from mxquant.analysis.predictor import Predictor
from mxquant.graph import Graph, Network
from mxquant.graph.barriers import runnable
from mxquant.graph.heads import Heads
from mxquant.runtime.batch import examples_of
from mxquant.runtime.mxnet_bridge import semantics, split_params, symbol_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AtHeads"]


@dataclass
class AtHeads:
    """What an fp32 network and an int8 network compute at the heads; see :mod:`mxquant.graph.heads`.

    Parameters
    ----------
    graph : Graph
        Of the fp32 network.
    heads : Heads
        Where it is judged.
    exact : Predictor
        The fp32 network: its heads, and then what it decides.
    rounded : Predictor
        The int8 network, which reads what fp32 has decided: its heads.
    """

    graph: Graph
    heads: Heads
    exact: Predictor
    rounded: Predictor

    @classmethod
    def of(cls, network: Network, int8: Callable[[], Network]) -> Optional[AtHeads]:
        """Return what runs both networks, or None where they are judged at their outputs.

        Parameters
        ----------
        network : Network
            The canonical fp32 network.
        int8 : callable
            Returns what was made of it, the int8 network or its simulation; called where there are heads only.
        """
        heads = Heads.of(network)
        if not any(edge.reader for edge in heads.edges):
            return None
        return cls(network.graph, heads, _predictor(heads.deciding(network)), _predictor(heads.judged(int8())))

    def __call__(self, arrays: Mapping[str, NDArray[Any]], size: int) -> Tuple[List[NDArray[Any]], List[NDArray[Any]]]:
        """Return the heads of both networks for the first `size` examples of a batch, by name of the input."""
        data = examples_of(arrays).part(0, size)
        with semantics(self.graph):
            self.exact.bind(data)
            found, decided = self.heads.parted(self.exact.forward())
            given = {**data, **decided}
            # Of the decisions it reads those that come before its heads.
            self.rounded.bind({name: given[name] for name in self.rounded.symbol.list_arguments() if name in given})
            return found, self.rounded.forward()


def _predictor(network: Network) -> Predictor:
    symbol = symbol_of(runnable(network.graph))
    return Predictor(symbol, *split_params(network, symbol))
