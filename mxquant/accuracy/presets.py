"""What `accuracy` means: how much work goes into an int8 network that is nearer to the fp32 network.

==========  =============================================================================================
'fast'      thresholds only; weights stay as they are
'balanced'  bias correction and adaptive rounding, layer by layer, on up to 32 calibration examples
'best'      the same on up to 128 examples, with the thresholds of each method and of a choice per tensor
==========  =============================================================================================

Each step is taken only if it helps: it is first done with three quarters of the examples and judged, by the SQNR of the
network's output in the integer simulation, on the last quarter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from mxquant._compat import mx
from mxquant.accuracy.judge import Judge, outputs
from mxquant.accuracy.reconstruction import reconstruct
from mxquant.graph import Network
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EXAMPLES", "Improved", "improve", "number_of_trials", "takes_any_batch"]

# How many calibration examples each preset looks at again.
EXAMPLES: Mapping[str, int] = {"fast": 0, "balanced": 32, "best": 128}

# What is tried, simplest first.
_STEPS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "bias correction": {"bias": True, "rounding": False},
    "bias correction, adaptive rounding": {"bias": True, "rounding": True},
}
# In dB: a few examples tell no smaller difference between two plans.
_CLEARLY = 0.5
Inputs = Mapping[str, "NDArray[Any]"]


class Improved(NamedTuple):
    """A network with new weights, the plan that fits it, and what was done."""

    network: Network
    plan: QuantPlan
    steps: str


def improve(
    network: Network, plans: Sequence[QuantPlan], inputs: Inputs, progress: Optional[Callable[[int], None]] = None
) -> Improved:
    """Return the most faithful of what plans and changes of weights give.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plans : sequence of QuantPlan
        Calibrated plans for it, the one first that the others have to be clearly better than.
    inputs : mapping of str to numpy.ndarray
        Calibration examples by name of the input.
    progress : callable, optional
        Called with the number of trials that are done; there are three for each plan, and a last one.

    Returns
    -------
    Improved
        Network, plan, and steps.
    """
    count = len(next(iter(inputs.values())))
    cut = count * 3 // 4 if count >= 4 and takes_any_batch(network, inputs) else 0
    seen = {name: value[: cut or count] for name, value in inputs.items()}
    judge = Judge(network, {name: value[cut:] for name, value in inputs.items()})
    best: Optional[Tuple[float, QuantPlan, str]] = None
    done = 0
    for plan in plans:
        levels: Dict[str, float] = {}
        for steps, options in _STEPS.items():
            trial = reconstruct(network, plan, seen, **options) if options else network
            levels[steps] = judge.level(trial, plan)
            done += 1
            if progress is not None:
                progress(done)
        steps = max(levels, key=levels.__getitem__)
        if best is None or levels[steps] > best[0] + _CLEARLY:
            best = (levels[steps], plan, steps)
    assert best is not None
    _, plan, steps = best
    result = reconstruct(network, plan, inputs, **_STEPS[steps]) if _STEPS[steps] else network
    if progress is not None:
        progress(done + 1)
    return Improved(result, plan, steps)


def takes_any_batch(network: Network, inputs: Inputs) -> bool:
    """Whether a network can be run on one example as well as on a batch."""
    try:
        outputs(network, {name: value[:1] for name, value in inputs.items()})
    except mx.MXNetError:
        return False
    return True


def number_of_trials(plans: int) -> int:
    """Return how often :func:`improve` reports progress."""
    return plans * len(_STEPS) + 1
