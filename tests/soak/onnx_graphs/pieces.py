"""All random operators, one function each, as often as they are listed."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from tests.soak.onnx_graphs.arithmetic import PIECES as ARITHMETIC
from tests.soak.onnx_graphs.builder import Graph
from tests.soak.onnx_graphs.layers import PIECES as LAYERS
from tests.soak.onnx_graphs.shapes import PIECES as SHAPES

__all__ = ["PIECES"]

PIECES: List[Callable[[Graph], Optional[Any]]] = [*ARITHMETIC, *SHAPES, *LAYERS]
