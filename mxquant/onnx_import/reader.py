"""From an fp32 ONNX file to a Symbol with parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from mxquant.errors import GraphError, InputError
from mxquant.onnx_export.writer import import_onnx
from mxquant.onnx_import.arithmetic import ARITHMETIC
from mxquant.onnx_import.choices import CHOICES
from mxquant.onnx_import.evaluation import EVALUATED, evaluated
from mxquant.onnx_import.external import load_external
from mxquant.onnx_import.fold_channels import fold_channels
from mxquant.onnx_import.folding import FOLDED, folded
from mxquant.onnx_import.inference import NO_TENSOR, Said, fix_shapes, said_of, tried
from mxquant.onnx_import.layers import LAYERS
from mxquant.onnx_import.model_file import read_model
from mxquant.onnx_import.pooling import POOLING
from mxquant.onnx_import.products import PRODUCTS
from mxquant.onnx_import.proof import Proof, Unlike
from mxquant.onnx_import.recurrent import RECURRENT
from mxquant.onnx_import.reductions import REDUCTIONS
from mxquant.onnx_import.sampling import SAMPLING
from mxquant.onnx_import.state import State, Step
from mxquant.onnx_import.tensors import TENSORS
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line

__all__ = ["OPERATORS", "OnnxNetwork", "from_onnx"]

# The operators of ONNX that can be translated.
OPERATORS = {
    **TENSORS,
    **ARITHMETIC,
    **REDUCTIONS,
    **PRODUCTS,
    **LAYERS,
    **POOLING,
    **CHOICES,
    **RECURRENT,
    **SAMPLING,
}

_KNOWN = frozenset((*OPERATORS, *FOLDED, *EVALUATED, "Constant", "Shape"))

# Versions of operators; those after 22 add types, and what is refused where it is met.
_OLDEST, _NEWEST = 7, 28
# ONNX's types of numbers, and MXNet's names for those of inputs that are no numbers with a point.
_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16)
_GIVEN = {2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool"}
_FLAGS = frozenset(
    (
        *("keepdims", "noop_with_empty_axes", "largest", "select_last_index", "ceil_mode", "count_include_pad", "fmod"),
        *("transA", "transB", "allowzero", "linear_before_reset", "training_mode", "antialias", "layout", "spatial"),
    )
)
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
        The file; ONNX operators of version 7 to 28.
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
        model = read_model(path)
        _refuse_unknown(model.graph)
        load_external(onnx, model, path)
        onnx.checker.check_model(_with_output_shapes(model))
    except InputError:
        raise
    except Exception as error:  # protobuf and onnx have one each
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise InputError(f"cannot read '{path}' as ONNX: {reason}") from error
    try:
        return _read(onnx, model, path, input_shapes)
    except InputError:
        raise
    except _MALFORMED as error:
        raise GraphError(f"cannot read '{path}' as ONNX: it is malformed: {error!r}") from error


def _read(onnx: Any, model: Any, path: Union[str, Path], input_shapes: Optional[Shapes]) -> OnnxNetwork:
    opset = max([each.version for each in model.opset_import if each.domain in ("", "ai.onnx")], default=0)
    if opset < _OLDEST:
        raise InputError(
            f"'{path}' has ONNX operators of version {opset} ({_operators(model.graph)}), expected {_OLDEST} or newer"
        )
    _refuse_newer(onnx, model.graph, opset)
    _refuse_splits(model.graph)
    fold_channels(onnx, model.graph)
    if input_shapes is not None:
        fix_shapes(model.graph, input_shapes)
    said = said_of(onnx, model)
    try:
        return _translated(onnx, model, opset, said, 2)
    except Unlike:
        if all(isinstance(length, int) for each in model.graph.input for length in said.shapes.get(each.name, ())):
            raise
    # The file may leave a batch free, and take one example only.
    return _translated(onnx, model, opset, said, 1)


def _translated(onnx: Any, model: Any, opset: int, said: Said, batch: int) -> OnnxNetwork:
    """Return the network; `batch` is tried where the first length of inputs is free."""
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    state = State(opset, constants, shapes=dict(said.shapes), kinds=said.kinds)
    state.makers.update((name, node.op_type) for node in model.graph.node for name in node.output)
    for each in model.graph.input:
        if each.name not in state.constants:
            state.names.add(each.name)
            state.symbols[each.name] = _input(each.name, said.kinds.get(each.name, 1), state)
    shapes, lengths = tried(model.graph, said, batch)
    first = next((said.shapes[name] for name in shapes), ())
    state.batch = first[0] if first and isinstance(first[0], int) else None
    free = [axis for name in shapes for axis, length in enumerate(said.shapes[name]) if not isinstance(length, int)]
    # MXNet has no numbers without axes.
    found = {name: shape or (1,) for name, shape in shapes.items() if 0 not in shape}
    proof = Proof(dict(said.shapes), found, not free, not any(free), lengths)
    for node in model.graph.node:
        try:
            _translate(onnx, node, state, proof)
        except (InputError, Unlike):
            raise
        except (*_MALFORMED, mx.MXNetError) as error:
            raise GraphError(f"ONNX node '{node.name}' ({node.op_type}) is malformed: {first_line(error)}") from error
    return _network(state, model.graph)


def _input(name: str, kind: int, state: State) -> Any:
    """Return an input; whole numbers and truth values become real ones at once, whatever the user gives."""
    if kind not in _GIVEN:
        return mx.sym.var(name)
    return mx.sym.Cast(mx.sym.var(name, dtype=_GIVEN[kind]), dtype="float32", name=state.unused(f"{name}_real"))


def _refuse_splits(graph: Any) -> None:
    """Refuse parts that are not as many as outputs, at which ONNX's inference may end the process."""
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Split" and attribute.name == "num_outputs" and attribute.i != len(node.output):
                raise GraphError(
                    f"ONNX node '{node.name}' (Split): num_outputs is {attribute.i}, expected {len(node.output)}, "
                    "as many as it has outputs"
                )


def _with_output_shapes(model: Any) -> Any:
    """Return a copy in which no output lacks a shape: files may leave them open, which ONNX's check does not like."""
    copy = type(model)()
    copy.CopyFrom(model)
    for each in copy.graph.output:
        if each.type.HasField("tensor_type"):
            each.type.tensor_type.shape.SetInParent()
    return copy


def _operators(graph: Any) -> str:
    return ", ".join(sorted({node.op_type for node in graph.node})) or "none"


def _refuse_unknown(graph: Any) -> None:
    missing: Dict[str, str] = {}
    for node in graph.node:
        known = node.domain in ("", "ai.onnx") and node.op_type in _KNOWN
        if not known:
            missing.setdefault(node.op_type, node.name or (node.output[0] if node.output else "?"))
    if missing:
        named = ", ".join(f"{op} (node '{name}')" for op, name in sorted(missing.items()))
        raise GraphError(f"no translation to MXNet for {named}")


def _refuse_newer(onnx: Any, graph: Any, opset: int) -> None:
    """Refuse operators of which there is a version that is newer than what is known here."""
    for node in graph.node:
        version = onnx.defs.get_schema(node.op_type, opset).since_version
        if version > _NEWEST:
            raise GraphError(
                f"ONNX node '{node.name}' ({node.op_type}): it is of version {version}, expected at most {_NEWEST}; "
                "write the file with older operators"
            )


def _translate(onnx: Any, node: Any, state: State, proof: Proof) -> None:
    attrs = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    attrs = {key: _plain(onnx, value) for key, value in attrs.items()}
    name = state.unused(node.name or node.output[0])
    step = Step(state, name, node.op_type, list(node.input), list(node.output), attrs)
    if node.op_type == "Constant":
        state.constants[node.output[0]] = _constant(step)
        return
    if node.op_type == "Shape":
        _shape_of(step)
        return
    _refuse_kinds(onnx, step)
    for key in _FLAGS.intersection(attrs):
        step.flag(key)
    if all(each in state.constants for each in node.input if each):
        if node.op_type in FOLDED:
            state.constants[node.output[0]] = folded(step)
            return
        if node.op_type in EVALUATED:
            state.constants.update(evaluated(onnx, node, step))
            return
    translate = OPERATORS.get(node.op_type)
    if translate is None:
        computed = next(each for each in node.input if each and each not in state.constants)
        raise step.refuse(f"its input '{computed}' is computed, and MXNet has it of constants only; give input_shapes")
    proof.try_(step, translate)
    translate(step)


def _refuse_kinds(onnx: Any, step: Step) -> None:
    """Refuse values that MXNet has no numbers for."""
    for name in (*step.inputs, *step.outputs):
        kind = step.state.kinds.get(name, 1)
        if name and kind not in _NUMBERS:
            said = "no tensor" if kind == NO_TENSOR else f"of the type {onnx.TensorProto.DataType.Name(kind)}"
            raise step.refuse(f"'{name}' is {said}, expected numbers")


def _plain(onnx: Any, value: Any) -> Any:
    """Return the value of an attribute as Python's or NumPy's."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value


def _shape_of(step: Step) -> None:
    shape = () if step.is_number() else step.shape(0)
    (start, end) = (step.attrs.get("start", 0), step.attrs.get("end"))
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


def _network(state: State, graph: Any) -> OnnxNetwork:
    outputs = [each.name for each in graph.output]
    for name in outputs:
        if name not in state.symbols:
            maker = next(
                (f" of ONNX node '{node.name}' ({node.op_type})" for node in graph.node if name in node.output), ""
            )
            reason = (
                "does not depend on any input" if name in {**state.constants, **state.free} else "has no translation"
            )
            raise GraphError(f"the output '{name}'{maker} {reason}")
    symbols = [state.symbols[name] for name in outputs]
    symbol = symbols[0] if len(symbols) == 1 else mx.sym.Group(symbols)
    args, aux = (
        {name: mx.nd.array(state.params[name], dtype="float32") for name in names if name in state.params}
        for names in (symbol.list_arguments(), symbol.list_auxiliary_states())
    )
    return OnnxNetwork(symbol, args, aux)
