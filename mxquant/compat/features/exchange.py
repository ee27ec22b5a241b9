"""Networks that leave MXNet's float32: ONNX in both directions, and the stock tool for int8."""

from __future__ import annotations

import logging
from typing import Any, Dict, Tuple

import mxnet as mx
import numpy as np

from mxquant.compat.features.compare import close, equal, holds
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]

_ONNX = ("onnx", "onnxruntime")


def _network() -> Any:
    data = mx.sym.var("data")
    one = mx.sym.Convolution(data, kernel=(3, 3), pad=(1, 1), num_filter=8, name="conv0")
    one = mx.sym.BatchNorm(one, fix_gamma=False, name="bn0")
    one = mx.sym.Activation(one, act_type="relu", name="relu0")
    two = mx.sym.Pooling(one, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool0")
    two = mx.sym.Convolution(two, kernel=(3, 3), pad=(1, 1), num_filter=8, name="conv1")
    flat = mx.sym.Flatten(mx.sym.Activation(two, act_type="relu", name="relu1"), name="flat")
    return mx.sym.FullyConnected(flat, num_hidden=4, name="fc")


def _parts() -> Tuple[Any, Dict[str, Any], Dict[str, Any], Any]:
    """Return a network, its parameters, its auxiliary states, and images."""
    symbol, images = _network(), np.random.rand(8, 3, 8, 8).astype("float32")
    shapes, _, states = symbol.infer_shape(data=images.shape)
    args = {
        name: mx.nd.random.normal(0, 0.3, shape=shape)
        for name, shape in zip(symbol.list_arguments(), shapes)
        if name != "data"
    }
    args["bn0_gamma"] = mx.nd.random.uniform(0.5, 1.5, shape=8)
    aux = {
        name: mx.nd.random.uniform(0.5, 1, shape=shape) for name, shape in zip(symbol.list_auxiliary_states(), states)
    }
    return symbol, args, aux, images


def _outputs(symbol: Any, args: Any, aux: Any, images: Any) -> Any:
    values = {name: value for name, value in args.items() if name in symbol.list_arguments()}
    bound = symbol.bind(mx.cpu(), {**values, "data": mx.nd.array(images)}, aux_states=aux, grad_req="null")
    return bound.forward(is_train=False)[0].asnumpy()


def _exported(shapes: Any = None) -> Tuple[Any, Any, Any]:
    symbol, args, aux, images = _parts()
    export = mx.onnx.export_model
    path = export(
        symbol, {**args, **aux}, [images.shape], [np.float32], "net.onnx", **({} if shapes is None else shapes)
    )
    equal(path, "net.onnx")
    return images, _outputs(symbol, args, aux, images), path


def _ran(path: str, images: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"data": images})[0]


def _onnx_export() -> None:
    images, expected, path = _exported()
    close(_ran(path, images), expected, 1e-3, 1e-4)
    options = {"dynamic": True, "dynamic_input_shapes": [("batch", 3, 8, 8)]}
    images, expected, path = _exported(options)
    close(_ran(path, images[:3]), expected[:3], 1e-3, 1e-4)


def _onnx_export_of_files() -> None:
    network = mx.gluon.nn.HybridSequential()
    network.add(mx.gluon.nn.Embedding(10, 6), mx.gluon.nn.LayerNorm(), mx.gluon.nn.Dense(4, flatten=False))
    network.add(mx.gluon.nn.HybridLambda(lambda F, x: F.softmax(F.transpose(x, axes=(0, 2, 1)), axis=-1)))
    network.initialize(mx.init.Uniform(1))
    network.hybridize()
    words = np.array([[1, 2, 3], [9, 0, 4]], "float32")
    expected = network(mx.nd.array(words))
    network.export("text")
    mx.onnx.export_model("text-symbol.json", "text-0000.params", [(2, 3)], np.float32, "text.onnx")
    close(_ran("text.onnx", words), expected, 1e-4, 1e-5)


def _onnx_import() -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    weight, bias = np.random.randn(4, 3, 3, 3).astype("float32"), np.random.randn(4).astype("float32")
    images = np.random.rand(2, 3, 8, 8).astype("float32")
    nodes = [
        helper.make_node("Conv", ["data", "w", "b"], ["conv"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["pool"], ["out"], perm=[0, 2, 3, 1]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("data", images.shape), ("w", weight.shape), ("b", bias.shape), ("out", (2, 4, 4, 4)))
    ]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(nodes, "net", ends[:3], ends[3:], constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=5), "made.onnx")
    symbol, args, aux = mx.contrib.onnx.import_model("made.onnx")
    data = mx.nd.array(images)
    conv = mx.nd.Convolution(data, mx.nd.array(weight), mx.nd.array(bias), kernel=(3, 3), pad=(1, 1), num_filter=4)
    pooled = mx.nd.Pooling(mx.nd.relu(conv), kernel=(2, 2), stride=(2, 2), pool_type="max")
    close(_outputs(symbol, args, aux, images), pooled.transpose((0, 2, 3, 1)), 1e-4, 1e-5)
    described = mx.contrib.onnx.get_model_metadata("made.onnx")
    equal(described["input_tensor_data"][0][:2], ("data", (2, 3, 8, 8)))


def _quantized(mode: str, **options: Any) -> None:
    symbol, args, aux, images = _parts()
    expected = _outputs(symbol, args, aux, images)
    data = mx.io.NDArrayIter(images, batch_size=4)
    symbol = symbol.get_backend_symbol("MKLDNN_QUANTIZE")
    quantized, args, aux = mx.contrib.quantization.quantize_model(
        symbol, args, aux, calib_mode=mode, calib_data=data, num_calib_examples=8, quantized_dtype="auto",
        logger=logging.getLogger("quiet"), **options,
    )  # fmt: skip
    names = [name for name in quantized.get_internals().list_outputs() if "quantize" in name]
    holds(len(names) >= 3, "layers are in int8")
    error = _outputs(quantized.get_backend_symbol("MKLDNN_QUANTIZE"), args, aux, images) - expected
    close(np.sqrt((error**2).mean() / (expected**2).mean()), 0, atol=0.1)


def _naive() -> None:
    _quantized("naive")


def _entropy() -> None:
    _quantized("entropy")


FEATURES = (
    Feature("ONNX export", _onnx_export, _ONNX),
    Feature("ONNX export of files", _onnx_export_of_files, _ONNX),
    Feature("ONNX import", _onnx_import, ("onnx",)),
    Feature("stock quantization, naive", _naive),
    Feature("stock quantization, entropy", _entropy, ("scipy",)),
)
