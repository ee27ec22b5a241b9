"""Symbol JSON: what is read is written again, attribute by attribute; what is malformed is named."""

from __future__ import annotations

import json
from typing import Any, Dict

import pytest

from mxquant.errors import GraphError
from mxquant.graph import Graph, Node, symbol_json
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol, graph_of, symbol_of
from tests.networks import ZOO, conv, dense, relu, vision


def small() -> Any:
    return dense(relu(conv(mx.sym.var("data"), "conv"), "relu"), "fc")


def document() -> Dict[str, Any]:
    return json.loads(small().tojson())


@pytest.mark.parametrize("name", ZOO)
def test_every_network_of_the_zoo_comes_back_as_it_was(name: str) -> None:
    symbol = vision.get_model(name)(mx.sym.var("data"))
    for each in (symbol, backend_symbol(symbol, "MKLDNN_QUANTIZE")):
        text = each.tojson()
        assert json.loads(symbol_json.dumps(symbol_json.loads(text))) == json.loads(text)


def test_mxnet_reads_what_is_written() -> None:
    symbol = small()
    again = symbol_of(graph_of(symbol))
    assert again.tojson() == symbol.tojson()
    assert again.list_outputs() == symbol.list_outputs()


def test_tensors_have_the_names_of_mxnets_monitor() -> None:
    data = mx.sym.var("data")
    symbol = mx.sym.Group([mx.sym.BatchNorm(data, name="bn"), *mx.sym.split(data, num_outputs=2, name="sp")])
    graph = graph_of(symbol)
    assert [tensor.name for tensor in graph.outputs] == symbol.list_outputs()


def test_a_saved_file_is_read(tmp_path) -> None:
    path = tmp_path / "net-symbol.json"
    small().save(str(path))
    assert [node.name for node in symbol_json.loads(path.read_text()).operators] == ["conv", "relu", "fc"]


def without(key: str) -> str:
    return json.dumps({k: v for k, v in document().items() if k != key})


def with_node(**changes: Any) -> str:
    damaged = document()
    damaged["nodes"][-1].update(changes)
    return json.dumps(damaged)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "no JSON"),
        ("[]", "expected a JSON object, found list"),
        (without("heads"), "no heads"),
        (without("arg_nodes"), "no arg_nodes"),
        (with_node(inputs=[[99, 0, 0]]), "node 'fc' is malformed"),
        (with_node(inputs=[[-1, 0, 0]]), "node 'fc' is malformed"),
        (with_node(attr={}), "format of MXNet before 1.0"),
        (json.dumps({**document(), "heads": [[99, 0, 0]]}), "do not refer to nodes"),
        (json.dumps({**document(), "heads": []}), "has-output"),
    ],
)
def test_malformed_documents_are_named(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        symbol_json.loads(text)


def test_an_operator_that_mxnet_does_not_know_is_named() -> None:
    graph = graph_of(small())
    graph.find("relu").op = "NoSuchOperator"
    with pytest.raises(GraphError, match="NoSuchOperator"):
        symbol_of(graph)


def test_a_graph_that_was_built_is_not_taken_for_one_of_version_08() -> None:
    data = Node("null", "data")
    text = symbol_json.dumps(Graph([data], [data.output]))
    assert json.loads(text)["attrs"] == {"mxnet_version": ["int", 10901]}


@pytest.mark.parametrize("name", ["слой", "層 1", 'quote"', "back\\slash"])
def test_any_name_that_mxnet_takes_is_written_as_it_reads_it(name: str) -> None:
    symbol = relu(mx.sym.var(f"{name} data"), name)
    again = symbol_of(graph_of(symbol))
    assert again.tojson() == symbol.tojson()
    assert again.list_outputs() == [f"{name}_output"]
