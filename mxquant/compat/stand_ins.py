"""Modules that are gone, or lack something by now, as those who import them expect them.

``distutils.version`` left Python with 3.12, ``onnx.mapping`` left onnx, and ``scipy.sparse.csr`` is leaving SciPy.
"""

from __future__ import annotations

import re
from functools import lru_cache, total_ordering
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from mxquant.compat.late import late
from mxquant.compat.numpy_names import Overlay, numpy_with_old_names
from mxquant.compat.onnx_names import onnx_mapping, with_old_opset

__all__ = ["stand_in", "with_old_names"]


@total_ordering
class Version:
    """A version as ``distutils.version`` had it, compared by the numbers in front.

    Parameters
    ----------
    vstring : str
        Such as '2.1.3'; of '2.2.0rc1' the numbers are 2, 2 and 0.
    """

    def __init__(self, vstring: str) -> None:
        self.vstring = vstring
        found = re.match(r"\d+(\.\d+)*", vstring)
        numbers = [int(part) for part in found.group().split(".")] if found else []
        while numbers and not numbers[-1]:
            numbers.pop()  # 1.0 is 1
        self.version: Tuple[int, ...] = tuple(numbers)

    def __str__(self) -> str:
        return self.vstring

    def __repr__(self) -> str:
        return f"{type(self).__name__} ('{self.vstring}')"

    def _numbers(self, other: object) -> Optional[Tuple[int, ...]]:
        if isinstance(other, str):
            other = Version(other)
        return other.version if isinstance(other, Version) else None

    def __eq__(self, other: object) -> bool:
        return self.version == self._numbers(other)

    def __lt__(self, other: object) -> bool:
        numbers = self._numbers(other)
        return NotImplemented if numbers is None else self.version < numbers

    def __hash__(self) -> int:
        return hash(self.version)


def _distutils_version() -> Dict[str, Any]:
    return {"LooseVersion": Version, "StrictVersion": Version}


_CONTENTS: Mapping[str, Callable[[], Dict[str, Any]]] = {
    "distutils.version": _distutils_version,
    "onnx.mapping": onnx_mapping,
}


@lru_cache(maxsize=None)
def _module(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(_CONTENTS[name]())
    return module


def stand_in(name: str) -> Optional[ModuleType]:
    """Return the module that stands for one that is gone, or None for all others.

    Parameters
    ----------
    name : str
        Its whole name, such as 'distutils.version'.
    """
    gone = name in _CONTENTS and (name.startswith("distutils.") or find_spec(name) is None)
    return _module(name) if gone else None


def with_old_names(module: ModuleType) -> ModuleType:
    """Return a package as those who import it expect it.

    Parameters
    ----------
    module : ModuleType
        Any one; only NumPy, SciPy and onnx are given what they lack.
    """
    if module.__name__ == "numpy":
        return numpy_with_old_names()
    if module.__name__ in ("onnx", "onnx.defs"):
        mapping = stand_in("onnx.mapping")
        return with_old_opset(module, {} if mapping is None else {"mapping": mapping})
    if module.__name__ == "scipy":
        return Overlay(module, {"sparse": late("scipy.sparse")})
    return late("scipy.sparse") if module.__name__ == "scipy.sparse" else module
