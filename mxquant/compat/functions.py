"""Functions of MXNet's that are mended after their module has been run, for no name that they miss can help them."""

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


def _rename(function: FunctionType, names: Mapping[str, str]) -> None:
    code = function.__code__
    function.__code__ = code.replace(co_names=tuple(names.get(name, name) for name in code.co_names))


_MENDERS: Mapping[str, Callable[[Any], Dict[int, Any]]] = {
    "mxnet.base": _mend_base,
    "mxnet.recordio": _mend_recordio,
}
