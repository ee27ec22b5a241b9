"""Taking the steps of accuracy: what is tried, how it is judged, and which of it is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from mxquant.accuracy.presets import EXAMPLES
from mxquant.accuracy.step import Asked, Candidate, Inputs, MakePlan
from mxquant.accuracy.steps import SCALES, THRESHOLDS, WEIGHTS
from mxquant.analysis.judge import Judge
from mxquant.graph import Network
from mxquant.graph.channel_axes import channel_axes
from mxquant.plan import QuantPlan
from mxquant.progress import progress_bar
from mxquant.runtime.batch import examples_of
from mxquant.runtime.forward import takes_any_batch
from mxquant.runtime.runner import run
from mxquant.stats import HistogramCollector, Statistics

__all__ = ["Improved", "Improving", "divide", "improve", "number_of_trials"]

# In dB: a few examples tell no smaller difference between two plans.
_CLEARLY = 0.5
# How much higher it has to be, in dB, to change nothing, where one example judges; by the root of their number less
# where more do. On a small BERT the level of eight examples moved by 1.2 dB with one code of a thousand.
_DOUBT = 3.0
# Adaptive rounding takes most of the time: it is tried on so many of the candidates that are best without.
_THOROUGH = 2


class Improved(NamedTuple):
    """A network with new weights, what it was made from, and what was done."""

    network: Network
    candidate: Candidate
    steps: str


@dataclass(frozen=True)
class Improving:
    """A network that is to become more faithful.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    statistics : Statistics
        Of its calibration.
    accuracy : str
        The preset.
    method : str or None
        How thresholds are to be chosen, 'auto', or None where the user leaves it open.
    make : callable
        Returns the plan of `network` for a method, and other methods for single tensors.
    replan : callable
        Returns a plan by the methods of another one, for a network with other scales and its statistics.
    """

    network: Network
    statistics: Statistics
    accuracy: str
    method: Optional[str]
    make: MakePlan
    replan: Callable[[QuantPlan, Network, Statistics], QuantPlan]

    def improved(self, inputs: Inputs) -> Improved:
        """Return the most faithful network that the preset finds; `inputs` are calibration examples."""
        asked = Asked(self.accuracy, self.method, EXAMPLES[self.accuracy])
        plans = [step.plan(self.network, inputs, self.make) for step in THRESHOLDS if step.applies(asked)]
        candidates = [Candidate(self.network, plan, self.statistics) for plan in plans]
        if not asked.examples:
            # Nothing can be judged: the last step that needs no examples is taken.
            step = [step for step in WEIGHTS if step.applies(asked)][-1]
            return Improved(step.change(candidates[0], inputs), candidates[0], step.name)
        candidates += self._rescaled(candidates[0], asked, inputs)
        with progress_bar("improving", number_of_trials(len(candidates))) as progress:
            improved = improve(candidates, inputs, progress)
        settings = {**improved.candidate.plan.settings, "accuracy": self.accuracy, "steps": improved.steps}
        plan = replace(improved.candidate.plan, settings=settings)
        return improved._replace(candidate=improved.candidate._replace(plan=plan))

    def _rescaled(self, original: Candidate, asked: Asked, inputs: Inputs) -> List[Candidate]:
        """Return what a network becomes by each step that moves scales and gains.

        Examples that judge the candidates later have no part in the scales: on new data too, channels may be larger
        than on these.
        """
        seen, _ = divide(original.network, inputs)
        found: List[Candidate] = []
        candidate = original
        for step in SCALES:
            if not step.applies(asked):
                continue
            network, changed = step.change(candidate.network, seen)
            if changed:
                statistics = _counted(candidate, network, changed, inputs)
                plan = self.replan(original.plan, network, statistics)
                steps = ", ".join(filter(None, [candidate.steps, step.name]))
                candidate = Candidate(network, plan, statistics, steps)
                found.append(candidate)
        return found


def _counted(before: Candidate, network: Network, changed: FrozenSet[str], inputs: Inputs) -> Statistics:
    """Return the statistics before, with those of the tensors that are new or differ."""
    statistics = before.statistics
    known = {tensor.name for node in before.network.graph.nodes for tensor in (*node.inputs, node.output)}
    wanted = {name for name in changed if name in statistics or name not in known}
    collector = HistogramCollector("ignore", channel_axes(network))
    run(network, [examples_of(inputs).batch], collector, tensors=wanted)
    return replace(
        statistics,
        histograms={**statistics.histograms, **collector.histograms},
        channel_sums={**statistics.channel_sums, **collector.channel_sums},
    )


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
    judge = Judge(network, unseen, parts=True)
    steps = {step.name: step for step in WEIGHTS}
    *quick, thorough = steps
    done = 0

    def level(candidate: Candidate, name: str) -> float:
        nonlocal done
        found = judge.level(steps[name].change(candidate, seen), candidate.plan)
        done += 1
        if progress is not None:
            progress(done)
        return found

    levels = [{name: level(candidate, name) for name in quick} for candidate in candidates]
    best_first = sorted(range(len(candidates)), key=lambda number: -max(levels[number].values()))
    for number in sorted(best_first[:_THOROUGH]):
        levels[number][thorough] = level(candidates[number], thorough)
    doubt = _DOUBT / examples_of(unseen).count ** 0.5
    best: Optional[Tuple[float, Candidate, str]] = None
    for candidate, found in zip(candidates, levels):
        chosen = _chosen(found, doubt)
        if best is None or found[chosen] > best[0] + _CLEARLY:
            best = (found[chosen], candidate, chosen)
    assert best is not None
    _, candidate, chosen = best
    result = steps[chosen].change(candidate, inputs)
    if progress is not None:
        progress(done + 1)
    return Improved(result, candidate, ", ".join(filter(None, [candidate.steps, chosen])))


def _chosen(levels: Mapping[str, float], doubt: float) -> str:
    """Return the step of the highest level; the first, which changes nothing, only where it is clearly higher."""
    (nothing, unchanged), *others = levels.items()
    best, level = max(others, key=lambda each: each[1])
    return nothing if level == unchanged or unchanged > level + doubt else best


def divide(network: Network, inputs: Inputs) -> Tuple[Inputs, Inputs]:
    """Return the examples to change a network by, and those to judge it by: all of them, both times, where few."""
    examples = examples_of(inputs)
    if examples.count < 4 or not takes_any_batch(network, examples):
        return inputs, inputs
    cut = examples.count * 3 // 4
    return examples.part(0, cut), examples.part(cut)


def number_of_trials(candidates: int) -> int:
    """Return how often :func:`improve` reports progress."""
    return candidates * (len(WEIGHTS) - 1) + min(candidates, _THOROUGH) + 1
