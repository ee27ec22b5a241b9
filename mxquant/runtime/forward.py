"""One forward pass of a network on the CPU, without MXNet's fusions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.graph.barriers import runnable
from mxquant.graph.heads import Heads
from mxquant.graph.labels import cut_labels
from mxquant.runtime.batch import Examples, examples_of
from mxquant.runtime.data import Sample
from mxquant.runtime.labels import labels_of
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment, first_line, semantics, split_params, symbol_of
from mxquant.runtime.sizes import check_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["at_heads", "kept_examples", "outputs", "takes_any_batch", "with_labels"]


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

    Raises
    ------
    InputError
        If it cannot take these data.
    """
    shapes = {name: value.shape for name, value in inputs.items()}
    check_sizes(network, shapes)
    try:
        return _computed(network, inputs)
    except mx.MXNetError as error:
        raise InputError(f"the network cannot take these inputs {shapes}: {first_line(error)}") from error


def _computed(network: Network, inputs: Mapping[str, NDArray[Any]]) -> List[NDArray[Any]]:
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
    known = {**network.params, **inputs}
    graph = cut_labels(network.graph)
    missing = [node.name for node in graph.variables if node.name not in known]
    if not missing:
        return dict(inputs)
    with semantics(network.graph):
        shapes = labels_of(symbol_of(graph), missing, {name: value.shape for name, value in inputs.items()}, known)
    return {**inputs, **{name: np.zeros(shape, np.float32) for name, shape in shapes.items()}}


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


def takes_any_batch(network: Network, inputs: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a network can be run on one example as well as on a batch."""
    examples = examples_of(inputs)
    if examples.whole:
        return False
    try:
        outputs(network, examples.part(0, 1))
    except InputError:
        return False
    return True


def kept_examples(network: Network, sample: Sample) -> Examples:
    """Return the kept examples, or the first batch of them where the network takes no other batch."""
    first = Examples(sample.parts[0])
    return sample.examples if len(sample.parts) < 2 or takes_any_batch(network, first) else first
