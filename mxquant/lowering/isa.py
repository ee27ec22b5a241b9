"""Which int8 instructions oneDNN will use on this CPU, and what follows for its sums of products.

=============  ==================  ==================  ===========
level          sums of products    weights, int8 data  int8 LSTM
=============  ==================  ==================  ===========
'avx2'         saturate in int16   halved              runs
'avx512'       saturate in int16   halved              runs
'avx2_vnni'    exact               whole               runs
'vnni'         exact               whole               none
'amx'          exact               whole               none
'neon'         exact               whole               none
'portable'     as on 'avx2'        either              left out
=============  ==================  ==================  ===========

'avx2' stands for everything older too. 'neon' is 64-bit ARM. 'portable' is no CPU: a plan for it runs on all of them,
and gives the same codes but where weights cannot be even (:mod:`mxquant.lowering.even_weights`). By the sources of
oneDNN 2.4.4, which MXNet 1.9 contains; ``tests/lowering`` runs what the machine at hand has.

The flags are those of the kernel, on Linux; elsewhere 'avx2' is assumed, with which nothing can go wrong. The
environment variable ``DNNL_MAX_CPU_ISA`` sets the level as it does in oneDNN, which reads it once, knows upper case
only, and ignores what it does not know. oneDNN 2.4.4 does not know ``ONEDNN_MAX_CPU_ISA``, the later name, and leaves
AMX alone unless asked to use it.
"""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import FrozenSet, Optional, Tuple

from mxquant.errors import InputError

__all__ = ["LEVELS", "PORTABLE", "check", "cpu_flags", "detect", "level_of", "saturates", "title"]

LEVELS: Tuple[str, ...] = ("avx2", "avx512", "avx2_vnni", "vnni", "amx", "neon")
PORTABLE = "portable"

_ARM = ("aarch64", "arm64")
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"})
# By oneDNN's names, best first: the level, and what a CPU needs for it.
_ISAS = {
    "AVX512_CORE_AMX": ("amx", _AVX512 | {"avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8"}),
    "AVX512_CORE_VNNI": ("vnni", _AVX512 | {"avx512_vnni"}),
    "AVX512_CORE": ("avx512", _AVX512),
    "AVX2_VNNI": ("avx2_vnni", frozenset({"avx2", "avx_vnni"})),
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


def level_of(flags: FrozenSet[str], cap: str, machine: str = "x86_64") -> str:
    """Return the level of a CPU.

    Parameters
    ----------
    flags : frozenset of str
        Its features, as Linux calls them.
    cap : str
        Value of ``DNNL_MAX_CPU_ISA``, or ''.
    machine : str
        Its architecture, as :func:`platform.machine` calls it.

    Returns
    -------
    str
        One of :data:`LEVELS`.
    """
    if machine.lower() in _ARM:
        return "neon"
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
    return level_of(cpu_flags(), os.environ.get("DNNL_MAX_CPU_ISA", ""), platform.machine())


def title(isa: str) -> str:
    """Return which CPUs a plan for `isa` is for, in words."""
    return "all CPUs" if isa == PORTABLE else f"CPUs of level '{isa}'"


def saturates(isa: str) -> bool:
    """Whether sums of products may saturate in int16 where a plan for `isa` runs."""
    return isa in ("avx2", "avx512", PORTABLE)


def check(isa: Optional[str]) -> str:
    """Return what a user wants to plan for, or the level of this CPU for None.

    Parameters
    ----------
    isa : str or None
        A level, or :data:`PORTABLE`.

    Returns
    -------
    str
        One of :data:`LEVELS`, or :data:`PORTABLE`.

    Raises
    ------
    InputError
        If there is no such level.
    """
    if isa is None:
        return detect()
    known = (*LEVELS, PORTABLE)
    if isa not in known:
        raise InputError(f"isa is {isa!r}, expected one of {', '.join(map(repr, known))}, or None for this CPU")
    return isa
