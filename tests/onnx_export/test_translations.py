"""Every operator that can be translated computes in ONNX Runtime what it computes in MXNet.

The networks are in the folder cases, by kind of operator.
"""

from __future__ import annotations

import numpy as np
import pytest

import mxquant
from mxquant.onnx_export.arithmetic import ARITHMETIC
from mxquant.onnx_export.choices import CHOICES
from mxquant.onnx_export.detection import DETECTION
from mxquant.onnx_export.graph import OPERATORS
from mxquant.onnx_export.layers import LAYERS
from mxquant.onnx_export.multibox import MULTIBOX
from mxquant.onnx_export.proposals import PROPOSALS
from mxquant.onnx_export.recurrent import RECURRENT
from mxquant.onnx_export.sampling import SAMPLING
from mxquant.onnx_export.sequences import SEQUENCES
from mxquant.onnx_export.tensors import TENSORS
from mxquant.runtime.mxnet import mx
from tests.networks import forward, images, random_params
from tests.onnx_export.cases import CASES, KINDS
from tests.onnx_export.runtimes import in_onnxruntime

sym = mx.sym
# Other names of operators that have a case, and names that MXNet gives only in old files.
ALIASES = {
    *("_plus", "_Plus", "broadcast_plus", "_minus", "broadcast_minus", "_mul", "_div", "ElementWiseSum", "concat"),
    *("flatten", "reshape", "pad", "identity", "_copy", "cast"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_result_is_mxnets(case: str) -> None:
    shape, build = CASES[case]
    symbol = build(sym.var("data"))
    args, aux = random_params(symbol, data=shape)
    labels = {name: np.zeros(args.pop(name).shape, np.float32) for name in list(args) if name.endswith("label")}
    model = mxquant.export_onnx(symbol, input_shapes=shape, arg_params=args, aux_params=aux)
    data = 2 * images(*shape)
    expected = forward(symbol, args, aux, data=data, **labels)
    for optimized in (False, True):
        found = in_onnxruntime(model.proto, optimized, data=data)
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_every_translation_has_a_case() -> None:
    assert len(CASES) == sum(len(kind.CASES) for kind in KINDS)
    assert set(OPERATORS) == {case.split(" ")[0] for case in CASES} | ALIASES
    tables = (LAYERS, TENSORS, ARITHMETIC, SEQUENCES, CHOICES, SAMPLING, DETECTION, MULTIBOX, PROPOSALS, RECURRENT)
    assert sum(map(len, tables)) == len(OPERATORS)


@pytest.mark.parametrize(
    "name", sorted({"elemwise_add", "relu", "Pooling max", "Convolution", "FullyConnected of images"})
)
def test_the_batch_is_free(name: str) -> None:
    shape, build = CASES[name]
    symbol = build(sym.var("data"))
    args, aux = random_params(symbol, data=shape)
    proto = mxquant.export_onnx(symbol, input_shapes=shape, arg_params=args, aux_params=aux).proto
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    data = images(5, *shape[1:])
    np.testing.assert_allclose(
        in_onnxruntime(proto, data=data)[0], forward(symbol, args, aux, data=data)[0], rtol=1e-4, atol=1e-5
    )
