"""Cases of layers: convolutions, pooling, normalisation, activations."""

from __future__ import annotations

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, ROW, Cases, lengths, whole_numbers

sym = mx.sym
CUBE = (2, 4, 5, 6, 7)

CASES: Cases = {
    "Convolution": (IMAGE, lambda x: sym.Convolution(x, num_filter=6, kernel=(3, 3))),
    "Convolution grouped, strided, dilated, no bias": (
        IMAGE,
        lambda x: sym.Convolution(
            x, num_filter=6, kernel=(3, 2), stride=(2, 1), dilate=(2, 1), pad=(2, 1), num_group=2, no_bias=True
        ),
    ),
    "Convolution 1D": ((2, 4, 9), lambda x: sym.Convolution(x, num_filter=6, kernel=(3,), pad=(1,))),
    "Convolution 3D": (CUBE, lambda x: sym.Convolution(x, num_filter=6, kernel=(3, 3, 3), pad=(1, 0, 1))),
    "Deconvolution": (
        IMAGE,
        lambda x: sym.Deconvolution(x, num_filter=6, kernel=(3, 3), stride=(2, 2), pad=(1, 1), adj=(1, 0)),
    ),
    "Deconvolution of many channels": (
        (2, 128, 3, 4),
        lambda x: sym.Deconvolution(x, num_filter=6, kernel=(4, 4), stride=(2, 2), pad=(1, 1)),
    ),
    "Deconvolution grouped, with bias": (
        IMAGE,
        lambda x: sym.Deconvolution(x, num_filter=6, kernel=(4, 4), stride=(2, 2), num_group=2, no_bias=False),
    ),
    "FullyConnected": (ROW, lambda x: sym.FullyConnected(x, num_hidden=5)),
    "FullyConnected of images": (IMAGE, lambda x: sym.FullyConnected(x, num_hidden=5)),
    "FullyConnected not flattened": ((2, 3, 7), lambda x: sym.FullyConnected(x, num_hidden=5, flatten=False)),
    "FullyConnected not flattened, no bias": (
        (2, 3, 7),
        lambda x: sym.FullyConnected(x, num_hidden=5, flatten=False, no_bias=True),
    ),
    "Pooling max": (IMAGE, lambda x: sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")),
    "Pooling max full": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full"),
    ),
    "Pooling max full, padded": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(2, 3), stride=(3, 2), pad=(1, 1), pooling_convention="full"),
    ),
    "Pooling avg": (IMAGE, lambda x: sym.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="avg")),
    "Pooling avg, padding not counted": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="avg", count_include_pad=False),
    ),
    "Pooling avg full, whole windows": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(3, 2), stride=(2, 2), pool_type="avg", pooling_convention="full"),
    ),
    "Pooling global avg": (IMAGE, lambda x: sym.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg")),
    "Pooling global max": (IMAGE, lambda x: sym.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="max")),
    "BatchNorm": (IMAGE, lambda x: sym.BatchNorm(sym.relu(x), fix_gamma=False, eps=1e-2)),
    "BatchNorm with fixed gamma": (IMAGE, lambda x: sym.BatchNorm(sym.relu(x), fix_gamma=True)),
    "LayerNorm": (ROW, lambda x: sym.LayerNorm(x)),
    "InstanceNorm": (IMAGE, lambda x: sym.InstanceNorm(x, sym.var("gamma"), sym.var("beta"))),
    "LRN": (IMAGE, lambda x: sym.LRN(x, nsize=3, alpha=0.1)),
    "L2Normalization": (IMAGE, lambda x: sym.L2Normalization(x)),
    "L2Normalization of channels": (IMAGE, lambda x: sym.L2Normalization(x, mode="channel")),
    **{
        f"Activation {kind}": (IMAGE, lambda x, kind=kind: sym.Activation(x, act_type=kind))
        for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        f"LeakyReLU {kind}": (IMAGE, lambda x, kind=kind: sym.LeakyReLU(x, act_type=kind, slope=0.3))
        for kind in ("leaky", "elu", "selu", "gelu")
    },
    "LeakyReLU rrelu": (IMAGE, lambda x: sym.LeakyReLU(x, act_type="rrelu")[0]),
    "LeakyReLU prelu": (IMAGE, lambda x: sym.LeakyReLU(x, sym.var("gamma"), act_type="prelu")),
    "clip": (IMAGE, lambda x: sym.clip(x, -0.3, 0.7)),
    "clip of whole numbers": (IMAGE, lambda x: sym.clip(whole_numbers(x), -2, 3)),
    "hard_sigmoid": (IMAGE, lambda x: sym.hard_sigmoid(x)),
    "softmax": (IMAGE, lambda x: sym.softmax(x, axis=1)),
    "softmax with lengths": (
        (3, 5, 6),
        lambda x: sym.softmax(x, length=sym.cast(lengths(sym.sum(x, axis=2), 7), "int32"), use_length=True, axis=-1),
    ),
    "log_softmax": (ROW, lambda x: sym.log_softmax(x)),
    "SoftmaxOutput": (ROW, lambda x: sym.SoftmaxOutput(x, name="softmax")),
    "SoftmaxOutput of images": (IMAGE, lambda x: sym.SoftmaxOutput(x, multi_output=True, name="softmax")),
    "SoftmaxActivation": (IMAGE, lambda x: sym.SoftmaxActivation(x, mode="channel")),
    "Pad": (
        IMAGE,
        lambda x: sym.Pad(x, mode="constant", pad_width=(0, 0, 0, 0, 1, 2, 3, 0), constant_value=0.5),
    ),
    "Pad of reflections": (IMAGE, lambda x: sym.Pad(x, mode="reflect", pad_width=(0, 0, 0, 0, 1, 2, 3, 0))),
    "UpSampling": (IMAGE, lambda x: sym.UpSampling(x, scale=2, sample_type="nearest")),
}
