"""Post-training int8 quantization for Apache MXNet 1.9.

=====================  =======================================================================
:func:`calibrate`      run the fp32 network on data: :class:`Statistics` of its tensors
:func:`make_plan`      decide what runs in int8 and how: a :class:`QuantPlan`
:func:`lower`          do it: a :class:`QuantizedModel`
:func:`quantize`       all three, and weights that lose less
:func:`sensitivity`    measure which layers lose how much
:func:`compare`        int8 beside fp32, layer by layer
:func:`load`           read a :class:`QuantizedModel` from its files
:func:`from_onnx`      read fp32 ONNX: a Symbol with parameters
:func:`export_onnx`    write ONNX, in fp32 or with the int8 tensors of a plan: an :class:`OnnxModel`
=====================  =======================================================================

:mod:`mxquant.quantization` has the functions of ``mxnet.contrib.quantization``. Everything that is raised on purpose
is an :class:`MXQuantError`.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, List

from mxquant.version import __version__

if TYPE_CHECKING:
    from mxquant.calibration import calibrate
    from mxquant.errors import (
        CalibrationError,
        ClusterError,
        GraphError,
        InputError,
        LoweringError,
        MXQuantError,
        NonFiniteError,
        OutputError,
        PlanError,
        StatisticsError,
    )
    from mxquant.export.onnx import export_onnx
    from mxquant.inspection import compare, sensitivity
    from mxquant.onnx_import.reader import OnnxNetwork, from_onnx
    from mxquant.onnx_model import OnnxModel
    from mxquant.pipeline import lower, make_plan, quantize
    from mxquant.plan import LayerPlan, QuantPlan, TensorPlan
    from mxquant.quantized_model import QuantizedModel, load
    from mxquant.recurrent_plan import RecurrentPlan
    from mxquant.stats import Histogram, Statistics

__all__ = [
    "CalibrationError",
    "ClusterError",
    "GraphError",
    "Histogram",
    "InputError",
    "LayerPlan",
    "LoweringError",
    "MXQuantError",
    "NonFiniteError",
    "OnnxModel",
    "OnnxNetwork",
    "OutputError",
    "PlanError",
    "QuantPlan",
    "QuantizedModel",
    "RecurrentPlan",
    "Statistics",
    "StatisticsError",
    "TensorPlan",
    "__version__",
    "calibrate",
    "compare",
    "export_onnx",
    "from_onnx",
    "load",
    "lower",
    "make_plan",
    "quantize",
    "sensitivity",
]


def _only_tells() -> bool:
    """Whether this process is the command, and completes a line or shows help, which should not wait for MXNet."""
    name, *words = getattr(sys, "argv", None) or [""]
    # While Python looks for the module of `python -m`, that is the name.
    if name != "-m" and os.path.splitext(os.path.basename(name))[0] != "mxquant":
        return False
    return "_MXQUANT_COMPLETE" in os.environ or len(words) < 2 or not {"--help", "--version"}.isdisjoint(words)


# Else with MXNet, so that what is missing is told at once.
if not _only_tells():
    import_module("mxquant._compat")

# Loaded when first used, so that importing mxquant costs little more than importing MXNet.
_MODULES = {
    "calibration": ("calibrate",),
    "errors": (
        "CalibrationError",
        "ClusterError",
        "GraphError",
        "InputError",
        "LoweringError",
        "MXQuantError",
        "NonFiniteError",
        "OutputError",
        "PlanError",
        "StatisticsError",
    ),
    "export.onnx": ("export_onnx",),
    "inspection": ("compare", "sensitivity"),
    "onnx_import.reader": ("OnnxNetwork", "from_onnx"),
    "onnx_model": ("OnnxModel",),
    "pipeline": ("lower", "make_plan", "quantize"),
    "plan": ("LayerPlan", "QuantPlan", "TensorPlan"),
    "quantized_model": ("QuantizedModel", "load"),
    "recurrent_plan": ("RecurrentPlan",),
    "stats": ("Histogram", "Statistics"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mxquant' has no attribute '{name}'")
    value = getattr(import_module(f"mxquant.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
