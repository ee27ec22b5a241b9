"""From a network to an ONNX model: what translations in fp32 and in int8 have in common, and the one in fp32."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from mxquant.errors import LoweringError
from mxquant.graph import Network, Node, Tensor
from mxquant.onnx_export.arithmetic import ARITHMETIC
from mxquant.onnx_export.choices import CHOICES
from mxquant.onnx_export.detection import DETECTION
from mxquant.onnx_export.layers import LAYERS
from mxquant.onnx_export.multibox import MULTIBOX
from mxquant.onnx_export.proposals import PROPOSALS
from mxquant.onnx_export.recurrent import RECURRENT
from mxquant.onnx_export.sampling import SAMPLING
from mxquant.onnx_export.sequences import SEQUENCES
from mxquant.onnx_export.shapes import Shapes
from mxquant.onnx_export.tensors import TENSORS
from mxquant.onnx_export.writer import Call, Writer

__all__ = ["OPERATORS", "Translation", "float_model", "outputs_of"]

# The operators of MXNet that can be translated.
OPERATORS = {
    **TENSORS,
    **ARITHMETIC,
    **LAYERS,
    **SEQUENCES,
    **CHOICES,
    **SAMPLING,
    **DETECTION,
    **MULTIBOX,
    **PROPOSALS,
    **RECURRENT,
}
# Those of which every output has a meaning.
_SEVERAL = ("RNN", "SliceChannel", "_contrib_MultiProposal", "_contrib_Proposal", "topk")


def float_model(network: Network, shapes: Mapping[str, Tuple[int, ...]], metadata: Mapping[str, str]) -> Any:
    """Return the ONNX model of a network in fp32.

    Parameters
    ----------
    network : Network
        A canonical network.
    shapes : mapping of str to tuple of int
        Shapes of its data inputs, the batch first.
    metadata : mapping of str to str
        Properties of the model.

    Returns
    -------
    onnx.ModelProto
        Checked, with shapes inferred; the batch is free unless the network fixes it.

    Raises
    ------
    LoweringError
        If operators have no translation, naming all of them.
    """
    return _Float(network, Shapes(network, shapes)).model(metadata)


@dataclass
class Translation(ABC):
    """A network on its way to ONNX.

    Parameters
    ----------
    network : Network
        The network.
    shapes : Shapes
        Of its tensors.
    writer : Writer
        Where nodes and constants go.
    names : dict of Tensor to str
        What tensors are called in the ONNX graph.
    """

    network: Network
    shapes: Shapes
    writer: Writer = field(default_factory=Writer)
    names: Dict[Tensor, str] = field(default_factory=dict)

    def model(self, metadata: Mapping[str, str]) -> Any:
        """Return the checked model."""
        self._refuse_unknown()
        onnx, graph = self.writer.onnx, self.network.graph
        for node in graph.nodes:
            self.writer.taken.update(tensor.name for tensor in outputs_of(node))
        for node in graph.nodes:
            if node.is_variable:
                self.names[node.output] = node.name
            else:
                self._node(node)
        outputs = [self._returned(tensor, index) for index, tensor in enumerate(graph.outputs)]
        nodes, needed = self.writer.used(outputs)
        made = {name for node in nodes for name in node.output}
        constants = {**self.network.params, **self.writer.constants}
        value_info = onnx.helper.make_tensor_value_info
        proto = onnx.helper.make_graph(
            nodes,
            "mxquant",
            [
                value_info(node.name, self._kind(node.output), self.shapes.symbolic(node.output))
                for node in self.network.inputs
                if node.name in needed
            ],
            [
                value_info(name, self._kind(tensor), self.shapes.symbolic(tensor))
                for name, tensor in zip(outputs, graph.outputs)
            ],
            [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in needed],
            value_info=[
                value_info(name, self._kind(tensor), self.shapes.symbolic(tensor))
                for tensor, name in self.names.items()
                if name in made and name not in outputs
            ],
        )
        model = onnx.helper.make_model(
            proto,
            opset_imports=[onnx.helper.make_opsetid("", self.writer.opset)],
            ir_version=8,
            producer_name="mxquant",
            producer_version=metadata.get("mxquant", ""),
        )
        onnx.helper.set_model_props(model, dict(metadata))
        try:
            onnx.checker.check_model(model, full_check=True)
            return onnx.shape_inference.infer_shapes(model, strict_mode=True)
        except Exception as error:  # ONNX has several of its own
            # Its shapes and types are not those that MXNet has.
            raise LoweringError(f"the network has no translation to ONNX: {' '.join(str(error).split())}") from error

    def _refuse_unknown(self) -> None:
        missing: Dict[str, str] = {}
        for node in self.network.graph.operators:
            for op in (node.op, *(inner.op for graph in node.subgraphs for inner in graph.operators)):
                if op not in OPERATORS:
                    missing.setdefault(op, node.layers[0])
        if missing:
            named = ", ".join(f"{op} (layer '{layer}')" for op, layer in sorted(missing.items()))
            raise LoweringError(f"no translation to ONNX for {named}")

    @abstractmethod
    def _node(self, node: Node) -> None:
        """Write an operator, and note what its outputs are called."""

    def name_of(self, tensor: Tensor) -> str:
        """Return what a tensor is called; raise LoweringError for an output that no translation makes."""
        if tensor not in self.names:
            node = tensor.node
            raise LoweringError(f"layer '{node.name}' ({node.op}): output {tensor.index} has no translation to ONNX")
        return self.names[tensor]

    def translate(self, node: Node, inputs: List[str], outputs: List[str]) -> None:
        """Write a node: its operator, or what a group computes."""
        shapes = [self.shapes.of(tensor) for tensor in node.inputs]
        if not node.subgraphs:
            result = self.shapes.symbolic(node.output)
            dtypes, made = ([self.shapes.dtype(each) for each in part] for part in (node.inputs, outputs_of(node)))
            lengths = [self.shapes.symbolic(tensor) for tensor in node.inputs]
            params, batch = self.network.params, self._batch()
            call = Call(self.writer, node, inputs, outputs, shapes, params, result, dtypes, made, lengths, batch)
            OPERATORS[node.op](call)
            return
        main = node.subgraphs[0].operators[0]
        between = self.writer.unused(f"{main.name}_output")
        twin = Node(main.op, main.name, main.attrs, node.inputs)
        OPERATORS[main.op](Call(self.writer, twin, inputs, [between], shapes, self.network.params))
        self.activate(node, between, outputs)

    def activate(self, group: Node, source: str, outputs: List[str]) -> None:
        """Write the activation at the end of a group."""
        activation, shape = group.subgraphs[0].operators[-1], self.shapes.of(group.output)
        OPERATORS[activation.op](Call(self.writer, activation, [source], outputs, [shape], self.network.params))

    def _batch(self) -> str:
        """Return an input of the network whose first length is the batch, or nothing where the batch is fixed."""
        inputs = self.network.inputs
        return next((node.name for node in inputs if self.shapes.symbolic(node.output)[:1] == ["N"]), "")

    def _kind(self, tensor: Tensor) -> int:
        """Return ONNX's number for what a tensor is stored as."""
        dtype = np.dtype(self.shapes.dtype(tensor))
        return int(self.writer.onnx.helper.np_dtype_to_tensor_dtype(dtype))

    def _returned(self, tensor: Tensor, index: int) -> str:
        """Return the name of an output of the network, one for each."""
        name = self.name_of(tensor)
        if tensor.node.is_variable or tensor in self.network.graph.outputs[:index]:
            return self.writer.emit("Identity", [name], f"{name}_returned")
        return name


@dataclass
class _Float(Translation):
    """A network in fp32."""

    def _node(self, node: Node) -> None:
        names = [tensor.name for tensor in outputs_of(node)]
        self.translate(node, [self.name_of(tensor) for tensor in node.inputs], names)
        self.names.update(zip(outputs_of(node), names))


def outputs_of(node: Node) -> List[Tensor]:
    """Return the outputs that a translation makes: all of some operators, of others the first; the rest are hidden."""
    return [Tensor(node, index) for index in range(node.num_outputs if node.op in _SEVERAL else 1)]
