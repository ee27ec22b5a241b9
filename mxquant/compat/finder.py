"""A finder of modules that gives MXNet's, and no others, what they miss in today's Python and NumPy.

A module is run with ``__builtins__`` of its own: its ``import numpy`` finds the old names too, and its ``str`` writes
the scalars of NumPy 2 as numbers. Both hold for all functions of that module and for whatever they import later.
"""

from __future__ import annotations

import builtins
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Dict, Optional, Sequence, Set

from mxquant.compat.functions import mend
from mxquant.compat.late import is_late, late
from mxquant.compat.plain_text import PlainText
from mxquant.compat.stand_ins import stand_in, with_old_names

__all__ = ["install", "repair", "while_importing"]


class _Finder(MetaPathFinder):
    """Finds what the other finders find, for the packages that are repaired."""

    def __init__(self) -> None:
        self.packages: Set[str] = set()
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext

    def find_spec(self, name: str, path: Optional[Sequence[str]], target: Any = None) -> Optional[ModuleSpec]:
        if name.partition(".")[0] not in self.packages:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: Optional[ModuleSpec] = None if find is None else find(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = self._repairing(spec.loader, name)
                return spec
        return None

    def _repairing(self, loader: Any, name: str) -> Any:
        """Return a copy of a loader, for it may have other modules to load, that runs one as it has to be run."""
        loader = copy(loader)
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            module.__dict__["__builtins__"] = _builtins()
            around = self.around if name == "mxnet" else nullcontext
            with warnings.catch_warnings(), around():
                # Of old ways to write strings, of names of NumPy that are only listed.
                for category in (DeprecationWarning, FutureWarning, SyntaxWarning):
                    warnings.simplefilter("ignore", category)
                run(module)
            mend(module)

        loader.exec_module = exec_module
        return loader


_FINDER = _Finder()


def install() -> None:
    """Repair MXNet: when it is imported, or now if it has been. Calling this again changes nothing."""
    repair("mxnet")


def repair(*packages: str) -> None:
    """Repair packages that were written for the NumPy and the Python of MXNet's time.

    Parameters
    ----------
    *packages : str
        Their names, such as 'gluoncv': each with all its modules.
    """
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    for package in packages:
        if package not in _FINDER.packages:
            _FINDER.packages.add(package)
            _repair_loaded(package)


def while_importing(around: Callable[[], AbstractContextManager[None]]) -> None:
    """Set the context that MXNet is imported in, such as one that sets the number of its threads.

    Parameters
    ----------
    around : function
        Without parameters; it returns a context manager.
    """
    _FINDER.around = around


# What a module of MXNet takes if it is there, and does without otherwise: mxnet.model takes the base of one old class,
# FeedForward, and waits for all of scikit-learn and most of SciPy.
_SPARED = {("mxnet.model", "sklearn.base")}


@lru_cache(maxsize=None)
def _builtins() -> Dict[str, Any]:
    return {**vars(builtins), "__import__": _import, "str": PlainText}


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    importer = (globals or {}).get("__name__") or ""
    if (importer, name) in _SPARED and name.partition(".")[0] not in sys.modules:
        raise ImportError(f"{name} is not imported for MXNet alone; import it first where that is wanted")
    if is_late(importer, name):
        return late(name if fromlist else "scipy")
    gone = None if level else stand_in(name)
    if gone is not None and fromlist:
        return gone
    if gone is not None:
        name = name.partition(".")[0]  # what such an import binds: the package
    module = __import__(name, globals, locals, fromlist, level)
    return module if level else with_old_names(module)


def _repair_loaded(package: str) -> None:
    """Repair a package that is there already, by names of its modules' own: they come before builtins.

    What an import that failed has left behind is dropped, so that the next one begins anew.
    """
    loaded = {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == package and isinstance(module, ModuleType)
    }
    if package not in loaded:
        for name in loaded:
            del sys.modules[name]
        return
    mended: Dict[int, Any] = {}
    for module in loaded.values():
        mended.update(mend(module))
    for module in loaded.values():
        for name, value in list(vars(module).items()):
            if id(value) in mended:
                setattr(module, name, mended[id(value)])
            elif isinstance(value, ModuleType) and value.__name__ in ("numpy", "onnx", "scipy.sparse"):
                setattr(module, name, with_old_names(value))
        module.__dict__.setdefault("str", PlainText)
