"""How faithful an int8 network is, measured with its integer simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from mxquant.graph import Network
from mxquant.graph.heads import Heads
from mxquant.lowering.simulate import simulate
from mxquant.plan import QuantPlan
from mxquant.runtime.forward import at_heads, outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Judge", "sqnr"]


def sqnr(reference: NDArray[Any], value: NDArray[Any]) -> float:
    """Return the signal-to-quantization-noise ratio 10 · log10(Σ y² / Σ (y - ŷ)²) in dB; infinite for equal arrays."""
    reference, value = np.asarray(reference, np.float64), np.asarray(value, np.float64)
    signal, noise = float(np.square(reference).sum()), float(np.square(reference - value).sum())
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")


class Judge:
    """What the fp32 network computes on some examples, to which int8 networks are compared.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    inputs : mapping of str to numpy.ndarray
        Examples by name of the input.
    """

    def __init__(self, network: Network, inputs: Mapping[str, NDArray[Any]]) -> None:
        self.heads = Heads.of(network)
        self.expected, self.inputs = at_heads(network, self.heads, inputs)

    def level(self, network: Network, plan: QuantPlan, exact_weights: bool = False) -> float:
        """Return the SQNR in dB of a network under a plan: the lowest of its heads; see :func:`simulate`."""
        return self._lowest(simulate(self.heads.judged(network), plan, exact_weights))

    def level_of(self, network: Network) -> float:
        """Return the SQNR in dB of a network with the operators of the fp32 network: the lowest of its heads."""
        return self._lowest(self.heads.judged(network))

    def _lowest(self, network: Network) -> float:
        found = outputs(network, self.inputs)
        return min(sqnr(expected, value) for expected, value in zip(self.expected, found))
