"""The search for mixed precision on a network: what a set of layers in float32 reaches, and which layers to try."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, FrozenSet, Mapping, Optional, Union

from mxquant.accuracy.goal import Goal
from mxquant.accuracy.mixed_precision import MixedPrecision, search
from mxquant.analysis.judge import Judge
from mxquant.analysis.sensitivity import measure
from mxquant.analysis.timing import layer_seconds
from mxquant.graph import Network
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Mixing"]


@dataclass(frozen=True)
class Mixing:
    """A network whose layers may be int8 or float32, and the goal.

    Parameters
    ----------
    original : Network
        The canonical fp32 network.
    improved : Network
        The same with the weights that int8 layers are to have.
    planned : callable
        Returns the plan with a set of layers in float32.
    block : callable
        Returns the Gluon block of a network, in the integer simulation of a plan, or in float32 for None.
    goal : Goal
        What has to be reached.
    inputs : mapping of str to numpy.ndarray
        Calibration examples by name of the input.
    """

    original: Network
    improved: Network
    planned: Callable[[FrozenSet[str]], QuantPlan]
    block: Callable[[Network, Optional[QuantPlan]], Any]
    goal: Goal
    inputs: Mapping[str, NDArray[Any]]

    def weights(self, float32: FrozenSet[str]) -> Network:
        """Return the network with the user's own weights in the layers that stay in float32."""
        kept = [t.node.name for node in self.original.graph.operators if node.layers[0] in float32 for t in node.inputs]
        own = {name: self.original.params[name] for name in kept if name in self.original.params}
        return Network(self.improved.graph, {**self.improved.params, **own})

    def reached(self, float32: FrozenSet[str]) -> float:
        """Return what the network reaches with a set of layers in float32."""
        plan, network = self.planned(float32), self.weights(float32)
        if self.goal.metric is None:
            return self._judge.level(network, plan)
        return self.goal.metric(self.block(network, plan))

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self.original, self.inputs)

    def search(
        self, plan: QuantPlan, checkpoint: Optional[Union[str, Path]], progress: Optional[Callable[[int], None]]
    ) -> MixedPrecision:
        """Return the cheapest layers to leave in float32.

        Parameters
        ----------
        plan : QuantPlan
            The plan with nothing in float32 that can be int8.
        checkpoint : str, Path or None
            A file that keeps what was measured.
        progress : callable or None
            Called with the number of measurements.

        Returns
        -------
        MixedPrecision
            The layers, and how the search went.
        """
        if self.goal.metric is None:
            target = self.goal.decibels or 0.0
        else:
            target = self.goal.metric(self.block(self.original, None)) - self.goal.max_drop
        noise, seconds = {}, {}
        if self.reached(frozenset()) < target:
            found = measure(self.improved, plan, self.inputs, parts=False)
            weighted = {name for name, layer in plan.layers.items() if layer.granularity is not None}
            noise = {row.layer: 10 ** (-row.both / 10) for row in found.layers if row.layer in weighted}
            seconds = layer_seconds(self.original, self.inputs)
        key = f"{plan.network} {dict(plan.settings)} {target}"
        return search(self.reached, target, noise, seconds, key=key, checkpoint=checkpoint, progress=progress)
