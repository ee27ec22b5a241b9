"""`Statistics`: everything calibration knows, by the names of the user's own fp32 tensors.

One calibration serves every target: nothing here knows a bit width or an operator. Statistics of two runs
over different examples merge by ``+`` into those of one run over all of them, equal to the last count.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple, Union

from mxquant.errors import StatisticsError
from mxquant.shown import html_table, percent, printable
from mxquant.stats.channel_sums import ChannelSums
from mxquant.stats.histogram import Histogram
from mxquant.stats.table import packed_table, parse_table, read_table, write_table

__all__ = ["Statistics"]

# The fields that a table keeps in its header.
_HEADER = ("network", "num_examples", "num_batches", "mxquant_version", "mxnet_version")


@dataclass(frozen=True)
class Statistics(Mapping[str, Histogram]):
    """Histograms of a network's tensors, by name and in the order of the names; immutable.

    ``a + b`` merges; it is associative and commutative, and 0 is its identity, so that ``sum()`` works. Both
    have to be of the same network and the same tensors, else it raises StatisticsError.

    Parameters
    ----------
    histograms : mapping of str to Histogram
        By name of the tensor.
    network : str
        SHA-256 of the fp32 network, hexadecimal.
    num_examples, num_batches : int
        How many were run.
    mxquant_version, mxnet_version : str
        Versions that collected them, several if those of several are merged: '1.8.0, 1.9.1'.
    channel_sums : mapping of str to ChannelSums
        Means of the channels of what layers with weights read, by name of the tensor; merging keeps those that both
        have.

    Raises
    ------
    StatisticsError
        If a field is of the wrong type, or a number negative.
    """

    histograms: Mapping[str, Histogram]
    network: str
    num_examples: int
    num_batches: int
    mxquant_version: str
    mxnet_version: str
    channel_sums: Mapping[str, ChannelSums] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("network", "mxquant_version", "mxnet_version"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise StatisticsError(f"{name} is {value!r}, expected a text")
        for name in ("num_examples", "num_batches"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise StatisticsError(f"{name} is {value!r}, expected a whole number from 0")
        for name, histogram in self.histograms.items():
            if not isinstance(name, str) or not isinstance(histogram, Histogram):
                raise StatisticsError(f"tensor {name!r} has {type(histogram).__name__}, expected name and Histogram")
        for name, sums in self.channel_sums.items():
            if name not in self.histograms or not isinstance(sums, ChannelSums):
                raise StatisticsError(f"tensor {name!r} has {type(sums).__name__} and perhaps no histogram")
        for name in ("histograms", "channel_sums"):
            value = getattr(self, name)
            object.__setattr__(self, name, {tensor: value[tensor] for tensor in sorted(value)})

    def __repr__(self) -> str:
        about = f"{len(self)} tensors, {self.num_examples:,} examples; network {self.network[:12]}"
        return printable(f"Statistics({about})")

    def _repr_html_(self) -> str:
        caption = f"Statistics of {len(self)} tensors on {self.num_examples:,} examples"
        heads = ("tensor", "minimum", "maximum", "zeros", "values")
        return html_table(caption, heads, [(name, *_cells(each)) for name, each in self.items()])

    def __getitem__(self, tensor: str) -> Histogram:
        return self.histograms[tensor]

    def __iter__(self) -> Iterator[str]:
        return iter(self.histograms)

    def __len__(self) -> int:
        return len(self.histograms)

    def __add__(self, other: object) -> Statistics:
        if isinstance(other, int) and other == 0:
            return self
        if not isinstance(other, Statistics):
            return NotImplemented
        if self.network != other.network:
            raise StatisticsError(
                f"cannot merge statistics of two networks, {self.network} and {other.network}; "
                "calibrate the same fp32 network"
            )
        odd = sorted(self.histograms.keys() ^ other.histograms.keys())
        if odd:
            more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
            raise StatisticsError(f"cannot merge: only one of the two has {', '.join(map(repr, odd[:3]))}{more}")
        return Statistics(
            {name: histogram + other[name] for name, histogram in self.items()},
            self.network,
            self.num_examples + other.num_examples,
            self.num_batches + other.num_batches,
            _union(self.mxquant_version, other.mxquant_version),
            _union(self.mxnet_version, other.mxnet_version),
            dict(self._merged_sums(other)),
        )

    def _merged_sums(self, other: Statistics) -> Iterator[Tuple[str, ChannelSums]]:
        for name in self.channel_sums.keys() & other.channel_sums.keys():
            merged = self.channel_sums[name].plus(other.channel_sums[name])
            if merged is not None:
                yield name, merged

    __radd__ = __add__

    def save(self, path: Union[str, Path]) -> None:
        """Write the calibration table to a file, whole or not at all; see :mod:`mxquant.stats.table`.

        Parameters
        ----------
        path : str or Path
            The file, usually ending in .npz; replaced if it exists. Equal statistics make equal files.

        Raises
        ------
        OutputError
            If the file cannot be written; nothing is left behind then.
        """
        write_table(path, self._header, self.histograms, self.channel_sums)

    @property
    def _header(self) -> Dict[str, object]:
        return {name: getattr(self, name) for name in _HEADER}

    def __reduce__(self) -> Tuple[Any, ...]:
        """Travel between processes as the calibration table, in a seventh of the bytes."""
        # At the fastest level: a file may take six times as long, for 4 % less.
        table = packed_table(self._header, self.histograms, self.channel_sums, compress=False)
        return _unpacked, (zlib.compress(table, 1),)

    @classmethod
    def load(cls, path: Union[str, Path], network: Optional[str] = None) -> Statistics:
        """Read a calibration table.

        Parameters
        ----------
        path : str or Path
            A file that :meth:`save` wrote, of this or an earlier version of mxquant.
        network : str, optional
            SHA-256 of the fp32 network that it has to belong to; default: any.

        Returns
        -------
        Statistics
            Equal to those that were saved.

        Raises
        ------
        StatisticsError
            If the file cannot be read, is no calibration table, is damaged, is of a later version, or belongs
            to another network.
        """
        found = _of_table(path, *read_table(path))
        if network is not None and found.network != network:
            raise StatisticsError(
                f"the calibration table '{path}' belongs to network {found.network}, not to {network}; "
                "calibrate this network, or pass network=None to load it anyhow"
            )
        return found


def _of_table(
    path: Union[str, Path],
    header: Mapping[str, Any],
    histograms: Mapping[str, Histogram],
    sums: Mapping[str, ChannelSums],
) -> Statistics:
    about: Dict[str, Any] = {name: header.get(name) for name in _HEADER}
    try:
        return Statistics(histograms, **about, channel_sums=sums)
    except StatisticsError as error:
        raise StatisticsError(f"the calibration table '{path}' is damaged: {error}") from error


def _unpacked(content: bytes) -> Statistics:
    """Return statistics that came from another process."""
    return _of_table("that came", *parse_table("that came", zlib.decompress(content)))


def _union(first: str, second: str) -> str:
    """Return the versions named in either text, each once."""
    return ", ".join(sorted({*first.split(", "), *second.split(", ")}))


def _cells(histogram: Histogram) -> Tuple[str, ...]:
    zeros = percent(histogram.zeros / histogram.count if histogram.count else None)
    return f"{histogram.minimum:.5g}", f"{histogram.maximum:.5g}", zeros, f"{histogram.count:,}"
