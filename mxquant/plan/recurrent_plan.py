"""The codes of an int8 LSTM.

oneDNN's int8 LSTM has uint8 codes for what it reads, the data and its own state of the step before, and multiplies both
by int8 weights with one step for each gate and unit. It knows one scale s and one zero point z, those of the state::

    state  h = (q - 64) · S / 64       S the largest magnitude of the state
    data   x = (q - z_x) / s_x         s_x = 128 / (largest - lowest)

Codes end at 128. Where products are added in pairs in int16, 2 · 128 · 127 still fits; so the result is the same on
every CPU.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from mxquant.errors import PlanError

__all__ = ["RecurrentPlan"]

_CODES = 128
# Scales and their ratio are float32 numbers.
_SMALLEST, _LARGEST = 1e-12, 1e37


@dataclass(frozen=True)
class RecurrentPlan:
    """What the codes of an int8 LSTM stand for.

    Parameters
    ----------
    lowest, largest : float
        The ends of its data; 0 lies between them.
    state : float
        The largest magnitude of its state, which is also its result; above 0.
    """

    lowest: float
    largest: float
    state: float

    def __post_init__(self) -> None:
        for name in ("lowest", "largest", "state"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            # A whole number may be beyond all float ones.
            if not is_number or not abs(value) <= sys.float_info.max:
                raise PlanError(f"recurrent.{name} is {value!r}, expected a finite number")
        if not self.lowest <= 0 <= self.largest or self.lowest == self.largest:
            raise PlanError(
                f"recurrent.lowest and largest are {self.lowest!r} and {self.largest!r}, expected 0 between"
            )
        if self.state <= 0:
            raise PlanError(f"recurrent.state is {self.state!r}, expected a number above 0")
        span = self.largest - self.lowest
        if not all(_SMALLEST <= value <= _LARGEST for value in (span, self.state)) or span > _LARGEST * self.state:
            raise PlanError(f"recurrent is {self}, whose scales, or their ratio, are beyond the range of float32")

    @classmethod
    def read(cls, entry: Any) -> RecurrentPlan:
        """Return what JSON says; raise PlanError for anything else."""
        names = ["lowest", "largest", "state"]
        if not isinstance(entry, dict) or sorted(entry) != sorted(names):
            raise PlanError(f"recurrent is {entry!r}, expected an object of {', '.join(names)}")
        return cls(**entry)

    @property
    def data_scale(self) -> float:
        """Codes for each unit of the data."""
        return _CODES / (self.largest - self.lowest)

    @property
    def data_zero(self) -> int:
        """The code of 0 in the data."""
        return round(-self.lowest * self.data_scale)

    @property
    def data_ends(self) -> tuple[float, float]:
        """What the first and the last code of the data stand for, 0 being one of the codes."""
        return -self.data_zero / self.data_scale, (_CODES - self.data_zero) / self.data_scale

    @property
    def state_scale(self) -> float:
        """Codes for each unit of the state."""
        return self.state_zero / self.state

    @property
    def state_zero(self) -> int:
        """The code of 0 in the state."""
        return _CODES // 2
