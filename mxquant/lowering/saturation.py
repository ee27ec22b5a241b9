"""When int8 sums of products saturate on CPUs without VNNI.

Found by experiment with oneDNN 2.4.4 (``DNNL_MAX_CPU_ISA`` = SSE41, AVX, AVX2, AVX512_CORE: all alike) against exact
integer arithmetic; ``tests/lowering/test_saturation.py`` repeats it. The instruction ``vpmaddubsw`` multiplies uint8
data by int8 weights and adds two neighbouring products in a saturating int16:

* neighbours are the input channels 2i and 2i + 1 of one group at one place of the kernel; in a FullyConnected the
  inputs 2i and 2i + 1 of the flattened row. The last of an odd number has none. Further sums are made in int32;
* a 2D depthwise convolution has one input channel per group, so it is exact;
* other groups of which either channel count is no multiple of 4, and 3D depthwise, have no kernel of their own. On
  AVX-512 they are a product of matrices, where rows hold all channels of the first place of the kernel, then those of
  the next: neighbours are the elements 2i and 2i + 1 of a row, at two places where the number of channels is odd. On
  AVX2 they are exact, and int8 data do not halve their weights;
* int8 data of a convolution get 128 added, and oneDNN halves the weights in return: (127 + 128) · (64 + 64) = 32640.
  Nothing saturates, and one bit of the weights is lost, in depthwise convolutions too;
* int8 data of a FullyConnected get 128 added as well, but the weights stay: the bound is that of uint8 data up to 255.

A pair of codes w₁, w₂ of one sign cannot saturate on data up to c if c · (|w₁| + |w₂|) ≤ 32767 (32768 for negative
ones). Products of different signs only take from each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple

import numpy as np

from mxquant.lowering.memory_order import in_order
from mxquant.lowering.quantized_params import INT8_RANGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "channel_pair_sums",
    "halved_weight_codes",
    "in_pairs",
    "largest_safe_code",
    "most_codes",
    "neighbours",
    "pair_sums",
    "safe_code_of_weights",
    "weight_codes",
    "weight_scales",
    "weights_safe_at",
]

_LARGEST, _SMALLEST = 32767, -32768
# The codes of a channel whose weights are all smaller do not matter, and their scale leaves the range of float32.
_SMALLEST_WEIGHT = np.float32(1e-36)


def neighbours(shape: Tuple[int, ...], groups: int = 1, order: Optional[Sequence[int]] = None) -> NDArray[np.int64]:
    """Return for each weight of an output channel the one whose product is added to its own in int16.

    Parameters
    ----------
    shape : tuple of int
        Shape of the layer's weight: output channels, input channels of a group, kernel.
    groups : int
        Number of groups of a convolution.
    order : sequence of int, optional
        Which input channel lies at each place in memory; default: their own order.

    Returns
    -------
    numpy.ndarray
        Positions in the flattened weights of a channel, or -1, shape (K,).
    """
    positions = np.arange(int(np.prod(shape[1:])))
    channels = positions.reshape(1, shape[1], -1)
    parts = _in_pairs(channels if order is None else in_order(channels, order), shape, groups)
    even = parts.shape[1] // 2 * 2
    first, second = parts[:, 0:even:2], parts[:, 1:even:2]
    partner = np.full(positions.size, -1)
    partner[first], partner[second] = second, first
    return partner


def pair_sums(codes: NDArray[Any], groups: int = 1) -> Tuple[int, int]:
    """Return the largest sum of positive codes of a pair, and the smallest of negative ones.

    Parameters
    ----------
    codes : numpy.ndarray
        Whole numbers, shape (output channels, input channels of a group, ...).
    groups : int
        Number of groups of a convolution.

    Returns
    -------
    tuple of int
        At least 0, and at most 0.
    """
    found = _sums(codes.astype(np.float32), np.ones(len(codes), np.float32), groups)
    return int(found[:, 0].max(initial=0)), int(found[:, 1].min(initial=0))


def channel_pair_sums(values: NDArray[Any], groups: int = 1) -> NDArray[np.int64]:
    """Do what :func:`pair_sums` does for each output channel, with the codes of :func:`weight_codes`; shape (O, 2)."""
    return _sums(values, weight_scales(values), groups)


def _sums(values: NDArray[Any], scales: NDArray[np.float32], groups: int) -> NDArray[np.int64]:
    from mxquant.lowering._kernels import sums_of_pairs

    # A code without a partner is a sum too; one with a partner is no larger than its pair's.
    found = np.zeros((len(values), 2), np.int64)
    sums_of_pairs(in_pairs(values, groups), scales, found)
    return found


def largest_safe_code(codes: NDArray[Any], groups: int = 1) -> int:
    """Return the largest uint8 code, at most 255, of data with which no pair of weights saturates.

    Parameters
    ----------
    codes : numpy.ndarray
        Codes of the weights, -128 to 127, shape (output channels, input channels of a group, ...).
    groups : int
        Number of groups of a convolution.

    Returns
    -------
    int
        From 128 to 255, and 255 for a 2D depthwise convolution, whose products are not added in pairs.
    """
    return _safe(*pair_sums(codes, groups))


def safe_code_of_weights(values: NDArray[Any], groups: int = 1) -> int:
    """Do what :func:`largest_safe_code` does, with the codes of :func:`weight_codes`."""
    found = channel_pair_sums(values, groups)
    return _safe(int(found[:, 0].max(initial=0)), int(found[:, 1].min(initial=0)))


def _safe(positive: int, negative: int) -> int:
    return min(255, _LARGEST // max(positive, 1), _SMALLEST // min(negative, -1))


def weights_safe_at(codes: NDArray[Any], data_code: int, groups: int = 1) -> bool:
    """Whether no pair of weights saturates on data up to `data_code`."""
    return largest_safe_code(codes, groups) >= data_code


def most_codes(values: NDArray[Any]) -> int:
    """Return a code of a FullyConnected's largest weight, beyond which some pair saturates on data of the code 255.

    Rounding takes at most half a code from each of two weights: where weights end at m, and a pair adds up to p, it has
    at least c · p / m - 1 codes for the code c of m.

    Parameters
    ----------
    values : numpy.ndarray
        float32, shape (output channels, input channels).

    Returns
    -------
    int
        From 1 to 127; codes up to it may saturate too.
    """
    paired = values[:, : values.shape[1] // 2 * 2]
    first, second = paired[:, ::2], paired[:, 1::2]
    positive = float((np.maximum(first, 0) + np.maximum(second, 0)).max(initial=0))
    negative = float((np.minimum(first, 0) + np.minimum(second, 0)).min(initial=0))
    sums, largest = max(positive, -negative), float(np.abs(values).max(initial=0))
    limit = -_SMALLEST // 255 + 1
    return 127 if sums * 127 <= limit * largest else max(1, int(limit * largest / sums) + 1)


def in_pairs(values: NDArray[Any], groups: int = 1) -> NDArray[np.float32]:
    """Return weights as float32, shape (O, I, K), in which [o, 2i, k] and [o, 2i + 1, k] are neighbours."""
    parts = _in_pairs(values.reshape(len(values), values.shape[1], -1), values.shape, groups)
    return np.ascontiguousarray(parts, np.float32)


def _in_pairs(parts: NDArray[Any], shape: Tuple[int, ...], groups: int) -> NDArray[Any]:
    """Return rows of weights, shape (..., I, K), so that neighbours follow each other along I."""
    depthwise = groups == shape[0] and shape[1] == 1 and len(shape) < 5
    if groups > 1 and shape[1] % 2 and not depthwise:
        return parts.transpose(0, 2, 1).reshape(len(parts), -1, 1)
    return parts


def weight_codes(values: NDArray[Any]) -> NDArray[np.int8]:
    """Return weights as MXNet's operators quantize them, with a scale for each channel.

    Parameters
    ----------
    values : numpy.ndarray
        float32, shape (output channels, ...).

    Returns
    -------
    numpy.ndarray
        Codes from -128 to 127, in the shape of `values`; zeros for a channel of zeros.
    """
    return _codes(values, np.float32(1))


def halved_weight_codes(values: NDArray[Any]) -> NDArray[np.int8]:
    """Return weights as oneDNN halves them for int8 data: codes from -64 to 64."""
    return _codes(values, np.float32(0.5))


def _codes(values: NDArray[Any], factor: np.float32) -> NDArray[np.int8]:
    rows = values.reshape(len(values), -1).astype(np.float32)
    scales = weight_scales(rows)[:, None]
    return np.clip(np.rint(rows * (scales * factor)), -128, 127).astype(np.int8).reshape(values.shape)


def weight_scales(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the codes per weight of each output channel, shape (O,), as MXNet computes them."""
    rows = values.reshape(len(values), -1)
    largest = np.maximum(rows.max(axis=1), -rows.min(axis=1)).astype(np.float32)
    return np.asarray(np.float32(INT8_RANGE) / np.where(largest > _SMALLEST_WEIGHT, largest, np.float32(1)), np.float32)
