"""What is mended in MXNet's modules after they have been run, for no name that they miss can help them."""

from __future__ import annotations

import sys
from functools import lru_cache, wraps
from types import FunctionType, ModuleType
from typing import Any, Callable, Dict, Mapping

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

    def made(old: Any) -> Any:
        def c_array(ctype: Any, values: Any) -> Any:
            ndarray = getattr(sys.modules.get("numpy"), "ndarray", ())
            return old(ctype, [value.item() if isinstance(value, ndarray) else value for value in values])

        return c_array

    return _replaced(base, "c_array", made)


def _mend_quantization(quantization: Any) -> Dict[int, Any]:
    """NumPy 2 computes with scalars of float32 in float32: edges of histograms move; 2.5 writes no array by ``%f``."""

    def combining(old: Any) -> Any:
        def combine_histogram(old_hist: Any, arr: Any, new_min: Any, new_max: Any, new_th: Any) -> Any:
            *others, old_th = old_hist
            return old((*others, float(old_th)), arr, new_min, new_max, float(new_th))

        return combine_histogram

    def searching(old: Any) -> Any:
        def _get_optimal_threshold(*args: Any, **options: Any) -> Any:
            return tuple(_with_number(value) for value in old(*args, **options))

        return _get_optimal_threshold

    return {
        **_replaced(quantization, "combine_histogram", combining),
        **_replaced(quantization, "_get_optimal_threshold", searching),
    }


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

    def made(old: Any) -> Any:
        def _as_mx_np_array(object: Any, ctx: Any = None) -> Any:
            make = getattr(type(object), "_make", None)
            return old(object, ctx) if make is None else make(_as_mx_np_array(each) for each in object)

        return _as_mx_np_array

    return _replaced(multiarray, "_as_mx_np_array", made)


def _mend_dispatch(protocol: Any) -> Dict[int, Any]:
    """NumPy 1.23 and later call ``true_divide`` 'divide', and would compute it by themselves, without gradients."""
    protocol._NUMPY_ARRAY_UFUNC_DICT.setdefault("divide", protocol.mx_np.true_divide)
    return {}


def _mend_metric(metric: Any) -> Dict[int, Any]:
    """NumPy 2 adds scalars of float32 in float32: of a long epoch's last batches little would be left in a metric."""
    keep_double(metric.EvalMetric, "sum_metric", "global_sum_metric", "num_inst", "global_num_inst")
    return {}


def _replaced(module: Any, name: str, made: Callable[[Any], Any]) -> Dict[int, Any]:
    """Put what is made of a function in its place, once; return the function by the old one's ``id``."""
    old = getattr(module, name)
    if hasattr(old, "__wrapped__"):
        return {}
    function = wraps(old)(made(old))
    setattr(module, name, function)
    return {id(old): function}


def _with_number(value: Any) -> Any:
    """Return an array of one element as one that is a number too; all else as it is."""
    numpy: Any = sys.modules["numpy"]
    return value.view(_number()) if isinstance(value, numpy.ndarray) and value.size == 1 else value


@lru_cache(maxsize=None)
def _number() -> Any:
    numpy: Any = sys.modules["numpy"]

    def __float__(self: Any) -> float:
        return float(self.item())

    return type("OneNumber", (numpy.ndarray,), {"__float__": __float__})


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
