"""Cases of MXNet's own SSD: anchors of a feature map, and boxes of classes, offsets and anchors."""

from __future__ import annotations

from typing import Any

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, Cases

sym = mx.sym


def _detected(x: Any, **options: Any) -> Any:
    """Return boxes of three classes at one anchor for each place of a map of four channels."""
    scores = sym.softmax(sym.reshape(x, (0, 4, -1)), axis=1)
    anchors = sym.contrib.MultiBoxPrior(x, sizes=(0.3,))
    return sym.contrib.MultiBoxDetection(scores, sym.Flatten(x), anchors, **options)


CASES: Cases = {
    "_contrib_MultiBoxPrior": (
        IMAGE,
        lambda x: sym.broadcast_mul(
            sym.contrib.MultiBoxPrior(x, sizes=(0.2, 0.4), ratios=(1, 2)), sym.reshape(sym.mean(x), (1, 1, 1))
        ),
    ),
    "_contrib_MultiBoxDetection": (IMAGE, lambda x: _detected(x, nms_topk=30, threshold=0.3)),
}
