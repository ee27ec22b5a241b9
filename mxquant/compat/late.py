"""SciPy as MXNet imports it: a module of it is loaded when something of it is used, and not before.

MXNet imports ``scipy.sparse`` and ``scipy.stats`` where they are installed, for what few programs call: arrays of
SciPy, tests of random numbers. Loading them takes a third of the time in which MXNet is imported.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["is_late", "late"]

_PARTS = ("sparse", "stats")
_NAMES = ("scipy", *(f"scipy.{part}" for part in _PARTS))


class _Late(ModuleType):
    """Stands for a module, which it loads when it is asked for a name of it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


class _Sparse(_Late):
    """Has the names of ``scipy.sparse.csr`` too, which is leaving SciPy."""

    @property
    def csr(self) -> Any:
        """What MXNet asks for the class of every array that it copies: none is of it before SciPy's module is there."""
        sparse = sys.modules.get(self.__name__)
        # Another thread may be loading it.
        return sparse if hasattr(sparse, "csr_matrix") else SimpleNamespace(csr_matrix=())


def is_late(importer: str, name: str) -> bool:
    """Whether a module gets what stands for a module of SciPy.

    Parameters
    ----------
    importer : str
        The module that imports it.
    name : str
        What it imports. Where SciPy is not installed MXNet is to learn that at once.
    """
    if name not in _NAMES or not importer.startswith("mxnet."):
        return False
    return sys.modules["scipy"] is not None if "scipy" in sys.modules else find_spec("scipy") is not None


@lru_cache(maxsize=None)
def late(name: str) -> ModuleType:
    """Return what stands for a module.

    Parameters
    ----------
    name : str
        'scipy', 'scipy.sparse' or 'scipy.stats'.

    Returns
    -------
    ModuleType
        The same one at each call. It is not in ``sys.modules``, where others would find it.
    """
    module = _Sparse(name) if name == "scipy.sparse" else _Late(name)
    if name == "scipy":
        vars(module).update({part: late(f"scipy.{part}") for part in _PARTS})
    return module
