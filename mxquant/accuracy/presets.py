"""What `accuracy` means: how much work goes into an int8 network that is nearer to the fp32 network.

==========  ==================================================================================================
'fast'      analytic bias correction, which needs no more than the statistics; weights stay as they are
'balanced'  cross-layer equalization, bias correction and adaptive rounding, on up to 32 calibration examples
'best'      the same on up to 128 examples, with the thresholds of each method and of a choice per tensor
==========  ==================================================================================================

Each step is first done with three quarters of the examples and judged on the last quarter, by the SQNR of the
network's output in the integer simulation: the mean in dB of what it is made of, see :mod:`mxquant.graph.heads`. Few
examples tell little: weights are left as they are only where that is better by more than 3 dB over the root of the
number of examples that judge.
:mod:`mxquant.accuracy.steps` lists them.
"""

from __future__ import annotations

from typing import Mapping

__all__ = ["EXAMPLES", "FEW_EXAMPLES"]

# How many calibration examples each preset looks at again.
EXAMPLES: Mapping[str, int] = {"fast": 0, "balanced": 32, "best": 128}
# How many a choice of methods, of layers, or a measurement looks at.
FEW_EXAMPLES = 16
