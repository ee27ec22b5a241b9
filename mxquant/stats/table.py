"""The calibration table as a file: a .npz without objects, a few packed arrays for all tensors together.

===========  =======================  ======================================================================
member       dtype and shape          what
===========  =======================  ======================================================================
``header``   uint8, (bytes,)          JSON in UTF-8: format, version, tensors (their names), and what the
                                      statistics say of themselves (network, number of examples, …)
``bins``     int64, (tensors, 3)      exponent (0 where there is none), first bin, number of bins
``range``    float64, (tensors, 2)    minimum, maximum
``special``  int64, (tensors, 2)      zeros, values that are not finite
``counts``   unsigned, (all bins,)    counts of all tensors one after the other, in the narrowest dtype
``means``    int64, (tensors, 2)      number of examples and of channels whose means are kept, else zeros
``sums``     int64, (all channels, 2) sums of these means, see :mod:`mxquant.stats.channel_sums`
===========  =======================  ======================================================================

Version 1 has no ``means`` and ``sums``. Nothing in it depends on when or where it was written: equal statistics make
equal files, to the last byte.
"""

from __future__ import annotations

import io
import json
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple, Union

import numpy as np

from mxquant.errors import InputError, StatisticsError
from mxquant.files.archive import SUFFIX, arrays_in, checked_member
from mxquant.files.array_head import read_array
from mxquant.files.reading import parse_json
from mxquant.files.regular import content_of
from mxquant.files.replacing import replacing
from mxquant.files.twice import first_twice
from mxquant.stats.channel_sums import ChannelSums
from mxquant.stats.grid import BINS_PER_SIDE
from mxquant.stats.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FORMAT", "VERSION", "packed_table", "parse_table", "read_table", "write_table"]

FORMAT = "mxquant statistics"
VERSION = 2

_MOST_HEADER = 1 << 26
# Large networks have tables of some megabytes, which unfold to ten times that.
_MOST_BYTES = 1 << 28
_MOST_TENSORS = 100_000
_UNFOLDED, _MOST_RATIO = 1 << 26, 200
# What NumPy writes before the values of an array, at most.
_ARRAY_HEADER = 1 << 10
_MEMBERS = ("header", "bins", "range", "special", "counts", "means", "sums")

_DAMAGE = (
    ValueError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,
    TypeError,
    IndexError,
    SyntaxError,
    OSError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_table(
    path: Union[str, Path],
    about: Mapping[str, object],
    histograms: Mapping[str, Histogram],
    channel_sums: Mapping[str, ChannelSums],
) -> None:
    """Write statistics to a file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file; replaced if it exists.
    about : mapping of str to str or int
        What else goes into the header.
    histograms : mapping of str to Histogram
        By name of the tensor.
    channel_sums : mapping of str to ChannelSums
        Of some of these tensors.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    # Packed in memory: a zip file that cannot be finished complains from its destructor, where nobody can catch it.
    with replacing(path) as temporary:
        temporary.write_bytes(packed_table(about, histograms, channel_sums))


def packed_table(
    about: Mapping[str, object],
    histograms: Mapping[str, Histogram],
    channel_sums: Mapping[str, ChannelSums],
    compress: bool = True,
) -> bytes:
    """Return the content of the file that :func:`write_table` writes, or the same without compression."""
    names, rows = list(histograms), list(histograms.values())
    header = {**about, "format": FORMAT, "version": VERSION, "tensors": names}
    counts = np.concatenate([np.zeros(0, np.int64), *[row.counts for row in rows]])
    narrow = np.min_scalar_type(counts.max()) if counts.size else np.dtype(np.uint8)
    sums = [channel_sums.get(name) for name in names]
    write = np.savez_compressed if compress else np.savez
    with io.BytesIO() as content:
        write(
            content,
            header=np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8),
            bins=_matrix([(row.exponent or 0, row.first_bin, row.counts.size) for row in rows], 3, np.int64),
            range=_matrix([(row.minimum, row.maximum) for row in rows], 2, np.float64),
            special=_matrix([(row.zeros, row.nonfinite) for row in rows], 2, np.int64),
            counts=counts.astype(narrow),
            means=_matrix([(each.count, len(each.parts)) if each else (0, 0) for each in sums], 2, np.int64),
            sums=np.concatenate([np.zeros((0, 2), np.int64), *[each.parts for each in sums if each]]),
        )
        return content.getvalue()


def _matrix(rows: Any, columns: int, dtype: Any) -> NDArray[Any]:
    return np.array(rows, dtype).reshape(-1, columns)


def read_table(path: Union[str, Path]) -> Tuple[Dict[str, Any], Dict[str, Histogram], Dict[str, ChannelSums]]:
    """Read what :func:`write_table` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    tuple of (dict, dict of str to Histogram, dict of str to ChannelSums)
        The header, and histograms and sums by name of the tensor.

    Raises
    ------
    StatisticsError
        If the file cannot be read, is no calibration table, is damaged, contradicts itself, or was written by
        a later version of mxquant.
    """
    try:
        content = content_of(path, _MOST_BYTES)
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it does not fit into memory"
        raise StatisticsError(f"cannot read '{path}': {reason}") from error
    return parse_table(path, content)


def parse_table(
    path: Union[str, Path], content: bytes
) -> Tuple[Dict[str, Any], Dict[str, Histogram], Dict[str, ChannelSums]]:
    """Read what :func:`packed_table` returned, or a file holds, as :func:`read_table` does; `path` is for messages."""
    header, members = _open(path, content)
    try:
        return header, _unpack(header, members), _unpack_sums(header, members)
    except StatisticsError as error:
        raise StatisticsError(f"the calibration table '{path}' contradicts itself: {error}") from error
    except _DAMAGE as error:
        raise StatisticsError(f"the calibration table '{path}' is damaged: {_first_line(error)}") from error


def _open(path: Union[str, Path], content: bytes) -> Tuple[Dict[str, Any], zipfile.ZipFile]:
    """Return the header of a table of a known version, and the archive."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        is_table = "header" in arrays_in(archive)
        _check_unfolded(archive, len(content))
        header = parse_json(_member(archive, "header", _MOST_HEADER).tobytes().decode()) if is_table else None
    except _DAMAGE as error:
        begins = "begins like one but is damaged" if content[:2] == b"PK" else "is none"
        raise StatisticsError(f"expected a calibration table; '{path}' {begins}: {_first_line(error)}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise StatisticsError(f"'{path}' is no calibration table: it has no header that says '{FORMAT}'")
    version = header.get("version")
    if not isinstance(version, int) or version < 1:
        raise StatisticsError(f"the calibration table '{path}' is damaged: its version is {version!r}")
    if version > VERSION:
        raise StatisticsError(
            f"the calibration table '{path}' has version {version}, written by mxquant "
            f"{header.get('mxquant_version')}; this mxquant reads up to version {VERSION}: upgrade it"
        )
    return header, archive


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [repr(error)])[0]


def _check_unfolded(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse a small file that would unfold to very much, as no counts do."""
    unfolded = sum(checked_member(archive, name).file_size for name in arrays_in(archive) if name in _MEMBERS)
    most = max(_UNFOLDED, _MOST_RATIO * size)
    if unfolded > most:
        raise ValueError(f"its {size} bytes would unfold to {unfolded}, expected at most {most}")


def _member(archive: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    """Return an array of the archive, which has no more than `most` bytes in any table."""
    size = checked_member(archive, name).file_size
    if size > most + _ARRAY_HEADER:
        raise ValueError(f"its member '{name}' would have {size} bytes, expected at most {most + _ARRAY_HEADER}")
    # Read whole first, so that the archive's checksum is verified before the array's own header is believed.
    return read_array(io.BytesIO(archive.read(name + SUFFIX)), size)


def _unpack(header: Mapping[str, Any], archive: zipfile.ZipFile) -> Dict[str, Histogram]:
    names = header.get("tensors")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise StatisticsError("its header has no list of tensors")
    if len(names) > _MOST_TENSORS:
        raise StatisticsError(f"it names {len(names)} tensors, expected at most {_MOST_TENSORS}")
    twice = first_twice(names)
    if twice is not None:
        raise StatisticsError(f"it names a tensor twice, '{twice}'")
    rows = 8 * len(names)
    bins, extremes, special = (
        _member(archive, name, columns * rows) for name, columns in (("bins", 3), ("range", 2), ("special", 2))
    )
    counts = _member(archive, "counts", min(2 * BINS_PER_SIDE * rows, _MOST_BYTES))
    shapes = (bins.shape, extremes.shape, special.shape, counts.ndim)
    kinds = bins.dtype.kind + extremes.dtype.kind + special.dtype.kind + counts.dtype.kind
    if shapes != ((len(names), 3), (len(names), 2), (len(names), 2), 1) or kinds != "ifiu":
        raise StatisticsError(f"arrays of shapes {shapes} and kinds {kinds} do not fit its {len(names)} tensors")
    if int(bins[:, 2].sum()) != counts.size:
        raise StatisticsError(f"it holds {counts.size} counts, but its tensors have {int(bins[:, 2].sum())} bins")
    # A sum that overflows could come out right.
    if names and not 0 <= int(bins[:, 2].min()) <= int(bins[:, 2].max()) <= counts.size:
        raise StatisticsError(f"a tensor has {bins[:, 2].min()} or {bins[:, 2].max()} bins")
    if counts.size and int(counts.max()) > np.iinfo(np.int64).max:
        raise StatisticsError("a count is above 2**63 - 1")
    found: Dict[str, Histogram] = {}
    ends = np.cumsum(bins[:, 2])
    for name, (exponent, first, size), (low, high), (zeros, nonfinite), end in zip(
        names, bins.tolist(), extremes.tolist(), special.tolist(), ends.tolist()
    ):
        empty = low == high == 0
        values = counts[end - size : end].astype(np.int64)
        try:
            found[name] = Histogram(None if empty else exponent, first, values, low, high, zeros, nonfinite)
        except InputError as error:
            raise StatisticsError(f"tensor '{name}': {error}") from error
    return found


def _unpack_sums(header: Mapping[str, Any], archive: zipfile.ZipFile) -> Dict[str, ChannelSums]:
    if header["version"] == 1:
        return {}
    names: List[str] = header["tensors"]
    sizes = _member(archive, "means", 16 * len(names))
    if sizes.shape != (len(names), 2) or sizes.dtype.kind != "i":
        raise StatisticsError(f"means of shape {sizes.shape} do not fit its {len(names)} tensors")
    sums = _member(archive, "sums", min(16 * max(0, int(sizes[:, 1].sum())), _MOST_BYTES))
    if sums.ndim != 2 or sums.dtype.kind != "i":
        raise StatisticsError(f"sums of {sums.dtype} and shape {sums.shape} do not fit its {len(names)} tensors")
    if (sizes < 0).any() or int(sizes[:, 1].sum()) != len(sums):
        raise StatisticsError(f"it holds sums of {len(sums)} channels, but its tensors have {sizes[:, 1].sum()}")
    found: Dict[str, ChannelSums] = {}
    for name, (count, size), end in zip(names, sizes.tolist(), np.cumsum(sizes[:, 1]).tolist()):
        if size or count:
            try:
                found[name] = ChannelSums(count, sums[end - size : end].astype(np.int64))
            except InputError as error:
                raise StatisticsError(f"tensor '{name}': {error}") from error
    return found
