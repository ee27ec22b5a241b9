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

import ast
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping

from mxquant.runtime.moved import keep_old_names

keep_old_names()


def _only_tells() -> bool:
    """Whether this process is the command, and completes a line or shows help, which should not wait for MXNet."""
    name, *words = getattr(sys, "argv", None) or [""]
    # While Python looks for the module of `python -m`, that is the name.
    if name != "-m" and os.path.splitext(os.path.basename(name))[0] != "mxquant":
        return False
    return "_MXQUANT_COMPLETE" in os.environ or len(words) < 2 or not {"--help", "--version"}.isdisjoint(words)


# Else with MXNet, so that what is missing is told at once.
if not _only_tells():
    import_module("mxquant.runtime.mxnet")


def _homes() -> Mapping[str, str]:
    """Return the modules of the public names, as the file of types beside this one has them."""
    lines = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    return {name.name: line.module or "" for line in lines if isinstance(line, ast.ImportFrom) for name in line.names}


# Loaded when first used, so that importing mxquant costs little more than importing MXNet.
_HOMES = _homes()
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mxquant' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
