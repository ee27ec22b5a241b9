"""Modules by the names that they had before: ``from mxquant.tables import ...`` goes on working.

A name of the table is found by a finder of its own, and gives the module itself, not a copy; so the finder comes before
Python's, which looks into the folders of packages.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Mapping, Optional

__all__ = ["MOVED", "keep_old_names"]

# Below `mxquant`: the old name, and the module that has its contents.
MOVED: Mapping[str, str] = {
    "accuracy.walk": "runtime.walk",
    "around_decisions": "planning.around_decisions",
    "checkpoint": "calibration.checkpoint",
    "code_limits": "planning.code_limits",
    "compact": "model.compact",
    "compact_recurrent": "model.compact_recurrent",
    "data": "runtime.data",
    "exclusions": "planning.exclusions",
    "export": "onnx_export",
    "export.onnx": "onnx_export.export",
    "layer_checks": "model.layer_checks",
    "magnitudes": "planning.magnitudes",
    "monitor_collector": "calibration.monitor_collector",
    "mxnet_bridge": "runtime.mxnet_bridge",
    "noise": "planning.noise",
    "onnx_model": "onnx_export.onnx_model",
    "pairing": "planning.pairing",
    "params_file": "files.params_file",
    "plan_options": "planning.plan_options",
    "planner": "planning.planner",
    "quantized_model": "model.quantized_model",
    "ranges": "planning.ranges",
    "recurrent_plan": "plan.recurrent_plan",
    "saturation_choices": "planning.saturation_choices",
    "stats.runner": "runtime.runner",
    "symbol_file": "runtime.symbol_file",
    "tables": "plan.tables",
}
_ROOT = "mxquant."


def keep_old_names() -> None:
    """Let Python find modules by the names of :data:`MOVED` too."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _home(name: str) -> Optional[str]:
    """Return where a module is that was called `name`, or None."""
    if not name.startswith(_ROOT):
        return None
    old = name[len(_ROOT) :]
    if old in MOVED:
        return _ROOT + MOVED[old]
    # The modules of a package that has moved as a whole.
    package, _, module = old.partition(".")
    return f"{_ROOT}{MOVED[package]}.{module}" if module and package in MOVED else None


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        home = _home(name)
        return None if home is None else ModuleSpec(name, _Loader(home), is_package=True)


class _Loader(Loader):
    def __init__(self, home: str) -> None:
        self.home = home

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make an empty module, which the real one replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module itself in the place of the empty one."""
        sys.modules[module.__name__] = import_module(self.home)
