"""Who watches the tensors of a calibration run.

Collecting, merging and choosing a threshold are three separate things: a collector only gathers, knows no bit
width, and is merged by ``+``, so that a run may be divided among processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from mxquant._threads import in_parallel, number_of_threads
from mxquant.errors import InputError, NonFiniteError
from mxquant.stats.channel_sums import ChannelSums
from mxquant.stats.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Collector", "HistogramCollector"]

_NONFINITE = ("raise", "ignore")
# Values; fewer are counted in less time than threads take to begin.
_WORTH_A_THREAD = 1 << 17


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
        self.histograms: Dict[str, Histogram] = {}
        self._sums: Dict[str, Optional[ChannelSums]] = {}

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
        axis = self.channels.get(name)
        try:
            parts = in_parallel(lambda part: _look_at(part, axis), _split(array))
        except InputError as error:
            raise InputError(f"tensor '{name}': {error}") from error
        found = sum((histogram for histogram, _ in parts), Histogram())
        if found.nonfinite and self.nonfinite == "raise":
            raise NonFiniteError(name, found.nonfinite, array.size)
        known = self.histograms.get(name)
        self.histograms[name] = found if known is None else known + found
        if axis is not None:
            for _, sums in parts:
                self._add_sums(name, sums)

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
        merged.histograms, merged._sums = dict(self.histograms), dict(self._sums)
        for name, histogram in other.histograms.items():
            merged.histograms[name] = merged.histograms.get(name, Histogram()) + histogram
        for name, sums in other._sums.items():
            merged._add_sums(name, sums)
        return merged

    def __radd__(self, other: object) -> HistogramCollector:
        return self.__add__(other)


def _split(array: NDArray[Any]) -> List[NDArray[Any]]:
    """Return parts of an array that are worth a thread each; examples stay whole."""
    if not isinstance(array, np.ndarray) or array.size < _WORTH_A_THREAD or array.ndim < 2:
        return [array]
    return np.array_split(array, min(number_of_threads(), len(array)))


def _look_at(array: NDArray[Any], axis: Optional[int]) -> Tuple[Histogram, Optional[ChannelSums]]:
    return Histogram.of(array), None if axis is None else ChannelSums.of(array, axis)
