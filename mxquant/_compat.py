"""MXNet, imported so that it works: the NumPy alias it needs is set first, what it cannot work with is refused.

MXNet 1.9 reads ``numpy.bool``, which NumPy 1.24 removed. Every module of mxquant takes ``mx`` from here.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Tuple

import numpy as np

__all__ = ["mx"]


def _release(version: str) -> Tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def check_numpy(version: str) -> None:
    """Refuse a NumPy that MXNet cannot work with, by an ImportError."""
    if _release(version) >= (2, 0):
        raise ImportError(f"MXNet 1.9 does not work with NumPy {version}; pip install 'numpy<2'")


def check_mxnet(version: str) -> None:
    """Refuse an MXNet that mxquant does not know, by an ImportError."""
    if not (1, 7) <= _release(version) <= (1, 9):
        raise ImportError(f"mxquant works with MXNet 1.7 to 1.9, found {version}; pip install 'mxnet>=1.7,<1.10'")


def explain_loader_error(error: OSError) -> str:
    """Return one sentence that tells which Debian package holds the library that could not be loaded."""
    for library, package in (("libgomp", "libgomp1"), ("libquadmath", "libquadmath0")):
        if library in str(error):
            return f"MXNet needs the system library {library}; install it with: apt-get install {package}"
    return f"MXNet's library cannot be loaded: {error}"


def _import_mxnet() -> Any:
    check_numpy(np.__version__)
    if "bool" not in np.__dict__:
        np.bool = np.bool_  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            import mxnet
        except ModuleNotFoundError as error:
            raise ImportError("mxquant needs MXNet; pip install 'mxnet>=1.7,<1.10'") from error
        except OSError as error:
            raise ImportError(explain_loader_error(error)) from error
    check_mxnet(mxnet.__version__)
    return mxnet


mx = _import_mxnet()
