"""Functions of MXNet's that are mended after their module has been run, for no name that they miss can help them."""

from __future__ import annotations

import sys
from functools import wraps
from types import FunctionType, ModuleType
from typing import Any, Callable, Dict, Mapping, Tuple

__all__ = ["mend"]


def mend(module: ModuleType) -> Dict[int, Any]:
    """Mend what a module of MXNet's has defined.

    Parameters
    ----------
    module : ModuleType
        It has been run.

    Returns
    -------
    dict of int to object
        What stands in the place of a function, by the old one's ``id``, for those who have imported that.
    """
    return _MENDERS[module.__name__](module) if module.__name__ in _MENDERS else {}


def _mend_base(base: Any) -> Dict[int, Any]:
    """NumPy 2.5 makes no number of an array with one element; MXNet fills arrays of C with such."""

    def numbers(ctype: Any, values: Any) -> Tuple[Any, ...]:
        ndarray = getattr(sys.modules.get("numpy"), "ndarray", ())
        return ctype, [value.item() if isinstance(value, ndarray) else value for value in values]

    return _with_arguments(base, "c_array", numbers)


def _mend_quantization(quantization: Any) -> Dict[int, Any]:
    """NumPy 2 computes with scalars of float32 in float32: histograms get other edges, but not by numbers of Python."""

    def numbers(old_hist: Any, arr: Any, new_min: Any, new_max: Any, new_th: Any) -> Tuple[Any, ...]:
        *others, old_th = old_hist
        return (*others, float(old_th)), arr, new_min, new_max, float(new_th)

    return _with_arguments(quantization, "combine_histogram", numbers)


def _with_arguments(module: Any, name: str, changed: Callable[..., Tuple[Any, ...]]) -> Dict[int, Any]:
    """Let a function of a module be called with arguments that another one makes of those that are given."""
    old = getattr(module, name)
    if hasattr(old, "__wrapped__"):
        return {}

    @wraps(old)
    def function(*args: Any, **options: Any) -> Any:
        return old(*changed(*args, **options))

    setattr(module, name, function)
    return {id(old): function}


def _mend_recordio(recordio: Any) -> Dict[int, Any]:
    """NumPy 2.3 has no ``tostring``, the old name of ``tobytes``."""
    for function in (recordio.pack, recordio.pack_img):
        _rename(function, {"tostring": "tobytes"})
    return {}


def _rename(function: FunctionType, names: Mapping[str, str]) -> None:
    code = function.__code__
    function.__code__ = code.replace(co_names=tuple(names.get(name, name) for name in code.co_names))


_MENDERS: Mapping[str, Callable[[Any], Dict[int, Any]]] = {
    "mxnet.base": _mend_base,
    "mxnet.contrib.quantization": _mend_quantization,
    "mxnet.recordio": _mend_recordio,
}
