"""Networks that ONNX cannot say are refused, by an error that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

import mxquant
from mxquant import LoweringError
from mxquant.runtime.mxnet import mx
from tests.networks import random_params
from tests.onnx_export.cases.detection import ROWS, suppressed
from tests.onnx_export.cases.parts import IMAGE, ROW, SENTENCE, Cases
from tests.onnx_export.cases.sampling import regions

sym = mx.sym
# What the error says: the shape of the data, and the network.
REFUSED: Cases = {
    "pool_type is sum": (IMAGE, lambda x: sym.Pooling(x, kernel=(2, 2), pool_type="sum")),
    "does not fill whole windows": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(2, 3), stride=(2, 2), pool_type="avg", pooling_convention="full"),
    ),
    "may lie in its padding as a whole": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(1, 3), stride=(3, 3), pad=(0, 1), pool_type="max", pooling_convention="full"),
    ),
    "output 1 has no translation": (IMAGE, lambda x: sym.LeakyReLU(x, act_type="rrelu")),
    "two lengths of its result grow with the batch": (
        *((3, 2, 12), lambda x: sym.contrib.interleaved_matmul_selfatt_qk(x, heads=2)),
    ),
    "only numbers along one axis": (ROW, lambda x: sym.contrib.arange_like(x)),
    "dtype is uint8": (ROW, lambda x: sym.cast(x, dtype="uint8")),
    "expected the last one where use_length is set": (
        *(SENTENCE, lambda x: sym.softmax(x, length=sym.cast(sym.sum(x, axis=1), "int32"), use_length=True, axis=1)),
    ),
    "temperature": (IMAGE, lambda x: sym.softmax(x, temperature=2.0)),
    "formats corner and center": (ROWS, lambda x: suppressed(x, out_format="center")),
    "its data have 2 dimensions": (ROW, lambda x: sym.contrib.box_nms(x)),
    "it compares 65537 boxes": ((1, 65537, 7), lambda x: suppressed(x)),
    "mode is raise": (ROW, lambda x: sym.take(x, sym.slice_axis(x, axis=0, begin=0, end=1), mode="raise")),
    "its anchors have the shape": (*((1, 2, 7, 4), lambda x: sym.contrib.box_decode(sym.reshape(x, (1, 14, 4)), x)),),
    "position_sensitive is set": (IMAGE, lambda x: regions(x, pooled_size=(2, 2), position_sensitive=True)),
    "only nearest": (
        IMAGE,
        lambda x: sym.UpSampling(x, sym.var("w"), scale=2, sample_type="bilinear", num_filter=4),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_onnx_cannot_say_is_refused(message: str) -> None:
    shape, build = REFUSED[message]
    symbol = build(sym.var("data"))
    args, aux = random_params(symbol, data=shape)
    with pytest.raises(LoweringError, match=message):
        mxquant.export_onnx(symbol, input_shapes=shape, arg_params=args, aux_params=aux)


def test_operators_without_translation_are_all_named_before_anything_is_written(tmp_path: Path) -> None:
    x = sym.var("data")
    symbol = sym.arccosh(sym.cbrt(x, name="root"), name="odd")
    with pytest.raises(
        LoweringError, match=r"no translation to ONNX for arccosh \(layer 'odd'\), cbrt \(layer 'root'\)"
    ):
        mxquant.export_onnx(symbol, tmp_path / "net.onnx", input_shapes=ROW)
    assert not list(tmp_path.iterdir())
