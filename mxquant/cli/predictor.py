"""Networks that are run on batches, and what their outputs are worth."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant._compat import mx
from mxquant.errors import InputError
from mxquant.mxnet_bridge import environment, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Faithfulness", "Predictor", "Tally"]


@dataclass
class Predictor:
    """A network that is run on batches of named arrays, and timed.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        The network.
    arg_params, aux_params : mapping of str to NDArray
        Its parameters.
    fused : bool
        Whether MXNet fuses operators by itself, as it does for an fp32 network; in an int8 network they are.
    """

    symbol: Any
    arg_params: Mapping[str, Any]
    aux_params: Mapping[str, Any]
    fused: bool = False
    seconds: List[float] = field(default_factory=list)
    timed: List[int] = field(default_factory=list)
    _executor: Any = None
    _shapes: Dict[str, Tuple[int, ...]] = field(default_factory=dict)

    def __call__(self, arrays: Mapping[str, NDArray[Any]], size: int) -> List[NDArray[Any]]:
        """Return the outputs for a batch.

        Raises
        ------
        InputError
            If the network does not take data of this shape.
        """
        rows = next(iter(self._shapes.values()))[0] if self._shapes else size
        full = {name: _filled(value, max(rows, size)) for name, value in arrays.items()}
        self.bind(full)
        begin = time.perf_counter()
        found = self.forward()
        self.seconds.append(time.perf_counter() - begin)
        self.timed.append(size)
        return [value[:size] if value.ndim and len(value) == max(rows, size) else value for value in found]

    def bind(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a batch as the next to be run; the first of a shape also is run, unmeasured."""
        shapes = {name: value.shape for name, value in arrays.items()}
        if shapes == self._shapes:
            for name, value in arrays.items():
                self._executor.arg_dict[name][:] = value
            return
        data = {name: mx.nd.array(value, dtype=value.dtype) for name, value in arrays.items()}
        try:
            data.update(self._labels(shapes))
            with environment(MXNET_SUBGRAPH_BACKEND="MKLDNN" if self.fused else "default"):
                self._executor = self.symbol.bind(
                    mx.cpu(), {**self.arg_params, **data}, aux_states=dict(self.aux_params), grad_req="null"
                )
            self.forward()
        except (mx.MXNetError, ValueError) as error:
            raise InputError(
                f"the network does not take data of shape {_named(shapes)}: {first_line(error)}; see --image-size and "
                "--layout"
            ) from error
        self._shapes = shapes

    def forward(self) -> List[NDArray[Any]]:
        """Return the outputs for the batch that was taken last."""
        return [output.asnumpy() for output in self._executor.forward(is_train=False)]

    def _labels(self, shapes: Mapping[str, Tuple[int, ...]]) -> Dict[str, Any]:
        """Return zeros for inputs without data, which labels are."""
        known = {**{name: value.shape for name, value in self.arg_params.items()}, **shapes}
        names = self.symbol.list_arguments()
        found = self.symbol.infer_shape(**{name: shape for name, shape in known.items() if name in names})[0]
        return {name: mx.nd.zeros(shape) for name, shape in zip(names, found or ()) if name not in known}

    @property
    def per_second(self) -> Optional[float]:
        """Examples a second by the median batch; None before the first."""
        return median(n / s for n, s in zip(self.timed, self.seconds)) if self.seconds else None


def _filled(value: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return a batch that is as long as the others, so that the network need not be bound again."""
    if not value.ndim or len(value) == rows:
        return value
    return np.concatenate([value, np.zeros((rows - len(value), *value.shape[1:]), value.dtype)])


def _named(shapes: Mapping[str, Tuple[int, ...]]) -> str:
    return ", ".join(f"{shape} for '{name}'" for name, shape in shapes.items())


@dataclass
class Tally:
    """How many examples of a classifier have their label first, and among the first five."""

    examples: int = 0
    first: int = 0
    among_five: int = 0

    def add(self, output: NDArray[Any], labels: NDArray[Any]) -> None:
        """Count a batch; raise InputError if the output is no scores of classes."""
        if output.ndim != 2 or len(output) != len(labels):
            raise InputError(
                f"the first output has shape {output.shape} for {len(labels)} labels; expected a score for each class"
            )
        if labels.min() < 0 or labels.max() >= output.shape[1]:
            raise InputError(f"a label is {labels.max():g}, but the network has {output.shape[1]} classes")
        best = np.argsort(-output, axis=1, kind="stable")[:, :5]
        hits = best == labels.astype(np.int64)[:, None]
        self.examples += len(labels)
        self.first += int(hits[:, 0].sum())
        self.among_five += int(hits.any(axis=1).sum())

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
    """How near the outputs of one network come to those of another, summed over batches."""

    signal: Dict[int, float] = field(default_factory=dict)
    noise: Dict[int, float] = field(default_factory=dict)
    examples: int = 0
    same: int = 0
    classes: bool = True

    def add(self, expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> None:
        """Count a batch."""
        for index, (one, other) in enumerate(zip(expected, found)):
            exact, difference = one.astype(np.float64), one.astype(np.float64) - other
            self.signal[index] = self.signal.get(index, 0.0) + float(np.square(exact).sum())
            self.noise[index] = self.noise.get(index, 0.0) + float(np.square(difference).sum())
        first, second = expected[0], found[0]
        self.classes = self.classes and first.ndim == 2 and first.shape[1] > 1
        self.examples += len(first) if first.ndim else 1
        if self.classes:
            self.same += int((first.argmax(axis=1) == second.argmax(axis=1)).sum())

    @property
    def sqnr(self) -> Optional[float]:
        """SQNR in dB, the lowest of all outputs; None before the first batch."""
        return min((_decibels(self.signal[i], self.noise[i]) for i in self.signal), default=None)

    @property
    def agreement(self) -> Optional[float]:
        """Share of examples with the same class in both; None where the first output is no scores of classes."""
        return self.same / self.examples if self.examples and self.classes else None


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and math.isfinite(noise) else -math.inf
