"""MXNet, imported so that it works, and with all processors: ``from mxquant.runtime.mxnet import mx``.

MXNet 1.9 reads ``numpy.bool``, which NumPy 1.24 removed: the name is given back before MXNet is imported.
Versions that cannot work, and what is missing, are named by an ImportError that says what to install.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Tuple

import numpy as np

from mxquant.runtime.processors import enough_threads

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
        If the version is outside 1.20 to 1.26.
    """
    if not (1, 20) <= _release(version) < (2, 0):
        raise ImportError(f"mxquant needs NumPy 1.20 to 1.26, found {version}; pip install 'numpy>=1.20,<2'")


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
        raise ImportError(f"mxquant needs MXNet 1.7 to 1.9, found {version}; pip install 'mxnet>=1.7,<1.10'")


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


def _import_mxnet() -> Any:
    check_numpy(np.__version__)
    if "bool" not in np.__dict__:  # hasattr would warn
        np.bool = np.bool_  # type: ignore[attr-defined]
    with warnings.catch_warnings(), enough_threads():
        # MXNet looks at every function of NumPy, also at deprecated ones.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            import mxnet
        except ModuleNotFoundError as error:
            if error.name != "mxnet":
                raise
            raise ImportError("mxquant needs MXNet; pip install 'mxnet>=1.7,<1.10'") from None
        except OSError as error:
            raise ImportError(explain_loader_error(error)) from error
    check_mxnet(mxnet.__version__)
    return mxnet


mx = _import_mxnet()
