"""Values of data and parameters: what networks usually have, and what breaks a careless division."""

from __future__ import annotations

from typing import Tuple

import numpy as np

__all__ = ["DATA", "PARAMETERS", "data_in_float16", "data_values", "parameter_values"]

Shape = Tuple[int, ...]

# Most often usual ones, so that what comes out can be compared with fp32.
DATA = (
    *("normal", "normal", "normal", "positive", "negative", "bytes", "outlier"),
    *("zeros", "constant", "one-hot", "small", "denormal", "huge", "nan", "infinite"),
)
PARAMETERS = ("usual", "usual", "usual", "mixed", "mixed", "dead", "spread", "zeros", "constant", "tiny", "denormal")


def data_values(shape: Shape, kind: str, random: np.random.RandomState) -> np.ndarray:
    """Return float32 data of a kind out of DATA, or 'lengths 5': of sequences of up to five steps."""
    if kind.startswith("lengths"):
        return random.randint(1, int(kind.split()[1]) + 1, shape).astype(np.float32)
    values = random.randn(*shape)
    first = (0,) * len(shape)
    if kind == "positive":
        values = np.abs(values)
    elif kind == "negative":
        values = -np.abs(values) - 0.1
    elif kind == "bytes":
        values = random.randint(0, 256, shape)
    elif kind == "zeros":
        values = np.zeros(shape)
    elif kind == "constant":
        values = np.full(shape, 1.7)
    elif kind == "one-hot":
        values = np.zeros(shape)
        values[first] = 1.0
    elif kind in ("outlier", "nan", "infinite"):
        values[first] = {"outlier": 100.0, "nan": np.nan, "infinite": -np.inf}[kind]
    values = values * {"small": 1e-20, "denormal": 1e-41, "huge": 1e30}.get(kind, 1.0)
    return np.asarray(values, np.float32)


def data_in_float16(values: np.ndarray) -> np.ndarray:
    """Return float32 data that float16 has too, or the same where they are too large for it."""
    with np.errstate(over="ignore", under="ignore"):
        halves = values.astype(np.float16).astype(np.float32)
    return values if np.isinf(halves).sum() > np.isinf(values).sum() else halves


def parameter_values(name: str, shape: Shape, kind: str, random: np.random.RandomState) -> np.ndarray:
    """Return float32 values of a kind out of PARAMETERS for a parameter; 'mixed' is another kind for each parameter."""
    if kind == "mixed":
        kind = PARAMETERS[random.randint(len(PARAMETERS))]
        return parameter_values(name, shape, "usual" if kind == "mixed" else kind, random)
    if name.endswith("var"):
        return (random.rand(*shape) + (0.0 if kind in ("zeros", "tiny", "denormal") else 0.5)).astype(np.float32)
    if len(shape) > 1:
        values = random.randn(*shape) / np.sqrt(max(np.prod(shape[1:]), 1))
    else:
        values = random.randn(*shape) * 0.1 + name.endswith("gamma")
    rows = np.arange(shape[0]).reshape((-1,) + (1,) * (len(shape) - 1)) if shape else np.zeros(())
    if kind == "dead":
        values = values * (rows % 3 != 0)
    elif kind == "spread":
        values = values * 10.0 ** (rows % 7 - 3)
    elif kind == "zeros":
        values = np.zeros(shape)
    elif kind == "constant":
        values = np.full(shape, 0.1)
    values = values * {"tiny": 1e-15, "denormal": 1e-41}.get(kind, 1.0)
    return np.asarray(values, np.float32)
