"""What a step of accuracy is: something that may make an int8 network more faithful to the fp32 network.

Steps are of three kinds, which follow each other. Those that choose thresholds each give a plan for the user's network.
Those that move scales each go on from what the one before has made. Those that change weights are alternatives:
each is tried on all that the others have made, the last one, which takes most of the time, on the two best of them.
:mod:`mxquant.accuracy.steps` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, ClassVar, FrozenSet, Mapping, NamedTuple, Optional, Tuple

from mxquant.graph import Network
from mxquant.plan import QuantPlan
from mxquant.stats import Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "EXAMPLES",
    "STATISTICS",
    "Asked",
    "Candidate",
    "Inputs",
    "MakePlan",
    "ScaleStep",
    "Step",
    "ThresholdStep",
    "WeightStep",
]

# What a step may need.
STATISTICS, EXAMPLES = "statistics", "examples"

# Examples by name of the input.
Inputs = Mapping[str, "NDArray[Any]"]
# Returns the plan for a method, None for the one asked for or else the usual one, and other methods for single tensors.
MakePlan = Callable[[Optional[str], Mapping[str, str]], QuantPlan]


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


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Parameters
    ----------
    accuracy : str
        The preset.
    method : str or None
        How thresholds are chosen; 'auto' for the best one of each tensor; None where the user leaves it open.
    examples : int
        How many calibration examples the preset looks at again.
    """

    accuracy: str
    method: Optional[str]
    examples: int

    @property
    def every_method(self) -> bool:
        """Whether the thresholds of every method are worth a trial."""
        return self.accuracy == "best" and self.method in (None, "auto")

    def gives(self, needs: FrozenSet[str]) -> bool:
        """Whether there is all that a step needs."""
        return EXAMPLES not in needs or self.examples > 0


@dataclass(frozen=True)
class Step(ABC):
    """A step of accuracy.

    ``name`` is what plans call it, and ``needs`` what it looks at: 'statistics', 'examples', or nothing.
    """

    name: ClassVar[str]
    needs: ClassVar[FrozenSet[str]]

    @abstractmethod
    def applies(self, asked: Asked) -> bool:
        """Whether the step is taken for what the user asked for."""


@dataclass(frozen=True)
class ThresholdStep(Step):
    """A step that chooses thresholds."""

    @abstractmethod
    def plan(self, network: Network, inputs: Inputs, make: MakePlan) -> QuantPlan:
        """Return a plan for the canonical fp32 network, by examples where it needs some."""


@dataclass(frozen=True)
class ScaleStep(Step):
    """A step that moves scales between tensors and the weights around them: the network computes the same."""

    def applies(self, asked: Asked) -> bool:
        """Whether there is what it needs."""
        return asked.gives(self.needs)

    @abstractmethod
    def change(self, network: Network, inputs: Inputs) -> Tuple[Network, FrozenSet[str]]:
        """Return a canonical network with other scales, and the names of the tensors that differ; none, no gain."""


@dataclass(frozen=True)
class WeightStep(Step):
    """A step that changes weights and biases for a plan."""

    def applies(self, asked: Asked) -> bool:
        """Whether there is what it needs."""
        return asked.gives(self.needs)

    @abstractmethod
    def change(self, candidate: Candidate, inputs: Inputs) -> Network:
        """Return the network of a candidate with other weights; its plan fits it too."""
