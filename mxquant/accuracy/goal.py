"""What a network has to reach, as users state it.

=============================  ==============================================================================
metric                         what is measured
=============================  ==============================================================================
'sqnr>=20' or 'sqnr>=20 dB'    SQNR of the output on calibration examples, the lowest of all outputs
a function of a Gluon block    its value for the int8 network; more is better
(data, labels)                 top-1 accuracy of the first output
=============================  ==============================================================================

For the latter two the int8 network may be worse than the fp32 network by at most `max_drop`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, List, Optional

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line
from mxquant.runtime.sizes import check_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Goal"]


@dataclass(frozen=True)
class Goal:
    """A metric of a network and what it has to reach.

    Parameters
    ----------
    decibels : float or None
        The SQNR that is to be reached; None for a metric of another kind.
    metric : callable or None
        Returns a number for a Gluon block; None for SQNR.
    max_drop : float
        By how much the metric may fall.
    """

    decibels: Optional[float]
    metric: Optional[Callable[[Any], float]]
    max_drop: float = 0.0

    @classmethod
    def of(cls, metric: Any, max_drop: Optional[float]) -> Goal:
        """Read a goal.

        Parameters
        ----------
        metric : str, callable, or tuple of data and labels
            See the table above.
        max_drop : float or None
            In units of the metric, at least 0; only for metrics other than SQNR.

        Returns
        -------
        Goal
            The goal.

        Raises
        ------
        InputError
            If it is stated in another way.
        """
        if isinstance(metric, str):
            match = re.fullmatch(r"sqnr\s*>=\s*(\d+(?:\.\d*)?)\s*(?:dB)?", metric.strip())
            if match is None:
                raise InputError(f"metric is {metric!r}, expected 'sqnr>=20 dB', a function, or (data, labels)")
            if max_drop is not None:
                raise InputError(f"max_drop is {max_drop!r}, but metric={metric!r} states what has to be reached")
            return cls(float(match.group(1)), None)
        if isinstance(max_drop, bool) or not isinstance(max_drop, (int, float)) or not max_drop >= 0:
            raise InputError(f"max_drop is {max_drop!r}, expected a number from 0 on, in units of the metric")
        if callable(metric):
            return cls(None, _Measured(metric), float(max_drop))
        if isinstance(metric, tuple) and len(metric) == 2:
            return cls(None, _Top1(*metric), float(max_drop))
        raise InputError(
            f"metric is {type(metric).__name__}, expected 'sqnr>=20 dB', a function of a block, or (data, labels)"
        )

    def fitted(self, network: Network, name: str, only: Optional[int]) -> Goal:
        """Return the goal of a network, which gets data in batches that it takes.

        Parameters
        ----------
        network : Network
            The canonical fp32 network.
        name : str
            Of its first input.
        only : int or None
            The one batch size that it takes; None for any.

        Raises
        ------
        InputError
            If it does not take data of this shape.
        """
        if not isinstance(self.metric, _Top1):
            return self
        data = self.metric.data
        check_sizes(network, {name: (only or len(data), *data.shape[1:])})
        return replace(self, metric=_Top1(data, self.metric.labels, only))


@dataclass(frozen=True)
class _Measured:
    """A function of the user's, whose value is checked."""

    function: Callable[[Any], Any]

    def __call__(self, block: Any) -> float:
        found = self.function(block)
        value = found.asnumpy() if isinstance(found, mx.nd.NDArray) else found
        number = np.asarray(value)
        if number.size != 1 or number.dtype.kind not in "fiu" or not np.isfinite(number).all():
            raise InputError(f"metric: the function returned {value!r:.80}, expected one finite number; more is better")
        return float(number.reshape(()))


class _Top1:
    """Share of examples whose largest output is that of their label."""

    def __init__(self, data: Any, labels: Any, batch: Optional[int] = None) -> None:
        self.batch = batch
        self.data = data if isinstance(data, mx.nd.NDArray) else mx.nd.array(data)
        self.labels = np.asarray(labels.asnumpy() if isinstance(labels, mx.nd.NDArray) else labels).reshape(-1)
        if len(self.labels) != len(self.data) or not len(self.labels):
            raise InputError(f"metric: {len(self.data)} examples, but {len(self.labels)} labels")
        kind = self.labels.dtype.kind
        wrong = np.arange(len(self.labels)) if kind not in "fiu" else np.flatnonzero(~(self.labels % 1 == 0))
        wrong = wrong if len(wrong) else np.flatnonzero(self.labels < 0)
        if len(wrong):
            raise InputError(
                f"metric: the label of example {wrong[0]} is {self.labels[wrong[0]]!r}, expected the number of a class"
            )

    def __call__(self, block: Any) -> float:
        try:
            scores = self._scores(block)
        except mx.MXNetError as error:
            raise InputError(
                f"metric: the network cannot take data of shape {self.data.shape}: {first_line(error)}"
            ) from error
        highest = int(self.labels.argmax())
        if scores.ndim and self.labels[highest] >= scores.shape[-1]:
            raise InputError(
                f"metric: the label of example {highest} is {self.labels[highest]}, but the network's first output has "
                f"{scores.shape[-1]} classes, from 0 on"
            )
        classes = scores.argmax(axis=-1).reshape(-1)
        if len(classes) != len(self.labels):
            raise InputError(
                f"metric: the network's first output has shape {scores.shape}, expected one row of scores for each of "
                f"{len(self.labels)} labels"
            )
        return float((classes == self.labels).mean())

    def _scores(self, block: Any) -> NDArray[Any]:
        """Return the first output, of one batch after the other where the network takes one size only."""
        count = len(self.data)
        batch = self.batch or count
        parts: List[NDArray[Any]] = []
        for begin in range(0, count, batch):
            # The last batch is filled up with its last example.
            places = np.minimum(np.arange(begin, begin + batch), count - 1)
            found = block(self.data if batch == count else self.data.take(mx.nd.array(places)))
            while isinstance(found, (list, tuple)):
                found = found[0]
            scores = found.asnumpy()
            parts.append(scores[: count - begin] if len(scores) == batch else scores)
        return np.concatenate(parts)
