"""Which int8 instructions oneDNN will use on this CPU.

'vnni' and 'amx' add products in int32. 'avx512' without VNNI, and 'avx2', which stands for everything older too, add
pairs of them in a saturating int16. By the sources of oneDNN 2.4.4, which MXNet 1.9 contains, CPUs with AVX-VNNI but
without AVX-512 count as 'vnni': convolutions and FullyConnected use it. It leaves AMX alone unless asked to use it.

The flags are those of the kernel, on Linux; elsewhere 'avx2' is assumed, with which nothing can go wrong. The
environment variable ``DNNL_MAX_CPU_ISA`` sets the level as it does in oneDNN, which reads it once, knows upper case
only, and ignores what it does not know.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import FrozenSet, Optional, Tuple

from mxquant.errors import InputError

__all__ = ["LEVELS", "check", "cpu_flags", "detect", "level_of", "saturates"]

LEVELS: Tuple[str, ...] = ("avx2", "avx512", "vnni", "amx")

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"})
# By oneDNN's names, best first: the level, and what a CPU needs for it.
_ISAS = {
    "AVX512_CORE_AMX": ("amx", _AVX512 | {"avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8"}),
    "AVX512_CORE_VNNI": ("vnni", _AVX512 | {"avx512_vnni"}),
    "AVX512_CORE": ("avx512", _AVX512),
    "AVX2_VNNI": ("vnni", frozenset({"avx2", "avx_vnni"})),
}
# What each value of DNNL_MAX_CPU_ISA leaves of them, and what any other one does.
_ALLOWED = {
    **dict.fromkeys(("SSE41", "AVX", "AVX2", "AVX512_MIC", "AVX512_MIC_4OPS"), frozenset()),
    "AVX2_VNNI": frozenset({"AVX2_VNNI"}),
    "AVX512_CORE": frozenset({"AVX512_CORE"}),
    **dict.fromkeys(("AVX512_CORE_VNNI", "AVX512_CORE_BF16"), frozenset({"AVX512_CORE", "AVX512_CORE_VNNI"})),
    "AVX512_CORE_AMX": frozenset({"AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_AMX"}),
}
_ALLOWED_BY_DEFAULT = frozenset({"AVX512_CORE", "AVX512_CORE_VNNI", "AVX2_VNNI"})


def level_of(flags: FrozenSet[str], cap: str) -> str:
    """Return the level of a CPU.

    Parameters
    ----------
    flags : frozenset of str
        Its features, as Linux calls them.
    cap : str
        Value of ``DNNL_MAX_CPU_ISA``, or ''.

    Returns
    -------
    str
        One of :data:`LEVELS`.
    """
    allowed = _ALLOWED.get(cap, _ALLOWED_BY_DEFAULT)
    return next((level for name, (level, needed) in _ISAS.items() if name in allowed and needed <= flags), "avx2")


def cpu_flags() -> FrozenSet[str]:
    """Return the features of this CPU as Linux calls them, or none where they cannot be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), []))


@lru_cache(maxsize=None)
def detect() -> str:
    """Return the level of this CPU, one of :data:`LEVELS`."""
    return level_of(cpu_flags(), os.environ.get("DNNL_MAX_CPU_ISA", ""))


def saturates(isa: str) -> bool:
    """Whether sums of products saturate in int16 on a CPU of level `isa`."""
    return isa in ("avx2", "avx512")


def check(isa: Optional[str]) -> str:
    """Return a level that a user names, or that of this CPU for None.

    Parameters
    ----------
    isa : str or None
        The level.

    Returns
    -------
    str
        One of :data:`LEVELS`.

    Raises
    ------
    InputError
        If there is no such level.
    """
    if isa is None:
        return detect()
    if isa not in LEVELS:
        raise InputError(f"isa is {isa!r}, expected one of {', '.join(map(repr, LEVELS))}, or None for this CPU")
    return isa
