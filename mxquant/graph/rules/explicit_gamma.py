"""Write the gamma of 1 that fix_gamma means into the parameters.

A BatchNorm with fix_gamma=True computes with gamma = 1 whatever its parameter holds. MXNet's int8 BatchNorm ignores
fix_gamma and uses the parameter, so the parameter has to be right.
"""

from __future__ import annotations

from typing import ClassVar, Optional

import numpy as np

from mxquant.graph.attributes import read_bool
from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["ExplicitGamma"]

_GAMMA, _MEAN = 1, 3


class ExplicitGamma(Rule):
    """Turn fix_gamma=True into a parameter of ones."""

    name: ClassVar[str] = "explicit_gamma"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a BatchNorm whose gamma is fixed."""
        return node.op == "BatchNorm" and read_bool(node, "fix_gamma", True)

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse where the number of channels is not known."""
        if rewriter.constant(node.inputs[_MEAN]) is not None:
            return None
        return f"its moving mean '{node.inputs[_MEAN].name}' has no fixed value"

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Set gamma to 1 and fix_gamma to False."""
        mean = rewriter.constant(node.inputs[_MEAN])
        assert mean is not None
        rewriter.set_parameter(node, _GAMMA, np.ones(mean.shape, np.float32), f"{node.name}_gamma")
        node.attrs["fix_gamma"] = "False"
