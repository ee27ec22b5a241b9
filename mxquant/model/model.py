"""Networks as users have them: Symbol with parameters, HybridBlock, checkpoint; read into one form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, Tuple

from mxquant.errors import InputError
from mxquant.graph import Graph, Network
from mxquant.graph.labels import cut_behind_labels
from mxquant.graph.passes import Canonical, canonicalize
from mxquant.model.checkpoint import load_checkpoint
from mxquant.model.inputs import inputs_of, names_of
from mxquant.model.layer_checks import check_layers
from mxquant.model.nonfinite import check_folded, finite
from mxquant.model.precisions import in_float32
from mxquant.model.tracing import trace
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of, numpy_params
from mxquant.runtime.symbol_file import read_symbol

__all__ = ["Model", "Source", "load", "read"]


@dataclass(frozen=True)
class Source:
    """A user's network as the user has it.

    Parameters
    ----------
    network : Network
        Structure and parameters.
    inputs, labels, structure
        As for :class:`Model`.
    notes : mapping of str to str
        What was done to it when it was read, which goes into the settings of plans.
    """

    network: Network
    inputs: Tuple[str, ...]
    labels: Tuple[str, ...]
    structure: Any = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def unlabelled(self) -> Network:
        """The network without what labels feed."""
        graph = cut_behind_labels(self.network.graph, self.labels)
        used = {node.name for node in graph.variables}
        return Network(graph, {name: value for name, value in self.network.params.items() if name in used})

    def model(self) -> Model:
        """Return the network in canonical form."""
        graph, params, cut = self.network.graph, self.network.params, self.unlabelled
        canonical = canonicalize(cut)
        check_folded(canonical.network, params)
        behind = {node.name for node in graph.operators} - {node.name for node in cut.graph.operators}
        canonical = replace(
            canonical,
            notes=self.notes,
            dropped=canonical.dropped | behind,
            operators=canonical.operators | {node.op for node in graph.operators},
        )
        rest = {name: value for name, value in params.items() if name not in cut.params}
        return Model(graph, canonical, self.network.digest(), self.inputs, self.labels, self.structure, rest)


@dataclass(frozen=True)
class Model:
    """A user's network in canonical form, and how it is fed. Weights that passes have changed it does not keep.

    Parameters
    ----------
    graph : Graph
        Its structure as the user has it.
    canonical : Canonical
        The network in canonical form.
    digest : str
        Of the network as the user has it.
    inputs : tuple of str
        Names of its data inputs, in order; for a HybridBlock also of those that nothing reads.
    labels : tuple of str
        Names of its label inputs.
    structure : object
        For a HybridBlock, how its outputs are nested; None for one flat list.
    rest : mapping of str to numpy.ndarray
        Parameters that are read behind labels only, where the canonical network is cut: :mod:`mxquant.graph.labels`.
    """

    graph: Graph
    canonical: Canonical
    digest: str
    inputs: Tuple[str, ...]
    labels: Tuple[str, ...]
    structure: Any = None
    rest: Mapping[str, Any] = field(default_factory=dict)


def load(
    net: Any,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    example: Optional[Sequence[Any]] = None,
    nonfinite_params: str = "raise",
) -> Model:
    """Read a network and bring it into canonical form; see :func:`read`."""
    return read(net, arg_params, aux_params, data_names, label_names, example, nonfinite_params).model()


def read(
    net: Any,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    example: Optional[Sequence[Any]] = None,
    nonfinite_params: str = "raise",
) -> Source:
    """Read a network.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        A Symbol (with `arg_params` and `aux_params`), an initialized HybridBlock, a checkpoint ``PREFIX`` or
        ``PREFIX:EPOCH``, or a symbol's ``.json`` file (with parameters).
    arg_params, aux_params : mapping of str to NDArray, optional
        Parameters of a Symbol; for a HybridBlock or checkpoint they come from it.
    data_names : str or sequence of str, optional
        Names of the data inputs, in the order in which data are given; default: all variables without a value, other
        than labels.
    label_names : str or sequence of str, optional
        Names of further label inputs; a variable without a value whose name ends in 'label' is one anyhow.
    example : sequence of arrays, optional
        A batch, the label perhaps among it as the last: tells how many inputs a HybridBlock has, and initializes
        parameters that have no shape yet. The last is a label where the block cannot be called with all of them.
    nonfinite_params : {'raise', 'zero'}
        What to do about rows of weights that are NaN or infinite: refuse them, or treat them as zeros where a ReLU
        hides them; see :mod:`mxquant.model.nonfinite`.

    Returns
    -------
    Source
        The network.

    Raises
    ------
    InputError
        If a parameter is missing, belongs to no variable, has another shape than the network wants, or is not finite.
    GraphError
        If the network cannot be read.
    """
    data_names, label_names = names_of(data_names, "data_names"), names_of(label_names, "label_names")
    traced = None
    if isinstance(net, mx.gluon.HybridBlock):
        traced = trace(net, example, data_names)
        symbol, arg_params, aux_params = traced.symbol, traced.params, {}
    elif isinstance(net, (str, Path)) and not str(net).endswith(".json"):
        symbol, arg_params, aux_params = load_checkpoint(str(net))
    elif isinstance(net, (str, Path)):
        symbol = read_symbol(net)
    elif isinstance(net, mx.sym.Symbol):
        symbol = net
    else:
        raise InputError(
            f"network: found {type(net).__name__}, expected a Symbol, an initialized HybridBlock, a checkpoint prefix "
            "or a symbol file"
        )
    graph = graph_of(symbol)
    params = {**numpy_params(arg_params or {}, "arg_params"), **numpy_params(aux_params or {}, "aux_params")}
    used = {node.name for node in graph.variables}
    if traced is not None:
        data_names = [name for name in traced.inputs if name in used]
    inputs, labels = inputs_of(graph, params, data_names, label_names)
    network = Network(graph, {name: value for name, value in params.items() if name in used})
    check_layers(network, params)
    network, cast = in_float32(network)
    network, zeroed = finite(network, nonfinite_params)
    notes = {key: text for key, text in (("precision", cast), ("nonfinite parameters", zeroed)) if text}
    if traced is None:
        return Source(network, inputs, labels, None, notes)
    return Source(network, traced.inputs, labels, traced.structure, notes)
