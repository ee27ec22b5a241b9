"""NumPy as MXNet 1.9 and the packages of its time know it: today's, with the names that it has dropped since 1.20.

It is a module of its own, given to those packages alone. NumPy itself stays as it is.
"""

from __future__ import annotations

import builtins
from functools import lru_cache, wraps
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, Dict, Mapping, NoReturn

__all__ = ["Overlay", "numpy_with_old_names"]

# What was Python's own type by another name.
_PYTHON_TYPES = ("bool", "int", "float", "complex", "object", "str")
# Dropped names, and the name of the same thing today; which of these NumPy has depends on its version.
_SAME = {
    "Inf": "inf",
    "Infinity": "inf",
    "infty": "inf",
    "PINF": "inf",
    "NAN": "nan",
    "NaN": "nan",
    "alltrue": "all",
    "sometrue": "any",
    "product": "prod",
    "cumproduct": "cumprod",
    "round_": "round",
    "row_stack": "vstack",
    "trapz": "trapezoid",
    "float_": "float64",
    "complex_": "complex128",
    "unicode_": "str_",
    "string_": "bytes_",
}
# Functions of finance, which NumPy dropped with 1.20 and numpy-financial has.
_FINANCIAL = ("fv", "ipmt", "irr", "mirr", "nper", "npv", "pmt", "ppmt", "pv", "rate")


class Overlay(ModuleType):
    """A module with names of its own before those of another.

    Parameters
    ----------
    module : ModuleType
        Where all other names are looked up.
    names : mapping of str to object
        What this module has by itself.
    """

    def __init__(self, module: ModuleType, names: Mapping[str, Any]) -> None:
        super().__init__(module.__name__)
        # A copy, for a look-up in the other module at each use would make MXNet slower.
        self.__dict__.update(vars(module))
        self.__dict__.update(names)
        self.__dict__["__wrapped__"] = module

    def __getattr__(self, name: str) -> Any:
        """Return what the module behind makes when it is asked, such as a module that it loads late."""
        return getattr(self.__dict__["__wrapped__"], name)


@lru_cache(maxsize=None)
def numpy_with_old_names() -> ModuleType:
    """Return a module that has what NumPy has, and what it had up to 1.19.

    Returns
    -------
    ModuleType
        The same one at each call. A name that NumPy still has, and may use without a warning, is NumPy's; of
        ``numpy.bool`` and the like, which were Python's types, they are Python's again.
    """
    import numpy

    # In NumPy's own table: asking for a deprecated name warns. `bool` is there, and is another type.
    there = set(vars(numpy)) - set(_PYTHON_TYPES)
    missing = {name: value for name, value in _old_names(numpy).items() if name not in there}
    return Overlay(numpy, {**missing, **_changed(numpy)} if _is_2(numpy) else missing)


def _is_2(numpy: Any) -> bool:
    return int(numpy.__version__.split(".")[0]) >= 2


def _old_names(numpy: Any) -> Dict[str, Any]:
    names: Dict[str, Any] = {name: getattr(builtins, name) for name in _PYTHON_TYPES}
    names.update({old: vars(numpy)[new] for old, new in _SAME.items() if new in vars(numpy)})
    names.update({name: _gone(name) for name in _FINANCIAL})
    return {
        **names,
        "NINF": -numpy.inf,
        "PZERO": 0.0,
        "NZERO": -0.0,
        "asfarray": lambda a, dtype=numpy.float64: numpy.asarray(a, dtype=dtype),
        "asscalar": lambda a: a.item(),
        "in1d": lambda ar1, ar2, **options: numpy.isin(ar1, ar2, **options).reshape(-1),
        "msort": lambda a: numpy.sort(a, axis=0),
        "compat": SimpleNamespace(basestring=str, long=int, unicode=str),
    }


def _changed(numpy: Any) -> Dict[str, Any]:
    """Return what NumPy 2 has by the same name, and does otherwise."""
    core, normalize = numpy._core, numpy.lib.array_utils.normalize_axis_tuple

    def array(object: Any, dtype: Any = None, **options: Any) -> Any:
        """Wrap whole numbers that a type is too small for."""
        try:
            return numpy.array(object, dtype, **options)
        except OverflowError:
            if dtype is None:
                raise
            return numpy.array(object, **options).astype(dtype)

    def histogram(a: Any, bins: Any = 10, range: Any = None, **options: Any) -> Any:
        """Take edges of float32 as they are, and compute those between in double precision."""
        limits = range if range is None else tuple(map(float, range))
        return numpy.histogram(a, bins, limits, **options)

    return {
        "array": array,
        "core": Overlay(core, {"numeric": Overlay(core.numeric, {normalize.__name__: normalize})}),
        "histogram": histogram,
        "nanpercentile": _with_interpolation(numpy.nanpercentile),
        "nanquantile": _with_interpolation(numpy.nanquantile),
    }


def _with_interpolation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Call ``interpolation`` what NumPy calls ``method`` by now."""

    @wraps(function)
    def with_interpolation(*args: Any, interpolation: Any = None, **options: Any) -> Any:
        return function(*args, **options, **({} if interpolation is None else {"method": interpolation}))

    return with_interpolation


def _gone(name: str) -> Callable[..., NoReturn]:
    def gone(*args: Any, **options: Any) -> NoReturn:
        raise NotImplementedError(f"NumPy has had no '{name}' since 1.20; numpy_financial.{name} computes it")

    gone.__name__ = name
    return gone
