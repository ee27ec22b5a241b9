"""The levels of int8 instructions that this machine has, and how a process of its own gets each of them.

``python -m tests.levels`` prints the level of this process, then each lower one that this CPU has, one to a line with
the value of ``DNNL_MAX_CPU_ISA`` that gives it; ``ci/test.sh`` asks.
"""

from __future__ import annotations

import os
from typing import Dict

from mxquant.lowering import isa

__all__ = ["CAPS", "available", "environment"]

# Values of DNNL_MAX_CPU_ISA that give a level on a CPU that has it.
CAPS = {"avx2": "AVX2", "avx2_vnni": "AVX2_VNNI", "avx512": "AVX512_CORE", "vnni": "AVX512_CORE_VNNI"}


def available() -> Dict[str, str]:
    """Return the levels that this CPU has, with the value of DNNL_MAX_CPU_ISA for each; none on ARM."""
    flags = isa.cpu_flags()
    found = {level: cap for level, cap in CAPS.items() if isa.level_of(flags, cap) == level}
    return {} if isa.detect() == "neon" else found


def environment(level: str, **variables: str) -> Dict[str, str]:
    """Return the environment of a process at a level."""
    return {**os.environ, "DNNL_MAX_CPU_ISA": CAPS[level], "MXNET_SUBGRAPH_VERBOSE": "0", **variables}


if __name__ == "__main__":
    print(isa.detect())
    # A level that this process is kept from is not asked for either.
    if "DNNL_MAX_CPU_ISA" not in os.environ:
        for name, value in available().items():
            if name != isa.detect():
                print(name, value)
