"""Thresholds to and from the calibration tables of TensorRT and ONNX Runtime.

TensorRT's hold, by the name of a tensor, the largest magnitude that a code stands for, ONNX Runtime's what the first
and the last code stand for. Names are those of the user's MXNet network, which an ONNX file of
:func:`mxquant.export_onnx` keeps. What is read goes into a plan by ``make_plan(..., largest_values=...)``, which passes
over names of other tensors in a table, but not in a dictionary that is typed by hand.

============  ====================================================================================================
table         form
============  ====================================================================================================
TensorRT      a line ``TRT-VERSION-CALIBRATOR``, then ``NAME: HEX`` for each tensor: the bits of the float32 scale,
              which is the largest value over 127; TensorRT writes no zeros in front, and ``NAME: 0`` for a tensor
              that was all zeros in calibration, which has no range
ONNX Runtime  ``calibration.json`` of ``onnxruntime.quantization.write_calibration_table``: a TensorsData with
              "lowest" and "highest" for each tensor
============  ====================================================================================================
"""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple, TypeVar, Union

from mxquant.errors import InputError, PlanError
from mxquant.files.reading import read_json, read_text
from mxquant.files.replacing import write_text
from mxquant.plan import QuantPlan
from mxquant.shown import printable

__all__ = [
    "Table",
    "largest_values",
    "read_onnxruntime_table",
    "read_tensorrt_cache",
    "tensorrt_cache",
    "write_onnxruntime_table",
    "write_tensorrt_cache",
]


PathLike = Union[str, Path]
# A largest magnitude, or a smallest and a largest value.
Ends = Union[float, Tuple[float, float]]


_Value = TypeVar("_Value")


class Table(Dict[str, _Value]):
    """Ranges by the name of the tensor, of which some may be no tensor of a network that is planned with them."""


# The version is TensorRT's own; it recalibrates if it is not the one that runs.
_HEADER = "TRT-8601-EntropyCalibration2"
_LINE = re.compile(r"(?P<name>.+): (?P<bits>[0-9a-fA-F]{1,8})")


def largest_values(plan: QuantPlan) -> Table[float]:
    """Return the largest magnitude that a code of every int8 tensor of a plan stands for, by the tensor's name.

    Parameters
    ----------
    plan : QuantPlan
        A calibrated plan.

    Returns
    -------
    dict of str to float
        In the tensors' own units.
    """
    return Table({name: max(-low, high) for name, (low, high) in _ends(plan).items()})


def _ends(plan: QuantPlan) -> Dict[str, Tuple[float, float]]:
    """Return what the first and the last code of every int8 tensor of a plan stand for."""
    found = {}
    for name, tensor in plan.tensors.items():
        if tensor.scale is not None and tensor.codes is not None:
            signed = tensor.dtype == "int8"
            first = tensor.ends[0] if tensor.zero_point or not signed else -tensor.codes
            found[name] = (first * tensor.scale, tensor.codes * tensor.scale)
    return found


def tensorrt_cache(plan: QuantPlan) -> str:
    """Return the text of a calibration cache for TensorRT.

    Parameters
    ----------
    plan : QuantPlan
        A calibrated plan.

    Raises
    ------
    PlanError
        If the name of a tensor would be read as another one, or as more lines.
    """
    values = largest_values(plan)
    for name in values:
        _check_name(name)
    lines = [f"{name}: {struct.pack('>f', value / 127).hex()}" for name, value in values.items()]
    return "\n".join([_HEADER, *lines, ""])


def write_tensorrt_cache(path: PathLike, plan: QuantPlan) -> None:
    """Write a calibration cache for TensorRT.

    Parameters
    ----------
    path : str or Path
        The file.
    plan : QuantPlan
        A calibrated plan.

    Raises
    ------
    PlanError
        If the name of a tensor would be read as another one, or as more lines.
    OutputError
        If the file cannot be written.
    """
    write_text(path, tensorrt_cache(plan))


def _check_name(name: str) -> None:
    """Refuse a name that a line cannot have: a cache has no quotes and no escapes."""
    problem = ""
    if printable(name) != name:
        problem = "it has ends of lines, or other characters that are not to be seen"
    elif not name or name != name.strip():
        problem = "it is empty, or begins or ends with a space, which readers leave out"
    elif ": " in name:
        problem = "it has a colon before a space, where readers end the name"
    if problem:
        raise PlanError(
            f"tensor '{printable(name)}' cannot stand in a calibration cache for TensorRT, whose lines are "
            f"'NAME: HEX': {problem}; give its layer another name, or leave the cache out and let TensorRT read the "
            "ONNX file with the int8 tensors of the plan, which needs none"
        )


def read_tensorrt_cache(path: PathLike) -> Table[float]:
    """Return the largest values of a calibration cache of TensorRT, by the name of the tensor.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict of str to float
        For ``make_plan(..., largest_values=...)``. Tensors with the scale 0, which were all zeros in calibration, are
        left out.

    Raises
    ------
    InputError
        If the file is no such cache, naming the line.
    """
    lines = read_text(path, InputError, "the calibration cache").splitlines()
    if not lines or not lines[0].startswith("TRT-"):
        raise InputError(f"'{path}' does not begin with 'TRT-', as a calibration cache of TensorRT does")
    found: Table[float] = Table()
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise InputError(
                f"'{path}', line {number}: found {line!r}, expected 'NAME: ' and up to eight hexadecimal digits"
            )
        (scale,) = struct.unpack(">f", struct.pack(">I", int(match["bits"], 16)))
        if scale:
            found[match["name"]] = _checked(path, match["name"], scale * 127)
    return found


def write_onnxruntime_table(path: PathLike, plan: QuantPlan) -> None:
    """Write a calibration table as ONNX Runtime's tools do.

    Parameters
    ----------
    path : str or Path
        The file, which these tools call ``calibration.json``.
    plan : QuantPlan
        A calibrated plan.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    data = {}
    for name, (low, high) in _ends(plan).items():
        data[name] = {"CLS": "TensorData", "lowest": _array(low), "highest": _array(high)}
    document = {
        "CLS": "TensorsData",
        "data": data,
        "calibration_method": {"CLS": "CalibrationMethod", "value": "CalibrationMethod.Entropy"},
    }
    write_text(path, json.dumps(document) + "\n")


def _array(value: float) -> Dict[str, Any]:
    return {"data": [value], "dtype": "float32", "CLS": "numpy.array"}


def read_onnxruntime_table(path: PathLike) -> Table[Ends]:
    """Return the ranges of a calibration table of ONNX Runtime's tools, by the name of the tensor.

    Parameters
    ----------
    path : str or Path
        The file, which these tools call ``calibration.json``.

    Returns
    -------
    dict of str to float or tuple of two floats
        For ``make_plan(..., largest_values=...)``: the smallest and the largest value, or the largest magnitude of a
        range that is symmetric or has no negative values.

    Raises
    ------
    InputError
        If the file is no such table, naming the tensor.
    """
    document = read_json(path, InputError, "the calibration table")
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise InputError(f"'{path}' has no \"data\", as a calibration table of ONNX Runtime has")
    found: Table[Ends] = Table()
    for name, entry in data.items():
        low, high = (_number(entry, key) for key in ("lowest", "highest"))
        if low is None or high is None:
            raise InputError(f"'{path}': tensor '{name}' has no number as \"lowest\" and \"highest\"")
        value = max(abs(end) if math.isfinite(end) else math.inf for end in (low, high))
        # A tensor of zeros has no range to speak of.
        if value:
            _checked(path, name, value)
            found[name] = value if low >= 0 or low == -high or low > high else (low, max(high, 0.0))
    return found


def _number(entry: Any, key: str) -> Any:
    """Return a number of a table, which is kept as an array of one."""
    value = entry.get(key) if isinstance(entry, Mapping) else None
    value = value.get("data") if isinstance(value, Mapping) else value
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _checked(path: PathLike, name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"'{path}': the largest value of tensor '{name}' is {value!r}, expected a positive number")
    return value
