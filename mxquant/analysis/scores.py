"""What the outputs of a network are worth: accuracy, and how near they come to those of another."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import mean, median
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.analysis.noise_ratio import NoiseRatio
from mxquant.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Faithfulness", "Scores", "Tally"]

# In dB: nothing is lost, or nothing is left.
_BOUND = 120.0


@dataclass
class Tally:
    """How many examples of a classifier have their label first, and among the first five.

    ``a + b`` is what one would have counted on the examples of both.
    """

    examples: int = 0
    first: int = 0
    among_five: int = 0

    def add(self, output: NDArray[Any], labels: NDArray[Any]) -> None:
        """Count a batch; raise InputError if the output is no scores of classes."""
        if output.ndim != 2 or len(output) != len(labels):
            raise InputError(
                f"the first output has shape {output.shape} for {len(labels)} labels; expected a score for each class"
            )
        outside = labels[(labels < 0) | (labels >= output.shape[1])]
        if len(outside):
            raise InputError(f"a label is {outside[0]:g}, but the network has {output.shape[1]} classes")
        odd = labels[labels != np.floor(labels)]  # NaN too
        if len(odd):
            raise InputError(f"a label is {odd[0]:g}, expected the number of a class")
        best = np.argsort(-output, axis=1, kind="stable")[:, :5]
        hits = best == labels.astype(np.int64)[:, None]
        self.examples += len(labels)
        self.first += int(hits[:, 0].sum())
        self.among_five += int(hits.any(axis=1).sum())

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.examples + other.examples, self.first + other.first, self.among_five + other.among_five)

    @property
    def top1(self) -> Optional[float]:
        """Share of examples whose label comes first; None without labels."""
        return self.first / self.examples if self.examples else None

    @property
    def top5(self) -> Optional[float]:
        """Share of examples whose label is among the first five; None without labels."""
        return self.among_five / self.examples if self.examples else None


@dataclass
class Faithfulness:
    """How near the outputs of one network come to those of another.

    ``a + b`` is what one would have found on the examples of both; their order does not matter.
    """

    ratios: Dict[int, NoiseRatio] = field(default_factory=dict)
    examples: int = 0
    same: int = 0
    classes: bool = True

    def add(self, expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> None:
        """Count a batch."""
        for index, (one, other) in enumerate(zip(expected, found)):
            self.ratios.setdefault(index, NoiseRatio()).add(one, other)
        first, second = expected[0], found[0]
        self.classes = self.classes and first.ndim == 2 and first.shape[1] > 1
        self.examples += len(first) if first.ndim else 1
        if self.classes:
            self.same += int((first.argmax(axis=1) == second.argmax(axis=1)).sum())

    def __add__(self, other: Faithfulness) -> Faithfulness:
        indices = sorted({*self.ratios, *other.ratios})
        return Faithfulness(
            {i: self.ratios.get(i, NoiseRatio()) + other.ratios.get(i, NoiseRatio()) for i in indices},
            self.examples + other.examples,
            self.same + other.same,
            self.classes and other.classes,
        )

    @property
    def sqnr(self) -> Optional[float]:
        """SQNR in dB, the lowest of all outputs or heads; None before the first batch."""
        return min((ratio.sqnr for ratio in self.ratios.values()), default=None)

    def lowest(self) -> float:
        """Return :attr:`sqnr` where there was a batch."""
        level = self.sqnr
        assert level is not None
        return level

    def mean(self) -> float:
        """Return the mean over all outputs of their SQNR in dB; each counts as 120 at most, and -120 at least."""
        return mean(min(max(ratio.sqnr, -_BOUND), _BOUND) for ratio in self.ratios.values())

    @property
    def agreement(self) -> Optional[float]:
        """Share of examples with the same class in both; None where the first output is no scores of classes."""
        return self.same / self.examples if self.examples and self.classes else None


@dataclass
class Scores:
    """What networks are worth on examples.

    ``a + b`` are the scores on the examples of both; neither order nor division changes them.

    Parameters
    ----------
    examples : int
        How many.
    tallies : dict of str to Tally
        'fp32', and 'int8' where there is one: how many examples have their label first, and among the first five.
    faithful : Faithfulness
        How near int8 comes to fp32.
    rates : dict of str to list of float
        Examples a second of each batch.
    """

    examples: int = 0
    tallies: Dict[str, Tally] = field(default_factory=dict)
    faithful: Faithfulness = field(default_factory=Faithfulness)
    rates: Dict[str, List[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Iterable[str]) -> Scores:
        """Return scores of networks that were not run yet."""
        names = list(names)
        return cls(tallies={name: Tally() for name in names}, rates={name: [] for name in names})

    def add(
        self,
        outputs: Mapping[str, Sequence[NDArray[Any]]],
        size: int,
        labels: Optional[NDArray[Any]],
        seconds: Mapping[str, float],
        heads: Optional[Tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]]]] = None,
    ) -> None:
        """Count a batch.

        Parameters
        ----------
        outputs : mapping of str to sequence of numpy.ndarray
            Of each network.
        size : int
            How many examples.
        labels : numpy.ndarray or None
            Their classes, where these are known.
        seconds : mapping of str to float
            How long each network took.
        heads : tuple, optional
            What fp32 and int8 compute where they are judged; default: at their outputs.
        """
        for name, found in outputs.items():
            self.rates[name].append(size / seconds[name])
            if labels is not None:
                self.tallies[name].add(found[0], labels)
        if "int8" in outputs:
            self.faithful.add(*(heads or (outputs["fp32"], outputs["int8"])))
        self.examples += size

    def __add__(self, other: Scores) -> Scores:
        names = sorted({*self.tallies, *other.tallies})
        return Scores(
            self.examples + other.examples,
            {name: self.tallies.get(name, Tally()) + other.tallies.get(name, Tally()) for name in names},
            self.faithful + other.faithful,
            {name: [*self.rates.get(name, []), *other.rates.get(name, [])] for name in names},
        )

    def per_second(self, name: str) -> Optional[float]:
        """Examples a second of one network by the median batch; None before the first."""
        return median(self.rates[name]) if self.rates.get(name) else None
