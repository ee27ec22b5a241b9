"""Kinds of operators that many rooms ask for."""

from __future__ import annotations

__all__ = ["LINEAR"]

# Layers whose results are sums of products of data and weights.
LINEAR = ("Convolution", "FullyConnected")
