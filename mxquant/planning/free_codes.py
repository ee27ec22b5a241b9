"""Codes of tensors that may have any zero point, by their statistics and by what becomes of them.

For the method 'mse' a tensor that is read by functions of single values alone, as x · sigmoid(x), gets the codes with
which their results are best (:mod:`mxquant.planning.value_by_value`). Results that become codes themselves are taken as
rounded: what is below half of their step is lost in any case, while an error above it, small as it is, would shift all
results of a channel in one direction, and add up in the layers that read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.graph import Node, Tensor
from mxquant.lowering.quantized_params import INT8_RANGE, SMALLEST_THRESHOLD, UINT8_RANGE
from mxquant.plan import TensorPlan
from mxquant.planning.draft import Draft
from mxquant.planning.value_by_value import Followers
from mxquant.thresholds.affine import affine, covering

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FreeCodes", "around"]

_Readers = Mapping[Tensor, Sequence[Optional[Node]]]


class FreeCodes:
    """The tensors of a draft that may have any zero point.

    Parameters
    ----------
    draft : Draft
        The plan in the making.
    readers : mapping of Tensor to sequence of Node
        What reads each tensor; None for an output of the network.
    method : callable
        Returns the method for a tensor by its name.
    threshold : callable
        Returns the threshold of a tensor by its name, and whether its codes are 0..255.
    """

    def __init__(
        self, draft: Draft, readers: _Readers, method: Callable[[str], str], threshold: Callable[[str, bool], float]
    ) -> None:
        self.draft, self.readers, self.method, self.threshold = draft, readers, method, threshold
        self._known: Dict[Tensor, Tuple[float, int]] = {}

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor may have any zero point, and one is to be chosen: it has negative values."""
        draft = self.draft
        if not draft.zero_points_are_free or draft.dtypes.get(tensor) != "int8" or tensor in draft.shifted:
            return False
        histogram = draft.statistics.get(tensor.name)
        given = draft.options.largest_values.get(tensor.name)
        if histogram is None or histogram.minimum >= 0 or isinstance(given, (int, float)):
            return False
        return histogram.maximum - histogram.minimum > SMALLEST_THRESHOLD

    def of(self, tensor: Tensor) -> Tuple[float, int]:
        """Return the threshold and the zero point of such a tensor."""
        return _threshold(*self._scale_and_lowest(tensor))

    def _scale_and_lowest(self, tensor: Tensor) -> Tuple[float, int]:
        """Return the scale and the lowest code, counted from zero, of such a tensor, which are found once."""
        if tensor not in self._known:
            given = self.draft.options.largest_values.get(tensor.name)
            self._known[tensor] = covering(*given) if isinstance(given, (tuple, list)) else self._best(tensor)
        return self._known[tensor]

    def _best(self, tensor: Tensor) -> Tuple[float, int]:
        """Return scale and lowest code by the tensor's method."""
        name = tensor.name
        histogram, method = self.draft.statistics[name], self.method(name)
        return affine(histogram, method, lambda: self.threshold(name, False), *self._results(tensor))

    def _results(self, tensor: Tensor) -> Tuple[Callable[[NDArray[Any]], NDArray[Any]], ...]:
        """Return what becomes of values, as rounded and exactly; nothing where they are read as they are."""
        followers = Followers.of(self.draft.network.graph, self.readers, tensor)
        if not followers.nodes:
            return ()
        codes = [None if each == tensor else self._codes(each) for each in followers.results]

        def rounded(values: NDArray[Any]) -> NDArray[Any]:
            found = followers(values)
            for number, each in enumerate(codes):
                if each is not None:
                    scale, lowest = each
                    found[number] = scale * np.clip(np.rint(found[number] / scale), lowest, lowest + 255)
            return found

        return rounded, followers

    def _codes(self, tensor: Tensor) -> Optional[Tuple[float, int]]:
        """Return the scale and the lowest code of a tensor; None where no int8 layer reads it."""
        if not any(node in self.draft.int8 for node in self.readers.get(tensor, ())):
            return None
        if self.has(tensor):
            return self._scale_and_lowest(tensor)
        if tensor.name not in self.draft.statistics:
            return None
        unsigned = self.draft.dtypes.get(tensor) == "uint8"
        end = max(self.threshold(tensor.name, unsigned), SMALLEST_THRESHOLD)
        return (end / UINT8_RANGE, 0) if unsigned else (end / INT8_RANGE, -128)


def around(plans: Sequence[TensorPlan]) -> Tuple[float, int]:
    """Return threshold and zero point of int8 codes that cover those of all plans, which are calibrated."""
    if len({(plan.dtype, plan.threshold, plan.zero_point) for plan in plans}) == 1 and plans[0].dtype == "int8":
        assert plans[0].threshold is not None
        return plans[0].threshold, plans[0].zero_point
    lows, highs = zip(*map(_span, plans))
    return _threshold(*covering(min(lows), max(highs)))


def _span(plan: TensorPlan) -> Tuple[float, float]:
    """Return what the lowest and the highest code of a plan stand for."""
    assert plan.scale is not None and plan.codes is not None
    return plan.ends[0] * plan.scale, min(plan.ends[1], plan.codes) * plan.scale


def _threshold(scale: float, lowest: int) -> Tuple[float, int]:
    """Return threshold and zero point of int8 codes whose lowest, counted from zero, is given."""
    return max(scale * (lowest + UINT8_RANGE), SMALLEST_THRESHOLD), -128 - lowest
