"""A random network as data: the same in every process, and kept as JSON if it fails."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from mxquant.runtime.mxnet import mx
from tests.soak.networks.values import data_in_float16, data_values, parameter_values

__all__ = ["Description", "Input", "Layer", "Material"]

Heads = Tuple[Union[int, Tuple[int, ...]], ...]
# Layers whose weights another layer may use too.
_WITH_WEIGHTS = ("Convolution", "FullyConnected")
# What float16 networks leave in float32, as Gluon does: the parameters of BatchNorm.
_STATISTICS = ("gamma", "beta", "mean", "var")
_LENGTHS = "lengths"


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
        Attributes, as MXNet's functions take them; 'label' is the shape of one that is reshaped to a row, and
        'time_major' says of a recurrent layer that examples lie along the second axis of its data.
    result : int
        Which of the operator's results is read; -1 for all of them, which are returned.
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
    """A network in float32 that can be run, with data by name of the input, and what of it is to be quantized.

    Parameters
    ----------
    symbol : Symbol
    args, aux : dict of str to NDArray
    data : dict of str to numpy.ndarray
    labels : dict of str to tuple of int
        Shapes of labels that MXNet cannot infer.
    fixed : frozenset of str
        Inputs whose values are places, not to be changed.
    saved : Symbol or None
        The same network in float16, whose parameters are those of `args` exactly; None if it is in float32.
    batches : int
        In how many batches, all of them `data`, data are given.
    """

    symbol: Any
    args: Dict[str, Any]
    aux: Dict[str, Any]
    data: Dict[str, np.ndarray]
    labels: Mapping[str, Tuple[int, ...]] = {}
    fixed: FrozenSet[str] = frozenset()
    saved: Optional[Any] = None
    batches: int = 1

    @property
    def checkpoint(self) -> Tuple[Any, Dict[str, Any], Dict[str, Any]]:
        """The network to quantize: symbol, parameters and auxiliary states."""
        if self.saved is None:
            return self.symbol, self.args, self.aux
        args = {
            name: value if name.endswith(_STATISTICS) else value.astype("float16") for name, value in self.args.items()
        }
        return self.saved, args, self.aux


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
    dtype : {'float32', 'float16'}
        In which the network is saved.
    batches : int
        In how many batches the data are given.
    """

    inputs: Tuple[Input, ...]
    layers: Tuple[Layer, ...]
    heads: Heads
    parameters: str = "usual"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    dtype: str = "float32"
    batches: int = 1

    def symbol(self, half: bool = False) -> Any:
        """Return the network in float32, or in float16."""
        with mx.name.NameManager():
            tensors = self.tensors(half)
            return _group([tensors[h] if isinstance(h, int) else _group([tensors[i] for i in h]) for h in self.heads])

    def tensors(self, half: bool = False) -> List[Any]:
        """Return the Symbol of each tensor."""
        tensors = [mx.sym.var(each.name) for each in self.inputs]
        read = {number for layer in self.layers for number in layer.reads}
        weights: Dict[int, Any] = {}
        for number, layer in enumerate(self.layers):
            # What comes behind a Cast in the middle has parameters in float16.
            dtype = "float16" if half and (layer.op != "Cast" or len(tensors) in read) else "float32"
            tensors.append(_built(layer, number, [tensors[i] for i in layer.reads], weights, dtype))
        return tensors

    @property
    def labels(self) -> Dict[str, Tuple[int, ...]]:
        """Shapes of the labels that MXNet cannot infer."""
        return {f"{layer.name}_label": layer.attrs["label"] for layer in self.layers if "label" in layer.attrs}

    def places(self) -> List[bool]:
        """Return of each output whether its values are places of other values, of which small errors make others."""
        heads = [number for head in self.heads for number in ((head,) if isinstance(head, int) else head)]
        found = []
        for number in heads:
            layer = None if number < len(self.inputs) else self.layers[number - len(self.inputs)]
            if layer is None or layer.result >= 0:
                found.append(False)
            else:
                found += [False, True] if layer.op == "topk" else [False] * layer.attrs["num_outputs"]
        return found

    def material(self) -> Material:
        """Return the network with values for its inputs and parameters."""
        symbol = self.symbol()
        shapes = {**{each.name: each.shape for each in self.inputs}, **self.labels}
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
        labels = {name: shape for name, shape in self.labels.items() if name in needed}
        fixed = frozenset(each.name for each in self.inputs if each.values.startswith(_LENGTHS))
        saved = None
        if self.dtype == "float16":
            args = {name: value.astype("float16").astype("float32") for name, value in args.items()}
            data = {name: data_in_float16(value) for name, value in data.items()}
            saved = self.symbol(half=True)
        return Material(symbol, args, aux, data, labels, fixed, saved, self.batches)

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


def _built(layer: Layer, number: int, reads: List[Any], weights: Dict[int, Any], dtype: str) -> Any:
    attrs = dict(layer.attrs)
    if layer.op == "parameter":
        return mx.sym.var(layer.name or f"parameter{number}", shape=attrs["shape"])
    if layer.op == "RNN":
        return _recurrent(layer, dtype, *reads)
    more = {}
    if attrs.pop("label", None) is not None:
        more["label"] = mx.sym.Reshape(mx.sym.var(f"{layer.name}_label"), shape=(-1,))
    if layer.op == "Cast":
        attrs["dtype"] = dtype
    if layer.op in _WITH_WEIGHTS and (layer.shares is not None or layer.name is not None):
        weights[number] = weights[layer.shares] if layer.shares is not None else mx.sym.var(f"{layer.name}_weight")
        more["weight"] = weights[number]
    function = getattr(mx.sym._internal if layer.op.startswith("_") else mx.sym, layer.op)
    made = function(*reads, name=layer.name, **more, **attrs)
    return made[layer.result] if len(made) > 1 and layer.result >= 0 else made


def _recurrent(layer: Layer, dtype: str, data: Any, *given: Any) -> Any:
    """Return a result of a recurrent layer, which begins with zeros if no states are given.

    Examples lie along the first axis of what it reads and returns, or along the second if it is time-major.
    """
    attrs = dict(layer.attrs)
    time_major = attrs.pop("time_major", False)
    rows = attrs["num_layers"] * (1 + attrs["bidirectional"])
    count = 1 + (attrs["mode"] == "lstm")
    states = given or [mx.sym.zeros((rows, 0, attrs["state_size"]), dtype=dtype) for _ in range(count)]
    steps = data if time_major else mx.sym.swapaxes(data, dim1=0, dim2=1)
    inputs = {"data": steps, **dict(zip(("state", "state_cell"), states))}
    made = mx.sym.RNN(**inputs, name=layer.name, state_outputs=True, **attrs)[layer.result]
    return made if time_major else mx.sym.swapaxes(made, dim1=0, dim2=1)
