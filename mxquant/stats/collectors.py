"""Who watches the tensors of a calibration run.

Collecting, merging and choosing a threshold are three separate things: a collector only gathers, knows no bit
width, and is merged by ``+``, so that a run may be divided among processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Dict

from mxquant.errors import InputError, NonFiniteError
from mxquant.stats.binning import Sample
from mxquant.stats.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Collector", "HistogramCollector"]

_NONFINITE = ("raise", "ignore")


class Collector(ABC):
    """Observes tensors by name.

    ``a + b`` is what one collector would have gathered from all that both have seen; 0 is its identity.
    """

    @abstractmethod
    def observe(self, name: str, array: NDArray[Any]) -> None:
        """Take note of one value of a tensor.

        Parameters
        ----------
        name : str
            Name of the tensor.
        array : numpy.ndarray
            Its value, of any shape; not kept.
        """

    @abstractmethod
    def __add__(self, other: object) -> Collector:
        """Merge with another collector of the same kind, changing neither."""

    @abstractmethod
    def __radd__(self, other: object) -> Collector:
        """Merge; 0 on the left is the identity, so that ``sum()`` works."""


class HistogramCollector(Collector):
    """Keeps one :class:`Histogram` for each tensor.

    Parameters
    ----------
    nonfinite : {'raise', 'ignore'}
        What to do about NaN and infinities: stop, or count them and leave them out.

    Attributes
    ----------
    histograms : dict of str to Histogram
        By name of the tensor, in the order in which they were first seen.

    Raises
    ------
    InputError
        If `nonfinite` is anything else.
    """

    def __init__(self, nonfinite: str = "raise") -> None:
        if nonfinite not in _NONFINITE:
            raise InputError(f"nonfinite is {nonfinite!r}, expected one of {', '.join(map(repr, _NONFINITE))}")
        self.nonfinite = nonfinite
        self.histograms: Dict[str, Histogram] = {}

    def observe(self, name: str, array: NDArray[Any]) -> None:
        """Add the values of an array to the tensor's histogram.

        Parameters
        ----------
        name : str
            Name of the tensor.
        array : numpy.ndarray
            Numbers, in any shape.

        Raises
        ------
        NonFiniteError
            If values are NaN or infinite and not to be ignored; nothing of the array is collected then.
        InputError
            If it is no NumPy array of real numbers; the message names the tensor.
        """
        try:
            sample = Sample.of(array)
        except InputError as error:
            raise InputError(f"tensor '{name}': {error}") from error
        if sample.nonfinite and self.nonfinite == "raise":
            raise NonFiniteError(name, sample.nonfinite, array.size)
        found = Histogram.of_sample(sample)
        known = self.histograms.get(name)
        self.histograms[name] = found if known is None else known + found

    def __add__(self, other: object) -> HistogramCollector:
        if isinstance(other, int) and other == 0:
            return self
        if not isinstance(other, HistogramCollector):
            return NotImplemented
        if self.nonfinite != other.nonfinite:
            raise InputError(
                f"one collector has nonfinite={self.nonfinite!r}, the other {other.nonfinite!r}; they differ"
            )
        merged = HistogramCollector(self.nonfinite)
        merged.histograms = dict(self.histograms)
        for name, histogram in other.histograms.items():
            merged.histograms[name] = merged.histograms.get(name, Histogram()) + histogram
        return merged

    def __radd__(self, other: object) -> HistogramCollector:
        return self.__add__(other)
