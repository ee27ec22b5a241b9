"""Files and folders by path or by URL: ``s3://...``, ``gs://...``, ``http://...`` and whatever else fsspec knows."""

from __future__ import annotations

import os
from io import BytesIO
from typing import IO, List, Optional, Tuple

from mxquant.errors import InputError
from mxquant.files.regular import open_regular

__all__ = ["content_at", "entries", "is_url", "opened", "reason_of"]

# What URLs of files of this machine begin with.
_HERE = ("file://", "local://")


def is_url(path: str) -> bool:
    """Return whether a path is one that fsspec reads."""
    return "://" in path


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
        here = _here(path)
        if here is not None:
            return open_regular(here)
        import fsspec

        file = fsspec.open(path, "rb").open()
        # Files in memory are handed out themselves: two readers would move each other.
        return BytesIO(file.getvalue()) if isinstance(file, BytesIO) else file
    except Exception as error:  # of the operating system, or of whatever serves the URL
        raise _unreadable(path, error) from error


def _here(path: str) -> Optional[str]:
    """Return the path of a file of this machine, or None for what fsspec reads from elsewhere."""
    if path.startswith(_HERE):
        return path.split("://", 1)[1]
    return None if is_url(path) else path


def content_at(path: str, most: int) -> bytes:
    """Return what is in a file.

    Parameters
    ----------
    path : str
        A path, or a URL.
    most : int
        How many bytes it may have.

    Raises
    ------
    InputError
        If it cannot be opened or read, or has more bytes.
    """
    with opened(path) as file:
        try:
            # Python takes at once what is asked for; what fsspec opens from elsewhere need not know its size.
            there = most if _here(path) is None else os.fstat(file.fileno()).st_size
            content = file.read(there + 1) if there <= most else b""
        except Exception as error:  # of the operating system, or of what serves a URL
            raise InputError(f"cannot read '{path}': {reason_of(error)}") from error
    if max(len(content), there) > most:
        raise InputError(f"cannot read '{path}': it has more than {most} bytes")
    return content


def entries(folder: str) -> Tuple[List[str], List[str]]:
    """Look into a folder at any place.

    Parameters
    ----------
    folder : str
        A path, or a URL.

    Returns
    -------
    tuple of list of str
        Paths or URLs of its files, and of its folders, in alphabetical order; without those that begin with a dot.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        found = _behind_url(folder) if is_url(folder) else [(each.path, each.is_dir()) for each in os.scandir(folder)]
    except Exception as error:  # of the operating system, or of whatever serves the URL
        raise _unreadable(folder, error) from error
    seen = sorted((path, is_folder) for path, is_folder in found if not os.path.basename(path).startswith("."))
    return [path for path, is_folder in seen if not is_folder], [path for path, is_folder in seen if is_folder]


def _behind_url(folder: str) -> List[Tuple[str, bool]]:
    import fsspec

    system, path = fsspec.core.url_to_fs(folder)
    there = system.ls(path, detail=True)
    return [(system.unstrip_protocol(each["name"]).rstrip("/"), each["type"] == "directory") for each in there]


def _unreadable(path: str, error: Exception) -> InputError:
    if isinstance(error, ImportError):
        return InputError(f"cannot read '{path}': {error}; pip install 'mxquant[dask]' and what it names")
    return InputError(f"cannot read '{path}': {reason_of(error)}")


def reason_of(error: BaseException) -> str:
    """Return what a message says of an error while reading: the system's words, or the error's first line."""
    if isinstance(error, FileNotFoundError) and error.strerror is None:
        # fsspec's: it holds nothing but the URL, and the reason is that of the error before it, if there was one.
        return reason_of(error.__cause__) if error.__cause__ is not None else "no such file or folder"
    return getattr(error, "strerror", None) or (str(error).splitlines() or [repr(error)])[0] or repr(error)
