"""Calibration and scoring on the workers of a Dask cluster.

References to parts of a data set go out, :class:`~mxquant.Statistics` or scores come back; images and activations stay
where they are. What comes back is merged exactly, so that the result is the same, byte for byte, for any number of
workers, any size of parts and any order in which they are done.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mxquant.distributed.calibration import calibrate
    from mxquant.distributed.scoring import score

__all__ = ["calibrate", "score"]

_HOMES = {"calibrate": "calibration", "score": "scoring"}


def __getattr__(name: str) -> Any:
    # Both bring MXNet, without which addresses and certificates are looked at.
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
