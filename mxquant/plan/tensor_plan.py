"""How one tensor is stored while int8 layers work on it.

The scale of a tensor is the real value of one code. The threshold T is the outer end of what the last code stands for,
as MXNet has it, half a scale beyond the code itself::

    int8                 codes -127..127   scale = T / 127.5   value = code · scale
    uint8                codes 0..255      scale = T / 255.5   value = code · scale
    int8, zero point z   codes -128..127   scale = T / (127.5 - z)   value = (code - z) · scale

A tensor may use fewer codes, n, so that no sum of products saturates on a CPU without VNNI; see
:mod:`mxquant.lowering.saturation`. Then T itself gets the last of them: scale = T / n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple

import numpy as np

from mxquant.errors import PlanError

__all__ = ["CODES", "LARGEST_ZERO_POINT", "TensorPlan", "number"]

# The largest code of each type.
CODES = {"int8": 127, "uint8": 255}

# One code is left above it, which a threshold stands for.
LARGEST_ZERO_POINT = 126


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor is stored while int8 layers work on it.

    Parameters
    ----------
    name : str
        The tensor's name in the user's network.
    dtype : {'int8', 'uint8', 'float32'}
        Type of its elements.
    threshold : float or None
        Largest magnitude that can be represented, in the tensor's own unit; a float32 value above 0. None means that
        the range is found at run time, on every forward pass (uncalibrated), or that the tensor is float32.
    method : str
        How the threshold was chosen: 'minmax', 'entropy', 'percentile', 'mse', 'inherited', 'weights', 'runtime', ...
    reason : str
        Why the tensor has this type and threshold.
    group : str or None
        Tensors of one group are quantized with one threshold; the group bears the name of the layer that needs it.
    codes : int or None
        How many steps lead from 0 to the threshold; by default all that the type has: 127 for int8, less its zero
        point, and 255 for uint8. None for a float32 tensor.
    zero_point : int
        The code that stands for 0, -128 to 126 for int8 and 0 for uint8. In MXNet it is 0, or, for int8 tensors without
        negative values, -128, on GPUs -127.
    """

    name: str
    dtype: str
    threshold: Optional[float]
    method: str
    reason: str
    group: Optional[str] = None
    codes: Optional[int] = None
    zero_point: int = 0

    def __post_init__(self) -> None:
        where = f"tensors['{self.name}']"
        if self.dtype not in (*CODES, "float32"):
            raise PlanError(f"{where}.dtype is {self.dtype!r}, expected 'int8', 'uint8' or 'float32'")
        self._check_codes(where)
        if self.threshold is None:
            return
        if self.dtype == "float32":
            raise PlanError(f"{where}.threshold is {self.threshold!r}, but a float32 tensor has none")
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, (int, float)):
            raise PlanError(f"{where}.threshold is {self.threshold!r}, expected a number or null")
        with np.errstate(over="ignore"):
            value = float(np.float32(number(self.threshold)))
        if not (math.isfinite(value) and value > 0):
            raise PlanError(f"{where}.threshold is {self.threshold!r}, expected a positive finite float32 number")
        object.__setattr__(self, "threshold", value)

    def _check_codes(self, where: str) -> None:
        if not isinstance(self.group, (str, type(None))):
            raise PlanError(f"{where}.group is {self.group!r}, expected a name or null")
        point = self.zero_point
        if isinstance(point, bool) or not isinstance(point, int):
            raise PlanError(f"{where}.zero_point is {point!r}, expected a whole number")
        if point != 0 and (self.dtype != "int8" or not -128 <= point <= LARGEST_ZERO_POINT):
            allowed = f"0, or -128 to {LARGEST_ZERO_POINT} for int8"
            raise PlanError(f"{where}.zero_point is {point!r}, expected {allowed}")
        if self.dtype == "float32":
            if self.codes is not None:
                raise PlanError(f"{where}.codes is {self.codes!r}, but a float32 tensor has none")
            return
        largest = self._largest_code
        if self.codes is None:
            object.__setattr__(self, "codes", largest)
        elif isinstance(self.codes, bool) or not isinstance(self.codes, int) or not 1 <= self.codes <= largest:
            raise PlanError(f"{where}.codes is {self.codes!r}, expected a whole number from 1 to {largest}")

    @property
    def scale(self) -> Optional[float]:
        """The real value of one code, or None for a float32 or uncalibrated tensor."""
        if self.threshold is None or self.codes is None:
            return None
        return self.threshold / (self.codes + 0.5 if self.codes == self._largest_code else self.codes)

    @property
    def begins_at_zero(self) -> bool:
        """Whether it is int8 with a zero point for values that are never negative, as MXNet's operators can have it."""
        return self.zero_point in (-127, -128)

    @property
    def ends(self) -> Tuple[int, int]:
        """The smallest and the largest code, both counted from the zero point, whether or not all of them are used.

        A uint8 sum in the memory of an int8 tensor ends at 127; every other one saturates at 255 only.
        """
        if self.dtype == "uint8":
            return 0, 127 if self.codes == 127 else 255
        return -128 - self.zero_point, 127 - self.zero_point

    @property
    def _largest_code(self) -> int:
        return CODES[self.dtype] - self.zero_point


def number(value: Any) -> float:
    """Return a number, infinity for a whole number beyond all, or NaN for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
