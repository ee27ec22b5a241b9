"""Trained networks that mxquant was not tuned to, small ones: what int8 keeps of them in ONNX Runtime.

Their files come from PyPI packages. ``python -m tests.benchmark.trained`` has more networks, real pictures, and peers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np
import onnx
import pytest

import mxquant
from tests.benchmark.trained.packages import unpacked
from tests.benchmark.trained.sounds import notes
from tests.networks import forward, sqnr
from tests.onnx_export.runtimes import in_onnxruntime

PPOCR = "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models"
DETECTOR = PPOCR[0], f"{PPOCR[1]}/ch_PP-OCRv4_det_infer.onnx"
PITCH = "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx"


class Case(NamedTuple):
    """A file of a package, data to calibrate on and to judge by, and the least SQNR of each output in dB."""

    package: str
    file: str
    data: Tuple[np.ndarray, np.ndarray]
    levels: List[float]


def lines(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Return images of dark strokes in rows on light ground, as text looks from afar."""
    random = np.random.RandomState(seed)
    images = np.full((count, 3, height, width), 0.9, np.float32)
    for image in images:
        image -= random.uniform(0, 0.4)
        for top in range(6, height - 16, 24):
            for left in range(6, width - 12, 6):
                if random.rand() < 0.75:
                    image[:, top : top + random.randint(6, 14), left : left + random.randint(2, 5)] = random.rand() / 4
    return images * 4 - 2


CASES = {
    "page the right way up": Case(
        "occular-deskew==0.5.0",
        "occular_deskew/weights/orientation_orinet_fp32.onnx",
        (lines(8, 320, 320, 0), lines(4, 320, 320, 1)),
        [20],
    ),
    "direction of text": Case(
        PPOCR[0],
        f"{PPOCR[1]}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        (lines(16, 48, 192, 2), lines(16, 48, 192, 3)),
        [15],
    ),
    "pitch of notes": Case(
        *PITCH, (notes(22_050, 43_844, range(4))[:, :, None], notes(22_050, 43_844, range(9, 11))[:, :, None]), [30] * 3
    ),
}


def file_of(case: Case) -> Path:
    try:
        return unpacked(case.package, Path(sys.prefix) / "trained") / case.file
    except RuntimeError as error:
        pytest.skip(str(error))


def network_of(case: Case) -> Tuple[Any, Dict[str, Any], str, int]:
    """Return the symbol, its parameters, the name of the input and how many examples go through at once."""
    batch = 1 if case.package == PITCH[0] else len(case.data[1])
    (name,) = [each.name for each in onnx.load(str(file_of(case)), load_external_data=False).graph.input][:1]
    shape = (batch, *case.data[1].shape[1:])
    symbol, args, aux = mxquant.from_onnx(file_of(case), input_shapes={name: shape})
    return symbol, {"arg_params": args, "aux_params": aux}, name, batch


@pytest.mark.parametrize("title", CASES)
def test_int8_keeps_what_it_is_for(title: str) -> None:
    case = CASES[title]
    symbol, params, name, batch = network_of(case)
    model = mxquant.quantize(symbol, case.data[0], target="onnx_qdq", accuracy="fast", **params)
    exact, found = (
        [np.concatenate(parts) for parts in zip(*(in_onnxruntime(each, **{name: part}) for part in split(case, batch)))]
        for each in (onnx.load(str(file_of(case))), model.proto)
    )
    levels = [sqnr(a, b) for a, b in zip(exact, found)]
    assert len(levels) == len(case.levels)
    assert all(level >= least for level, least in zip(levels, case.levels)), levels
    convolutions = [layer for layer in model.plan.layers.values() if layer.op == "Convolution"]
    spectral = [layer for layer in convolutions if "spectrum" in layer.reason]
    assert len(spectral) == (26 if case.package == PITCH[0] else 0)
    assert all(layer.precision == "int8" for layer in convolutions if layer not in spectral)


def split(case: Case, batch: int) -> List[np.ndarray]:
    return [case.data[1][start : start + batch] for start in range(0, len(case.data[1]), batch)]


def test_free_zero_points_are_worth_decibels() -> None:
    """Hard-swish before a logistic head: what it finds hangs by a thread on such strokes, in int8 of any kind."""
    case = Case(*DETECTOR, (lines(8, 160, 160, 0), lines(4, 160, 160, 1)), [])
    symbol, params, name, _ = network_of(case)
    statistics = mxquant.calibrate(symbol, case.data[0], **params)
    (exact,) = in_onnxruntime(onnx.load(str(file_of(case))), **{name: case.data[1]})
    levels = {}
    for dtype in ("auto", "int8"):
        plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", dtype=dtype, isa="vnni", **params)
        model = mxquant.lower(symbol, plan, target="simulate", **params)
        levels[dtype] = sqnr(
            exact, forward(model.symbol, model.arg_params, model.aux_params, **{name: case.data[1]})[0]
        )
    assert levels["auto"] > levels["int8"] + 1.5, levels
