"""Graph: what it holds, how it is changed, and the invariants that verify() names."""

from __future__ import annotations

from typing import Callable

import pytest

from mxquant.errors import GraphError
from mxquant.graph import Graph, Node, Tensor
from mxquant.graph.ir import Use


def diamond() -> Graph:
    """data -> a -> (b, c) -> d."""
    data = Node("null", "data")
    a = Node("relu", "a", inputs=[data.output])
    b, c = (Node("relu", name, inputs=[a.output]) for name in "bc")
    d = Node("add", "d", inputs=[b.output, c.output])
    return Graph([data, a, b, c, d], [d.output])


def test_a_node_computes_the_layer_of_its_name() -> None:
    graph = diamond()
    assert graph.find("b").layers == ("b",)
    assert graph.find("data").layers == ()


def test_tensors_are_named_as_mxnet_names_them() -> None:
    one, two = Node("relu", "one"), Node("split", "two", num_outputs=2)
    assert one.output.name == "one_output"
    assert [Tensor(two, i).name for i in range(2)] == ["two_output0", "two_output1"]
    assert Tensor(Node("null", "data")).name == "data"
    assert Tensor(Node("bn", "bn", num_outputs=3, output_names=("seen",))).name == "seen"


def test_the_version_of_a_tensor_does_not_tell_it_apart() -> None:
    node = Node("relu", "a")
    assert Tensor(node, 0, version=3) == Tensor(node, 0)


def test_uses_lists_readers_and_outputs() -> None:
    graph = diamond()
    a, b, c, d = (graph.find(name) for name in "abcd")
    uses = graph.uses()
    assert uses[a.output] == [Use(b, 0), Use(c, 0)]
    assert uses[d.output] == [Use(None, 0)]


def test_redirect_changes_readers_and_outputs() -> None:
    graph = diamond()
    a, d = graph.find("a"), graph.find("d")
    graph.redirect(d.output, a.output)
    assert graph.outputs == [a.output]
    graph.redirect(graph.find("b").output, a.output)
    assert d.inputs[0] == a.output


def test_prune_drops_what_nothing_reads_and_sorts() -> None:
    graph = diamond()
    graph.nodes.reverse()
    graph.redirect(graph.find("c").output, graph.find("b").output)
    graph.prune()
    assert [node.name for node in graph.nodes] == ["data", "a", "b", "d"]
    graph.verify()


def test_prune_needs_no_recursion() -> None:
    nodes = [Node("null", "data")]
    for number in range(5000):
        nodes.append(Node("relu", f"n{number}", inputs=[nodes[-1].output]))
    graph = Graph(nodes, [nodes[-1].output])
    graph.prune()
    assert len(graph.nodes) == 5001


def test_a_copy_is_independent() -> None:
    graph = diamond()
    twin = graph.copy()
    twin.find("a").attrs["x"] = "1"
    twin.redirect(twin.find("b").output, twin.find("c").output)
    assert graph.find("a").attrs == {}
    assert graph.find("d").inputs[0].node is graph.find("b")


def test_find_names_what_is_missing() -> None:
    with pytest.raises(GraphError, match="no node 'z'"):
        diamond().find("z")


def no_output(graph: Graph) -> None:
    graph.outputs = []


def same_variable_twice(graph: Graph) -> None:
    graph.nodes.insert(0, Node("null", "data"))


def unknown_node(graph: Graph) -> None:
    graph.find("d").inputs[0] = Node("relu", "stranger").output


def wrong_order(graph: Graph) -> None:
    graph.nodes.reverse()


def output_out_of_range(graph: Graph) -> None:
    graph.outputs = [Tensor(graph.find("d"), 1)]


def variable_with_input(graph: Graph) -> None:
    data = graph.find("data")
    data.inputs = [Node("null", "x").output]


def attribute_that_is_no_text(graph: Graph) -> None:
    graph.find("a").attrs["axis"] = 1  # type: ignore[assignment]


@pytest.mark.parametrize(
    "damage, invariant",
    [
        (no_output, "has-output"),
        (same_variable_twice, "unique-names"),
        (unknown_node, "known-nodes"),
        (wrong_order, "topological-order"),
        (output_out_of_range, "output-range"),
        (variable_with_input, "variable-leaf"),
        (attribute_that_is_no_text, "text-attributes"),
    ],
)
def test_verify_names_the_broken_invariant(damage: Callable[[Graph], None], invariant: str) -> None:
    graph = diamond()
    graph.verify()
    damage(graph)
    with pytest.raises(GraphError, match=f"^{invariant}: "):
        graph.verify()
