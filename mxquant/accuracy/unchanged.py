"""No step at all, which every other one has to be better than."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, FrozenSet

from mxquant.accuracy.step import Candidate, Inputs, WeightStep
from mxquant.graph import Network

__all__ = ["Unchanged"]


@dataclass(frozen=True)
class Unchanged(WeightStep):
    """Weights and biases as they are."""

    name: ClassVar[str] = "none"
    needs: ClassVar[FrozenSet[str]] = frozenset()

    def change(self, candidate: Candidate, inputs: Inputs) -> Network:
        """Return the network as it is."""
        return candidate.network
