"""A random network as data: the same in every process, and kept as JSON if it fails."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from mxquant.runtime.mxnet import mx
from tests.soak.networks.values import data_values, parameter_values

__all__ = ["Description", "Input", "Layer", "Material"]

Heads = Tuple[Union[int, Tuple[int, ...]], ...]
# Layers whose weights another layer may use too.
_WITH_WEIGHTS = ("Convolution", "FullyConnected")


@dataclass(frozen=True)
class Input:
    """A data input: its name, its shape, and of which kind its values are."""

    name: str
    shape: Tuple[int, ...]
    values: str


@dataclass(frozen=True)
class Layer:
    """One operator.

    Parameters
    ----------
    op : str
        Of MXNet; 'parameter' for a tensor that is no operator's result but fixed, with its shape among `attrs`.
    name : str or None
        None for the name that MXNet gives.
    reads : tuple of int
        Numbers of tensors: inputs first, then one result for each layer.
    attrs : mapping of str
        Attributes, as MXNet's functions take them.
    result : int
        Which of the operator's results is read.
    shares : int or None
        The number of an earlier layer whose weight it uses.
    """

    op: str
    name: Optional[str]
    reads: Tuple[int, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    result: int = 0
    shares: Optional[int] = None


class Material(NamedTuple):
    """A network to quantize, with data by name of the input."""

    symbol: Any
    args: Dict[str, Any]
    aux: Dict[str, Any]
    data: Dict[str, np.ndarray]


@dataclass(frozen=True)
class Description:
    """A network, its values, and options.

    Parameters
    ----------
    inputs : tuple of Input
    layers : tuple of Layer
    heads : tuple
        What the network returns: tensors, and groups of tensors.
    parameters : str
        Kind of the parameters' values.
    options : mapping of str
        Of :func:`mxquant.quantize`, and what :mod:`tests.soak.check` reads.
    seed : int
        Of all values.
    """

    inputs: Tuple[Input, ...]
    layers: Tuple[Layer, ...]
    heads: Heads
    parameters: str = "usual"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def symbol(self) -> Any:
        """Return the network."""
        with mx.name.NameManager():
            tensors = self.tensors()
            return _group([tensors[h] if isinstance(h, int) else _group([tensors[i] for i in h]) for h in self.heads])

    def tensors(self) -> List[Any]:
        """Return the Symbol of each tensor."""
        tensors = [mx.sym.var(each.name) for each in self.inputs]
        weights: Dict[int, Any] = {}
        for number, layer in enumerate(self.layers):
            tensors.append(_built(layer, number, [tensors[i] for i in layer.reads], weights))
        return tensors

    def material(self) -> Material:
        """Return the network with values for its inputs and parameters."""
        symbol = self.symbol()
        shapes = {each.name: each.shape for each in self.inputs}
        needed = {name: shape for name, shape in shapes.items() if name in symbol.list_inputs()}
        arg_shapes, _, aux_shapes = symbol.infer_shape(**needed)
        random = np.random.RandomState(self.seed)
        args = {
            name: mx.nd.array(parameter_values(name, shape, self.parameters, random))
            for name, shape in zip(symbol.list_arguments(), arg_shapes)
            if name not in shapes
        }
        aux = {
            name: mx.nd.array(parameter_values(name, shape, self.parameters, random))
            for name, shape in zip(symbol.list_auxiliary_states(), aux_shapes)
        }
        data = {each.name: data_values(each.shape, each.values, random) for each in self.inputs if each.name in needed}
        return Material(symbol, args, aux, data)

    def dumps(self) -> str:
        """Return it as JSON on one line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def loads(cls, text: str) -> Description:
        """Read what :meth:`dumps` wrote."""
        read = _as_tuples(json.loads(text))
        inputs = tuple(Input(**each) for each in read.pop("inputs"))
        layers = tuple(Layer(**each) for each in read.pop("layers"))
        return cls(inputs, layers, **read)


def _as_tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_as_tuples(each) for each in value)
    return {key: _as_tuples(each) for key, each in value.items()} if isinstance(value, dict) else value


def _group(symbols: List[Any]) -> Any:
    return symbols[0] if len(symbols) == 1 else mx.sym.Group(symbols)


def _built(layer: Layer, number: int, reads: List[Any], weights: Dict[int, Any]) -> Any:
    if layer.op == "parameter":
        return mx.sym.var(layer.name or f"parameter{number}", shape=layer.attrs["shape"])
    if layer.op == "RNN":
        return _recurrent(layer, *reads)
    more = {}
    if layer.op in _WITH_WEIGHTS and (layer.shares is not None or layer.name is not None):
        weights[number] = weights[layer.shares] if layer.shares is not None else mx.sym.var(f"{layer.name}_weight")
        more["weight"] = weights[number]
    function = getattr(mx.sym._internal if layer.op.startswith("_") else mx.sym, layer.op)
    made = function(*reads, name=layer.name, **more, **layer.attrs)
    return made[layer.result] if len(made) > 1 else made


def _recurrent(layer: Layer, data: Any) -> Any:
    """Return a result of a recurrent layer that begins with zeros, examples along its first axis as in its data."""
    attrs = dict(layer.attrs)
    rows = attrs["num_layers"] * (1 + attrs["bidirectional"])
    states = [mx.sym.zeros((rows, 0, attrs["state_size"])) for _ in range(1 + (attrs["mode"] == "lstm"))]
    inputs = {"data": mx.sym.swapaxes(data, dim1=0, dim2=1), **dict(zip(("state", "state_cell"), states))}
    made = mx.sym.RNN(**inputs, name=layer.name, state_outputs=True, **attrs)
    return mx.sym.swapaxes(made[layer.result], dim1=0, dim2=1)
