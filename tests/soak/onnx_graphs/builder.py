"""A graph in the making: values with their shapes, constants, and one random operator after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Graph", "Value", "random_graph"]

REAL, WHOLE, TRUTH = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
_OPSETS = (7, 9, 10, 11, 12, 13, 13, 14, 16, 17, 18, 19, 21, 22)
_SHAPES = (
    (5,),
    (3, 4),
    (2, 6),
    (1, 7),
    (2, 3, 4),
    (3, 1, 5),
    (2, 4, 6, 7),
    (1, 3, 8, 8),
    (2, 8, 5, 6),
    (1, 2, 3, 4, 5),
    (2, 1, 2, 2, 3, 2),
    (2, 1, 2, 2, 3),
)
# More values than this make a graph slow.
_MOST = 50_000


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    Parameters
    ----------
    name : str
        Its name.
    shape : tuple of int
        Its shape.
    kind : int
        REAL, WHOLE or TRUTH.
    exact : bool
        Whether two runtimes make the same of it to the last bit, so that steps and comparisons are the same too.
    """

    name: str
    shape: Tuple[int, ...]
    kind: int = REAL
    exact: bool = True

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)


@dataclass
class Graph:
    """What has been drawn so far.

    Parameters
    ----------
    rng : numpy.random.RandomState
        Where all chances come from.
    opset : int
        Version of ONNX's operators.
    """

    rng: np.random.RandomState
    opset: int
    values: List[Value] = field(default_factory=list)
    inputs: List[Value] = field(default_factory=list)
    nodes: List[Any] = field(default_factory=list)
    constants: Dict[str, np.ndarray] = field(default_factory=dict)
    count: int = 0

    def name(self, prefix: str) -> str:
        """Return a new name."""
        self.count += 1
        return f"{prefix}{self.count}"

    def chance(self, share: float) -> bool:
        """Whether something happens that happens so often."""
        return bool(self.rng.rand() < share)

    def choose(self, options: Sequence[Any]) -> Any:
        """Return one of some."""
        return options[self.rng.randint(len(options))]

    def whole(self, low: int, high: int) -> int:
        """Return a number from `low` to `high`, both included."""
        return int(self.rng.randint(low, high + 1))

    def value(self, kind: int = REAL, fits: Callable[[Value], bool] = lambda value: True) -> Optional[Value]:
        """Return a tensor of a kind, later ones more often; None without."""
        found = [each for each in self.values if each.kind == kind and fits(each)]
        return found[max(self.rng.randint(len(found)), self.rng.randint(len(found)))] if found else None

    def numbers(self, *shape: int) -> np.ndarray:
        """Return real numbers that have few bits, none of them 0."""
        return (self.choose([-1, 1]) * (self.rng.randint(1, 17, shape) / 4)).astype(np.float32)

    def weights(self, *shape: int) -> np.ndarray:
        """Return real numbers of a normal distribution."""
        return np.asarray(self.rng.randn(*shape) * 0.5, np.float32)

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add a constant, as a node now and then; return its name."""
        name = self.name("c")
        array = np.asarray(value, dtype)
        if self.chance(0.2):
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name)))
        else:
            self.constants[name] = array
        return name

    def axis(self, axis: int, rank: int) -> int:
        """Return an axis, counted from the end now and then where the operators' version has that."""
        return axis - rank if self.opset >= 13 and self.chance(0.4) else axis

    def emit(
        self, op: str, inputs: Sequence[str], kind: int = REAL, exact: bool = False, outputs: int = 1, **attrs: Any
    ) -> List[Value]:
        """Add an operator; return what it makes, of the shapes that ONNX infers. Raises Unsuitable without one."""
        names = [self.name("v") for _ in range(outputs)]
        node = helper.make_node(op, list(inputs), names, self.name(f"{op}_"), **attrs)
        self.nodes.append(node)
        try:
            shapes = self._inferred(names)
        except Unsuitable:
            self.nodes.pop()
            raise
        found = [Value(name, shape, kind, exact) for name, shape in zip(names, shapes)]
        self.values += found
        return found

    def _inferred(self, names: Sequence[str]) -> List[Tuple[int, ...]]:
        try:
            graph = onnx.shape_inference.infer_shapes(self.model(names), strict_mode=True, data_prop=True).graph
        except Exception as error:
            raise Unsuitable(str(error)) from error
        shapes = []
        for each in graph.output:
            dims = each.type.tensor_type.shape.dim
            if not each.type.tensor_type.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
                raise Unsuitable("its shape is not known")
            shapes.append(tuple(dim.dim_value for dim in dims))
        if any(
            min(shape, default=1) < 1 or np.prod(shape, dtype=np.int64) > _MOST or len(shape) > 6 for shape in shapes
        ):
            raise Unsuitable("it has no values, or too many")
        return shapes

    def model(self, outputs: Sequence[str], free: Sequence[int] = ()) -> Any:
        """Return the graph as a model; `free` are axes of the first input whose lengths it leaves open."""
        inputs = []
        for number, each in enumerate(self.inputs):
            lengths = [f"L{axis}" if number == 0 and axis in free else n for axis, n in enumerate(each.shape)]
            inputs.append(helper.make_tensor_value_info(each.name, each.kind, lengths))
        kinds = {each.name: each.kind for each in self.values}
        made = [helper.make_tensor_value_info(name, kinds.get(name, 0), None) for name in outputs]
        for each in made:
            if not each.type.tensor_type.elem_type:
                each.ClearField("type")
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, "random", inputs, made, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def outputs(self) -> List[str]:
        """Return the tensors that nothing reads."""
        read = {name for node in self.nodes for name in node.input}
        inputs = {each.name for each in self.inputs}
        return [each.name for each in self.values if each.name not in read | inputs]

    def data(self) -> Dict[str, np.ndarray]:
        """Return values for the inputs."""
        found = {}
        for each in self.inputs:
            if each.kind == WHOLE:
                found[each.name] = self.rng.randint(-6, 7, each.shape).astype(np.int64)
            elif each.kind == TRUTH:
                found[each.name] = self.rng.rand(*each.shape) < 0.5
            else:
                found[each.name] = (self.rng.randint(-24, 25, each.shape) / 4).astype(np.float32)
        return found


class Unsuitable(Exception):
    """An operator that does not go with what there is."""


def random_graph(seed: int) -> Graph:
    """Return a random graph.

    Parameters
    ----------
    seed : int
        The same seed gives the same graph.

    Returns
    -------
    Graph
        Of one to seven operators, some of which need several nodes.
    """
    from tests.soak.onnx_graphs.pieces import PIECES

    rng = np.random.RandomState(seed)
    graph = Graph(rng, int(_OPSETS[rng.randint(len(_OPSETS))]))
    shape = graph.choose(_SHAPES)
    graph.inputs.append(Value("x", shape))
    if graph.chance(0.35):
        other = tuple(length if graph.chance(0.8) else 1 for length in shape[graph.whole(0, len(shape) - 1) :])
        graph.inputs.append(Value("y", other, graph.choose([REAL, WHOLE, WHOLE, TRUTH])))
    graph.values += graph.inputs
    wanted, tries = graph.whole(1, 7), 0
    while wanted and tries < 60:
        tries += 1
        before = len(graph.nodes), len(graph.values), dict(graph.constants)
        try:
            made = graph.choose(PIECES)(graph)
        except Unsuitable:
            made = None
        if made is None:
            del graph.nodes[before[0] :], graph.values[before[1] :]
            graph.constants = before[2]
        else:
            wanted -= 1
    return graph
