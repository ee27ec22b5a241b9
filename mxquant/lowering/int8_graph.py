"""An int8 graph of MXNet in the making: what every target of MXNet's needs, whichever its int8 operators are.

Each int8 operator returns three tensors: codes, and the ends of the range they stand for. Where a float32 tensor
meets an int8 operator a ``_contrib_quantize_v2`` node is put between, in the other direction a
``_contrib_dequantize``, each once per tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, NamedTuple, Tuple

from mxquant.errors import PlanError
from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.lowering.volumes import COPY, is_reshaped_volume
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Codes", "Int8Graph"]

# MXNet's numbers of element types, as variables state them.
_DTYPES = {"float32": "0", "int32": "4", "int8": "5"}


class Codes(NamedTuple):
    """An int8 tensor of the new graph: the codes and the two ends of their range."""

    data: Tensor
    minimum: Tensor
    maximum: Tensor

    @classmethod
    def of(cls, node: Node) -> Codes:
        """Return the three results of an int8 operator."""
        return cls(Tensor(node, 0), Tensor(node, 1), Tensor(node, 2))


@dataclass
class Int8Graph:
    """Nodes and parameters of the new graph, and where the tensors of the old one are in it.

    Parameters
    ----------
    plan : QuantPlan
        The plan that is followed.
    codes : dict of Tensor to Codes
        Tensors of the old graph that exist as codes.
    floats : dict of Tensor to Tensor
        Tensors of the old graph that exist as float32, but for those that a copied node makes.
    """

    plan: QuantPlan
    codes: Dict[Tensor, Codes] = field(default_factory=dict)
    floats: Dict[Tensor, Tensor] = field(default_factory=dict)
    _nodes: List[Node] = field(default_factory=list)
    _params: Dict[str, NDArray[Any]] = field(default_factory=dict)
    _twins: Dict[Node, Node] = field(default_factory=dict)

    def add(
        self,
        op: str,
        name: str,
        attrs: Mapping[str, str],
        inputs: Iterable[Tensor],
        num_outputs: int = 1,
        subgraphs: Tuple[Graph, ...] = (),
    ) -> Node:
        """Append a node."""
        node = Node(op, name, dict(attrs), list(inputs), num_outputs, subgraphs)
        self._nodes.append(node)
        return node

    def add_copy(self, node: Node) -> None:
        """Append a node of the old graph that stays as it is."""
        inputs = [self.real(tensor) for tensor in node.inputs]
        twin = self.add(node.op, node.name, node.attrs, inputs, node.num_outputs, node.subgraphs)
        twin.layers = node.layers
        self._twins[node] = twin

    def add_parameter(self, name: str, value: NDArray[Any], typed: bool = True) -> Tensor:
        """Append a variable with a value; `typed` says its type, which MXNet cannot always infer."""
        self._params[name] = value
        return self.add("null", name, {"__dtype__": _DTYPES[value.dtype.name]} if typed else {}, []).output

    def has_parameter(self, name: str) -> bool:
        """Whether a parameter of this name was added."""
        return name in self._params

    def real(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the old graph as float32."""
        if tensor.node in self._twins:
            return Tensor(self._twins[tensor.node], tensor.index, tensor.version)
        if tensor not in self.floats:
            if self.plan.tensors[tensor.name].zero_point:
                raise PlanError(f"tensors['{tensor.name}'].zero_point is not 0, but float32 layers read it")
            name = f"{tensor.node.name}_dequantize"
            self.floats[tensor] = self.add("_contrib_dequantize", name, {}, self.codes[tensor]).output
        return self.floats[tensor]

    def quantized(self, tensor: Tensor, attrs: Mapping[str, str], with_zeros: bool = False) -> Codes:
        """Return a tensor of the old graph as codes.

        Parameters
        ----------
        tensor : Tensor
            A float32 tensor, or one that has codes already.
        attrs : mapping of str to str
            Those of the node that quantizes it.
        with_zeros : bool
            Whether it gets one channel of zeros more; all that read its codes have to count on it.
        """
        if tensor not in self.codes:
            suffix = "" if tensor.node.is_variable else "_output" if tensor.index == 0 else f"_output{tensor.index}"
            source = self.real(tensor)
            if source.node.is_variable:
                # Lets MXNet's type inference succeed where only shapes are given, as in simple_bind.
                source.node.attrs.setdefault("__dtype__", _DTYPES["float32"])
            if is_reshaped_volume(tensor):
                source = self.add("slice_axis", f"{tensor.node.name}{suffix}_copy", COPY, [source]).output
            if with_zeros:
                source = self._with_zeros(source, f"{tensor.node.name}{suffix}")
            node = self.add("_contrib_quantize_v2", f"{tensor.node.name}{suffix}_quantize", attrs, [source], 3)
            self.codes[tensor] = Codes.of(node)
        return self.codes[tensor]

    def _with_zeros(self, source: Tensor, name: str) -> Tensor:
        first = self.add("slice_axis", f"{name}_channel", {"axis": "1", "begin": "0", "end": "1"}, [source])
        zeros = self.add("zeros_like", f"{name}_zeros", {}, [first.output])
        return self.add("Concat", f"{name}_and_zeros", {"num_args": "2", "dim": "1"}, [source, zeros.output]).output

    def network(self, original: Network) -> Network:
        """Return the new network, with the outputs of the original one."""
        graph = original.graph
        outputs = [self.real(tensor) for tensor in graph.outputs]
        self._name_outputs(outputs, graph.outputs)
        result = Graph(self._nodes, outputs, dict(graph.attrs))
        result.prune()
        result.verify()
        used = {node.name for node in result.variables}
        params = {**original.params, **self._params}
        return Network(result, {name: value for name, value in params.items() if name in used})

    def _name_outputs(self, outputs: List[Tensor], originals: List[Tensor]) -> None:
        """Let the network's outputs bear the names they have in the user's network."""
        taken = {node.name for node in self._nodes}
        for tensor, original in zip(outputs, originals):
            name = original.name[: -len("_output")]
            node = tensor.node
            if node.is_variable or node.num_outputs != 1 or not original.name.endswith("_output") or name in taken:
                continue
            node.name = name
            taken.add(name)
