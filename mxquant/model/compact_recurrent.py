"""The parameters of an int8 LSTM with weights in one byte each, from which MXNet makes the same int8 weights again.

``_contrib_quantized_rnn`` takes them as one float32 vector and quantizes each row of its weights, those of the data and
of the state and of both directions together, by 127 / M with M the row's largest magnitude, halves to even. A file
holds the codes q, one row for each gate and unit, M, and the biases. Read back, a weight is q · M / 127, or ±M itself
where q is ±127.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Node
from mxquant.graph.packed_recurrent import GATES, Direction, input_size, pack, rows_of, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["recurrent_parts", "recurrent_vector"]

_GATES, _BIASES = GATES["lstm"], 2


def recurrent_parts(node: Node, vector: NDArray[Any]) -> Optional[Dict[str, NDArray[Any]]]:
    """Return codes and biases of an int8 LSTM.

    Parameters
    ----------
    node : Node
        The int8 LSTM, of one layer.
    vector : numpy.ndarray
        Its parameters, float32.

    Returns
    -------
    dict of str to numpy.ndarray, or None
        'codes' (int8, shape (4 · units, K)), 'largest' (float32, (4 · units,)) and 'biases' (float32, one axis); None
        where the same codes would not come out.
    """
    if input_size(node, vector.size) is None:
        return None
    (directions,) = unpack(node, vector)
    rows = rows_of(directions)
    largest = np.abs(rows).max(axis=1)
    codes, biases = _codes(rows, largest), np.concatenate([bias for each in directions for bias in each[_BIASES:]])
    if not np.array_equal(_codes(_weights(codes, largest), largest), codes):
        return None
    return {"codes": codes, "largest": largest, "biases": biases}


def recurrent_vector(
    name: str, codes: NDArray[Any], largest: NDArray[Any], biases: NDArray[Any]
) -> NDArray[np.float32]:
    """Return the parameters of an int8 LSTM from its parts; raise InputError where they do not fit each other."""
    rows, columns = codes.shape
    units = rows // _GATES
    ways = biases.size // max(_BIASES * rows, 1)
    inputs = columns // max(ways, 1) - units
    fit = ways in (1, 2) and biases.dtype == np.float32 and biases.shape == (ways * _BIASES * rows,)
    if not fit or rows % _GATES or columns % ways or inputs < 1:
        raise InputError(
            f"the parts of '{name}' are no LSTM: codes of shape {codes.shape}, {biases.dtype} biases of {biases.shape}"
        )
    weights = np.split(_weights(codes, largest), ways, axis=1)
    pairs = np.split(biases, _BIASES * ways)
    directions = [
        Direction(*np.split(weight, [inputs], axis=1), *pairs[_BIASES * way : _BIASES * (way + 1)])
        for way, weight in enumerate(weights)
    ]
    return pack([directions])


def _codes(rows: NDArray[Any], largest: NDArray[Any]) -> NDArray[np.int8]:
    """Return what MXNet makes of weights, by its float32 operations."""
    scales = np.float32(127) / np.where(largest > 0, largest, np.float32(1))
    codes: NDArray[np.int8] = np.rint(rows * scales[:, None]).astype(np.int8)
    return codes


def _weights(codes: NDArray[np.int8], largest: NDArray[Any]) -> NDArray[np.float32]:
    limit = largest[:, None].astype(np.float32)
    values = codes.astype(np.float32) * (limit / np.float32(127))
    return np.where(np.abs(codes) == 127, np.sign(codes) * limit, values).astype(np.float32)
