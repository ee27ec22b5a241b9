"""Writes fp32 ONNX: ``to_onnx.py PREFIX`` reads PREFIX.json and PREFIX.npz, writes PREFIX.onnx with a free batch size.

The input is mxquant's canonical network, BatchNorm folded. A zero padding that only one convolution reads becomes the
padding of that convolution, which ONNX allows to be asymmetric: so would an exporter from TensorFlow write it, and so
the peers run it fastest.
"""

from __future__ import annotations

import json
import sys
from ast import literal_eval
from typing import Any, Dict, List

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Translation:
    """The ONNX nodes of a network, made one after the other."""

    def __init__(self, network: Dict[str, Any], params: Dict[str, np.ndarray]) -> None:
        self.layers = {layer["name"]: layer for layer in network["layers"]}
        self.params, self.output, self.shape = params, network["output"], network["shape"]
        self.initializers: List[Any] = []
        self.nodes: List[Any] = []
        readers = [source for layer in self.layers.values() for source in layer["inputs"]]
        self.merged = {
            layer["inputs"][0]
            for layer in self.layers.values()
            if layer["op"] == "Convolution"
            and self.layers.get(layer["inputs"][0], {}).get("op") == "Pad"
            and readers.count(layer["inputs"][0]) == 1
        }

    def model(self) -> Any:
        """Return the checked ONNX model."""
        for layer in self.layers.values():
            if layer["name"] not in self.merged:
                attrs = {key: _value(text) for key, text in layer["attrs"].items()}
                getattr(self, f"_{layer['op'].lower()}")(layer["name"], attrs, *layer["inputs"])
        inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", *self.shape[1:]])]
        outputs = [helper.make_tensor_value_info(self.output, TensorProto.FLOAT, ["N", 1000])]
        graph = helper.make_graph(self.nodes, "network", inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model)

    def _emit(self, op: str, name: str, inputs: List[str], output: str = "", **attrs: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output or name], name, **attrs))

    def _constant(self, name: str, value: Any) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _convolution(self, name: str, attrs: Dict[str, Any], data: str, *weights: str) -> None:
        height, width = attrs["pad"]
        pads = [height, width, height, width]
        if data in self.merged:
            pad = self.layers[data]
            begin, end = _pads(pad)
            pads = [a + b for a, b in zip(pads, (*begin[2:], *end[2:]))]
            (data,) = pad["inputs"]
        constants = [self._constant(each, self.params[each]) for each in weights]
        self._emit(
            *("Conv", name, [data, *constants]),
            kernel_shape=attrs["kernel"],
            strides=attrs["stride"],
            dilations=attrs["dilate"],
            group=attrs["num_group"],
            pads=pads,
        )

    def _fullyconnected(self, name: str, attrs: Dict[str, Any], data: str, *weights: str) -> None:
        self._emit("Flatten", f"{name}_flatten", [data])
        constants = [self._constant(each, self.params[each]) for each in weights]
        self._emit("Gemm", name, [f"{name}_flatten", *constants], transB=1)

    def _pooling(self, name: str, attrs: Dict[str, Any], data: str) -> None:
        kind = {"max": "MaxPool", "avg": "AveragePool"}[attrs["pool_type"]]
        if attrs["global_pool"]:
            self._emit(f"Global{kind}", name, [data])
            return
        ceil = attrs.get("pooling_convention") == "full"
        extra = {"count_include_pad": 1} if kind == "AveragePool" else {}
        pads = [*attrs["pad"], *attrs["pad"]]
        self._emit(
            *(kind, name, [data]),
            kernel_shape=attrs["kernel"],
            strides=attrs["stride"],
            pads=pads,
            ceil_mode=int(ceil),
            **extra,
        )

    def _clip(self, name: str, attrs: Dict[str, Any], data: str) -> None:
        limits = [self._constant(f"{name}_{key}", np.float32(attrs[key])) for key in ("a_min", "a_max")]
        self._emit("Clip", name, [data, *limits])

    def _activation(self, name: str, attrs: Dict[str, Any], data: str) -> None:
        assert attrs["act_type"] == "relu", attrs
        self._emit("Relu", name, [data])

    def _pad(self, name: str, attrs: Dict[str, Any], data: str) -> None:
        begin, end = _pads(self.layers[name])
        self._emit("Pad", name, [data, self._constant(f"{name}_pads", np.int64([*begin, *end]))])

    def _elemwise_add(self, name: str, attrs: Dict[str, Any], *data: str) -> None:
        self._emit("Add", name, list(data))

    def _flatten(self, name: str, attrs: Dict[str, Any], data: str) -> None:
        self._emit("Flatten", name, [data])


def _pads(layer: Dict[str, Any]) -> Any:
    assert layer["attrs"]["mode"] == "constant", layer
    assert not _value(layer["attrs"].get("constant_value", "0")), layer
    widths = literal_eval(layer["attrs"]["pad_width"])
    return widths[::2], widths[1::2]


def _value(text: str) -> Any:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main() -> None:
    """Translate one network."""
    prefix = sys.argv[1]
    with open(f"{prefix}.json", encoding="utf-8") as file:
        network = json.load(file)
    with np.load(f"{prefix}.npz") as arrays:
        model = Translation(network, dict(arrays)).model()
    onnx.save(model, f"{prefix}.onnx")


if __name__ == "__main__":
    main()
