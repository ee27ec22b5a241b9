"""Steps that move scales between tensors and the weights around them: the network computes the same, int8 loses less.

Each goes on from what the one before has made. What they change is counted anew, and planned again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, FrozenSet, List, Mapping

from mxquant.accuracy.bias_correction import channel_axes
from mxquant.accuracy.equalization import EQUALIZED, equalize
from mxquant.accuracy.presets import Candidate, divide
from mxquant.accuracy.smoothing import SMOOTHED, smooth
from mxquant.graph import Network
from mxquant.plan import QuantPlan
from mxquant.runtime.data import Batch
from mxquant.runtime.runner import run
from mxquant.stats import HistogramCollector, Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RESCALED", "rescaled"]

# How plans name the steps.
RESCALED = (EQUALIZED, SMOOTHED)


def rescaled(
    original: Candidate,
    inputs: Mapping[str, NDArray[Any]],
    plan: Callable[[Network, Statistics], QuantPlan],
) -> List[Candidate]:
    """Return what a network becomes by each step that gains.

    Parameters
    ----------
    original : Candidate
        The network as it is.
    inputs : mapping of str to numpy.ndarray
        Calibration examples by name of the input. Those that judge the candidates later have no part in the scales: on
        new data too, channels may be larger than on these.
    plan : callable
        Returns a plan for a changed network, by its statistics.

    Returns
    -------
    list of Candidate
        None, one or more, each made from the one before.
    """
    seen, _ = divide(original.network, inputs)
    found: List[Candidate] = []
    candidate = original
    for step, change in zip(RESCALED, (equalize, smooth)):
        network, changed = change(candidate.network, seen)
        if changed:
            statistics = _counted(candidate, network, changed, inputs)
            steps = ", ".join(filter(None, [candidate.steps, step]))
            candidate = Candidate(network, plan(network, statistics), statistics, steps)
            found.append(candidate)
    return found


def _counted(
    before: Candidate, network: Network, changed: FrozenSet[str], inputs: Mapping[str, NDArray[Any]]
) -> Statistics:
    """Return the statistics before, with those of the tensors that are new or differ."""
    statistics = before.statistics
    known = {tensor.name for node in before.network.graph.nodes for tensor in (*node.inputs, node.output)}
    wanted = {name for name in changed if name in statistics or name not in known}
    collector = HistogramCollector("ignore", channel_axes(network))
    run(network, [Batch(dict(inputs), len(next(iter(inputs.values()))))], collector, tensors=wanted)
    return replace(
        statistics,
        histograms={**statistics.histograms, **collector.histograms},
        channel_sums={**statistics.channel_sums, **collector.channel_sums},
    )
