"""The parts of an ONNX graph in the making, and what a translation of one operator gets to see."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np

from mxquant.errors import LoweringError
from mxquant.graph import Node
from mxquant.graph.names import unused_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OPSET", "Call", "Writer", "import_onnx"]

# The first that has QuantizeLinear with one scale per channel.
OPSET = 13


def import_onnx() -> Any:
    """Return the onnx package.

    Raises
    ------
    LoweringError
        If it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise LoweringError(
            "writing ONNX needs the package onnx, which is not installed; pip install 'mxquant[onnx]'"
        ) from error
    return onnx


@dataclass
class Writer:
    """Nodes and constants of an ONNX graph, in order, and the version of ONNX's operators that they need."""

    nodes: List[Any] = field(default_factory=list)
    constants: Dict[str, NDArray[Any]] = field(default_factory=dict)
    taken: Set[str] = field(default_factory=set)
    opset: int = OPSET
    numbers: Dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.onnx = import_onnx()

    def unused(self, name: str) -> str:
        """Return `name`, or with a number behind where it is taken; it is taken then."""
        candidate = unused_name(name, self.taken, self.numbers)
        self.taken.add(candidate)
        return candidate

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant; return its name."""
        name = self.unused(name)
        self.constants[name] = np.asarray(value, order="C")
        return name

    def emit(self, op: str, inputs: Sequence[str], name: str, outputs: Sequence[str] = (), **attrs: Any) -> str:
        """Add a node; return the name of its first output, which is the node's own where none is given."""
        name = self.unused(name)
        outputs = list(outputs) or [name]
        self.taken.update(outputs)
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), outputs, name, **attrs))
        return outputs[0]

    def used(self, outputs: Sequence[str]) -> Tuple[List[Any], Set[str]]:
        """Return the nodes that some outputs depend on, in order, and the names of all that they read."""
        needed, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(_read(node))
        return nodes[::-1], needed

    def inner(self) -> Writer:
        """Return a writer of a graph within this one: its nodes are its own, names and constants are shared."""
        return Writer([], self.constants, self.taken, self.opset, self.numbers)


def _read(node: Any) -> Set[str]:
    """Return the names of what a node and the graphs within it read."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _read(inner)
    return names


@dataclass
class Call:
    """One operator to translate.

    Parameters
    ----------
    writer : Writer
        Where its nodes go.
    node : Node
        The operator of MXNet.
    inputs : list of str
        Names of what it reads, in MXNet's order.
    outputs : list of str
        What its results are to be called.
    shapes : list of tuple of int
        Shapes of its inputs, with the batch that they were inferred for.
    params : mapping of str to numpy.ndarray
        Values of parameters by the name of their variable.
    result : sequence
        Shape of its first result, with something else than a number for what grows with the batch.
    dtypes : sequence of str
        What its inputs are stored as in ONNX, as NumPy names it; float32 where nothing is said.
    result_dtypes : sequence of str
        What its results are stored as.
    lengths : sequence of sequence
        Shapes of its inputs, as `result` has that of its result.
    batch : str
        An input of the network whose first length is the batch; nothing where the batch is fixed.
    """

    writer: Writer
    node: Node
    inputs: List[str]
    outputs: List[str]
    shapes: List[Tuple[int, ...]]
    params: Mapping[str, NDArray[Any]]
    result: Sequence[object] = ()
    dtypes: Sequence[str] = ()
    result_dtypes: Sequence[str] = ()
    lengths: Sequence[Sequence[object]] = ()
    batch: str = ""

    @property
    def rank(self) -> int:
        """The number of dimensions of the first input."""
        return len(self.shapes[0])

    def axis(self, axis: int) -> int:
        """Return an axis counted from the front."""
        return axis + self.rank if axis < 0 else axis

    @property
    def dtype(self) -> str:
        """What the first input is stored as."""
        return self.dtypes[0] if self.dtypes else "float32"

    def kind(self, index: int = 0) -> int:
        """Return ONNX's number for what a result is stored as."""
        return int(self.writer.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.result_dtype(index))))

    def result_dtype(self, index: int = 0) -> str:
        """Return what a result is stored as."""
        return self.result_dtypes[index] if index < len(self.result_dtypes) else "float32"

    def numbers(self, key: str, default: Sequence[float]) -> NDArray[np.float32]:
        """Return an attribute as float32 numbers; MXNet has checked it."""
        text = self.node.attrs.get(key, str(tuple(default)))
        return np.array([float(part) for part in re.split(r"[,\s]+", text.strip("()[] ,")) if part], np.float32)

    def target(self) -> List[int]:
        """Return the shape of the first result, -1 for what grows with the batch; refuse two such lengths."""
        lengths = [length if isinstance(length, int) else -1 for length in self.result]
        if lengths.count(-1) > 1:
            raise self.refuse(f"two lengths of its result grow with the batch: {list(self.result)}")
        return lengths

    def emit(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        """Add the node that makes the result."""
        return self.writer.emit(op, inputs, self.node.name, self.outputs[:1], **attrs)

    def step(self, op: str, inputs: Sequence[str], suffix: str, **attrs: Any) -> str:
        """Add a node on the way to the result."""
        return self.writer.emit(op, inputs, f"{self.node.name}_{suffix}", **attrs)

    def constant(self, suffix: str, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant."""
        return self.writer.constant(f"{self.node.name}_{suffix}", np.asarray(value, dtype))

    def value(self, slot: int) -> Optional[NDArray[Any]]:
        """Return the value of an input that is a parameter, else None."""
        tensor = self.node.inputs[slot]
        return self.params.get(tensor.node.name) if tensor.node.is_variable else None

    def refuse(self, reason: str) -> LoweringError:
        """Return the error to raise where an operator has no translation."""
        return LoweringError(f"layer '{self.node.name}' ({self.node.op}): {reason}")
