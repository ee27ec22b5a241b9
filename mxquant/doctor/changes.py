"""The few changes that would help most, each tried in the simulation on the same examples.

Weights are rounded for other examples than these, on which they would seem better than they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant.accuracy.bias_correction import correct_biases
from mxquant.analysis.judge import Judge
from mxquant.doctor.findings import Change
from mxquant.graph import Network
from mxquant.lowering.isa import saturates
from mxquant.plan import QuantPlan
from mxquant.runtime.memory import give_back
from mxquant.stats import Statistics
from mxquant.thresholds import METHODS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Candidate", "Trials", "best_changes", "candidates"]

# In dB: less is not worth a change.
_WORTH = 0.5
_LAYERS, _MOST = 3, 5
# What the reason of a layer begins with that never_slower has left in float32.
_SLOWER = "float32 is faster on this CPU"


@dataclass(frozen=True)
class Trials:
    """What changes are tried on.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    weights : Network
        The same with the weights that the int8 network has.
    plan : QuantPlan
        The plan.
    statistics : Statistics
        Of the network.
    planned : callable
        Returns a plan for options that differ.
    rounded : callable
        Returns the network with weights that are rounded layer by layer for the plan.
    inputs : mapping of str to numpy.ndarray
        Examples by name of the input, others than those that `rounded` uses.
    command : str
        What quantizes this network in a shell, without options.
    """

    network: Network
    weights: Network
    plan: QuantPlan
    statistics: Statistics
    planned: Callable[[Mapping[str, Any]], QuantPlan]
    rounded: Callable[[], Network]
    inputs: Mapping[str, NDArray[Any]]
    command: str


@dataclass(frozen=True)
class Candidate:
    """A change that may be worth it.

    Parameters
    ----------
    title, flags : str
        What it is, and its options of ``mxquant quantize``.
    make : callable
        Returns the network and the plan with it.
    macs : float
        Share of multiplications that leave int8.
    """

    title: str
    flags: str
    make: Callable[[], Tuple[Network, QuantPlan]]
    macs: float = 0.0


def candidates(trials: Trials, sensitive: Sequence[str], shares: Mapping[str, float]) -> List[Candidate]:
    """Return the changes to try.

    Parameters
    ----------
    trials : Trials
        What to try them on.
    sensitive : sequence of str
        int8 layers, the most sensitive first.
    shares : mapping of str to float
        Share of multiplications by name of the layer.
    """
    options = _options(trials.plan)

    def excluding(title: str, names: Sequence[str]) -> Candidate:
        flags = " ".join(f"--exclude {quote(name)}" for name in names)
        lost = sum(shares.get(name, 0.0) for name in names)
        return Candidate(title, flags, lambda: (_with_own(trials, names), _excluding(trials, options, names)), lost)

    def corrected(plan: QuantPlan) -> Tuple[Network, QuantPlan]:
        return correct_biases(trials.network, plan, trials.statistics), plan

    def by_method(method: str) -> Candidate:
        title, flags = f"Choose thresholds by {method}", f"--method {method}"
        return Candidate(title, flags, lambda: corrected(trials.planned({**options, "method": method})))

    first = sensitive[:_LAYERS]
    found = [excluding(f"Leave the sensitive layer '{name}' in float32", [name]) for name in first]
    if len(first) > 1:
        found.append(excluding(f"Leave the {len(first)} most sensitive layers in float32", first))
    found += [by_method(method) for method in METHODS if method != options.get("method")]
    if "steps" not in trials.plan.settings:
        title = "Round weights so that results change least"
        found.append(Candidate(title, "--accuracy balanced", lambda: (trials.rounded(), trials.plan)))
    if trials.plan.isa is not None and saturates(trials.plan.isa):
        title = "Deploy on CPUs with VNNI, which need no care for saturation"
        elsewhere = {**options, "isa": "vnni"}
        found.append(
            Candidate(
                title,
                "--isa vnni",
                lambda: corrected(_keeping_thresholds(trials.planned(elsewhere), trials.plan)),
            )
        )
    return found


def best_changes(
    trials: Trials, tried: Sequence[Candidate], progress: Optional[Callable[[int], None]] = None
) -> Tuple[Change, ...]:
    """Return what raises the SQNR of the output most, at most five changes.

    Parameters
    ----------
    trials : Trials
        What to try them on.
    tried : sequence of Candidate
        The changes.
    progress : callable, optional
        Called with the number of changes tried.
    """
    judge = Judge(trials.network, trials.inputs)
    before = judge.level(trials.weights, trials.plan)
    found: List[Change] = []
    for done, each in enumerate(tried, 1):
        after = judge.level(*each.make())
        if after >= before + _WORTH:
            found.append(Change(each.title, f"{trials.command} {each.flags}", before, after, each.macs))
        give_back()
        if progress is not None:
            progress(done)
    return tuple(sorted(found, key=lambda change: change.before - change.after)[:_MOST])


def _options(plan: QuantPlan) -> Dict[str, Any]:
    """Return the options that a plan was made with, as far as it tells."""
    settings = plan.settings
    options: Dict[str, Any] = {key: settings[key] for key in ("dtype", "mode", "granularity") if key in settings}
    if settings.get("method") in METHODS:
        options["method"] = settings["method"]
    if plan.isa is not None:
        options["isa"] = plan.isa
    slower = {layer.name: layer.reason for layer in plan.layers.values() if layer.reason.startswith(_SLOWER)}
    left = [layer.name for layer in plan.layers.values() if layer.reason.startswith("excluded")]
    return {**options, "float32_layers": slower, "exclude_layers": left}


def _excluding(trials: Trials, options: Mapping[str, Any], names: Sequence[str]) -> QuantPlan:
    """Return the plan with more layers in float32, and nothing else changed."""
    excluded = [*options["exclude_layers"], *names]
    return _keeping_thresholds(trials.planned({**options, "exclude_layers": excluded}), trials.plan)


def _keeping_thresholds(made: QuantPlan, plan: QuantPlan) -> QuantPlan:
    """Return a plan with the thresholds of another.

    A plan does not tell every option that it was made with, such as a percentile. Chosen anew, thresholds could differ,
    and what they gain or lose would be put down to the change that is tried.
    """

    def same(name: str) -> bool:
        new, old = made.tensors[name], plan.tensors.get(name)
        if old is None or old.threshold is None:
            return False
        return (old.dtype, old.zero_point) == (new.dtype, new.zero_point)

    # Tensors of a group share one threshold.
    torn = {each.group for name, each in made.tensors.items() if each.group is not None and not same(name)}
    kept = {
        name: replace(each, threshold=plan.tensors[name].threshold, method=plan.tensors[name].method)
        for name, each in made.tensors.items()
        if same(name) and each.group not in torn
    }
    return replace(made, tensors={**made.tensors, **kept})


def _with_own(trials: Trials, float32: Sequence[str]) -> Network:
    """Return the network with its own weights in the layers that stay float32."""
    layers = {each for name in float32 for each in trials.plan.layers[name].contains}
    nodes = [node for node in trials.network.graph.operators if node.layers[0] in layers]
    names = {tensor.node.name for node in nodes for tensor in node.inputs} & set(trials.network.params)
    own = {name: trials.network.params[name] for name in names}
    return Network(trials.weights.graph, {**trials.weights.params, **own})
