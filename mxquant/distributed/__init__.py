"""Calibration and scoring on the workers of a Dask cluster.

References to parts of a data set go out, :class:`~mxquant.Statistics` or scores come back; images and activations stay
where they are. What comes back is merged exactly, so that the result is the same, byte for byte, for any number of
workers, any size of parts and any order in which they are done.
"""

from mxquant.distributed.calibration import calibrate
from mxquant.distributed.scoring import score

__all__ = ["calibrate", "score"]
