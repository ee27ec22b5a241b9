"""The tools that the accuracy benchmark compares, each run on one network in a process of its own, and their scores."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.lowering import isa
from tests.benchmark.material import LITE0
from tests.benchmark.peers.job import THREADS
from tests.networks import sqnr

__all__ = ["ONEDNN", "ROWS", "Result", "Row", "measure"]

# What the levels of mxquant.lowering.isa are called in oneDNN.
ONEDNN = {"avx2": "AVX2", "avx512": "AVX512_CORE", "vnni": "AVX512_CORE_VNNI"}
MXNET, ORT, OPENVINO = "mxnet_tools.py", "onnx_runtime.py", "nncf_openvino.py"
PEERS = Path(__file__).with_name("peers")
TRIES = 3  # the stock tool dies now and then
TIME_LIMIT = 1800
SAME = 1e-4


@dataclass(frozen=True)
class Row:
    """A tool with its settings: what the table calls it, its script in peers/, and its option there."""

    title: str
    script: str
    option: str

    @property
    def runs_in_mxnet(self) -> bool:
        """Whether it needs MXNet's environment, not the peers'."""
        return self.script == MXNET

    @property
    def can_be_capped(self) -> bool:
        """Whether the instructions that it uses can be chosen."""
        return self.script != ORT


ROWS = (
    Row("mxnet.contrib naive", MXNET, "stock-naive"),
    Row("mxnet.contrib entropy", MXNET, "stock-entropy"),
    Row("mxquant fast", MXNET, "fast"),
    Row("mxquant balanced", MXNET, "balanced"),
    Row("mxquant best", MXNET, "best"),
    Row("onnxruntime u8s8", ORT, "u8s8"),
    Row("onnxruntime u8u8", ORT, "u8u8"),
    Row("openvino nncf default", OPENVINO, "default"),
    Row("openvino nncf full bias corr.", OPENVINO, "full"),
)


@dataclass(frozen=True)
class Result:
    """One line of a table; where the tool failed, `error` says why and the scores are missing."""

    network: str
    method: str
    isa: str
    sqnr_db: Optional[float] = None
    top1_same: Optional[int] = None
    images: Optional[int] = None
    crops_same: Optional[int] = None
    crops: Optional[int] = None
    fp32_off_mxnets: Optional[float] = None
    numbers: Optional[Dict[str, Any]] = None
    error: Optional[str] = None


def measure(row: Row, network: str, folder: Path, level: Optional[str], python: str) -> Result:
    """Run one tool on one network.

    Parameters
    ----------
    row : Row
        The tool.
    network : str
        A network's name.
    folder : Path
        What :func:`tests.benchmark.material.prepare` filled.
    level : str or None
        The instructions that oneDNN may use, of :data:`ONEDNN`; None for all that the CPU has.
    python : str
        The interpreter that has the tool.

    Returns
    -------
    Result
        Scores, or why there are none.
    """
    result = Result(network, row.title, (level or isa.detect()) if row.can_be_capped else "this CPU")
    out = folder / "out"
    files = {"--prefix": folder / network, "--data": folder / "data.npz", "--out": out}
    if network == LITE0 and (folder / "crops.npz").is_file():
        files["--crops"] = folder / "crops.npz"
    arguments = [str(part) for pair in files.items() for part in pair]
    error = _run([python, str(PEERS / row.script), "--option", row.option, *arguments], level)
    if error:
        return replace(result, error=error)
    numbers = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(out.with_suffix(".npz")) as logits:
        return replace(result, numbers=numbers, **_scores(logits, np.load(f"{files['--prefix']}-fp32.npy")))


def _scores(logits: Mapping[str, np.ndarray], mxnet: np.ndarray) -> Dict[str, Any]:
    off = float(np.abs(logits["fp32"] - mxnet).max() / np.abs(mxnet).max())
    if not off <= SAME:
        return {"error": f"its fp32 logits differ from MXNet's by {off:.1e} of the largest: another network"}
    top1_same, images = _agreement(logits["fp32"], logits["int8"])
    scores = {
        "fp32_off_mxnets": off,
        "sqnr_db": sqnr(logits["fp32"], logits["int8"]),
        "top1_same": top1_same,
        "images": images,
    }
    if "fp32_crops" in logits:
        scores["crops_same"], scores["crops"] = _agreement(logits["fp32_crops"], logits["int8_crops"])
    return scores


def _agreement(fp32: np.ndarray, int8: np.ndarray) -> Tuple[int, int]:
    return int((fp32.argmax(axis=1) == int8.argmax(axis=1)).sum()), len(fp32)


def _run(command: Sequence[str], level: Optional[str]) -> Optional[str]:
    """Return None, or why the process failed; one that a signal killed is tried again."""
    variables = {"OMP_NUM_THREADS": str(THREADS), "MXNET_SUBGRAPH_VERBOSE": "0", "PYTHONWARNINGS": "ignore"}
    if level:
        variables.update({name: ONEDNN[level] for name in ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")})
    code, errors = 0, ""
    for _ in range(TRIES):
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"took longer than {TIME_LIMIT} s"
        code, errors = done.returncode, done.stderr
        if code >= 0:
            break
    if code < 0:
        return f"died of signal {-code}, {TRIES} times"
    return (errors.strip().splitlines() or [f"exit code {code}"])[-1] if code else None
