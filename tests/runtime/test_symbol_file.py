"""Damaged symbols are refused with the node that is wrong, sound ones of every version are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

import mxquant
from mxquant.errors import GraphError
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol
from mxquant.runtime.symbol_file import read_symbol
from tests.networks import conv, dense, images, random_params, relu

Document = Dict[str, Any]


def small() -> Any:
    data = mx.sym.var("data")
    parts = mx.sym.split(conv(data, "conv"), num_outputs=2, name="parts")
    return dense(relu(mx.sym.elemwise_add(parts[0], parts[1], name="sum"), "relu"), "fc")


def saved(folder: Path, change: Callable[[Document, Document], Any], symbol: Any = None) -> Path:
    """Write a symbol whose document is changed; `change` gets it, and its nodes by name."""
    document = json.loads((small() if symbol is None else symbol).tojson())
    change(document, {node["name"]: node for node in document["nodes"]})
    path = folder / "net-symbol.json"
    path.write_text(json.dumps(document))
    return path


def test_a_sound_symbol_is_read_as_mxnet_reads_it(tmp_path: Path) -> None:
    path = saved(tmp_path, lambda document, nodes: None)
    assert read_symbol(path).tojson() == mx.sym.load(str(path)).tojson()


def test_one_of_an_old_version_is_read_too(tmp_path: Path) -> None:
    def change(document: Document, nodes: Document) -> None:
        for node in nodes.values():
            node["attr"] = node.pop("attrs", {})
        document["attrs"] = {"mxnet_version": ["int", 904]}

    assert read_symbol(saved(tmp_path, change)).list_arguments() == small().list_arguments()


def test_names_in_any_language_stay(tmp_path: Path) -> None:
    symbol = relu(mx.sym.var("входные"), "ありがとう")
    path = saved(tmp_path, lambda document, nodes: None, symbol)
    assert read_symbol(path).list_inputs() == ["входные"]


def fused_attention() -> Any:
    data = mx.sym.var("data")
    scores = mx.sym.contrib.interleaved_matmul_selfatt_qk(data, heads=2, name="qk")
    weights = mx.sym.softmax(scores, name="weights")
    attended = mx.sym.contrib.interleaved_matmul_selfatt_valatt(data, weights, heads=2, name="attended")
    return backend_symbol(attended, "MKLDNN_QUANTIZE")


def test_fused_attention_is_read_and_refused_without_its_inside(tmp_path: Path) -> None:
    path = saved(tmp_path, lambda document, nodes: None, fused_attention())
    assert read_symbol(path).tojson() == fused_attention().tojson()
    name = "sg_mkldnn_selfatt_qk_0"
    with pytest.raises(GraphError, match=rf"'{name}' .* expected 1 subgraphs"):
        read_symbol(saved(tmp_path, setting(name, subgraphs=[]), fused_attention()))
    with pytest.raises(GraphError, match="malformed|inputs"):
        read_symbol(saved(tmp_path, without_input("sg_mkldnn_selfatt_valatt_1"), fused_attention()))


def setting(name: str, **fields: Any) -> Callable[[Document, Document], None]:
    return lambda document, nodes: nodes[name].update(fields)


def without_input(name: str) -> Callable[[Document, Document], Any]:
    return lambda document, nodes: nodes[name]["inputs"].pop()


def with_attribute(name: str, **attrs: str) -> Callable[[Document, Document], Any]:
    return lambda document, nodes: nodes[name].setdefault("attrs", {}).update(attrs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document, nodes: document.pop("heads"), "no heads"),
        (lambda document, nodes: document.update(heads=[]), "returns nothing"),
        (lambda document, nodes: document.update(heads=[[99, 0, 0]]), "heads do not refer to nodes"),
        (lambda document, nodes: document.update(heads=[[2**40, 0, 0]]), "heads do not refer to nodes"),
        (lambda document, nodes: document.update(arg_nodes=[3]), "arg_nodes has 3"),
        (lambda document, nodes: document.update(nodes=[7]), "node number 0"),
        (lambda document, nodes: document.update(attrs={"mxnet_version": ["pointer", 1]}), "pointer"),
        (setting("relu", inputs=[[6, 0, 0]]), "node 'relu' is malformed or stands before one of its inputs"),
        (setting("conv", inputs=[[0, 0, 0], [99, 0, 0], [2, 0, 0]]), "node 'conv' is malformed"),
        (setting("conv", inputs=[[0, 0, 0], [-1, 0, 0], [2, 0, 0]]), "node 'conv' is malformed"),
        (setting("conv", inputs=[[0.0, 0, 0]]), "node 'conv' is malformed"),
        (setting("conv", inputs="text"), "node 'conv' is malformed"),
        (setting("conv", attrs={"kernel": 3}), "node 'conv' has attrs that are not text"),
        (setting("conv", control_deps=[99]), "'conv' depends on what is no node before it"),
        (setting("conv", subgraphs=[{}]), "'conv' .* expected 0 subgraphs"),
        (setting("conv", op="_sg_mkldnn_conv"), "expected 1 subgraphs"),
        (setting("conv", op="_Native"), "operator '_Native', which no network"),
        (setting("conv", op="_backward_Convolution"), "'_backward_Convolution', which no network"),
        (setting("conv", op="NoSuchOperator"), "NoSuchOperator"),
        (without_input("conv"), r"node 'conv' \(Convolution\) has 2 inputs: expected 3"),
        (without_input("sum"), r"node 'sum' \(elemwise_add\) has 1 inputs"),
        (setting("relu", inputs=[]), r"node 'relu' \(Activation\) has 0 inputs"),
        (setting("relu", inputs=[[0, 0, 0], [0, 0, 0]]), r"node 'relu' \(Activation\) has 2 inputs"),
        (setting("relu", inputs=[[0, 7, 0]]), "output-range: 'relu' reads output 7 of 'data'"),
        (with_attribute("parts", num_outputs="2000000"), "more than 1000000 outputs"),
        (with_attribute("parts", num_outputs="10000000"), "'parts' has num_outputs=10000000"),
        (with_attribute("sum", num_args="10000000"), "'sum' has num_args=10000000"),
    ],
)
def test_a_damaged_symbol_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = saved(tmp_path, change)
    with pytest.raises(GraphError, match=f"cannot read the symbol '.*net-symbol.json'.*{message}"):
        read_symbol(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fused, inner: fused["inputs"].pop(), "inputs: expected 3"),
        (lambda fused, inner: inner["nodes"][-1].update(op="relu"), "expected one Convolution inside"),
        (lambda fused, inner: fused.update(subgraphs=[]), "expected 1 subgraphs"),
        (lambda fused, inner: fused.setdefault("attrs", {}).update(with_sum="true"), "its subgraph has 3, expected 4"),
    ],
)
def test_fusions_are_looked_into(change: Any, message: str, tmp_path: Path) -> None:
    symbol = conv(mx.sym.var("data"), "conv").get_backend_symbol("MKLDNN")

    def damage(document: Document, nodes: Document) -> None:
        (fused,) = [node for node in nodes.values() if node["op"] == "_sg_mkldnn_conv"]
        change(fused, fused["subgraphs"][0])

    with pytest.raises(GraphError, match=message):
        read_symbol(saved(tmp_path, damage, symbol))


def test_int8_networks_are_read(tmp_path: Path) -> None:
    data = mx.sym.var("data")
    symbol = dense(relu(conv(relu(conv(data, "c1") + data), "c2")), "fc")
    data = images(2, 8, 6, 6)
    args, aux = random_params(symbol, data=data.shape)
    for granularity in ("channel-wise", "tensor-wise"):
        model = mxquant.quantize(
            symbol, data, arg_params=args, aux_params=aux, accuracy="fast", granularity=granularity
        )
        path = saved(tmp_path, lambda document, nodes: None, model.symbol)
        assert read_symbol(path).tojson() == model.symbol.tojson()


def test_a_text_that_mxnet_would_read_in_another_way_is_not_given_to_it(tmp_path: Path) -> None:
    text = small().tojson()
    (tmp_path / "net-symbol.json").write_text(text.rstrip()[:-1] + ', "heads": [[99, 0, 0]]}')
    with pytest.raises(GraphError, match="'heads' stands twice"):
        read_symbol(tmp_path / "net-symbol.json")
