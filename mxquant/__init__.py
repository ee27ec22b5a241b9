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
is an :class:`MXQuantError`. :mod:`mxquant.compat` is what lets MXNet run on today's Python and NumPy.
"""

import ast
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping

from mxquant.compat import while_importing
from mxquant.runtime.moved import keep_old_names
from mxquant.runtime.processors import enough_threads

keep_old_names()
# From here on MXNet is imported so that it works, which importing compat arranges, and with all processors.
while_importing(enough_threads)
if "mxnet" in sys.modules:
    import_module("mxquant.runtime.mxnet")  # what can be said of an MXNet that came before is said at once


def _homes() -> Mapping[str, str]:
    """Return the modules of the public names, as the file of types beside this one has them."""
    lines = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    return {name.name: line.module or "" for line in lines if isinstance(line, ast.ImportFrom) for name in line.names}


# Loaded when first used: importing mxquant costs next to nothing, and takes no MXNet yet.
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
