"""The exceptions of mxquant: one base class over the built-in ones that callers already catch.

What they say is :func:`~mxquant.shown.printable`, whatever names it has; ``args`` has the text as it was.
"""

from __future__ import annotations

from typing import Any, Tuple

from mxquant.shown import printable

__all__ = [
    "CalibrationError",
    "ClusterError",
    "GraphError",
    "InputError",
    "LoweringError",
    "MXQuantError",
    "NonFiniteError",
    "OutputError",
    "PlanError",
    "StatisticsError",
]


class MXQuantError(Exception):
    """Base class of everything that mxquant raises on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__(), lines=True)


class InputError(MXQuantError, ValueError):
    """An argument, parameter or data set is not what it has to be."""


class GraphError(InputError):
    """A network cannot be read, or breaks an invariant of the graph."""


class StatisticsError(InputError):
    """A calibration table cannot be read, merged, or belongs to another network."""


class PlanError(InputError):
    """A quantization plan is malformed, contradicts itself, or does not fit the network."""


class CalibrationError(MXQuantError, RuntimeError):
    """The forward passes of calibration failed."""


class ClusterError(MXQuantError, RuntimeError):
    """Workers, or their scheduler, cannot do what they are asked to."""


class NonFiniteError(CalibrationError):
    """A tensor holds NaN or infinities.

    Attributes
    ----------
    tensor : str
        Name of the tensor.
    count : int
        How many of its elements are not finite.
    size : int
        How many elements it has.
    where : str
        In which data, for the message.
    """

    def __init__(self, tensor: str, count: int, size: int, where: str = "") -> None:
        self.tensor, self.count, self.size, self.where = tensor, count, size, where
        super().__init__(
            f"tensor '{tensor}'{where}: {count} of {size} values are NaN or infinite; "
            "check the input data and the parameters of the layers before it, "
            "or pass nonfinite='ignore' to leave these values out"
        )

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.tensor, self.count, self.size, self.where)


class LoweringError(MXQuantError, RuntimeError):
    """A plan cannot be turned into a network for its target."""


class OutputError(MXQuantError, RuntimeError):
    """A file cannot be written."""
