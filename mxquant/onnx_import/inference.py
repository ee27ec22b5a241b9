"""What ONNX itself says of the values of a graph, shapes and types; lengths to try where a file leaves them free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Sequence, Tuple, Union

import numpy as np

from mxquant.errors import GraphError, InputError
from mxquant.onnx_import.state import Length
from mxquant.onnx_import.windows import settle_pooling

__all__ = ["NO_TENSOR", "Said", "fix_shapes", "said_of", "stated_in", "tried"]

# The type of what is no tensor: a sequence, or what may be missing.
NO_TENSOR = -1
# Inference computes with the values of shapes, which are short; longer constants only cost time there.
_LONGEST_SHAPE = 1024
# To try where another axis than the first is free.
_LENGTH = 64


@dataclass
class Said:
    """What ONNX says of a graph.

    Parameters
    ----------
    shapes : dict of str to tuple
        Shapes by the name of the value.
    kinds : dict of str to int
        ONNX's numbers for their types.
    """

    shapes: Dict[str, Tuple[Length, ...]] = field(default_factory=dict)
    kinds: Dict[str, int] = field(default_factory=dict)


def said_of(onnx: Any, model: Any) -> Said:
    """Return what ONNX infers, and where it infers nothing, what the file states.

    Parameters
    ----------
    onnx : module
        The package.
    model : onnx.ModelProto
        The network.

    Returns
    -------
    Said
        Shapes and types.
    """
    bare = _bare(onnx, model)
    _refuse_far_places(onnx, bare)
    found, stated = _inferred(onnx, bare), stated_in(model.graph)
    for each in model.graph.initializer:
        found.kinds[each.name] = each.data_type
    for name, shape in stated.shapes.items():
        inferred = found.shapes.get(name, shape)
        if len(inferred) == len(shape):
            inferred = tuple(b if a is None else a for a, b in zip(inferred, shape))
        found.shapes[name] = inferred
    return Said(found.shapes, {**stated.kinds, **found.kinds})


def tried(graph: Any, said: Said, batch: int) -> Tuple[Dict[str, Tuple[int, ...]], Dict[str, int]]:
    """Return shapes of a graph's inputs, with numbers where lengths are free, and these numbers by their names.

    ONNX is not asked about them: its inference may end the process where windows are longer than data.

    Parameters
    ----------
    graph : onnx.GraphProto
        The network.
    said : Said
        What ONNX says of it.
    batch : int
        For the first axis where that is free.

    Returns
    -------
    dict of str to tuple of int
        Shapes of the inputs that have one.
    dict of str to int
        The numbers that stand for names.
    """
    chosen: Dict[str, int] = {}
    found = {}
    for name in _inputs(graph):
        lengths = []
        for axis, length in enumerate(said.shapes.get(name, ())):
            number = _LENGTH if axis else batch
            lengths.append(
                length if isinstance(length, int) else chosen.setdefault(length, number) if length else number
            )
        if name in said.shapes:
            found[name] = tuple(lengths)
    return found, chosen


def _inferred(onnx: Any, bare: Any) -> Said:
    """Return what ONNX infers, with the windows that pooling has."""
    while True:
        found = stated_in(onnx.shape_inference.infer_shapes(bare, data_prop=True).graph)
        if not settle_pooling(onnx, bare.graph, found.shapes):
            return found


def _refuse_far_places(onnx: Any, bare: Any) -> None:
    """Refuse constant places that are not there, at which ONNX's inference of shapes may end the process."""
    places = {each.name: onnx.numpy_helper.to_array(each) for each in bare.graph.initializer}
    for node in bare.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                places[node.output[0]] = onnx.numpy_helper.to_array(attribute.t)
            elif node.op_type == "Constant" and attribute.name in ("value_int", "value_ints"):
                places[node.output[0]] = np.asarray(onnx.helper.get_attribute_value(attribute))
    taken = [node for node in bare.graph.node if node.op_type == "Gather" and node.input[1] in places]
    shapes = stated_in(onnx.shape_inference.infer_shapes(bare).graph).shapes if taken else {}
    for node in taken:
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        found, shape = places[node.input[1]], shapes.get(node.input[0], ())
        length = shape[axis] if -len(shape) <= axis < len(shape) else None
        if isinstance(length, int) and found.size and not -length <= found.min() <= found.max() < length:
            raise GraphError(
                f"ONNX node '{node.name}' (Gather): it takes places {found.min()} to {found.max()} of an axis that has "
                f"{length}"
            )


def _inputs(graph: Any) -> Dict[str, Any]:
    constants = {each.name for each in graph.initializer}
    return {each.name: each for each in graph.input if each.name not in constants}


def _bare(onnx: Any, model: Any) -> Any:
    """Return a copy without the shapes that the file states within, and without long constants but for their shapes."""
    copy = type(model)()
    copy.ir_version = max(model.ir_version, 4)
    copy.opset_import.extend(model.opset_import)
    graph = copy.graph
    graph.name = model.graph.name or "network"
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    for each in graph.output:
        if each.type.HasField("tensor_type"):
            each.type.tensor_type.ClearField("shape")
    for each in _inputs(model.graph).values():
        graph.input.append(each)
        for length in graph.input[-1].type.tensor_type.shape.dim if each.type.HasField("tensor_type") else ():
            if length.HasField("dim_value") and length.dim_value < 0:
                length.ClearField("dim_value")
    for each in model.graph.initializer:
        if _count(each.dims) <= _LONGEST_SHAPE:
            graph.initializer.append(each)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(each.name, each.data_type, list(each.dims)))
    return copy


def _count(lengths: Sequence[int]) -> int:
    count = 1
    for length in lengths:
        count *= length
    return count


def stated_in(graph: Any) -> Said:
    """Return the shapes and types that a graph states of its values."""
    found = Said()
    for each in (*graph.input, *graph.value_info, *graph.output):
        if not each.type.HasField("tensor_type"):
            if each.type.WhichOneof("value") is not None:
                found.kinds[each.name] = NO_TENSOR
            continue
        kind = each.type.tensor_type
        if kind.elem_type:
            found.kinds[each.name] = kind.elem_type
        if kind.HasField("shape"):
            found.shapes[each.name] = tuple(_length(length) for length in kind.shape.dim)
    return found


def _length(length: Any) -> Length:
    """Return a length; some exporters write -1 for one that is free."""
    if length.HasField("dim_value"):
        return int(length.dim_value) if length.dim_value >= 0 else None
    return str(length.dim_param) or None


def fix_shapes(graph: Any, shapes: Union[Sequence[int], Mapping[str, Sequence[int]]]) -> None:
    """Write shapes into the inputs of a graph.

    Parameters
    ----------
    graph : onnx.GraphProto
        The graph.
    shapes : sequence of int, or mapping of str to sequence of int
        Shapes by the name of the input; a sequence is of the first.

    Raises
    ------
    InputError
        If there is no such input, or a shape does not fit one.
    """
    inputs = _inputs(graph)
    named = shapes if isinstance(shapes, Mapping) else dict.fromkeys(list(inputs)[:1], shapes)
    for name, shape in named.items():
        if name not in inputs:
            raise InputError(f"input_shapes: the network has no input '{name}'; its inputs are {', '.join(inputs)}")
        lengths = inputs[name].type.tensor_type.shape.dim
        if len(lengths) != len(shape):
            raise InputError(f"input_shapes['{name}'] is {tuple(shape)}, expected {len(lengths)} lengths")
        for length, number in zip(lengths, shape):
            length.dim_value = number
    # Shapes that the file states for other lengths would contradict.
    del graph.value_info[:]
    for each in graph.output:
        each.type.tensor_type.ClearField("shape")
