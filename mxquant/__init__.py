"""Post-training int8 quantization for Apache MXNet 1.9."""

from mxquant import _compat
from mxquant.version import __version__

__all__ = ["__version__"]

del _compat
