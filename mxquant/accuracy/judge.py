"""How faithful an int8 network is, measured with its integer simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Mapping

import numpy as np

from mxquant._compat import mx
from mxquant.graph import Network
from mxquant.lowering.simulate import simulate
from mxquant.mxnet_bridge import environment, split_params, symbol_of
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Judge", "outputs", "sqnr"]


def sqnr(reference: NDArray[Any], value: NDArray[Any]) -> float:
    """Return the signal-to-quantization-noise ratio 10 · log10(Σ y² / Σ (y - ŷ)²) in dB; infinite for equal arrays."""
    reference, value = np.asarray(reference, np.float64), np.asarray(value, np.float64)
    signal, noise = float(np.square(reference).sum()), float(np.square(reference - value).sum())
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")


def outputs(network: Network, inputs: Mapping[str, NDArray[Any]]) -> List[NDArray[Any]]:
    """Return what a network computes, one array for each of its outputs.

    Parameters
    ----------
    network : Network
        Any network.
    inputs : mapping of str to numpy.ndarray
        Data by name. Inputs without data, which labels are, are zeros.

    Returns
    -------
    list of numpy.ndarray
        In the order of its outputs.
    """
    symbol = symbol_of(network.graph)
    args, aux = split_params(network, symbol)
    data = {name: mx.nd.array(value, dtype=value.dtype) for name, value in inputs.items()}
    shapes, _, _ = symbol.infer_shape(**{name: value.shape for name, value in {**args, **data}.items()})
    known = dict(zip(symbol.list_arguments(), shapes))
    labels = {name: mx.nd.zeros(known[name]) for name in known if name not in args and name not in data}
    with environment(MXNET_SUBGRAPH_BACKEND="default", MXNET_SUBGRAPH_VERBOSE="0"):
        executor = symbol.bind(mx.cpu(), {**args, **data, **labels}, aux_states=aux, grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


class Judge:
    """The fp32 network's outputs on some examples, to which int8 networks are compared.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    inputs : mapping of str to numpy.ndarray
        Examples by name of the input.
    """

    def __init__(self, network: Network, inputs: Mapping[str, NDArray[Any]]) -> None:
        self.inputs = inputs
        self.expected = outputs(network, inputs)

    def level(self, network: Network, plan: QuantPlan) -> float:
        """Return the SQNR in dB of a network under a plan: the lowest of its outputs."""
        found = outputs(simulate(network, plan), self.inputs)
        return min(sqnr(expected, value) for expected, value in zip(self.expected, found))
