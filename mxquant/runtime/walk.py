"""Running a network one operator at a time, so that a layer can be changed just before it is computed.

An operator without inputs, such as the zeros that a recurrent layer begins with, may have lengths that follow from the
rest of the network; they are found before.
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, Mapping, Optional, Tuple

from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.graph.barriers import runnable
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import is_numpy, semantics, symbol_of, tensor_shapes
from mxquant.runtime.sizes import check_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Ready", "Walk"]

# What a CachedOp cannot be made of.
_WITHOUT_GRADIENTS = ("_contrib_quantize_asym", "_contrib_quantized_rnn")


class Ready:
    """Operators and parameters of one network, made ready for MXNet once for all its passes."""

    def __init__(self) -> None:
        self.operators: Dict[Tuple[Node, Tuple[int, ...]], Any] = {}
        self.params: Dict[str, Any] = {}


class Walk:
    """A forward pass that stops wherever it is told to.

    A tensor is let go of as soon as no operator before the end of the pass reads it.

    Parameters
    ----------
    network : Network
        What is computed; its parameters may be replaced in :attr:`params` until an operator reads them.
    inputs : mapping of str to numpy.ndarray
        Data by name.
    ready : Ready, optional
        What passes of the same network share, whose parameters then are not replaced.
    """

    def __init__(self, network: Network, inputs: Mapping[str, NDArray[Any]], ready: Optional[Ready] = None) -> None:
        self.ready = ready
        check_sizes(network, {name: value.shape for name, value in inputs.items()})
        self.params: Dict[str, NDArray[Any]] = dict(network.params)
        self.inputs = inputs
        self.pending: List[Node] = network.graph.operators[::-1]
        self.values: Dict[Tensor, Any] = {}
        self.graph = network.graph
        self.numpy = is_numpy(network.graph)
        self.uses = Counter(tensor for node in self.pending for tensor in node.inputs)
        self.shapes: Mapping[str, Tuple[int, ...]] = {}
        self.labels = {node.name for node in network.graph.variables} - set(self.params) - set(inputs)
        if self.labels or any(not node.inputs for node in self.pending):
            self.shapes = tensor_shapes(network, {name: value.shape for name, value in inputs.items()}) or {}

    def branch(self) -> Walk:
        """Return a pass that goes on from here by itself."""
        twin = copy(self)
        twin.pending, twin.values, twin.uses = list(self.pending), dict(self.values), Counter(self.uses)
        return twin

    @property
    def known(self) -> FrozenSet[str]:
        """Names of the variables that have values; a label has none, and what reads it cannot be computed."""
        return frozenset(self.params) | frozenset(self.inputs)

    def stop_before(self, name: str) -> Node:
        """Compute every operator before the one called `name`; return that one."""
        while self.pending[-1].name != name:
            self.step()
        return self.pending[-1]

    def value(self, tensor: Tensor) -> Any:
        """Return a tensor that is known by now, as an NDArray."""
        if not tensor.node.is_variable:
            return self.values[tensor]
        name = tensor.node.name
        if name in self.labels:
            return mx.nd.zeros(self.shapes[name])
        if name not in self.params:
            return mx.nd.array(self.inputs[name], dtype=self.inputs[name].dtype)
        value = self.params[name]
        if self.ready is None:
            return mx.nd.array(value, dtype=value.dtype)
        if name not in self.ready.params:
            self.ready.params[name] = mx.nd.array(value, dtype=value.dtype)
        return self.ready.params[name]

    def compute(self, node: Node, *data: Any) -> Any:
        """Return the first output of the next operator, with other values for its first inputs, and stay before it."""
        with semantics(self.graph, self.numpy):
            inputs = [*data, *(self.value(tensor) for tensor in node.inputs[len(data) :])]
            return self._operator(node, [0])(*inputs)

    def step(self) -> Any:
        """Compute the next operator; return its first output."""
        node = self.pending.pop()
        indices = [i for i in range(node.num_outputs) if i == 0 or self.uses[Tensor(node, i)]]
        with semantics(self.graph, self.numpy):
            results = self._operator(node, indices)(*[self.value(tensor) for tensor in node.inputs])
        results = results if isinstance(results, (list, tuple)) else [results]
        self.values.update((Tensor(node, index), result) for index, result in zip(indices, results))
        for tensor in node.inputs:
            self.uses[tensor] -= 1
            if not self.uses[tensor]:
                self.values.pop(tensor, None)
        return results[0]

    def _operator(self, node: Node, indices: List[int]) -> Any:
        """Return a function of NDArrays that computes one node."""
        if not node.inputs:
            return lambda: self._without_inputs(node, indices)
        if self.ready is None:
            return self._made(node, indices)
        key = node, tuple(indices)
        if key not in self.ready.operators:
            self.ready.operators[key] = self._made(node, indices)
        return self.ready.operators[key]

    def _made(self, node: Node, indices: List[int]) -> Any:
        variables = [Node("null", f"input{i}") for i in range(len(node.inputs))]
        inputs = [variable.output for variable in variables]
        alone = Node(node.op, "op", dict(node.attrs), inputs, node.num_outputs, node.subgraphs)
        graph = Graph([*variables, alone], [Tensor(alone, i) for i in indices], dict(self.graph.attrs))
        symbol = symbol_of(runnable(graph))
        if node.op in _WITHOUT_GRADIENTS:
            return lambda *values: symbol.bind(mx.cpu(), list(values), grad_req="null").forward(is_train=False)
        return mx.nd.CachedOp(symbol)

    def _without_inputs(self, node: Node, indices: List[int]) -> Any:
        attrs = dict(node.attrs)
        if "shape" in attrs and node.output.name in self.shapes:
            attrs["shape"] = str(self.shapes[node.output.name])
        alone = Node(node.op, "op", attrs, [], node.num_outputs)
        graph = Graph([alone], [Tensor(alone, i) for i in indices], dict(self.graph.attrs))
        return symbol_of(graph).bind(mx.cpu(), {}).forward(is_train=False)
