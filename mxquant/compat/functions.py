"""What is mended in MXNet's modules after they have been run, for no name that they miss can help them."""

from __future__ import annotations

import sys
from functools import wraps
from types import FunctionType, ModuleType
from typing import Any, Callable, Dict, Mapping, Tuple

from mxquant.compat.sums import keep_double

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

    def scalars(found: Any) -> Tuple[Any, ...]:
        """NumPy 2.5 writes no array by ``%f``."""
        return tuple(value.item() if getattr(value, "size", 0) == 1 else value for value in found)

    thresholds = _with_result(quantization, "_get_optimal_threshold", scalars)
    return {**thresholds, **_with_arguments(quantization, "combine_histogram", numbers)}


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


def _with_result(module: Any, name: str, changed: Callable[[Any], Any]) -> Dict[int, Any]:
    """Let a function of a module return what another one makes of its result."""
    old = getattr(module, name)
    if hasattr(old, "__wrapped__"):
        return {}

    @wraps(old)
    def function(*args: Any, **options: Any) -> Any:
        return changed(old(*args, **options))

    setattr(module, name, function)
    return {id(old): function}


def _mend_recordio(recordio: Any) -> Dict[int, Any]:
    """NumPy 2.3 has no ``tostring``, the old name of ``tobytes``."""
    for function in (recordio.pack, recordio.pack_img):
        _rename(function, {"tostring": "tobytes"})
    return {}


def _mend_ndarray(ndarray: Any) -> Dict[int, Any]:
    """NumPy 1.24 and later make no array of MXNet's arrays, of which any element has a length again: ``numpy.all``."""

    def __array__(self: Any, dtype: Any = None, copy: Any = None) -> Any:
        """Return the values as an array of NumPy."""
        values = self.asnumpy()
        return values if dtype is None else values.astype(dtype, copy=False)

    if not hasattr(ndarray.NDArray, "__array__"):
        ndarray.NDArray.__array__ = __array__
    return {}


def _mend_multiarray(multiarray: Any) -> Dict[int, Any]:
    """NumPy 1.25 and later return named tuples, such as that of ``qr``, which are made of so many arguments."""
    old = multiarray._as_mx_np_array
    if hasattr(old, "__wrapped__"):
        return {}

    @wraps(old)
    def _as_mx_np_array(object: Any, ctx: Any = None) -> Any:
        make = getattr(type(object), "_make", None)
        return old(object, ctx) if make is None else make(_as_mx_np_array(each) for each in object)

    multiarray._as_mx_np_array = _as_mx_np_array
    return {id(old): _as_mx_np_array}


def _mend_dispatch(protocol: Any) -> Dict[int, Any]:
    """NumPy 1.23 and later call ``true_divide`` 'divide', and would compute it by themselves, without gradients."""
    protocol._NUMPY_ARRAY_UFUNC_DICT.setdefault("divide", protocol.mx_np.true_divide)
    return {}


def _mend_metric(metric: Any) -> Dict[int, Any]:
    """NumPy 2 adds scalars of float32 in float32: of a long epoch's last batches little would be left in a metric."""
    keep_double(metric.EvalMetric, "sum_metric", "global_sum_metric", "num_inst", "global_num_inst")
    return {}


def _rename(function: FunctionType, names: Mapping[str, str]) -> None:
    code = function.__code__
    function.__code__ = code.replace(co_names=tuple(names.get(name, name) for name in code.co_names))


_MENDERS: Mapping[str, Callable[[Any], Dict[int, Any]]] = {
    "mxnet.base": _mend_base,
    "mxnet.contrib.quantization": _mend_quantization,
    "mxnet.metric": _mend_metric,
    "mxnet.ndarray.ndarray": _mend_ndarray,
    "mxnet.numpy.multiarray": _mend_multiarray,
    "mxnet.numpy_dispatch_protocol": _mend_dispatch,
    "mxnet.recordio": _mend_recordio,
}
