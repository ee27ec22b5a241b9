"""Neighbouring codes, for tests."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np


def in_pairs(columns: int) -> np.ndarray:
    """Return neighbours 0-1, 2-3 and so on; the last of an odd number is alone."""
    partner = np.arange(columns) ^ 1
    return np.where(partner < columns, partner, -1)


def pair_sums(codes: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Return for each code the magnitude of its sum with its neighbour, 0 where their signs differ or one is alone."""
    others = np.where(partner >= 0, codes[..., partner], 0)
    return np.where(codes * others > 0, np.abs(codes + others), 0)


def one_of_a_pair(rng: Any, shape: Tuple[int, ...]) -> np.ndarray:
    """Return some weights to be fixed, at most one of each pair."""
    fixed = rng.random(shape) < 0.2
    fixed[..., 1::2] &= ~fixed[..., : shape[-1] // 2 * 2 : 2]
    return fixed
