"""Weights of int8 layers in one byte each, from which MXNet makes the same int8 weights again.

With a scale for each channel MXNet's int8 operators take fp32 weights w and quantize them when they first run, with
M = max|w| of each channel::

    q = round(w · 127.5 / M)        convolutions of int8 data on CPUs without VNNI: round(w · 63.75 / M)

A file holds q and M. Read back, a weight is q · M / 127.5, but one of each channel is ±M itself, so that M stays what
it was. An odd q would be half-way between two of the halved codes; a bit tells on which side of q it was.

An LSTM has its biases in the same vector as its weights: :mod:`mxquant.model.compact_recurrent`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Graph
from mxquant.graph.ir import Use
from mxquant.lowering.quantized_params import INT8_RANGE
from mxquant.lowering.saturation import halved_weight_codes, weight_codes
from mxquant.lowering.target import RECURRENT
from mxquant.model.compact_recurrent import recurrent_parts, recurrent_vector
from mxquant.runtime.threads import in_parallel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COMPACT", "compact", "expand"]

# How the keys of a file begin whose value :func:`expand` has to see.
COMPACT = "compact:"

_CODES, _LARGEST, _SIDES, _BIASES = "int8:", "largest:", "sides:", "biases:"
_WEIGHT = 1
_INT8 = ("_sg_mkldnn_conv", "_sg_mkldnn_fully_connected")


def compact(graph: Graph, params: Mapping[str, NDArray[Any]]) -> Dict[str, NDArray[Any]]:
    """Return parameters as they are kept in a compact file.

    Parameters
    ----------
    graph : Graph
        The int8 network.
    params : mapping of str to numpy.ndarray
        Its parameters.

    Returns
    -------
    dict of str to numpy.ndarray
        By name: what can be kept in int8 as its parts, for :func:`expand`, and all others unchanged.
    """
    found: Dict[str, NDArray[Any]] = {}
    readers = {tensor.node.name: uses for tensor, uses in graph.uses().items() if tensor.node.is_variable}
    for name, value in params.items():
        uses = readers.get(name, [])
        parts = _parts_of(value, uses) if uses and value.dtype == np.float32 and value.size else None
        found.update({name: value} if parts is None else {f"{kind}{name}": part for kind, part in parts.items()})
    return found


def expand(saved: Mapping[str, NDArray[Any]]) -> Dict[str, NDArray[Any]]:
    """Return the parameters of a compact file.

    Parameters
    ----------
    saved : mapping of str to numpy.ndarray
        What :func:`compact` has returned.

    Returns
    -------
    dict of str to numpy.ndarray
        Parameters by name.

    Raises
    ------
    InputError
        If the parts of a weight do not fit each other.
    """
    names = [key[len(_CODES) :] for key in saved if key.startswith(_CODES)]

    def weight(name: str) -> NDArray[Any]:
        if _BIASES + name in saved:
            parts = (saved[kind + name] for kind in (_CODES, _LARGEST, _BIASES))
            return recurrent_vector(name, *parts)
        return _weight(saved[_CODES + name], saved[_LARGEST + name], saved.get(_SIDES + name))

    for name in names:
        _check(name, *(saved.get(kind + name) for kind in (_CODES, _LARGEST, _SIDES)))
    others = {key: value for key, value in saved.items() if not key.startswith((_CODES, _LARGEST, _SIDES, _BIASES))}
    return {**others, **dict(zip(names, in_parallel(weight, names)))}


def _check(name: str, codes: Any, largest: Any, sides: Any) -> None:
    packed = -(-codes.size // 8)
    if codes.dtype != np.int8 or codes.ndim < 2:
        raise InputError(
            f"the codes of '{name}' are {codes.dtype} of shape {codes.shape}, expected int8, a row a channel"
        )
    if largest is None or (largest.dtype, largest.shape) != (np.float32, codes.shape[:1]):
        raise InputError(f"'{name}' has no float32 number as the largest weight of each of its {len(codes)} channels")
    if not (np.isfinite(largest).all() and (largest >= 0).all()):
        raise InputError(f"the largest weights of '{name}' are not all positive finite numbers")
    if sides is not None and (sides.dtype, sides.shape) != (np.uint8, (packed,)):
        raise InputError(f"the sides of '{name}' are {sides.dtype} of shape {sides.shape}, expected {packed} bytes")


def _is_int8_weight(use: Use) -> bool:
    node, slot = use
    return node is not None and node.op in _INT8 and node.attrs.get("quantized") == "True" and slot == _WEIGHT


def _parts_of(value: NDArray[np.float32], uses: Sequence[Use]) -> Optional[Dict[str, NDArray[Any]]]:
    """Return the parts of a parameter with its readers, or None where it has to stay as it is."""
    if all(map(_is_int8_weight, uses)):
        return _parts(value)
    node = uses[0].node
    if len(uses) > 1 or node is None or node.op != RECURRENT or uses[0].slot != _WEIGHT:
        return None
    found = recurrent_parts(node, value)
    return found and {_CODES: found["codes"], _LARGEST: found["largest"], _BIASES: found["biases"]}


def _parts(weight: NDArray[np.float32]) -> Optional[Dict[str, NDArray[Any]]]:
    """Return codes and largest magnitudes, and sides where needed; None where the same codes would not come out."""
    codes, halved = weight_codes(weight), halved_weight_codes(weight)
    parts: Dict[str, NDArray[Any]] = {_CODES: codes, _LARGEST: np.abs(weight.reshape(len(weight), -1)).max(axis=1)}
    sides = np.packbits(2 * halved.astype(np.int16) > codes)
    for more in ({}, {_SIDES: sides}):
        found = _weight(codes, parts[_LARGEST], more.get(_SIDES))
        if np.array_equal(weight_codes(found), codes) and np.array_equal(halved_weight_codes(found), halved):
            return {**parts, **more}
    return None


def _weight(codes: NDArray[np.int8], largest: NDArray[np.float32], sides: Optional[NDArray[np.uint8]]) -> NDArray[Any]:
    """Return float32 weights that MXNet quantizes to these codes."""
    rows = codes.reshape(len(codes), -1)
    values = rows.astype(np.float32)
    if sides is not None:
        away = np.unpackbits(sides, count=codes.size).view(np.int8).reshape(rows.shape)
        values += np.float32(0.25) * ((2 * away - 1) * (rows & 1))
    # The largest magnitude has code -128, or else the outermost of all, and 127 rather than -127.
    at = np.abs(values + np.float32(0.1)).argmax(axis=1)[:, None]
    limit = largest[:, None]
    values *= limit / np.float32(INT8_RANGE)
    np.clip(values, -limit, limit, out=values)
    ends = np.copysign(limit, np.take_along_axis(values, at, axis=1))
    np.put_along_axis(values, at, ends, axis=1)
    return values.reshape(codes.shape)
