"""Files by path or by URL: ``s3://...``, ``gs://...``, ``http://...`` and whatever else fsspec knows."""

from __future__ import annotations

from typing import IO

from mxquant.errors import InputError

__all__ = ["opened", "reason_of"]


def opened(path: str) -> IO[bytes]:
    """Open a file for reading at any place.

    Parameters
    ----------
    path : str
        A path, or a URL.

    Returns
    -------
    file
        Binary; it can be read from any place, and has to be closed.

    Raises
    ------
    InputError
        If it cannot be opened, or is a URL and fsspec, or what it needs for such URLs, is not installed.
    """
    try:
        if "://" not in path:
            return open(path, "rb")
        import fsspec

        return fsspec.open(path, "rb").open()  # type: ignore[no-any-return]
    except ImportError as error:
        raise InputError(f"cannot read '{path}': {error}; pip install 'mxquant[dask]' and what it names") from error
    except Exception as error:  # of the operating system, or of whatever serves the URL
        raise InputError(f"cannot read '{path}': {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """Return what a message says of an error while reading: the system's words, or the error's first line."""
    return getattr(error, "strerror", None) or (str(error).splitlines() or [repr(error)])[0] or repr(error)
