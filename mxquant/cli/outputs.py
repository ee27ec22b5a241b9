"""Whether an output can be written, before the work that it is to hold is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional, Sequence, Union

from mxquant.cli.files import Named
from mxquant.errors import InputError, OutputError
from mxquant.files.replacing import check_target

__all__ = ["check_output", "check_outputs"]


def check_output(path: Optional[Union[str, Path]], option: str = "--out") -> None:
    """Refuse a file that could not be written; the beginning of file names is checked as a file.

    Parameters
    ----------
    path : str, Path or None
        Where something is to be written; None for nowhere.
    option : str
        How the user has named it.

    Raises
    ------
    InputError
        If its folder is not there or not writable, or it is a folder itself.
    """
    if path is None:
        return
    folder = Path(path).parent
    if not str(path):
        raise InputError(f"{option} is empty, expected the name of what is written")
    # The beginning of names may be a folder's name, but not one that means no other.
    if os.path.basename(str(path)) in ("", os.curdir, os.pardir) or (isinstance(path, Path) and os.path.isdir(path)):
        raise InputError(f"{option}: '{path}' is a folder, expected a file")
    if not os.path.isdir(folder):
        raise InputError(f"{option}: there is no folder '{folder}'")
    if not os.access(str(folder), os.W_OK):
        raise InputError(f"{option}: nothing can be written to the folder '{folder}'")


def check_outputs(writes: Sequence[Named]) -> None:
    """Refuse files that could not be written, all that a command will write.

    Parameters
    ----------
    writes : sequence of (str, str)
        An option, and a file that it names.

    Raises
    ------
    InputError
        Naming the option, where :func:`check_output` refuses the file, it is no regular file, its name is too long, or
        no file can be made beside it.
    """
    for option, path in writes:
        check_output(Path(path), option)
        try:
            check_target(path)
        except OutputError as error:
            raise InputError(f"{option}: {error}") from None
