"""The networks of PP-OCR, which PaddlePaddle exported: from ONNX to MXNet, and to int8.

They come with the PyPI package rapidocr-onnxruntime, of which nothing else is needed: ``pip install --no-deps``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Tuple

import numpy as np
import onnx
import pytest

import mxquant
from tests.networks import forward
from tests.onnx_export.runtimes import in_onnxruntime

PACKAGE = find_spec("rapidocr_onnxruntime")
MODELS = Path(next(iter(PACKAGE.submodule_search_locations or ())), "models") if PACKAGE else Path()

pytestmark = pytest.mark.skipif(PACKAGE is None, reason="rapidocr-onnxruntime, which has the files, is not installed")

# File and shape of its input.
NETWORKS = [
    ("ch_PP-OCRv4_det_infer.onnx", (2, 3, 64, 192)),
    ("ch_PP-OCRv4_rec_infer.onnx", (2, 3, 48, 192)),
    ("ch_ppocr_mobile_v2.0_cls_infer.onnx", (2, 3, 48, 192)),
]


def smooth(*shape: int) -> np.ndarray:
    """Return random images without sharp edges, as photographs are."""
    coarse = np.random.RandomState(0).randn(*shape[:2], shape[2] // 8, shape[3] // 8)
    return np.kron(coarse, np.ones((1, 1, 8, 8))).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize(("name", "shape"), NETWORKS)
def test_mxnet_computes_what_onnx_runtime_does(name: str, shape: Tuple[int, ...]) -> None:
    network = mxquant.from_onnx(MODELS / name, input_shapes=shape)
    data = smooth(*shape)
    (expected,) = in_onnxruntime(onnx.load(str(MODELS / name)), x=data)
    (found,) = forward(*network, x=data)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize(("name", "shape"), NETWORKS)
def test_the_convolutions_run_in_int8(name: str, shape: Tuple[int, ...]) -> None:
    symbol, args, aux = mxquant.from_onnx(MODELS / name, input_shapes=shape)
    data = smooth(*shape)
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    layers = [layer for layer in model.plan.layers.values() if layer.op == "Convolution"]
    assert sum(layer.precision == "int8" for layer in layers) >= 0.95 * len(layers)
    (found,) = forward(model.symbol, model.arg_params, model.aux_params, x=data)
    (expected,) = forward(symbol, args, aux, x=data)
    # Probabilities; what the recognizer makes of images without text hangs by a thread at some places.
    assert np.abs(found - expected).mean() < 0.01
