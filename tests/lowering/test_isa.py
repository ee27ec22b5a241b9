"""The level of int8 instructions is the one that oneDNN finds."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from mxquant.errors import InputError
from mxquant.lowering import isa
from tests.lowering.int8_kernels import ROOT

AVX512 = {"avx2", "avx512f", "avx512bw", "avx512vl", "avx512dq"}
VNNI = AVX512 | {"avx512_vnni"}
AMX = VNNI | {"avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "avx_vnni"}
CLIENT = {"avx2", "avx_vnni"}

# What oneDNN 2.4 calls the instructions it has found.
REPORTED = {
    "Intel SSE4.1": "avx2",
    "Intel AVX": "avx2",
    "Intel AVX2": "avx2",
    "Intel AVX2 with Intel DL Boost": "avx2_vnni",
    "Intel AVX-512": "avx2",
    "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions": "avx512",
    "Intel AVX-512 with Intel DL Boost": "vnni",
    "Intel AVX-512 with Intel DL Boost and bfloat16 support": "vnni",
}
ONE_CONVOLUTION = """
import numpy as np
from mxquant.lowering.isa import detect
from tests.lowering.int8_kernels import layer
layer(np.ones((1, 16, 4, 4)), np.ones((16, 16, 3, 3)), "uint8")
print("detected:" + detect())
"""


@pytest.mark.parametrize("cap", [None, "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI", "avx2"])
def test_the_detected_level_is_the_one_that_onednn_reports(cap):
    environment = {**os.environ, "DNNL_VERBOSE": "1"}
    environment.pop("DNNL_MAX_CPU_ISA", None)
    if cap:
        environment["DNNL_MAX_CPU_ISA"] = cap
    output = subprocess.run(
        [sys.executable, "-c", ONE_CONVOLUTION],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout
    reported = re.search(r"^dnnl_verbose,info,cpu,isa:(.*)$", output, re.MULTILINE).group(1)
    assert f"detected:{REPORTED[reported]}\n" in output


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        *[(set(), "avx2"), ({"sse4_1"}, "avx2"), ({"avx512f"}, "avx2"), ({"avx_vnni"}, "avx2"), (CLIENT, "avx2_vnni")],
        *[(AVX512, "avx512"), (AVX512 | CLIENT, "avx512"), (VNNI, "vnni"), (AMX, "vnni")],
    ],
)
def test_without_a_cap_the_flags_decide_and_amx_stays_unused(flags, level):
    assert isa.level_of(frozenset(flags), "") == level


@pytest.mark.parametrize(
    ("cap", "level"),
    [
        *[("SSE41", "avx2"), ("AVX", "avx2"), ("AVX2", "avx2"), ("AVX512_MIC", "avx2"), ("AVX512_MIC_4OPS", "avx2")],
        *[
            ("AVX2_VNNI", "avx2_vnni"),
            ("AVX512_CORE", "avx512"),
            ("AVX512_CORE_VNNI", "vnni"),
            ("AVX512_CORE_BF16", "vnni"),
        ],
        *[("AVX512_CORE_AMX", "amx"), ("ALL", "vnni"), ("DEFAULT", "vnni"), ("avx2", "vnni"), ("AVX2 ", "vnni")],
    ],
)
def test_a_cap_is_read_as_onednn_reads_it(cap, level):
    assert isa.level_of(frozenset(AMX), cap) == level


@pytest.mark.parametrize("cap", ["AVX2_VNNI", "AVX512_CORE_VNNI", "AVX512_CORE_AMX"])
def test_a_cap_adds_nothing_that_the_cpu_has_not(cap):
    assert isa.level_of(frozenset(), cap) == "avx2"


@pytest.mark.parametrize("cap", ["AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16", "AVX512_CORE_AMX"])
def test_a_cap_of_avx_512_leaves_no_avx_vnni(cap):
    assert isa.level_of(frozenset(CLIENT), cap) == "avx2"


def test_flags_are_those_of_the_first_processor(monkeypatch):
    text = "processor\t: 0\nflags\t\t: fpu avx2\nvmx flags\t: vnmi\n\nprocessor\t: 1\nflags\t\t: sse\n"
    monkeypatch.setattr(isa.Path, "read_text", lambda *_, **__: text)
    assert isa.cpu_flags() == {"fpu", "avx2"}


def test_a_machine_without_these_flags_is_taken_for_the_safe_level(monkeypatch):
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(isa.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(isa.Path, "read_text", lambda *_, **__: "Features\t: fp asimd\n")
    assert isa.detect.__wrapped__() == "avx2"

    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(isa.Path, "read_text", missing)
    assert isa.detect.__wrapped__() == "avx2"


def test_sums_saturate_without_vnni_only():
    assert [level for level in isa.LEVELS if isa.saturates(level)] == ["avx2", "avx512"]


def test_a_plan_for_all_cpus_may_run_where_sums_saturate():
    assert isa.saturates(isa.PORTABLE) and isa.check(isa.PORTABLE) == isa.PORTABLE


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "ARM64"])
def test_64_bit_arm_is_a_level_of_its_own_whatever_the_cap(machine):
    assert isa.level_of(frozenset(), "AVX2", machine) == "neon"
    assert not isa.saturates("neon")


def test_the_later_name_of_the_cap_means_nothing_to_this_onednn():
    environment = {**os.environ, "DNNL_VERBOSE": "1", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    environment.pop("DNNL_MAX_CPU_ISA", None)
    command = [sys.executable, "-c", ONE_CONVOLUTION]
    output = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    reported = re.search(r"^dnnl_verbose,info,cpu,isa:(.*)$", output, re.MULTILINE).group(1)
    assert f"detected:{REPORTED[reported]}\n" in output


@pytest.mark.parametrize("level", isa.LEVELS)
def test_a_level_is_checked_as_it_is(level):
    assert isa.check(level) == level


def test_none_is_this_cpu():
    assert isa.check(None) == isa.detect()


@pytest.mark.parametrize("level", ["AVX2", "avx512_vnni", "", 2])
def test_an_unknown_level_is_refused(level):
    with pytest.raises(InputError, match=r"isa is .* expected one of 'avx2', 'avx512', .* 'neon', 'portable'"):
        isa.check(level)
