"""The data of a layer as rows: what each value of its result is a weighted sum of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

from mxquant.graph import Node
from mxquant.graph.attributes import read_bool, read_int, read_tuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["rows_of"]


def rows_of(
    node: Node, data: NDArray[np.float32], result: NDArray[np.float32], weight_shape: Tuple[int, ...], most: int
) -> Tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return places of a layer's result, and what is multiplied by the weights there.

    Parameters
    ----------
    node : Node
        A FullyConnected, or a 2D channel-first Convolution.
    data : numpy.ndarray
        What it reads, shape (N, C, H, W), or (N, ...) for a FullyConnected.
    result : numpy.ndarray
        What it makes, shape (N, O, H', W') or (N, ..., O).
    weight_shape : tuple of int
        Shape of its weight.
    most : int
        How many numbers the rows may hold; where there are more places, some are taken at random, with a fixed seed.

    Returns
    -------
    tuple of numpy.ndarray
        Rows, shape (G, n, K): by group, place, and in the order of the weights; results, shape (G, n, O / G), both in
        memory of their own; the example that each place is of, shape (n,), in ascending order.
    """
    random = np.random.RandomState(0)
    columns = int(np.prod(weight_shape[1:]))
    if node.op == "FullyConnected":
        flat = data.reshape(len(data), -1) if read_bool(node, "flatten", True) else data.reshape(-1, columns)
        places = _some(len(flat), most // columns, random)
        return flat[None, places], result.reshape(len(flat), -1)[None, places], places * len(data) // len(flat)
    windows = _windows(node, data)
    groups = read_int(node, "num_group", 1)
    batch, outputs, height, width = result.shape
    places = _some(batch * height * width, most // (columns * groups), random)
    at = np.unravel_index(places, (batch, height, width))
    rows = windows[at[0], :, at[1], at[2]].reshape(len(places), groups, columns)
    results = result[at[0], :, at[1], at[2]].reshape(len(places), groups, outputs // groups)
    return rows.transpose(1, 0, 2), results.transpose(1, 0, 2), at[0]


def _windows(node: Node, data: NDArray[Any]) -> NDArray[Any]:
    """Return a view of shape (N, C, H', W', kernel height, kernel width)."""
    kernel, pad = read_tuple(node, "kernel"), read_tuple(node, "pad") or (0, 0)
    stride, dilate = (read_tuple(node, name) or (1, 1) for name in ("stride", "dilate"))
    data = np.pad(data, ((0, 0), (0, 0), *((each, each) for each in pad)))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilate))
    view: Any = np.lib.stride_tricks.sliding_window_view
    windows: NDArray[Any] = view(data, reach, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1], :: dilate[0], :: dilate[1]]


def _some(count: int, most: int, random: np.random.RandomState) -> NDArray[np.int64]:
    return np.arange(count) if count <= most else np.sort(random.choice(count, max(most, 1), replace=False))
