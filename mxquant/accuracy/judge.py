"""How faithful an int8 network is, measured with its integer simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple

import numpy as np

from mxquant.graph import Network
from mxquant.graph.barriers import runnable
from mxquant.graph.heads import Heads
from mxquant.lowering.simulate import simulate
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment, semantics, split_params, symbol_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Judge", "at_heads", "outputs", "sqnr", "with_labels"]


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
    symbol = symbol_of(runnable(network.graph))
    values = with_labels(network, inputs)
    with semantics(network.graph):
        args, aux = split_params(network, symbol)
        data = {name: mx.nd.array(value, dtype=value.dtype) for name, value in values.items()}
        with environment(MXNET_SUBGRAPH_BACKEND="default", MXNET_SUBGRAPH_VERBOSE="0"):
            executor = symbol.bind(mx.cpu(), {**args, **data}, aux_states=aux, grad_req="null")
        return [output.asnumpy() for output in executor.forward(is_train=False)]


def with_labels(network: Network, inputs: Mapping[str, NDArray[Any]]) -> Dict[str, NDArray[Any]]:
    """Return the inputs and zeros for those that have no data, which labels are."""
    labels = [node.name for node in network.inputs if node.name not in inputs]
    if not labels:
        return dict(inputs)
    symbol = symbol_of(network.graph)
    values = {**network.params, **inputs}
    names = symbol.list_arguments()
    with semantics(network.graph):
        shapes = dict(zip(names, symbol.infer_shape(**{n: values[n].shape for n in names if n in values})[0]))
    return {**inputs, **{name: np.zeros(shapes[name], np.float32) for name in labels}}


def at_heads(
    network: Network, heads: Heads, inputs: Mapping[str, NDArray[Any]]
) -> Tuple[List[NDArray[Any]], Dict[str, NDArray[Any]]]:
    """Return what the fp32 network computes at its heads, and its inputs together with what it decides.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    heads : Heads
        Its heads.
    inputs : mapping of str to numpy.ndarray
        Data by name.

    Returns
    -------
    list of numpy.ndarray
        In the order of the heads.
    dict of str to numpy.ndarray
        What the network of :meth:`~mxquant.graph.heads.Heads.judged` reads, by name.
    """
    found, decided = heads.parted(outputs(heads.deciding(network), inputs))
    return found, {**inputs, **decided}


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
