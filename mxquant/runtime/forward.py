"""One forward pass of a network on the CPU, without MXNet's fusions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Graph, Network
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

__all__ = [
    "at_heads",
    "at_heads_in_turn",
    "executor_of",
    "kept_examples",
    "outputs",
    "outputs_in_turn",
    "parts",
    "takes_any_batch",
    "with_labels",
]

# So many examples are run at once where a network takes any number: more take memory, and no less time.
_AT_ONCE = 2


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
    return next(outputs_in_turn(network, [inputs]))


def outputs_in_turn(network: Network, batches: Iterable[Mapping[str, NDArray[Any]]]) -> Iterator[List[NDArray[Any]]]:
    """Yield what :func:`outputs` returns for each of several batches; memory is that of one of them.

    Parameters
    ----------
    network : Network
        Any network.
    batches : iterable of mapping of str to numpy.ndarray
        Data by name. Where two that follow each other have the same shapes, the network is bound once.

    Raises
    ------
    InputError
        If it cannot take these data.
    """
    executor: Any = None
    known: Any = None
    for inputs in batches:
        shapes = {name: value.shape for name, value in inputs.items()}
        check_sizes(network, shapes)
        kinds = {name: (value.shape, value.dtype) for name, value in inputs.items()}
        try:
            if kinds != known:
                executor, known = executor_of(network, runnable(network.graph), inputs), kinds
            else:
                for name in inputs.keys() & executor.arg_dict.keys():  # nothing may read an input
                    executor.arg_dict[name][:] = inputs[name]
            with semantics(network.graph):
                found = [output.asnumpy() for output in executor.forward(is_train=False)]
        except mx.MXNetError as error:
            raise InputError(f"the network cannot take these inputs {shapes}: {first_line(error)}") from error
        yield found


def executor_of(network: Network, graph: Graph, inputs: Mapping[str, NDArray[Any]], backend: str = "default") -> Any:
    """Return an executor of a network for one batch.

    Parameters
    ----------
    network : Network
        Any network.
    graph : Graph
        Its graph as MXNet is to run it, without labels that need no data.
    inputs : mapping of str to numpy.ndarray
        Data by name.
    backend : str
        Whose fusions MXNet makes; by default none.
    """
    symbol = symbol_of(graph)
    values = with_labels(network, inputs)
    with semantics(network.graph):
        args, aux = split_params(network, symbol)
        data = {name: mx.nd.array(value, dtype=value.dtype) for name, value in values.items()}
        with environment(MXNET_SUBGRAPH_BACKEND=backend, MXNET_SUBGRAPH_VERBOSE="0"):
            return symbol.bind(mx.cpu(), {**args, **data}, aux_states=aux, grad_req="null")


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
    return next(at_heads_in_turn(network, heads, [inputs]))


def at_heads_in_turn(
    network: Network, heads: Heads, batches: Sequence[Mapping[str, NDArray[Any]]]
) -> Iterator[Tuple[List[NDArray[Any]], Dict[str, NDArray[Any]]]]:
    """Yield what :func:`at_heads` returns for each of several batches."""
    for inputs, values in zip(batches, outputs_in_turn(heads.deciding(network), batches)):
        found, decided = heads.parted(values)
        yield found, {**inputs, **decided}


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


def parts(network: Network, inputs: Mapping[str, NDArray[Any]], most: int = _AT_ONCE) -> List[Examples]:
    """Return examples in parts that are run one after the other, so that memory does not grow with their number.

    Parameters
    ----------
    network : Network
        What reads them.
    inputs : mapping of str to numpy.ndarray
        Data by name. Only :class:`Examples` know where their examples are; others stay whole.
    most : int
        How many examples a part has, at most.
    """
    examples = examples_of(inputs)
    if not isinstance(inputs, Examples) or examples.count <= most or not takes_any_batch(network, inputs):
        return [examples]
    return [examples.part(begin, begin + most) for begin in range(0, examples.count, most)]


def kept_examples(network: Network, sample: Sample) -> Examples:
    """Return the kept examples, or the first batch of them where the network takes no other batch."""
    first = Examples(sample.parts[0])
    return sample.examples if len(sample.parts) < 2 or takes_any_batch(network, first) else first
