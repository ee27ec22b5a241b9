"""Arrays in .npz files, which are zip files: what an archive says of a member is looked at before it is unpacked.

Only members that are asked for are touched, stored or deflated as NumPy writes them. Other methods may take gigabytes
to unpack anything at all.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from typing import List

from mxquant.files.twice import first_twice

__all__ = ["SUFFIX", "arrays_in", "checked_member"]

SUFFIX = ".npy"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Deflate makes 1,032 bytes of one at most.
_MOST_RATIO = 1040


def arrays_in(archive: zipfile.ZipFile) -> List[str]:
    """Return the names of the arrays in an archive, in its order.

    Raises
    ------
    ValueError
        If a name stands twice, so that readers differ in which they take.
    """
    names = [name[: -len(SUFFIX)] for name in archive.namelist() if name.endswith(SUFFIX)]
    twice = first_twice(names)
    if twice is not None:
        raise ValueError(f"it has {Counter(names)[twice]} members called {twice + SUFFIX!r}, expected one")
    return names


def checked_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return what an archive says of an array.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The archive.
    name : str
        Name of an array, without the suffix.

    Raises
    ------
    KeyError
        If it is not there.
    ValueError
        If it is packed otherwise than NumPy packs, or said to be larger than what is packed can be.
    """
    found = archive.getinfo(name + SUFFIX)
    if found.compress_type not in _METHODS or found.flag_bits & 1:
        raise ValueError(f"its member {name + SUFFIX!r} is encrypted, or packed in another way than numpy.savez does")
    if found.header_offset + found.compress_size > archive.start_dir:
        raise ValueError(
            f"its member {name + SUFFIX!r} is said to be {found.compress_size} packed bytes from byte "
            f"{found.header_offset} on, but the archive's table begins at {archive.start_dir}"
        )
    if found.file_size > _MOST_RATIO * found.compress_size + 64:
        raise ValueError(
            f"its member {name + SUFFIX!r} would have {found.file_size} bytes, which {found.compress_size} packed ones "
            "cannot hold"
        )
    return found
