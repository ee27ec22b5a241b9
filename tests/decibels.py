"""How far two arrays are apart, by NumPy alone: for environments without MXNet too."""

from __future__ import annotations

import numpy as np

__all__ = ["sqnr"]


def sqnr(reference: np.ndarray, value: np.ndarray) -> float:
    """Return the signal-to-quantization-noise ratio in dB."""
    reference, value = reference.astype(np.float64), value.astype(np.float64)
    noise = ((reference - value) ** 2).sum()
    return float(10 * np.log10((reference**2).sum() / noise)) if noise else float("inf")
