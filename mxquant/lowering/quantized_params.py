"""Parameters as int8, with one symmetric range per tensor, rounded as MXNet's own quantize operator rounds.

For a tensor of largest magnitude M::

    q = sign(x) · min(floor(|x| · 127 / M + 1/2), 127)

in float32. Where M is 0 the range is ±1, so that nothing is divided by 0 and all codes are 0.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

__all__ = ["quantize_int8"]


def quantize_int8(values: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quantize a parameter.

    Parameters
    ----------
    values : numpy.ndarray
        float32, any shape.

    Returns
    -------
    tuple of numpy.ndarray
        Codes (int8, the shape of `values`); the range's lower and upper end (float32, shape (1,)).
    """
    values = np.asarray(values, dtype=np.float32)
    largest = np.float32(np.abs(values).max() if values.size else 0)
    if largest == 0:
        largest = np.float32(1)
    scale = np.float32(127) / largest
    magnitude = np.minimum(np.floor(np.abs(values) * scale + np.float32(0.5)), np.float32(127))
    codes = (np.sign(values) * magnitude).astype(np.int8)
    return codes, np.array([-largest], dtype=np.float32), np.array([largest], dtype=np.float32)
