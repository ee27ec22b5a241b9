"""From an fp32 ONNX file to a Symbol with parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

import numpy as np

from mxquant.errors import GraphError, InputError
from mxquant.onnx_export.writer import import_onnx
from mxquant.onnx_import.choices import CHOICES
from mxquant.onnx_import.external import load_external
from mxquant.onnx_import.fold_channels import fold_channels
from mxquant.onnx_import.folding import FOLDED, folded
from mxquant.onnx_import.layers import LAYERS
from mxquant.onnx_import.recurrent import RECURRENT
from mxquant.onnx_import.sampling import SAMPLING
from mxquant.onnx_import.state import Length, State, Step
from mxquant.onnx_import.tensors import TENSORS
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line

__all__ = ["OPERATORS", "OnnxNetwork", "from_onnx"]

# The operators of ONNX that can be translated.
OPERATORS = {**TENSORS, **LAYERS, **CHOICES, **RECURRENT, **SAMPLING}

_OLDEST, _NEWEST = 7, 22
Shapes = Union[Tuple[int, ...], Mapping[str, Tuple[int, ...]]]
# What comes of attributes, shapes and names that do not go together.
_MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


class OnnxNetwork(NamedTuple):
    """What an ONNX file becomes, in the order in which MXNet's functions take it.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        The network; its inputs bear the file's names.
    arg_params, aux_params : dict of str to mxnet.nd.NDArray
        Its parameters.
    """

    symbol: Any
    arg_params: Dict[str, Any]
    aux_params: Dict[str, Any]


def from_onnx(
    path: Union[str, Path],
    *,
    input_shapes: Optional[Shapes] = None,
) -> OnnxNetwork:
    """Read an fp32 ONNX network.

    Parameters
    ----------
    path : str or Path
        The file; ONNX operators of version 7 to 22.
    input_shapes : tuple of int, or mapping of str to tuple of int, optional
        Shapes of the inputs, where the network computes with lengths that the file leaves free; a tuple where there is
        one input.

    Returns
    -------
    OnnxNetwork
        Symbol, arguments and auxiliary states.

    Raises
    ------
    InputError
        If the file cannot be read, or shapes do not fit.
    GraphError
        If operators have no translation, naming all of them, or one is used in a way that MXNet cannot.
    LoweringError
        Without the package onnx.
    """
    onnx = import_onnx()
    try:
        model = onnx.load(str(path), load_external_data=False)
        _refuse_unknown(model.graph)
        load_external(onnx, model, path)
        onnx.checker.check_model(_with_output_shapes(model))
    except InputError:
        raise
    except Exception as error:  # protobuf, onnx and the operating system have one each
        raise InputError(
            f"cannot read '{path}' as ONNX: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
    try:
        return _read(onnx, model, path, input_shapes)
    except InputError:
        raise
    except _MALFORMED as error:
        raise GraphError(f"cannot read '{path}' as ONNX: it is malformed: {error!r}") from error


def _read(onnx: Any, model: Any, path: Union[str, Path], input_shapes: Optional[Shapes]) -> OnnxNetwork:
    opset = max([each.version for each in model.opset_import if each.domain in ("", "ai.onnx")], default=0)
    if not _OLDEST <= opset <= _NEWEST:
        raise InputError(f"'{path}' has ONNX operators of version {opset}, expected {_OLDEST} to {_NEWEST}")
    fold_channels(onnx, model.graph)
    if input_shapes is not None:
        _fix_shapes(model.graph, input_shapes)
    state = State(opset, {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer})
    state.shapes = _shapes(onnx.shape_inference.infer_shapes(model, data_prop=True).graph)
    for each in model.graph.input:
        if each.name not in state.constants:
            state.symbols[each.name] = mx.sym.var(each.name)
            lengths = state.shapes.get(each.name, ())
            if lengths and all(isinstance(length, int) and length > 0 for length in lengths):
                state.inputs[each.name] = tuple(int(length) for length in lengths if isinstance(length, int))
    names: Set[str] = set(state.symbols)
    for node in model.graph.node:
        try:
            _translate(onnx, node, state, names)
        except InputError:
            raise
        except (*_MALFORMED, mx.MXNetError) as error:
            raise GraphError(f"ONNX node '{node.name}' ({node.op_type}) is malformed: {first_line(error)}") from error
    return _network(state, [each.name for each in model.graph.output])


def _with_output_shapes(model: Any) -> Any:
    """Return a copy in which no output lacks a shape: files may leave them open, which ONNX's check does not like."""
    copy = type(model)()
    copy.CopyFrom(model)
    for each in copy.graph.output:
        if each.type.HasField("tensor_type"):
            each.type.tensor_type.shape.SetInParent()
    return copy


def _refuse_unknown(graph: Any) -> None:
    missing: Dict[str, str] = {}
    for node in graph.node:
        known = node.domain in ("", "ai.onnx") and (node.op_type in OPERATORS or node.op_type in ("Constant", "Shape"))
        if not known:
            missing.setdefault(node.op_type, node.name or (node.output[0] if node.output else "?"))
    if missing:
        named = ", ".join(f"{op} (node '{name}')" for op, name in sorted(missing.items()))
        raise GraphError(f"no translation to MXNet for {named}")


def _fix_shapes(graph: Any, shapes: Union[Sequence[int], Mapping[str, Sequence[int]]]) -> None:
    """Write shapes into the inputs of a graph."""
    constants = {each.name for each in graph.initializer}
    inputs = {each.name: each for each in graph.input if each.name not in constants}
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


def _shapes(graph: Any) -> Dict[str, Tuple[Length, ...]]:
    found: Dict[str, Tuple[Length, ...]] = {}
    for each in (*graph.input, *graph.value_info, *graph.output):
        kind = each.type.tensor_type
        if kind.HasField("shape"):
            found[each.name] = tuple(_length(length) for length in kind.shape.dim)
    return found


def _length(length: Any) -> Length:
    if length.HasField("dim_value"):
        return int(length.dim_value)
    return str(length.dim_param) or None


def _translate(onnx: Any, node: Any, state: State, names: Set[str]) -> None:
    attrs = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    attrs = {key: _plain(onnx, value) for key, value in attrs.items()}
    name = _unused(node.name or node.output[0], names)
    step = Step(state, name, node.op_type, list(node.input), list(node.output), attrs)
    if node.op_type == "Constant":
        state.constants[node.output[0]] = _constant(step)
        return
    constant = all(each in state.constants for each in node.input if each)
    if node.op_type == "Shape":
        _shape_of(step)
        return
    if constant and node.op_type in FOLDED:
        state.constants[node.output[0]] = folded(step)
        return
    OPERATORS[node.op_type](step)


def _plain(onnx: Any, value: Any) -> Any:
    """Return the value of an attribute as Python's or NumPy's."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value


def _shape_of(step: Step) -> None:
    shape, (start, end) = step.shape(0), (step.attrs.get("start", 0), step.attrs.get("end"))
    lengths = None if shape is None else shape[start:end]
    if lengths is not None and all(isinstance(length, int) for length in lengths):
        step.state.constants[step.outputs[0]] = np.asarray(lengths, np.int64)
    else:
        step.state.free[step.outputs[0]] = step.inputs[0] if (start, end) == (0, None) else ""


def _constant(step: Step) -> Any:
    if "value" in step.attrs:
        return step.attrs["value"]
    for key, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64)):
        if key in step.attrs:
            return np.asarray(step.attrs[key], dtype)
    if "value_ints" in step.attrs:
        return np.asarray(step.attrs["value_ints"], np.int64)
    raise step.refuse(f"a constant of {', '.join(step.attrs) or 'nothing'} is not supported")


def _unused(name: str, names: Set[str]) -> str:
    """Return a name that MXNet allows and that no other operator has."""
    name = re.sub(r"[^\w./-]", "_", name).strip("/") or "layer"
    number, candidate = 0, name
    while candidate in names:
        number += 1
        candidate = f"{name}_{number}"
    names.add(candidate)
    return candidate


def _network(state: State, outputs: List[str]) -> OnnxNetwork:
    missing = [name for name in outputs if name not in state.symbols]
    if missing:
        raise GraphError(f"the output '{missing[0]}' does not depend on any input")
    symbols = [state.symbols[name] for name in outputs]
    symbol = symbols[0] if len(symbols) == 1 else mx.sym.Group(symbols)
    args, aux = (
        {name: mx.nd.array(state.params[name], dtype="float32") for name in names if name in state.params}
        for names in (symbol.list_arguments(), symbol.list_auxiliary_states())
    )
    return OnnxNetwork(symbol, args, aux)
