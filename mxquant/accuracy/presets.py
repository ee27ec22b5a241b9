"""What `accuracy` means: how much work goes into an int8 network that is nearer to the fp32 network.

==========  ==================================================================================================
'fast'      analytic bias correction, which needs no more than the statistics; weights stay as they are
'balanced'  cross-layer equalization, bias correction and adaptive rounding, on up to 32 calibration examples
'best'      the same on up to 128 examples, with the thresholds of each method and of a choice per tensor
==========  ==================================================================================================

Each step is taken only if it helps: it is first done with three quarters of the examples and judged, by the SQNR of the
network's output in the integer simulation, on the last quarter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from mxquant.accuracy.bias_correction import correct_biases
from mxquant.accuracy.judge import Judge, outputs
from mxquant.accuracy.reconstruction import reconstruct
from mxquant.graph import Network
from mxquant.plan import QuantPlan
from mxquant.runtime.data import part
from mxquant.runtime.mxnet import mx
from mxquant.stats import Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EXAMPLES", "Candidate", "Improved", "divide", "improve", "number_of_trials", "takes_any_batch"]

# How many calibration examples each preset looks at again.
EXAMPLES: Mapping[str, int] = {"fast": 0, "balanced": 32, "best": 128}

# What is tried, simplest first.
_STEPS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "analytic bias correction": {},
    "bias correction": {"bias": True, "rounding": False},
    "bias correction, adaptive rounding": {"bias": True, "rounding": True},
}
# In dB: a few examples tell no smaller difference between two plans.
_CLEARLY = 0.5
Inputs = Mapping[str, "NDArray[Any]"]


class Candidate(NamedTuple):
    """An fp32 network that computes what the user's does, and a plan for it.

    Parameters
    ----------
    network : Network
        Canonical; perhaps with other weights.
    plan : QuantPlan
        A calibrated plan.
    statistics : Statistics
        What the plan was made from.
    steps : str
        What was done to the user's network before.
    """

    network: Network
    plan: QuantPlan
    statistics: Statistics
    steps: str = ""


class Improved(NamedTuple):
    """A network with new weights, what it was made from, and what was done."""

    network: Network
    candidate: Candidate
    steps: str


def improve(
    candidates: Sequence[Candidate], inputs: Inputs, progress: Optional[Callable[[int], None]] = None
) -> Improved:
    """Return the most faithful of what candidates and changes of weights give.

    Parameters
    ----------
    candidates : sequence of Candidate
        The one first that the others have to be clearly better than; its network is what all are compared with.
    inputs : mapping of str to numpy.ndarray
        Calibration examples by name of the input.
    progress : callable, optional
        Called with the number of trials that are done; see :func:`number_of_trials`.

    Returns
    -------
    Improved
        Network, candidate, and steps.
    """
    network = candidates[0].network
    seen, unseen = divide(network, inputs)
    judge = Judge(network, unseen)
    best: Optional[Tuple[float, Candidate, str]] = None
    done = 0
    for candidate in candidates:
        levels: Dict[str, float] = {}
        for steps in _STEPS:
            levels[steps] = judge.level(_changed(candidate, steps, seen), candidate.plan)
            done += 1
            if progress is not None:
                progress(done)
        steps = max(levels, key=levels.__getitem__)
        if best is None or levels[steps] > best[0] + _CLEARLY:
            best = (levels[steps], candidate, steps)
    assert best is not None
    _, candidate, steps = best
    result = _changed(candidate, steps, inputs)
    if progress is not None:
        progress(done + 1)
    return Improved(result, candidate, ", ".join(filter(None, [candidate.steps, steps])))


def _changed(candidate: Candidate, steps: str, inputs: Inputs) -> Network:
    """Return a candidate's network after some of the steps."""
    if steps == "analytic bias correction":
        return correct_biases(candidate.network, candidate.plan, candidate.statistics)
    options = _STEPS[steps]
    return reconstruct(candidate.network, candidate.plan, inputs, **options) if options else candidate.network


def divide(network: Network, inputs: Inputs) -> Tuple[Inputs, Inputs]:
    """Return the examples to change a network by, and those to judge it by: all of them, both times, where few."""
    count = len(next(iter(inputs.values())))
    if count < 4 or not takes_any_batch(network, inputs):
        return inputs, inputs
    cut = count * 3 // 4
    return part(inputs, count, 0, cut), part(inputs, count, cut)


def takes_any_batch(network: Network, inputs: Inputs) -> bool:
    """Whether a network can be run on one example as well as on a batch."""
    try:
        outputs(network, part(inputs, len(next(iter(inputs.values()))), 0, 1))
    except mx.MXNetError:
        return False
    return True


def number_of_trials(candidates: int) -> int:
    """Return how often :func:`improve` reports progress."""
    return candidates * len(_STEPS) + 1
