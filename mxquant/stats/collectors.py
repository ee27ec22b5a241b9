"""Who watches the tensors of a calibration run.

Collecting, merging and choosing a threshold are three separate things: a collector only gathers, knows no bit
width, and is merged by ``+``, so that a run may be divided among processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional

import numpy as np

from mxquant.errors import InputError, NonFiniteError
from mxquant.runtime.threads import number_of_threads
from mxquant.stats.channel_sums import ChannelSums
from mxquant.stats.histogram import Histogram
from mxquant.stats.tally import Tally, new_tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Collector", "HistogramCollector"]

_NONFINITE = ("raise", "ignore")
# Values; fewer are counted in less time than threads take to begin.
_WORTH_A_THREAD = 1 << 17
_ROW = 4096


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
    channels : mapping of str to int, optional
        Tensors of which the mean of each channel is wanted too, and the axis of their channels, 1 or -1.

    Attributes
    ----------
    histograms : dict of str to Histogram
        By name of the tensor, in the order in which they were first seen.
    channel_sums : dict of str to ChannelSums
        By name of the tensor; without those of which the channels are not the same in all arrays, or have no mean.

    Raises
    ------
    InputError
        If `nonfinite` is anything else.
    """

    def __init__(self, nonfinite: str = "raise", channels: Optional[Mapping[str, int]] = None) -> None:
        if nonfinite not in _NONFINITE:
            raise InputError(f"nonfinite is {nonfinite!r}, expected one of {', '.join(map(repr, _NONFINITE))}")
        self.nonfinite = nonfinite
        self.channels = dict(channels or {})
        self._tallies: Dict[str, Tally] = {}
        self._sums: Dict[str, Optional[ChannelSums]] = {}
        self._tables: List[NDArray[np.uint32]] = []

    @property
    def histograms(self) -> Dict[str, Histogram]:
        """Histograms of the tensors."""
        return {name: tally.histogram for name, tally in self._tallies.items()}

    @property
    def channel_sums(self) -> Dict[str, ChannelSums]:
        """Sums of the tensors' channels."""
        return {name: sums for name, sums in self._sums.items() if sums is not None}

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
        tally = self._tallies.get(name) or Tally()
        means = self._count(tally, name, array)
        self._tallies[name] = tally
        if name in self.channels:
            self._add_sums(name, None if means is None else ChannelSums.of(means))

    def _count(self, tally: Tally, name: str, array: NDArray[Any]) -> Optional[NDArray[np.float64]]:
        """Count an array; return the means of its channels, shape (N, C), if they are wanted and finite."""
        axis = self.channels.get(name)
        if isinstance(array, np.ndarray) and array.dtype == np.float32 and array.size:
            array = np.ascontiguousarray(array)
            by_channel = axis == 1 and array.ndim > 2
            sums = tally.add(array, prod(array.shape[2:]) if by_channel else _ROW, self._tables_for(array))
            if sums is not None and by_channel:
                return sums.reshape(array.shape[:2]) / prod(array.shape[2:])
            if sums is not None:
                return None if axis is None or array.ndim < 2 else _means(array)
        try:
            found = Histogram.of(array)
        except InputError as error:
            raise InputError(f"tensor '{name}': {error}") from error
        if found.nonfinite and self.nonfinite == "raise":
            raise NonFiniteError(name, found.nonfinite, array.size)
        tally.merge(found)
        return None

    def _tables_for(self, array: NDArray[np.float32]) -> List[NDArray[np.uint32]]:
        """Return tables for as many threads as are worth it."""
        worth = 1 if array.size < _WORTH_A_THREAD or array.ndim < 2 else min(number_of_threads(), len(array))
        self._tables += [new_tables() for _ in range(worth - len(self._tables))]
        return self._tables[:worth]

    def _add_sums(self, name: str, sums: Optional[ChannelSums]) -> None:
        known = self._sums.get(name)
        if name in self._sums:
            sums = None if known is None or sums is None else known.plus(sums)
        self._sums[name] = sums

    def __add__(self, other: object) -> HistogramCollector:
        if isinstance(other, int) and other == 0:
            return self
        if not isinstance(other, HistogramCollector):
            return NotImplemented
        if self.nonfinite != other.nonfinite:
            raise InputError(
                f"one collector has nonfinite={self.nonfinite!r}, the other {other.nonfinite!r}; they differ"
            )
        merged = HistogramCollector(self.nonfinite, {**other.channels, **self.channels})
        merged._sums = dict(self._sums)
        for name, histogram in (*self.histograms.items(), *other.histograms.items()):
            merged._tallies.setdefault(name, Tally()).merge(histogram)
        for name, sums in other._sums.items():
            merged._add_sums(name, sums)
        return merged

    def __radd__(self, other: object) -> HistogramCollector:
        return self.__add__(other)


def _means(array: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean of each example's channels, which are the last axis."""
    means: NDArray[np.float64] = array.mean(axis=tuple(range(1, array.ndim - 1)), dtype=np.float64)
    return means
