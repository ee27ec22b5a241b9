"""MXNet, imported so that it works, and with all processors: ``from mxquant.runtime.mxnet import mx``.

What MXNet 1.9 misses in today's Python and NumPy :mod:`mxquant.compat` gives it. Versions that cannot work, and what is
missing, are named by an ImportError that says what to install.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Tuple

import numpy as np

from mxquant.runtime.processors import warn_of_few_threads

__all__ = ["mx"]

# Libraries that MXNet's wheel takes from the system, and the Debian packages that have them.
_PACKAGES = {"libgomp": "libgomp1", "libquadmath": "libquadmath0"}
# Libraries that MXNet's wheel for 64-bit ARM takes from Arm Performance Libraries, which no package of Debian's has.
_ARM_LIBRARIES = ("libarmpl_lp64_mp", "libamath", "libastring")


def check_numpy(version: str) -> None:
    """Refuse a NumPy that MXNet 1.9 cannot work with.

    Parameters
    ----------
    version : str
        Such as '1.26.4'.

    Raises
    ------
    ImportError
        If the version is outside 1.20 to 2.x.
    """
    if not (1, 20) <= _release(version) < (3, 0):
        raise ImportError(f"mxquant needs NumPy 1.20 to 2.x, found {version}; pip install 'numpy>=1.20,<3'")


def check_mxnet(version: str) -> None:
    """Refuse an MXNet that mxquant does not know.

    Parameters
    ----------
    version : str
        Such as '1.9.1'.

    Raises
    ------
    ImportError
        If the version is outside 1.7 to 1.9.
    """
    if not (1, 7) <= _release(version) < (1, 10):
        raise ImportError(f"mxquant needs MXNet 1.7 to 1.9, found {version}; {_installing()}")


def explain_loader_error(error: OSError) -> str:
    """Return one sentence that says what to install so that MXNet's library can be loaded.

    Parameters
    ----------
    error : OSError
        What the loader raised.

    Returns
    -------
    str
        It names the Debian package of a missing library, or Arm Performance Libraries; of any other error, the loader's
        own words.
    """
    for library, package in _PACKAGES.items():
        if library in str(error):
            return f"MXNet needs the system library {library}; apt-get install {package}"
    for library in _ARM_LIBRARIES:
        if library in str(error):
            return (
                f"MXNet for 64-bit ARM needs {library}, one of Arm Performance Libraries, Arm's BLAS, LAPACK and "
                "mathematical functions: install them, and put their folder into LD_LIBRARY_PATH or /etc/ld.so.conf.d"
            )
    return f"MXNet's library cannot be loaded: {error}"


def _release(version: str) -> Tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None:
        raise ImportError(f"version '{version}' is not understood; expected one like '1.9.1'")
    return int(match.group(1)), int(match.group(2))


def _installing() -> str:
    """Return the command that installs MXNet: its metadata ask for a NumPy that Python 3.13 has no wheel of."""
    if sys.version_info < (3, 13):
        return "pip install 'mxnet>=1.9.1,<1.10'"
    return "pip install --no-deps mxnet==1.9.1"


def _import_mxnet() -> Any:
    check_numpy(np.__version__)
    try:
        import mxnet  # as mxquant/__init__.py has arranged it
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        raise ImportError(f"mxquant needs MXNet; {_installing()}") from None
    except OSError as error:
        raise ImportError(explain_loader_error(error)) from error
    check_mxnet(mxnet.__version__)
    warn_of_few_threads()
    return mxnet


mx = _import_mxnet()
