"""onnx as MXNet 1.9 knows it: with its table of types, and with operators of opset 13 as the newest.

MXNet writes operators as they were up to opset 13, and says that they are of the newest that onnx knows. With today's
onnx that is another one, in which ReduceMean, Split and others are written in another way.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Dict, Mapping

from mxquant.compat.numpy_names import Overlay

__all__ = ["onnx_mapping", "with_old_opset"]

_NEWEST = 13
# The version of the file format that came with it; runtimes refuse what is newer than they are.
_FORMAT = 7


def onnx_mapping() -> Dict[str, Any]:
    """Return the names of ``onnx.mapping``, which onnx has dropped."""
    import numpy
    from onnx import TensorProto, helper

    by_number = {}
    for number in TensorProto.DataType.values():
        if number == TensorProto.UNDEFINED:
            continue
        try:
            by_number[number] = numpy.dtype(helper.tensor_dtype_to_np_dtype(number))
        except KeyError:  # a type that onnx has no array for
            continue
    # NumPy had no bfloat16 to go with it then.
    by_number[TensorProto.BFLOAT16] = numpy.dtype("float32")
    numbers = {dtype: number for number, dtype in by_number.items() if number != TensorProto.BFLOAT16}
    return {"TENSOR_TYPE_TO_NP_TYPE": by_number, "NP_TYPE_TO_TENSOR_TYPE": numbers}


def with_old_opset(module: ModuleType, names: Mapping[str, Any]) -> ModuleType:
    """Return onnx, or ``onnx.defs``, with operators of opset 13 as the newest.

    Parameters
    ----------
    module : ModuleType
        One of the two.
    names : mapping of str to object
        What onnx is to have besides.
    """
    from onnx import checker, defs, helper

    if defs.onnx_opset_version() <= _NEWEST:
        return Overlay(module, names) if names else module
    old_defs = Overlay(defs, {"onnx_opset_version": lambda: _NEWEST})
    if module is defs:
        return old_defs

    def make_model(graph: Any, **options: Any) -> Any:
        old = {"opset_imports": [helper.make_opsetid("", _NEWEST)], "ir_version": _FORMAT}
        return helper.make_model(graph, **{**old, **options})

    def check_graph(graph: Any, *context: Any) -> None:
        checker.check_graph(graph, *(context or [_context()]))

    def _context() -> Any:
        context = type(checker.DEFAULT_CONTEXT)()
        context.ir_version = _FORMAT
        context.opset_imports = {"": _NEWEST}
        return context

    changed = {
        "checker": Overlay(checker, {"check_graph": check_graph}),
        "defs": old_defs,
        "helper": Overlay(helper, {"make_model": make_model}),
    }
    return Overlay(module, {**names, **changed})
