"""What is mended in MXNet's modules after they have been run, for no name that they miss can help them."""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any, Callable, Dict, Mapping

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
    old = base.c_array
    if getattr(old, "mended", False):
        return {}

    def c_array(ctype: Any, values: Any) -> Any:
        ndarray = getattr(sys.modules.get("numpy"), "ndarray", ())
        return old(ctype, [value.item() if isinstance(value, ndarray) else value for value in values])

    c_array.__doc__ = old.__doc__
    c_array.mended = True  # type: ignore[attr-defined]
    base.c_array = c_array
    return {id(old): c_array}


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

    def _as_mx_np_array(object: Any, ctx: Any = None) -> Any:
        make = getattr(type(object), "_make", None)
        return old(object, ctx) if make is None else make(_as_mx_np_array(each) for each in object)

    _as_mx_np_array.__doc__ = old.__doc__
    multiarray._as_mx_np_array = _as_mx_np_array
    return {id(old): _as_mx_np_array}


def _mend_dispatch(protocol: Any) -> Dict[int, Any]:
    """NumPy 1.22 and later call ``true_divide`` 'divide', and would compute it by themselves, without gradients."""
    protocol._NUMPY_ARRAY_UFUNC_DICT.setdefault("divide", protocol.mx_np.true_divide)
    return {}


class _Sum:
    """An attribute that is counted up and keeps 53 bits: in NumPy 2 ``0.0 + numpy.float32(1)`` has 24."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        if owner is None:
            return self
        if self.name not in owner.__dict__:
            raise AttributeError(f"'{type(owner).__name__}' object has no attribute '{self.name}'")
        return owner.__dict__[self.name]

    def __set__(self, owner: Any, value: Any) -> None:
        numpy: Any = sys.modules["numpy"]
        narrow = isinstance(value, (float, numpy.float32, numpy.float16))
        owner.__dict__[self.name] = numpy.float64(value) if narrow else value


def _mend_metric(metric: Any) -> Dict[int, Any]:
    """Metrics add up numbers of float32: of a long epoch's last batches nothing would be left."""
    for name in ("sum_metric", "global_sum_metric", "num_inst", "global_num_inst"):
        setattr(metric.EvalMetric, name, _Sum(name))
    return {}


def _rename(function: FunctionType, names: Mapping[str, str]) -> None:
    code = function.__code__
    function.__code__ = code.replace(co_names=tuple(names.get(name, name) for name in code.co_names))


_MENDERS: Mapping[str, Callable[[Any], Dict[int, Any]]] = {
    "mxnet.base": _mend_base,
    "mxnet.metric": _mend_metric,
    "mxnet.ndarray.ndarray": _mend_ndarray,
    "mxnet.numpy.multiarray": _mend_multiarray,
    "mxnet.numpy_dispatch_protocol": _mend_dispatch,
    "mxnet.recordio": _mend_recordio,
}
